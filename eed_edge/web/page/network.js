// The networks as the page sees them: questions to the worker, and their answers.

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map(); // by number of the question: what takes the answer, the error and the progress
let asked = 0;

worker.onmessage = ({ data: { id, reply, error, loaded } }) => {
  const [resolve, reject, onProgress] = waiting.get(id);
  if (loaded !== undefined) return onProgress?.(loaded);
  waiting.delete(id);
  if (error === undefined) resolve(reply);
  else reject(new Error(error));
};
worker.onerror = (event) => {
  const error = new Error(event.message || "this browser cannot start a module worker; use a newer one");
  for (const [, reject] of waiting.values()) reject(error);
  waiting.clear();
};

/** Ask the worker; see ASKED in worker.js. `onProgress` gets the bytes that are loaded so far. */
export function ask(what, content, onProgress) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, [resolve, reject, onProgress]);
    worker.postMessage({ id: asked, ask: what, ...content });
  });
}
