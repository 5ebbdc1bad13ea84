// Answer the cases of cases.py with docs/examples/cascade.mjs, in Node or in a browser.
import { classify, open, prepare } from "./examples/cascade.mjs";

/**
 * @param {object} ort onnxruntime-node or onnxruntime-web
 * @param {(name: string) => Promise<Uint8Array>} read a file of the cases folder
 * @param {object} options of every session
 */
export async function answerCases(ort, read, options) {
  const cases = JSON.parse(new TextDecoder().decode(await read("cases.json")));
  checkPreparations(cases.preparations);
  const pictures = rgba(await read("images.bin"), cases.shape);
  const answers = [];
  for (const rule of cases.rules) {
    const cascade = await open(ort, await read(`${rule}.onnx`), options);
    const images = pictures.map((picture) => prepare(picture, cascade.input));
    for (const batch of cases.batches) {
      const answer = { rule, how: `batch ${batch}`, labels: [], submodels_used: [], probabilities: [] };
      for (let at = 0; at < images.length; at += batch) {
        const found = await classify(cascade, joined(images.slice(at, at + batch)));
        answer.labels.push(...found.labels);
        answer.submodels_used.push(...found.submodelsUsed);
        answer.probabilities.push(...found.probabilities);
      }
      answers.push(answer);
    }
  }
  return answers;
}

function checkPreparations(preparations) {
  preparations.forEach(({ input, width, height, rgba, expected }, i) => {
    const found = prepare({ data: Uint8Array.from(rgba), width, height }, input);
    const apart = expected.filter((value, at) => Math.fround(value / 255) !== found[at]).length;
    if (apart) throw new Error(`preparation ${i}: ${apart} of ${expected.length} values differ from Pillow's`);
  });
}

// The images (n, h, w, c) as RGBA pictures.
function rgba(bytes, [count, height, width, channels]) {
  return Array.from({ length: count }, (_, n) => {
    const data = new Uint8Array(height * width * 4).fill(255);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) data[i * 4 + c] = bytes[(n * height * width + i) * channels + (c % channels)];
    }
    return { data, width, height };
  });
}

function joined(images) {
  const all = new Float32Array(images.length * images[0].length);
  images.forEach((image, i) => all.set(image, i * image.length));
  return all;
}
