// Classify PNG pictures: node index.mjs cascade.onnx picture.png...
// Prints a JSON line per file, as `eed-edge run --json` does.
import { readFileSync } from "node:fs";
import { PNG } from "pngjs";
import { classify, open, prepare } from "../cascade.mjs";

process.env.ORT_DISABLE_TELEMETRY ??= "1"; // read when onnxruntime is imported: docs/PORTABILITY.md
const ort = await import("onnxruntime-node");

const [model, ...files] = process.argv.slice(2);
if (files.length === 0) {
  console.error("usage: node index.mjs cascade.onnx picture.png...");
  process.exit(2);
}

/** What `make` gives; where it fails, one line that names the file, and exit code 1 in the end. */
async function orError(file, make) {
  try {
    return await make();
  } catch (error) {
    console.error(`error: ${file}: ${String(error?.message ?? error).split("\n")[0]}`);
    process.exitCode = 1;
  }
}

const cascade = await orError(model, () => open(ort, readFileSync(model), { intraOpNumThreads: 1 }));
if (!cascade) process.exit();
for (const file of files) {
  const answer = await orError(file, () =>
    classify(cascade, prepare(PNG.sync.read(readFileSync(file)), cascade.input)),
  );
  if (!answer) continue;
  const [label, failed] = [answer.labels[0], answer.failedSubmodels[0]];
  console.log(
    JSON.stringify({
      file,
      label,
      class: cascade.classes[label],
      probability: answer.probabilities[0][label],
      submodels_used: answer.submodelsUsed[0],
      ...(answer.abstained && { abstained: answer.abstained[0] }),
      ...(failed.length && { failed_submodels: failed }),
    }),
  );
}
