// Run a cascade.onnx with onnxruntime-node or onnxruntime-web: its manifest and class names out of the file
// itself, a picture's way to the network's input, and the answers.

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
 * Bring a picture to the network's input as the manifest says, byte for byte as eed-edge does with Pillow.
 *
 * Left to whoever decodes the file: turning it as EXIF says (preprocess.exif).
 *
 * @param {{data: Uint8Array|Uint8ClampedArray, width: number, height: number}} picture RGBA, 8 bits
 * @param {object} input the manifest's
 * @returns {Float32Array} (c, h, w) in [0, 1]
 */
export function prepare(picture, input) {
  const steps = input.preprocess;
  const [, channels, height, width] = input.shape;
  let image = withoutAlpha(picture, steps.alpha === "white" ? 255 : 0);
  if (input.channels === "L") image = luma(image);
  if (steps.resize) image = resize(image, steps.resize[1], steps.resize[0], steps.interpolation);
  if (steps.crop) image = middle(image, steps.crop[1], steps.crop[0]);
  if (image.width !== width || image.height !== height) {
    throw new Error(`expected a picture of ${width}x${height} pixels, got ${image.width}x${image.height}; resize it`);
  }
  const tensor = new Float32Array(channels * height * width);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < height * width; i++) tensor[c * height * width + i] = image.data[i * channels + c] / 255;
  }
  return tensor;
}

// An image from here on is {data, width, height, channels}, values interleaved.

function withoutAlpha({ data, width, height }, background) {
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const alpha = data[i * 4 + 3];
    for (let c = 0; c < 3; c++) {
      rgb[i * 3 + c] = Math.floor((data[i * 4 + c] * alpha + background * (255 - alpha) + 127) / 255);
    }
  }
  return { data: rgb, width, height, channels: 3 };
}

// ITU-R 601 in 16-bit fixed point, as Pillow computes it.
function luma({ data, width, height }) {
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (data[i * 3] * 19595 + data[i * 3 + 1] * 38470 + data[i * 3 + 2] * 7471 + 0x8000) >> 16;
  }
  return { data: grey, width, height, channels: 1 };
}

function middle({ data, width, height, channels }, columns, rows) {
  const [left, top] = [Math.floor((width - columns) / 2), Math.floor((height - rows) / 2)];
  if (left < 0 || top < 0) throw new Error(`expected at least ${columns}x${rows} pixels, got ${width}x${height}`);
  const cut = new Uint8Array(rows * columns * channels);
  for (let y = 0; y < rows; y++) {
    const start = ((top + y) * width + left) * channels;
    cut.set(data.subarray(start, start + columns * channels), y * columns * channels);
  }
  return { data: cut, width: columns, height: rows, channels };
}

// A canvas smooths in its own way, so this is Pillow's: each output pixel is a weighted sum of the input
// pixels below it, weights in 22-bit fixed point, first along rows, then along columns.
const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => cubic(Math.abs(x))],
  lanczos: [3, (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0)],
};
const BITS = 22;

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const cubic = (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0);

function resize(image, width, height, interpolation) {
  const taps = interpolation === "nearest" ? nearestTaps : (from, to) => weightedTaps(from, to, ...FILTERS[interpolation]);
  const across = image.width === width ? image : alongRows(image, taps(image.width, width));
  return image.height === height ? across : turned(alongRows(turned(across), taps(image.height, height)));
}

// For each output position: where its input pixels start, and their weights.
function weightedTaps(from, to, support, filter) {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const weights = Array.from({ length: end - start }, (_, j) => filter((start + j - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b);
    return { start, weights: weights.map((w) => Math.trunc((w / sum) * 2 ** BITS + (w < 0 ? -0.5 : 0.5))) };
  });
}

function nearestTaps(from, to) {
  const taps = [];
  for (let i = 0, at = from / to / 2; i < to; i++, at += from / to) taps.push({ start: Math.floor(at), weights: [2 ** BITS] });
  return taps;
}

function alongRows({ data, width, height, channels }, taps) {
  const out = new Uint8ClampedArray(taps.length * height * channels);
  for (let y = 0; y < height; y++) {
    taps.forEach(({ start, weights }, x) => {
      for (let c = 0; c < channels; c++) {
        let sum = 2 ** (BITS - 1);
        weights.forEach((w, j) => (sum += w * data[(y * width + start + j) * channels + c]));
        out[(y * taps.length + x) * channels + c] = Math.floor(sum / 2 ** BITS);
      }
    });
  }
  return { data: out, width: taps.length, height, channels };
}

function turned({ data, width, height, channels }) {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) out[(x * height + y) * channels + c] = data[(y * width + x) * channels + c];
    }
  }
  return { data: out, width: height, height: width, channels };
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
