// In the browser: answer the cases, then use the example page as a person would, and send both back.
import * as ort from "./examples/browser/ort/ort.wasm.min.mjs";
import { answerCases } from "./answers.mjs";

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const send = (message) => fetch("/", { method: "POST", body: JSON.stringify(message) });

async function read(name) {
  const reply = await fetch(`cases/${name}`);
  if (!reply.ok) throw new Error(`cases/${name}: ${reply.status}`);
  return new Uint8Array(await reply.arrayBuffer());
}

// What the example page says to each picture.
async function pickPictures() {
  const { contentDocument: page } = document.querySelector("iframe");
  const [file, output] = [page.getElementById("file"), page.getElementById("answer")];
  while (file.disabled) await answered(output, "loading");
  const said = [];
  for (const name of JSON.parse(new TextDecoder().decode(await read("cases.json"))).pictures) {
    const before = (output.value = "waiting");
    const picked = new DataTransfer();
    picked.items.add(new File([await read(`pictures/${name}`)], name, { type: "image/png" }));
    file.files = picked.files;
    file.dispatchEvent(new Event("change"));
    await answered(output, before);
    said.push(output.value);
  }
  return said;
}

async function answered(output, before) {
  for (let i = 0; i < 1000 && output.value.startsWith(before); i++) await wait(20);
  if (output.value.startsWith("It did not work") || output.value.startsWith(before)) throw new Error(output.value);
}

try {
  ort.env.wasm.wasmPaths = new URL("./examples/browser/ort/", import.meta.url).href;
  ort.env.wasm.numThreads = 1;
  const answers = await answerCases(ort, read, { executionProviders: ["wasm"] });
  const versions = { "onnxruntime-web": ort.env.versions.web };
  await send({ versions, answers, examples: await pickPictures() });
} catch (error) {
  await send({ error: `${error.message}` });
}
