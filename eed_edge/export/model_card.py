"""The card of a bundle, ``README.md``: metadata for a model hub, then a description for people.

Every figure comes from the manifest or from ``report.json``; what was not measured is not stated.
"""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import eed_edge
from eed_edge.errors import CheckpointError, InputError
from eed_edge.files.regular_files import read_regular
from eed_edge.manifest import Manifest
from eed_edge.printable import printable
from eed_edge.recipe.sections import Recipe
from eed_edge.report import read_report
from eed_edge.report.names import attack_title, attacks_in_order
from eed_edge.train.run_folder import Run

LARGEST_CARD = 2**20
HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "svhn": "ufldl-stanford/svhn"}
"""Names on Hugging Face of the data sets that are there."""
_USE = """## Use

```
pip install "eed_edge-{version}-py3-none-any.whl[images]"
eed-edge check FOLDER                # every hash, and known answers on your machine
eed-edge run FOLDER picture.png      # or hf:OWNER/NAME@REVISION, with the extra hub
```

numpy and onnxruntime answer, without torch. The manifest has the hashes of all files but this one.
"""
_LIMITS = """## Limits

Accuracies under attack are upper bounds on robustness: a stronger attack may find more. The gate is
calibrated on images like those of training; it promises nothing for other cameras or images of no class.

## Licence

{licence}
"""


def model_card(
    manifest: Manifest, recipe: Recipe, figures: Mapping[str, Any], *, licence: str = "unknown"
) -> str:
    """The text of ``README.md``.

    Args:
        figures: content of the run's ``report.json`` if it is of this bundle, else nothing.
        licence: an identifier of the hub's list.
    """
    named = "Not stated. Whoever publishes this bundle names it here and in the first lines, as `license`."
    return "\n".join(
        [
            front_matter(recipe, figures, licence=licence),
            f"# {printable(manifest.name)}\n",
            _what_it_is(manifest, recipe),
            _USE.format(version=eed_edge.__version__),
            f"## Figures\n\n{_figures(recipe, figures)}",
            _LIMITS.format(licence=named if licence == "unknown" else licence),
        ]
    )


def figures_of(run: Run, bundle: Path) -> dict[str, Any]:
    """The content of the run's ``report.json`` if ``attack`` judged this very bundle, else nothing."""
    try:
        figures = read_report(run.path / "report.json")
        run.check_report(figures, bundle)
    except (CheckpointError, InputError):  # nothing was measured, or of another bundle
        return {}
    return figures if "evaluated" in figures else {}


def stated_licence(card: Path) -> str:
    """The licence that an earlier card names in its first lines, ``unknown`` without one."""
    try:
        lines = read_regular(card, most_bytes=LARGEST_CARD).decode().splitlines()
    except (OSError, ValueError):
        return "unknown"
    head = list(itertools.takewhile(lambda line: line != "---", lines[1:])) if lines[:1] == ["---"] else []
    found = (re.fullmatch(r"license: *([A-Za-z0-9][A-Za-z0-9.+-]*) *", line) for line in head)
    return next((match[1] for match in found if match), "unknown")


def front_matter(recipe: Recipe, figures: Mapping[str, Any], *, licence: str) -> str:
    """The YAML between two lines of dashes, in Hugging Face's terms; ``hardware`` is a key of our own."""
    data = recipe.data.name
    content: dict[str, Any] = {
        "license": licence,
        "library_name": "eed-edge",
        "pipeline_tag": "image-classification",
        "tags": ["onnx", "onnxruntime", "adversarial-robustness", "pruning", "early-exit", "ensemble"],
    }
    if data in HUB_DATASETS:
        content["datasets"] = [HUB_DATASETS[data]]
    if accuracy := figures.get("accuracy"):
        metrics = [
            {
                "type": "accuracy",
                "name": f"accuracy, {attack_title(kind)}, {accuracy[kind]['images']} images",
                "value": round(accuracy[kind]["dynamic"], 4),
            }
            for kind in attacks_in_order(accuracy)
        ]
        dataset = {"type": HUB_DATASETS.get(data, data), "name": data, "split": "test"}
        result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
        content["metrics"] = ["accuracy"]
        content["model-index"] = [{"name": recipe.name, "results": [result]}]
    if "latency" in figures:
        content["hardware"] = _machine(figures)
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def _what_it_is(manifest: Manifest, recipe: Recipe) -> str:
    channels, height, width = manifest.input.size
    members, arch = len(manifest.submodels), printable(recipe.net.arch)
    radius = f"against attacks of {recipe.joint.eps_255:g}/255, l_inf"
    lines = [
        f"{members} sub-models in {manifest.precision}, pruned from {arch}.",
        f"They run one after another until the gate, rule `{manifest.gate.rule}`, stops.",
        f"Trained on {recipe.data.name} {radius if recipe.joint.attacked else 'without attacks'}.",
        f"{len(manifest.classes)} classes, named in `manifest.json`.",
        f"Pictures of {height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}.",
        f"Written by eed-edge {manifest.created_by.version}.",
        "",
        "| file | parameters | MACs an image | bytes |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {entry.file} | {entry.params:,} | {entry.macs:,} | {entry.bytes:,} |"
        for entry in manifest.submodels
    ]
    return "\n".join([*lines, ""])


def _figures(recipe: Recipe, figures: Mapping[str, Any]) -> str:
    accuracy, latency = figures.get("accuracy"), figures.get("latency")
    if not accuracy:
        return (
            "None was measured when this card was written. `eed-edge attack` and `eed-edge bench --run`\n"
            "measure them, and `eed-edge report RUN BUNDLE --card` writes this card anew.\n"
        )
    attacks = f"attacks of {recipe.base.eps_255:g}/255"
    lines = [f"Accuracy on test images in percent, {attacks}, with the 95 % Wilson interval:", ""]
    names = {"dynamic": "this bundle", "dense": "dense base", "dense_int8": "dense base in int8"}
    shown = [name for name in names if any(name in row for row in accuracy.values())]
    lines += [f"| | {' | '.join(names[name] for name in shown)} | images |", "|---" * (len(shown) + 2) + "|"]
    for kind in attacks_in_order(accuracy):
        row = accuracy[kind]
        cells = [_share(row, name) for name in shown]
        lines.append(f"| {attack_title(kind)} | {' | '.join(cells)} | {row['images']} |")
    if latency:
        times = ", ".join(
            f"the {name} {latency[key]['mean_ms']:.3g} ms{_times_as_fast(latency, ending)}"
            for key, name, ending in (
                ("dense", "dense base", ""),
                ("dense_int8", "dense base in int8", "_int8"),
            )
            if key in latency
        )
        lines += [
            f"\n{latency['threads']} thread, {latency['batch']} image a call, on {_machine(figures)}:"
            f" {latency['dynamic']['mean_ms']:.3g} ms in the mean, {times}."
        ]
    return "\n".join([*lines, ""])


def _share(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high = row["interval"][name]
    return f"{100 * row[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _times_as_fast(latency: Mapping[str, Any], ending: str) -> str:
    """The bundle's speed relative to a network, from blocks; reports of the earlier clock lack it."""
    part = latency.get(f"speedups{ending}", {}).get("dynamic")
    return "" if part is None else f" (the bundle is {part['median']:.2f} times as fast)"


def _machine(figures: Mapping[str, Any]) -> str:
    machine = figures["latency"].get("machine", figures["machine"])
    return printable(f"{machine['cpu']}, {machine['cores']} cores")
