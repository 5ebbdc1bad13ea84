// Run a cascade.onnx with onnxruntime-node or onnxruntime-web: its manifest and class names out of the file
// itself, a picture's way to the network's input, and the answers.
export { prepare } from "./prepare.mjs";

/**
 * @param {object} ort onnxruntime-node or onnxruntime-web
 * @param {Uint8Array} model the bytes of cascade.onnx
 * @param {object} options of InferenceSession.create
 */
export async function open(ort, model, options = {}) {
  const metadata = readMetadata(model);
  if (!metadata["eed_edge.manifest"]) {
    throw new Error("expected a cascade.onnx of eed-edge, got a file without its manifest; export --single-file");
  }
  const manifest = JSON.parse(metadata["eed_edge.manifest"]);
  const classes = JSON.parse(metadata["eed_edge.classes"]);
  const session = await ort.InferenceSession.create(model, options);
  return { ort, session, classes, input: manifest.input, name: manifest.name };
}

/**
 * Classify a batch of one or more prepared images.
 *
 * @param {Float32Array} images (n, c, h, w) in [0, 1], as prepare() gives them, one after another
 * @returns {{labels: number[], probabilities: number[][], submodelsUsed: number[], failedSubmodels: number[][],
 *     abstained: boolean[]|undefined}}
 *     failedSubmodels: for each image the sub-models, from 0, that gave no usable answer and were left out;
 *     abstained: whether the label's probability is below the bundle's threshold, undefined without one
 */
export async function classify(cascade, images) {
  const [, ...size] = cascade.input.shape; // ["N", c, h, w]
  const count = images.length / (size[0] * size[1] * size[2]);
  const tensor = new cascade.ort.Tensor("float32", images, [count, ...size]);
  const answer = await cascade.session.run({ [cascade.input.name]: tensor });
  const k = cascade.classes.length;
  const probabilities = Array.from({ length: count }, (_, i) => [...answer.probabilities.data.slice(i * k, (i + 1) * k)]);
  if (probabilities.flat().some(Number.isNaN)) {
    throw new Error("every sub-model failed for an image: there is no answer");
  }
  return {
    labels: probabilities.map((row) => row.indexOf(Math.max(...row))),
    probabilities,
    submodelsUsed: Array.from(answer.submodels_used.data, Number), // int64 comes as BigInt
    failedSubmodels: Array.from(answer.failed_submodels.data, bitsSet),
    abstained: answer.abstained && Array.from(answer.abstained.data, Boolean),
  };
}

// The places, from 0, of the bits that are 1 in a BigInt.
function bitsSet(bits) {
  return [...bits.toString(2)].reverse().flatMap((bit, t) => (bit === "1" ? [t] : []));
}

/**
 * The metadata of an ONNX file. onnxruntime's JavaScript packages do not offer it, and it is easily had:
 * field 14 of the outermost protobuf message, each entry a key (field 1) and a value (field 2).
 *
 * @param {Uint8Array} model
 * @returns {Object<string, string>}
 */
export function readMetadata(model) {
  const entries = [...fields(model)].filter(([number]) => number === 14);
  const texts = entries.map(([, entry]) => [...fields(entry)].map(([, bytes]) => new TextDecoder().decode(bytes)));
  return Object.fromEntries(texts);
}

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("expected an ONNX file, got one that is damaged or cut short");
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [number, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) varint();
    else if (kind === 2) {
      const length = varint();
      yield [number, bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("expected an ONNX file, got another protobuf message or none");
  }
  if (at > bytes.length) throw new Error("expected an ONNX file, got one that is cut short");
}
