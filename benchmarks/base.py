"""Judge a checkpoint on test: clean, PGD-20 on the cross-entropy and on the margin, and the worse of both.

    .venv/bin/python benchmarks/base.py models/cifar10-resnet18/base.safetensors cifar10-resnet18 --data DIR

The first test images are taken, in their order. Writes the figures beside the checkpoint, as NAME.json.
``--int8`` quantises the network instead, as ``export --with-dense-int8`` does, and adds to that file how
often the float and the int8 network are right on all clean test images.
"""

import sys
from pathlib import Path

import click
import numpy as np
import torch

from eed_edge import recipe as recipes
from eed_edge import report
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.models_compared import folded
from eed_edge.evaluate.paired import paired_row
from eed_edge.export.int8.quantise import quantise
from eed_edge.export.int8.range_images import range_images
from eed_edge.export.network_graph import to_onnx
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.session import SessionConfig, open_session
from eed_edge.train.data.batches import Images, as_float, in_order, on_device
from eed_edge.train.data.splits import Splits, splits_for_recipe
from eed_edge.train.networks import checkpoint
from eed_edge.train.run_folder import Run

BATCH = 100
ATTACKS = {"pgd20": PGD(), "margin20": CarliniWagner(steps=20, steps_per_eps=4)}


@click.command(help=__doc__)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("recipe")
@click.option("--data", type=click.Path(path_type=Path), help="The images.")
@click.option("--images", default=500, show_default=True)
@click.option("--int8", is_flag=True, help="Compare with the quantised network, on clean images.")
def main(path: Path, recipe: str, data: Path | None, images: int, int8: bool) -> None:
    """Attack the network and write accuracies with their intervals."""
    cfg = recipes.load_recipe(recipe)
    net, record = checkpoint.load_network(path)
    splits = splits_for_recipe(cfg, data)
    if int8:
        compare_int8(folded(net), cfg, splits, path)
        return
    test = on_device(splits.test, torch.device("cpu"))[slice(0, images)]
    correct = judge(folded(net), test, eps=cfg.base.eps_255 / 255)
    figures = {
        name: {"accuracy": float(right.mean()), "interval": wilson_interval(right)}
        for name, right in correct.items()
    }
    report.merge_report(
        path.with_suffix(".json"),
        {
            "command": ".venv/bin/python benchmarks/base.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "images": len(test),
            "test": figures,
            "training": record["training"],
            "history": record["history"],
        },
    )
    for name, row in figures.items():
        low, high = row["interval"]
        click.echo(f"{name:<10}{100 * row['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})")


def compare_int8(net: torch.nn.Module, cfg: recipes.Recipe, splits: Splits, path: Path) -> None:
    """Merge the accuracies of the network in float and in int8 on all clean test images into its figures."""
    run = Run(path.parent, cfg, splits.classes, splits.input, "")
    plain = to_onnx(net, as_float(torch.from_numpy(splits.train.images[:1])))
    models = {"float32": plain, "int8": quantise(plain, range_images(net, splits.train, run))}
    right: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for name, model in models.items():
        session = open_session(model, name, config=SessionConfig(threads=2))
        for images, labels in in_order(on_device(splits.test, torch.device("cpu")), BATCH):
            answers = session.run(None, {session.get_inputs()[0].name: images.contiguous().numpy()})[0]
            right[name].append(answers.argmax(1) == labels.numpy())
    verdicts = {name: np.concatenate(parts) for name, parts in right.items()}
    figures = {
        name: {"accuracy": float(each.mean()), "bytes": len(models[name])} for name, each in verdicts.items()
    }
    report.merge_report(
        path.with_suffix(".json"),
        {
            "int8": {
                "command": ".venv/bin/python benchmarks/base.py " + " ".join(sys.argv[1:]),
                "machine": report.machine(),
                "commit": report.commit(),
                "images": len(splits.test),
                **figures,
                "int8_minus_float32": paired_row(verdicts["int8"], verdicts["float32"]),
            }
        },
    )
    click.echo(", ".join(f"{name} {100 * row['accuracy']:.2f}" for name, row in figures.items()))


def judge(net: torch.nn.Module, test: Images, *, eps: float) -> dict[str, np.ndarray]:
    """Whether each image is classified correctly when clean, under each attack as well, and under all."""
    correct: dict[str, list[np.ndarray]] = {name: [] for name in ("clean", *ATTACKS, "worse")}
    with frozen(net):
        for images, labels in in_order(test, BATCH):
            rows = {"clean": images} | {
                name: attack(net, images, labels, Threat(eps, 0)) for name, attack in ATTACKS.items()
            }
            with torch.no_grad():
                right = {name: (net(part).argmax(1) == labels).numpy() for name, part in rows.items()}
            for name, each in right.items():
                correct[name].append(each & right["clean"])
            correct["worse"].append(np.logical_and.reduce(list(right.values())))
    return {name: np.concatenate(parts) for name, parts in correct.items()}


if __name__ == "__main__":
    main()
