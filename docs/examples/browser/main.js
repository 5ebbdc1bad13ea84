// Classify the picture that was picked. Beside this file lie cascade.onnx and, in ort/, three files of the
// npm package onnxruntime-web (docs/PORTABILITY.md says which).
import * as ort from "./ort/ort.wasm.min.mjs";
import { classify, open, prepare } from "../cascade.mjs";

const [file, picture, output] = ["file", "picture", "answer"].map((id) => document.getElementById(id));

async function start() {
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = 1; // more need a page that is cross-origin isolated, and such small nets gain little
  const reply = await fetch("cascade.onnx");
  if (!reply.ok) throw new Error(`expected cascade.onnx beside this page, got ${reply.status}`);
  const cascade = await open(ort, new Uint8Array(await reply.arrayBuffer()), { executionProviders: ["wasm"] });
  file.onchange = () => show(cascade, file.files[0]).catch(tell);
  file.disabled = false;
  output.value = `${cascade.name} is ready: pick a picture.`;
}

async function show(cascade, blob) {
  picture.src = URL.createObjectURL(blob);
  const answer = await classify(cascade, prepare(await pixels(blob), cascade.input));
  const [label, failed] = [answer.labels[0], answer.failedSubmodels[0]];
  const without = failed.length ? `, without sub-models ${failed.join(", ")}` : "";
  const doubt = answer.abstained?.[0] ? ", abstained" : "";
  const percent = (100 * answer.probabilities[0][label]).toFixed(1);
  output.value = `${cascade.classes[label]}, ${percent} %, sub-models used: ${answer.submodelsUsed[0]}${without}${doubt}`;
}

// The decoded picture as RGBA. Browsers always turn it as EXIF says, also where preprocess.exif is false.
async function pixels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function tell(error) {
  output.value = `It did not work: ${error.message}`;
}

start().catch(tell);
