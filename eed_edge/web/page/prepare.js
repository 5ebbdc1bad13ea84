// A picture's way to the network's input by the manifest, byte for byte as eed-edge does it with Pillow.

const LONGEST = 8; // the longer side, in shorter ones, of what is scaled to a shorter side

/**
 * Bring a picture to the network's input as the manifest says.
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
  if (steps.shorter_side) image = scaleShorterSide(image, steps.shorter_side, steps.interpolation);
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

// The shorter side becomes `side`, the longer one follows, rounded down; of a strip the middle alone is used.
function scaleShorterSide(image, side, interpolation) {
  const { width, height } = image;
  const cut = middle(image, Math.min(width, LONGEST * height), Math.min(height, LONGEST * width));
  const shorter = Math.min(cut.width, cut.height);
  const scaled = (length) => Math.floor((side * length) / shorter);
  return resize(cut, scaled(cut.width), scaled(cut.height), interpolation);
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
// pixels below it, weights in 22-bit fixed point, along rows and along columns, rounded in between.
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
  const across = (picture) => (picture.width === width ? picture : alongRows(picture, taps(picture.width, width)));
  const down = (picture) => (picture.height === height ? picture : turned(alongRows(turned(picture), taps(picture.height, height))));
  // Pillow 13's order; older versions always start along rows, which rounds otherwise in tall pictures.
  return image.height - height > 2 * (image.width - width) ? across(down(image)) : down(across(image));
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
    for (let x = 0; x < taps.length; x++) {
      const { start, weights } = taps[x];
      for (let c = 0; c < channels; c++) {
        let sum = 2 ** (BITS - 1);
        let at = (y * width + start) * channels + c;
        for (let j = 0; j < weights.length; j++, at += channels) sum += weights[j] * data[at];
        out[(y * taps.length + x) * channels + c] = Math.floor(sum / 2 ** BITS);
      }
    }
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
