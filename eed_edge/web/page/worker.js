// The networks, in a thread of their own: loads them by onnxruntime-web and answers what the page asks.
//
// Takes {id, ask, ...} and sends {id, reply} or {id, error}, and while it loads {id, loaded} in bytes.
import * as ort from "./ort.js";
import { answer, largest, softmax } from "./gate.js";
import { prepare } from "./prepare.js";

// A browser's clock is coarse: runs are timed in blocks of a millisecond, and the median of some blocks counts.
const BLOCK_MS = 1;
const BLOCKS = 7;
const LONGEST_MS = 30;

let manifest;
let submodels = [];
let dense = null;

const ASKED = {
  // Load the engine and the sub-models.
  async open({ files, engine, ...asked }, onLoaded) {
    manifest = asked.manifest;
    const [wasm, ...models] = await fetchAll([engine.wasm, ...files], onLoaded);
    ort.env.wasm.wasmPaths = { mjs: new URL(engine.mjs, import.meta.url).href };
    ort.env.wasm.wasmBinary = wasm;
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1; // more need headers that a plain host does not send
    for (const model of models) submodels.push(await opened(model));
    return { version: ort.env.versions.web };
  },

  // Prepare a picture {data, width, height} of RGBA bytes.
  prepare: async ({ picture }) => prepare(picture, manifest.input),

  // Answer an image, with the time of each sub-model where `timed`.
  async answer({ image, rule, maxSubmodels, timed }) {
    const times = [];
    const logitsOf = async (index) => {
      const { logits, ms } = await run(submodels[index], image, timed);
      times[index] = ms;
      return logits;
    };
    const found = await answer(logitsOf, {
      rule,
      parameters: manifest.gate.parameters[rule],
      members: submodels.length,
      maxSubmodels,
      temperatures: manifest.temperatures,
      abstainBelow: manifest.abstain?.threshold,
    });
    found.stages.forEach((stage, i) => (stage.ms = times[i]));
    return found;
  },

  // What the dense network says; its file is loaded when it is asked first.
  async dense({ image, file }, onLoaded) {
    dense ??= await opened((await fetchAll([file], onLoaded))[0]);
    const { logits, ms } = await run(dense, image, true);
    const probs = softmax(logits);
    if (!probs) throw new Error("the dense network gave no usable answer for this image");
    return { probs, label: largest(probs), ms };
  },
};

let last = Promise.resolve(); // one after another: sessions share one engine
self.onmessage = ({ data }) => {
  last = last.then(() => handle(data));
};

async function handle({ id, ask, ...asked }) {
  try {
    const reply = await ASKED[ask](asked, (loaded) => self.postMessage({ id, loaded }));
    self.postMessage({ id, reply });
  } catch (error) {
    self.postMessage({ id, error: error.message || String(error) });
  }
}

async function fetchAll(names, onLoaded) {
  let loaded = 0;
  return Promise.all(
    names.map(async (name) => {
      const reply = await fetch(new URL(name, import.meta.url));
      if (!reply.ok) throw new Error(`expected ${name} beside this page, got ${reply.status}; copy the folder again`);
      const count = (part, stream) => {
        onLoaded((loaded += part.length));
        stream.enqueue(part);
      };
      const counted = reply.body.pipeThrough(new TransformStream({ transform: count }));
      return new Uint8Array(await new Response(counted).arrayBuffer());
    }),
  );
}

// A session that has answered once: the first answer is slower than those after it. One that fails then may yet
// answer an image; if not, it is left out.
async function opened(model) {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const [, ...size] = manifest.input.shape;
  await run(session, new Float32Array(size.reduce((a, b) => a * b)), false).catch(() => {});
  return session;
}

async function run(session, image, timed) {
  const [, ...size] = manifest.input.shape; // ["N", c, h, w]
  const feeds = { [manifest.input.name]: new ort.Tensor("float32", image, [1, ...size]) };
  const started = performance.now();
  const blocks = []; // milliseconds a run
  let [logits, now] = [null, started];
  do {
    const before = now;
    let runs = 0;
    do {
      logits = (await session.run(feeds))[session.outputNames[0]].data;
      now = performance.now();
      runs++;
    } while (timed && now - before < BLOCK_MS);
    blocks.push((now - before) / runs);
  } while (timed && blocks.length < BLOCKS && now - started < LONGEST_MS);
  const expected = manifest.classes.length;
  if (logits.length !== expected) throw new Error(`expected ${expected} logits, got ${logits.length}`);
  return { logits, ms: blocks.sort((a, b) => a - b)[blocks.length >> 1] };
}
