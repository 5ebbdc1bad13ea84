// node browser.mjs CHROMIUM ANSWERS.json: run the cases by onnxruntime-web in a headless browser.
// A server for the folder of this file, on this machine only; page.mjs sends its answers back to it.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const [chromium, target] = process.argv.slice(2);
const MINUTES = 9;
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const root = fileURLToPath(new URL(".", import.meta.url));

function reply(request, response) {
  if (request.method === "POST") {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      response.end();
      finish(JSON.parse(Buffer.concat(parts)));
    });
    return;
  }
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  try {
    const body = readFileSync(join(root, path));
    response.writeHead(200, { "Content-Type": KINDS[extname(path)] ?? "application/octet-stream" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

const profile = mkdtempSync(join(tmpdir(), "eed-edge-chromium-"));
const server = createServer(reply).listen(0, "127.0.0.1", () => {
  const page = `http://127.0.0.1:${server.address().port}/page.html`;
  const flags = ["--headless=new", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
  if (process.getuid?.() === 0) flags.push("--no-sandbox"); // Chromium refuses its sandbox to root
  const browser = spawn(chromium, [...flags, page], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  browser.stderr.on("data", (text) => (said = (said + text).slice(-2000)));
  browser.on("error", (error) => finish({ error: error.message }));
  browser.on("exit", (code) => finish({ error: `it ended with ${code} before it answered: ${said.trim().split("\n").at(-1)}` }));
  process.on("exit", () => browser.kill("SIGKILL"));
});
setTimeout(() => finish({ error: `no answer in ${MINUTES} minutes` }), MINUTES * 60_000);

function finish(message) {
  if (message.error) console.error(message.error);
  else writeFileSync(target, JSON.stringify(message));
  process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  process.exit(message.error ? 1 : 0);
}
