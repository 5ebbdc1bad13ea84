// Pictures from whoever looks at the page: files that are picked, dropped or pasted, and drawings.
import { element } from "./elements.js";

const MOST_PIXELS = 12_000_000; // what eed-edge decodes, and a canvas holds on every phone

/** A place to pick or drop a picture; `take` gets a promise of RGBA bytes with width and height, and the file's name. */
export function filePanel(take) {
  const open = (file) => file && take(decoded(file), file.name);
  const input = element("input", { type: "file", accept: "image/*", id: "file" });
  input.addEventListener("change", () => open(input.files[0]));
  const zone = element(
    "label.drop",
    {},
    element("strong", {}, "Pick a picture"),
    element("span.soft", {}, "or drop or paste one here; it stays in this browser"),
    input,
  );
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    open(event.dataTransfer.files[0]);
  });
  document.onpaste = (event) => open(event.clipboardData?.files[0]);
  return zone;
}

// The decoded picture as RGBA bytes, turned as EXIF says; one that is too large is halved until it is not.
async function decoded(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => {
    throw new Error(`expected a picture that this browser can read, got ${file.name}; pick another file`);
  });
  let { width, height } = bitmap;
  while (width * height > MOST_PIXELS) [width, height] = [width, height].map((side) => Math.max(1, side >> 1));
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const PAD = 280; // pixels of the longer side
const POINTS = 4; // along each side of a pixel of the image

/**
 * A pad to draw a digit on; `take` gets an image of one channel (1, h, w) in [0, 1] after every stroke.
 *
 * The ink is cut out and scaled to fill as much of the image as digits do that the networks know.
 *
 * @param {{ground: number, fill: number}} like brightness behind the ink, 0 or 1; the share of the height that ink fills
 */
export function drawPanel(take, [, height, width], like) {
  const scale = PAD / Math.max(height, width);
  const pad = element("canvas.pad", { width: width * scale, height: height * scale, "aria-label": "Draw a digit here" });
  const context = pad.getContext("2d", { willReadFrequently: true });
  const [ground, ink] = like.ground ? ["#fff", "#000"] : ["#000", "#fff"];
  Object.assign(context, { lineWidth: PAD / 10, lineCap: "round", lineJoin: "round", strokeStyle: ink });
  const clear = () => {
    context.fillStyle = ground;
    context.fillRect(0, 0, pad.width, pad.height);
  };
  clear();
  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  let before = null;
  const draw = (event) => {
    if (!before) return;
    context.beginPath();
    context.moveTo(...before);
    context.lineTo(...(before = at(event)));
    context.stroke();
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    before = at(event);
    draw(event);
  });
  pad.addEventListener("pointermove", draw);
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => {
      if (!before) return;
      before = null;
      take(fitted(context, like, [height, width]));
    });
  }
  const button = element("button", { type: "button" }, "Clear");
  button.addEventListener("click", clear);
  return element("div.drawing", {}, pad, element("div", {}, element("p.soft", {}, "Draw a digit with mouse, pen or finger."), button));
}

// The ink, scaled and centred, each pixel the mean of what lies under it, in steps of 1/255.
function fitted(context, { ground, fill }, [height, width]) {
  const { canvas } = context;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const inkAt = (x, y) => Math.abs(data[(y * canvas.width + x) * 4] / 255 - ground);
  let [left, right, top, bottom] = [canvas.width, 0, canvas.height, 0];
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      if (inkAt(x, y) < 0.5) continue;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x + 1), Math.min(top, y), Math.max(bottom, y + 1)];
    }
  }
  const zoom = Math.max((bottom - top) / (fill * height), (right - left) / (fill * width)) / POINTS; // pad's pixels a point
  const [centreX, centreY] = [(left + right) / 2, (top + bottom) / 2];
  const image = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let j = 0; j < POINTS; j++) {
        for (let i = 0; i < POINTS; i++) {
          const column = Math.floor(centreX + ((x - width / 2) * POINTS + i + 0.5) * zoom);
          const row = Math.floor(centreY + ((y - height / 2) * POINTS + j + 0.5) * zoom);
          if (column >= 0 && row >= 0 && column < canvas.width && row < canvas.height) sum += inkAt(column, row);
        }
      }
      const value = Math.abs(ground - sum / POINTS ** 2);
      image[y * width + x] = Math.round(255 * value) / 255;
    }
  }
  return image;
}
