// The page: which picture is chosen, what is added to it, and what the networks say.
import { brief, headline, probabilityBars, stageItems } from "./answer_view.js";
import { byId, choices, element, imageCanvas, megabytes, milliseconds, shareOf, times } from "./elements.js";
import { facts, ruleText } from "./facts.js";
import { RULES, checkRule } from "./gate.js";
import { ask } from "./network.js";
import { drawPanel, filePanel } from "./own_pictures.js";

const SWEEP_STEPS = 20; // answers along the slider

const [manifest, site] = await Promise.all(["manifest.json", "page.json"].map(read)).catch(failed);
const { classes } = manifest;
const size = manifest.input.shape.slice(1); // c, h, w
const members = manifest.submodels.length;
let samples; // images and attacked ones, each (c, h, w)
let chosen = null; // {image, attacked, truth, original}: the picture as it is prepared
let turns = 0; // choices so far: a picture that is ready after a later choice is dropped
let denseLoaded = false;

async function read(name) {
  const reply = await fetch(name);
  if (!reply.ok) throw new Error(`expected ${name} beside this page, got ${reply.status}; copy the folder again`);
  return name.endsWith(".json") ? reply.json() : reply.arrayBuffer();
}

function failed(error) {
  byId("loading").hidden = true;
  tell(error);
  throw error;
}

function tell(error) {
  byId("status").className = "note";
  byId("status").textContent = `It did not work: ${error.message}`;
}

async function start() {
  checkRule(manifest.gate.rule);
  document.title = `${manifest.name} in the browser`;
  byId("name").textContent = manifest.name;
  byId("lead").textContent =
    members === 1
      ? "One small network looks at a picture. It runs in this browser: no picture leaves it."
      : `${members} small networks look at a picture, one after another. After each, the gate decides whether the answer is sure` +
        " enough; the rest then need not run. All of it runs in this browser: no picture leaves it.";
  byId("version").textContent = site.version;
  byId("note").textContent = "These sub-models are int8. WebAssembly runs int8 slower than float; processors with int8 instructions run it faster.";
  byId("note").hidden = manifest.precision !== "int8";
  const [bytes, { version }] = await Promise.all([read(site.samples.file), ask("open", { ...site.open, manifest }, progress)]);
  byId("engine").textContent = ` ${version}`;
  samples = imagesOf(new Float32Array(bytes));
  setSources();
  setGate();
  setDense();
  byId("facts").append(...facts(manifest));
  byId("main").style.setProperty("--name", `${Math.min(12, Math.max(...classes.map((name) => name.length)) + 2)}ch`);
  byId("about").hidden = byId("main").hidden = false;
  byId("status").textContent = "";
  byId("loading").hidden = true;
  byId("strength").addEventListener("input", shown);
  document.querySelector("#sources input").click();
}

function progress(loaded) {
  Object.assign(byId("loading"), { hidden: false, max: site.bytes, value: loaded });
  byId("status").textContent = `Loading the engine and the networks, ${megabytes(site.bytes)} …`;
}

function imagesOf(values) {
  const length = size.reduce((a, b) => a * b);
  const at = (i) => values.slice(i * length, (i + 1) * length); // its own buffer: a message copies all of one
  const { images, attacked } = site.samples;
  return {
    images: images.labels.map((truth, i) => ({ image: at(i), truth: truth ?? undefined })),
    attacked: attacked.labels.map((truth, i) => ({
      image: at(images.labels.length + i),
      attacked: at(images.labels.length + attacked.labels.length + i),
      truth,
    })),
  };
}

// Where a picture may come from, those with something to see first.
function setSources() {
  const sources = [
    ["attacked", "Attacked", samples.attacked.length > 0],
    ["images", site.samples.images.title, samples.images.length > 0],
    ["file", "Your picture", true],
    ["draw", "Draw", site.drawing !== null],
  ];
  const offered = sources.filter(([, , there]) => there).map(([value, label]) => ({ value, label, content: label }));
  byId("sources").append(...choices("source", offered, openSource));
}

function openSource(source) {
  turns++;
  document.onpaste = null;
  byId("panel").replaceChildren(...PANELS[source]());
  byId("panel").querySelector(".gallery input")?.click();
}

const PANELS = {
  attacked: () => [hint("Test images with a stored attack. Move the slider to add it."), gallery(samples.attacked)],
  images: () => [hint(site.samples.images.hint), gallery(samples.images)],
  file: () => [filePanel(takePicture)],
  draw: () => [drawPanel((image) => choose({ image }), size, site.drawing)],
};

const hint = (text) => element("p.soft", {}, text);

function gallery(images) {
  const options = images.map(({ image, truth }, i) => ({
    value: i,
    label: `image ${i + 1}${truth === undefined ? "" : `, ${classes[truth]}`}`,
    content: imageCanvas(image, size),
  }));
  const labels = choices("sample", options, (i) => choose(images[i]));
  return element("div.gallery", { role: "radiogroup", "aria-label": "Images" }, ...labels);
}

async function takePicture(decoding, name) {
  const turn = ++turns;
  Object.assign(byId("status"), { className: "", textContent: `Preparing ${name} …` });
  try {
    const picture = await decoding;
    const original = element("canvas", { width: picture.width, height: picture.height });
    original.getContext("2d").putImageData(picture, 0, 0);
    const image = await ask("prepare", { picture });
    if (turn === turns) choose({ image, original, name });
  } catch (error) {
    if (turn === turns) tell(error);
  }
}

function choose(picture) {
  turns++;
  byId("status").textContent = "";
  chosen = picture;
  byId("strength").value = 0;
  byId("attack").hidden = !picture.attacked;
  shown();
  if (picture.attacked) sweep(picture);
}

// The image at a strength of the attack, 1 as it was stored; always in [0, 1].
function perturbed({ image, attacked }, strength) {
  if (!attacked || strength === 0) return image;
  if (strength === 1) return attacked;
  return image.map((value, i) => Math.min(1, Math.max(0, value + strength * (attacked[i] - value))));
}

const strengthNow = () => (chosen.attacked ? byId("strength").value / 100 : 0);

function shown() {
  const strength = strengthNow();
  const image = perturbed(chosen, strength);
  const figures = [];
  if (chosen.original) figures.push(figure(chosen.original, chosen.name));
  if (chosen.attacked) {
    const added = chosen.attacked.map((value, i) => value - chosen.image[i]);
    const most = added.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = Math.max(1, Math.floor(0.25 / most));
    const visible = added.map((value) => Math.min(1, Math.max(0, 0.5 + scale * strength * value)));
    figures.push(figure(imageCanvas(chosen.image, size), "as it is"), figure(imageCanvas(visible, size), `added, × ${scale}`));
    const each = `at most ${(255 * strength * most).toFixed(1)} of 255 a pixel`;
    byId("strength-text").textContent = strength ? `${Math.round(100 * strength)} % of it: ${each}` : "nothing added";
    byId("strength").setAttribute("aria-valuetext", byId("strength-text").textContent);
  }
  figures.push(figure(imageCanvas(image, size, { id: "seen" }), "what the networks see"));
  byId("shown").replaceChildren(...figures);
  answer(image);
}

const figure = (canvas, caption) => element("figure", {}, canvas, element("figcaption", {}, caption));

const gate = () => ({ rule: byId("rule").value, maxSubmodels: Number(byId("cap").value) });

let wanted = null; // the newest image to answer; those in between are passed over
let answering = false;

async function answer(image) {
  document.body.dataset.state = "busy";
  wanted = { image, truth: chosen.truth };
  if (answering) return;
  answering = true;
  while (wanted) {
    const now = wanted;
    wanted = null;
    await answered(now).catch(tell);
  }
  answering = false;
  document.body.dataset.state = "ready";
}

async function answered({ image, truth }) {
  const chosenGate = gate();
  const found = await ask("answer", { image, timed: true, ...chosenGate });
  const context = { classes, truth, members, rule: chosenGate.rule, submodels: manifest.submodels, abstain: manifest.abstain?.threshold };
  byId("answer").replaceChildren(...headline(found, context));
  byId("brief").replaceChildren(...brief(found, context));
  byId("stages").replaceChildren(...stageItems(found, context));
  byId("probs").replaceChildren(...probabilityBars(found.probs, classes, truth));
  const temperature = manifest.temperatures?.[found.prefix - 1];
  byId("probs-note").textContent = temperature
    ? `Calibrated after the gate has decided on the mean, by the temperature of this stop, ${temperature.toFixed(2)}.`
    : "";
  if (denseLoaded) await denseAnswered(image, found);
}

// Labels along the slider, from nothing added to twice the stored attack.
async function sweep(picture) {
  const cells = Array.from({ length: SWEEP_STEPS + 1 }, () => element("span"));
  byId("sweep").replaceChildren(...cells);
  byId("sweep-text").textContent = "";
  const wrong = [];
  const chosenGate = gate();
  for (let i = 0; i <= SWEEP_STEPS; i++) {
    const strength = (2 * i) / SWEEP_STEPS;
    const found = await ask("answer", { image: perturbed(picture, strength), ...chosenGate }).catch(() => null);
    if (picture !== chosen) return;
    if (found?.label !== picture.truth) wrong.push(strength);
    cells[i].className = found?.label === picture.truth ? "is-right" : "is-wrong";
  }
  const from = wrong.length ? `first wrong at ${Math.round(100 * wrong[0])} %` : "right at every strength";
  byId("sweep-text").textContent = `The answer along the slider: ${from}.`;
  byId("sweep").setAttribute("aria-label", byId("sweep-text").textContent);
}

function setGate() {
  const { rule, parameters, max_submodels: most } = manifest.gate;
  const known = Object.keys(parameters).filter((name) => Object.hasOwn(RULES, name));
  byId("rule").append(...known.map((name) => new Option(name, name, name === rule, name === rule)));
  const cap = Math.min(most ?? members, members);
  for (let n = 1; n <= members; n++) byId("cap").append(new Option(n === members ? `all ${n}` : `at most ${n}`, n, n === cap, n === cap));
  const told = () => {
    const own = byId("rule").value === rule && Number(byId("cap").value) === cap;
    const other = own ? "" : " Not the gate of the bundle: its temperatures were fitted for another.";
    byId("gate-note").textContent = `It ${ruleText(byId("rule").value, parameters)}.${manifest.temperatures ? other : ""}`;
  };
  for (const id of ["rule", "cap"]) {
    byId(id).addEventListener("change", () => {
      told();
      if (!chosen) return;
      shown();
      if (chosen.attacked) sweep(chosen);
    });
  }
  told();
}

function setDense() {
  if (!site.dense) return;
  byId("dense").hidden = false;
  byId("dense-ask").textContent = `Load it and ask it, ${megabytes(site.dense.bytes)}`;
  byId("dense-ask").addEventListener("click", async () => {
    if (!chosen) return;
    byId("dense-ask").disabled = denseLoaded = true;
    shown();
  });
}

async function denseAnswered(image, team) {
  const { file, bytes } = site.dense;
  const loading = (loaded) => byId("dense-answer").replaceChildren(hint(`Loading, ${megabytes(loaded)} of ${megabytes(bytes)} …`));
  const { probs, label, ms } = await ask("dense", { image, file }, loading).catch((error) => {
    byId("dense-answer").replaceChildren(hint(`It did not work: ${error.message}`));
    throw error;
  });
  byId("dense-ask").hidden = true;
  const took = team.stages.reduce((sum, stage) => sum + (stage.ms ?? 0), 0);
  const mark = chosen.truth === undefined ? "" : label === chosen.truth ? ".right" : ".wrong";
  byId("dense-answer").replaceChildren(
    element("p.label", {}, element(`strong${mark}`, { id: "dense-label" }, classes[label]), " ", shareOf(probs[label])),
    element("p", {}, `${milliseconds(ms)}, ${times(ms / took)} as long as the sub-models that ran.`),
  );
}

start().catch(failed);
