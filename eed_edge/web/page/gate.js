// The gate: sub-models one after another on one image until the rule stops, as eed_edge/runtime/gates and eed_edge/gate_rules do.

const MIN_PROB = 1e-12; // probabilities are clamped here before a logarithm
const NEVER_STOP_EXPONENT = 1e6; // from this exponent g on the rule geometric never stops early

/**
 * Answer one image.
 *
 * @param {(index: number) => Promise<ArrayLike<number>>} logitsOf runs a sub-model, from 0; one that rejects is
 *     left out of the mean, as is one with a logit that is not finite
 * @param {{rule: string, parameters: object, members: number, maxSubmodels?: number, temperatures?: number[],
 *     abstainBelow?: number}} gate parameters: those of the rule; members: sub-models in the bundle
 * @returns {Promise<{probs: Float32Array, label: number, used: number, prefix: number, failed: number[],
 *     abstained: boolean, stages: object[]}>} stages: for each sub-model that ran what it said and what the gate
 *     made of it: {probs, mean, stop, value, wanted}, probs null where it failed
 */
export async function answer(logitsOf, gate) {
  checkRule(gate.rule);
  const allowed = Math.min(gate.maxSubmodels ?? gate.members, gate.members);
  const decide = RULES[gate.rule](gate.parameters);
  const stages = [];
  const failed = [];
  let total = null; // of the sub-models that answered
  for (let t = 1; t <= allowed; t++) {
    const probs = await logitsOf(t - 1).then(softmax, () => null);
    if (probs) total = total ? total.map((sum, i) => sum + probs[i]) : Array.from(probs);
    else failed.push(t - 1);
    const mean = total && total.map((sum) => sum / (t - failed.length));
    const stage = { probs, mean, stop: false };
    stages.push(stage);
    if (t < allowed && probs) {
      const { answered, ...decision } = decide({ t, probs, mean });
      Object.assign(stage, decision);
      if (stage.stop) return result(answered, t, failed, gate, stages);
    }
  }
  if (!total) throw new Error("every sub-model failed for this image: there is no answer");
  return result({ mean: stages.at(-1).mean, prefix: allowed }, allowed, failed, gate, stages);
}

/** Throw where this page does not have the rule. */
export function checkRule(rule) {
  const known = Object.keys(RULES);
  if (!known.includes(rule)) throw new Error(`this page has the gate rules ${known.join(", ")}, not ${rule}; export the bundle with one of these`);
}

function result({ mean, prefix }, used, failed, gate, stages) {
  const probs = Float32Array.from(gate.temperatures ? withTemperature(mean, gate.temperatures[prefix - 1]) : mean);
  const label = largest(probs);
  const abstained = probs[label] < Math.fround(gate.abstainBelow ?? 0);
  return { probs, label, used, prefix, failed, abstained, stages };
}

/** The index of the largest value, the first of equals. */
export function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Probabilities as float32, or null if a logit is not finite. */
export function softmax(logits) {
  const exact = Array.from(logits);
  if (!exact.every(Number.isFinite)) return null;
  const most = exact[largest(exact)];
  const powers = exact.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return Float32Array.from(powers, (power) => power / sum);
}

// Logarithms divided by the temperature; dividing by the largest first keeps its power at 1.
function withTemperature(mean, temperature) {
  const most = mean[largest(mean)];
  const powers = mean.map((p) => (p / most) ** (1 / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// Each rule takes its parameters and returns what decides after a sub-model that answered: whether to stop,
// which answer then holds, and the comparison behind it, `value` against `wanted`.
export const RULES = {
  confidence({ threshold, thresholds }) {
    return ({ t, mean }) => {
      const [value, wanted] = [mean[largest(mean)], thresholds ? thresholds[t - 1] : threshold];
      return { stop: value >= wanted, value, wanted, answered: { mean, prefix: t } };
    };
  },

  agreement({ votes: wanted }) {
    const votes = [];
    return ({ t, probs, mean }) => {
      votes.push(largest(probs));
      const value = votes.filter((vote) => vote === largest(mean)).length;
      return { stop: t >= 2 && value >= wanted, value, wanted, answered: { mean, prefix: t } };
    };
  },

  // The first maximum over t of q_t times the product of all 1 - q before; no later one exceeds `remaining`.
  geometric({ g, k }) {
    let [logsBefore, best, remaining, answered] = [null, -1, 1, null];
    return ({ t, mean }) => {
      const clamped = mean.map((p) => Math.max(p, MIN_PROB));
      const logs = clamped.map(Math.log);
      let exponent = g * logs[largest(logs)];
      if (logsBefore) exponent -= k * clamped.reduce((sum, p, i) => sum + p * (logs[i] - logsBefore[i]), 0);
      logsBefore = logs;
      const q = g < NEVER_STOP_EXPONENT ? Math.exp(Math.min(exponent, 0)) : 0;
      if (q * remaining > best) [best, answered] = [q * remaining, { mean, prefix: t }];
      remaining *= 1 - q;
      return { stop: best >= remaining, value: best, wanted: remaining, answered };
    };
  },
};
