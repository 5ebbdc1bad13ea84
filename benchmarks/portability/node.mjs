// node node.mjs ANSWERS.json: run the cases by onnxruntime-node.
import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-node";
import { answerCases } from "./answers.mjs";

const read = async (name) => new Uint8Array(readFileSync(new URL(`cases/${name}`, import.meta.url)));
const answers = await answerCases(ort, read, { intraOpNumThreads: 1 });
const versions = { node: process.versions.node, "onnxruntime-node": ort.env.versions.node };
writeFileSync(process.argv[2], JSON.stringify({ versions, answers }));
