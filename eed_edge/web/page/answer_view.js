// What is shown of an answer: the label, the way there through the sub-models, and the probabilities.
import { bar, element, milliseconds, percent, shareOf, thousands } from "./elements.js";
import { largest } from "./gate.js";

const MOST_CLASSES = 10; // of the probabilities; the most probable are shown

/** The label in large, whether it is right, and what it took. */
export function headline(found, { classes, truth, members, abstain }) {
  const says = element("p.label", {}, element("strong", { id: "label" }, classes[found.label]), " ", shareOf(found.probs[found.label]));
  const parts = [says];
  if (truth !== undefined) parts.push(verdict(found.label === truth, classes[truth]));
  if (found.abstained) {
    parts.push(element("p.note", {}, "In doubt: the bundle abstains below ", shareOf(abstain), "."));
  }
  const used = element("data", { id: "used", value: String(found.used) }, `${found.used} of ${members}`);
  const total = found.stages.reduce((sum, { ms }) => sum + (ms ?? 0), 0);
  parts.push(element("p", {}, used, ` sub-model${members === 1 ? "" : "s"} ran, ${milliseconds(total)}.`));
  if (found.prefix < found.used) parts.push(element("p.soft", {}, `The answer is that after sub-model ${found.prefix}.`));
  return parts;
}

function verdict(right, truth) {
  return element(`p.${right ? "right" : "wrong"}`, { id: "verdict" }, right ? "✓ right" : `✗ wrong, it is ${truth ?? "of no known class"}`);
}

/** The same in one line, for narrow screens, where the picture hides the answer. */
export function brief(found, { classes, truth, members }) {
  const mark = truth === undefined ? "" : found.label === truth ? ".right" : ".wrong";
  const sign = { "": "", ".right": "✓ ", ".wrong": "✗ " }[mark];
  const label = element(`strong${mark}`, {}, `${sign}${classes[found.label]}`);
  return [label, ` ${percent(found.probs[found.label])}, ${found.used} of ${members} ran`];
}

/** A list item for each sub-model: what it said, and what the gate made of it. */
export function stageItems(found, { classes, submodels, rule, truth }) {
  return submodels.map((entry, i) => {
    const stage = found.stages[i];
    const size = element("span.soft.size", {}, `${thousands(entry.params)} parameters`);
    const head = element("div.head", {}, element("strong", {}, `Sub-model ${i + 1}`), size);
    if (!stage) return element("li.unused", {}, head, element("p.soft", {}, "not needed"));
    if (stage.ms !== undefined) head.append(element("span.time", {}, milliseconds(stage.ms)));
    const kind = stage.stop || i === found.stages.length - 1 ? "li.stop" : "li";
    return element(kind, {}, head, said(stage.probs, classes, truth), element("p.decision", {}, ...decision(found, i, rule, classes)));
  });
}

function said(probs, classes, truth) {
  if (!probs) return element("p.wrong", {}, "failed: left out of the mean");
  const label = largest(probs);
  const mark = truth === undefined ? "" : label === truth ? ".right" : ".wrong";
  return element(
    "p.said",
    {},
    element(`span.class${mark}`, {}, classes[label]),
    bar(probs[label]),
    shareOf(probs[label]),
  );
}

function decision(found, i, rule, classes) {
  const { stop, value, wanted, mean } = found.stages[i];
  const answered = i + 1 - found.failed.filter((t) => t <= i).length;
  const whose = i === 0 || !mean ? [] : [`Mean of ${answered}: `, element("strong", {}, classes[largest(mean)]), ", "];
  if (value === undefined) {
    if (i < found.used - 1) return ["The gate goes on."];
    return i === 0 ? ["No other one: this is the answer."] : [...whose, shareOf(mean[largest(mean)]), " sure. Last one: this is the answer."];
  }
  const verb = element("strong", {}, stop ? "stop" : "go on");
  if (rule === "agreement") {
    const since = i === 0 ? ", from the second sub-model on" : "";
    return [`${value} vote${value === 1 ? "" : "s"} for the class of the mean, ${wanted} needed${since}: `, verb];
  }
  const gate = bar(value, { tick: wanted, kind: "gate" });
  if (rule === "confidence") return [gate, ...whose, shareOf(value), " sure, ", shareOf(wanted), " needed: ", verb];
  return [gate, "Best answer so far ", shareOf(value), ", a later one can reach ", shareOf(wanted), ": ", verb];
}

/** Bars of the most probable classes, in the bundle's order. */
export function probabilityBars(probs, classes, truth) {
  const order = [...probs.keys()].sort((a, b) => probs[b] - probs[a]).slice(0, MOST_CLASSES);
  const best = order[0];
  return order
    .sort((a, b) => a - b)
    .map((k) => {
      const mark = k === truth ? " ✓" : "";
      const name = element("span.class", { title: classes[k] }, `${classes[k]}${mark}`);
      const row = element(`div.row${k === best ? ".best" : ""}`, {}, name, bar(probs[k]), shareOf(probs[k]));
      row.dataset.class = k;
      return row;
    });
}
