// node gate_cases.mjs < CASES.json > ANSWERS.json: the page's gate over recorded logits; null stands for NaN.
import { readFileSync } from "node:fs";
import { answer } from "../../eed_edge/web/page/gate.js";

const answers = [];
for (const { gate, logits } of JSON.parse(readFileSync(0, "utf8"))) {
  const all = [];
  for (const image of logits) {
    const logitsOf = async (index) => image[index].map((logit) => logit ?? NaN);
    const { probs, label, used, prefix, abstained } = await answer(logitsOf, gate);
    all.push({ probs: [...probs], label, used, prefix, abstained });
  }
  answers.push(all);
}
console.log(JSON.stringify(answers));
