// What the manifest says of the bundle, as terms and descriptions.
import { element, megabytes, percent, thousands } from "./elements.js";

const RULES = {
  confidence: ({ threshold, thresholds }) =>
    thresholds?.length
      ? `stops when the mean is as sure as the threshold of this stop: ${thresholds.map(percent).join(", ")}`
      : `stops when the mean is sure by ${percent(threshold)}`,
  agreement: ({ votes }) => `stops when ${votes} sub-models vote for the class that the mean prefers`,
  geometric: ({ g, k }) => `stops when no later answer can be better; g ${g.toPrecision(3)}, k ${k.toPrecision(3)}`,
};

/** What a rule waits for, in words. */
export const ruleText = (rule, parameters) => RULES[rule](parameters[rule]);

/** Terms and descriptions of the whole bundle. */
export function facts(manifest) {
  const { input, gate, calibration, submodels } = manifest;
  const [, channels, height, width] = input.shape;
  const rows = [
    ["Classes", `${manifest.classes.length}`],
    ["Input", `${width} × ${height} pixels, ${channels === 1 ? "grey" : "colour"}; ${preparation(input.preprocess)}`],
    ["Sub-models", submodels.map((one) => `${thousands(one.params)} parameters, ${thousands(one.macs)} multiply-adds, ${megabytes(one.bytes)}`)],
    ["Precision", manifest.precision],
    ["Gate", `${gate.rule}: ${ruleText(gate.rule, gate.parameters)}`],
    ["Calibrated", `on ${calibration.images} images; attack: ${calibration.attack}; at most ${percent(calibration.max_drop)} of them lost by stopping early`],
  ];
  if (gate.max_submodels) rows.push(["At most", `${gate.max_submodels} sub-models an image`]);
  if (gate.deadline_ms) rows.push(["Deadline", `${gate.deadline_ms} ms a call, which this page does not keep`]);
  if (manifest.temperatures) rows.push(["Temperatures", manifest.temperatures.map((t) => t.toFixed(2)).join(", ")]);
  if (manifest.abstain) rows.push(["Abstains", `below ${percent(manifest.abstain.threshold)}`]);
  rows.push(["Made by", `${manifest.created_by.tool} ${manifest.created_by.version}`], ["Digest", manifest.digest]);
  return rows.flatMap(([term, told]) => [element("dt", {}, term), ...[told].flat().map((line) => element("dd", {}, line))]);
}

function preparation({ resize, shorter_side, crop, interpolation }) {
  const steps = [];
  if (shorter_side) steps.push(`shorter side scaled to ${shorter_side} (${interpolation})`);
  if (resize) steps.push(`scaled to ${resize[1]} × ${resize[0]} (${interpolation})`);
  if (crop) steps.push(`the middle ${crop[1]} × ${crop[0]} cut out`);
  return steps.join(", ") || "taken as it is";
}
