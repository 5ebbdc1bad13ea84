// node use_page.mjs CHROMIUM < VISITS.json > FOUND.json: use the page in a headless Chromium as a person would.
//
// A visit is {url, width, scheme, steps}; a step [name, ...words] is a key of STEPS. After each step what the page shows
// is read once it has answered. A visit finds {steps, console, requests, replies}.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const STEPS = {
  open: () => {},
  source: (page, name) => page.check(`#sources input[value=${name}]`, { force: true }),
  async sample(page, index) {
    const input = page.locator(`.gallery input[value="${index}"]`);
    if (await input.isChecked()) await input.dispatchEvent("change");
    else await input.check({ force: true });
    await input.focus();
  },
  next: (page) => page.keyboard.press("ArrowRight"),
  strength: (page, value) => page.fill("#strength", String(value)),
  rule: (page, name) => page.selectOption("#rule", name),
  cap: (page, count) => page.selectOption("#cap", String(count)),
  dense: (page) => page.click("#dense-ask"),
  file: (page, path) => page.setInputFiles("#file", path),
  async files(page, ...paths) {
    for (const path of paths) await page.setInputFiles("#file", path);
    await page.waitForTimeout(2000); // until the slower one is ready, too
  },
  async draw(page, points) {
    const box = await page.locator(".pad").boundingBox();
    const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await page.mouse.move(...at(points[0]));
    await page.mouse.down();
    for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 5 });
    await page.mouse.up();
  },
  async screenshot(page, path) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path, fullPage: true });
  },
};
const QUIET = new Set(["source", "screenshot"]); // after these the page has nothing to answer, or not at once

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [], // Chromium refuses its sandbox to root
});
const visits = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const visit of visits) found.push(await use(visit));
await browser.close();
console.log(JSON.stringify(found));

async function use({ url, width = 1280, scheme = "light", steps }) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const [said, requests, replies, read] = [[], [], [], []];
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => dialog.dismiss().then(() => said.push(`dialog: ${dialog.message()}`)));
  context.on("request", (request) => requests.push(request.url()));
  context.on("response", (response) => replies.push([response.url(), response.status()]));
  await page.goto(url);
  await page.waitForSelector("body[data-state=ready]", { timeout: 60_000 });
  for (const [name, ...words] of steps) {
    if (!QUIET.has(name) && name !== "open") await page.evaluate(() => (document.body.dataset.state = "waiting"));
    await STEPS[name](page, ...words);
    await page.waitForSelector("body[data-state=ready]", { timeout: 60_000 });
    read.push(await page.evaluate(readPage));
  }
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  await context.close();
  return { steps: read, console: said, requests, replies, wide };
}

// In the page: what it shows, numbers exactly.
function readPage() {
  const text = (selector) => document.querySelector(selector)?.textContent ?? null;
  const seen = document.getElementById("seen");
  const copy = Object.assign(document.createElement("canvas"), { width: seen.width, height: seen.height }).getContext("2d");
  copy.drawImage(seen, 0, 0);
  const pixels = copy.getImageData(0, 0, seen.width, seen.height).data;
  const rows = [...document.querySelectorAll("#probs .row")];
  return {
    status: text("#status"),
    label: text("#label"),
    verdict: text("#verdict"),
    used: Number(document.getElementById("used").value),
    abstained: document.querySelector("#answer .note") !== null,
    probs: Object.fromEntries(rows.map((row) => [row.dataset.class, Number(row.querySelector("data").value)])),
    stages: [...document.querySelectorAll("#stages li")].map((item) => item.textContent),
    dense: text("#dense-label"),
    denseProb: Number(document.querySelector("#dense-answer data")?.value),
    seen: { width: seen.width, height: seen.height, rgb: [...pixels].filter((_, i) => i % 4 < 3) },
  };
}
