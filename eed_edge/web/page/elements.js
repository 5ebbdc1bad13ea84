// Pieces of the page. Text goes in as text nodes only: names in a bundle are anyone's.

export const byId = (id) => document.getElementById(id);

/**
 * An element.
 *
 * @param {string} tag with classes after dots: "p.soft"
 * @param {object} properties of the element; those with a hyphen are attributes
 * @param {...(Node|string)} children
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** A share as text for people, and exactly for programs. */
export const shareOf = (share) => element("data", { value: String(share) }, percent(share));

export function milliseconds(ms) {
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export const times = (ratio) => `${ratio < 10 ? ratio.toPrecision(2) : Math.round(ratio)} times`;

export function megabytes(bytes) {
  return bytes < 100_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function thousands(count) {
  if (count < 10_000) return String(count);
  return count < 1e6 ? `${Math.round(count / 1000)} k` : `${(count / 1e6).toFixed(1)} M`;
}

/** A bar of `share` of its width, with a tick at `tick`. */
export function bar(share, { tick, kind = "" } = {}) {
  const width = (part) => `${100 * Math.min(1, Math.max(0, part))}%`;
  const filled = element("span.filled");
  filled.style.width = width(share);
  const whole = element(`span.bar${kind && `.${kind}`}`, { "aria-hidden": "true" }, filled);
  if (tick !== undefined && tick <= 1) {
    const mark = element("span.tick");
    mark.style.left = width(tick);
    whole.append(mark);
  }
  return whole;
}

/** A canvas with an image (c, h, w) in [0, 1]; small ones are shown with their pixels. */
export function imageCanvas(image, [channels, height, width], properties = {}) {
  const canvas = element(`canvas${Math.max(width, height) <= 64 ? ".pixels" : ""}`, { width, height, ...properties });
  const pixels = new ImageData(width, height);
  const size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) pixels.data[i * 4 + c] = Math.round(255 * image[(c % channels) * size + i]);
    pixels.data[i * 4 + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** A group of radio buttons: one stop for the tab key, arrows choose. */
export function choices(name, options, onChoose) {
  return options.map(({ value, label, content }) => {
    const input = element("input", { type: "radio", name, value, "aria-label": label });
    input.addEventListener("change", () => onChoose(value));
    return element("label", {}, input, content);
  });
}
