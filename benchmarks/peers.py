"""What one would use instead, beside ours in one run: the dense network in other engines, and early exits.

    .venv/bin/python -m pip install -r benchmarks/requirements-peers.txt
    .venv/bin/python benchmarks/peers.py

A CIFAR-sized ResNet-18 with random weights in torch eager, torch.compile, onnxruntime, OpenVINO and ncnn, the
same with three early exits as ``earlyon`` exports it (every exit is computed), and four pruned members of
5 % in eed-edge: all of them, and with half of the images left stopping at each. One image a call, one
thread, block by block; a figure is the mean over the images, its median and quartiles over the rounds. A
peer that is not installed is named and left out. Each engine must give the dense network's logits. Writes
benchmarks/results/peers.json unless --json says otherwise.
"""

import logging
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
import random_ensemble
import torch
from torch import nn

import eed_edge
from eed_edge import report
from eed_edge.arrays import Floats
from eed_edge.atomic_files import write_json
from eed_edge.manifest import CASCADE_FILE
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.measure.clock import CLOCKS, in_blocks, ratio
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot

RESULTS = Path(__file__).parent / "results"
Answer = Callable[[Floats], Any]
EXIT_LAYERS = ("body.blocks.1", "body.blocks.3", "body.blocks.5")  # the ends of stages of 64, 128, 256
LARGEST_DIFFERENCE = 1e-3
"""Of a logit, times the largest logit where that is above 1."""


def torch_eager(net: nn.Module, folder: Path) -> Answer:
    """The network as it is, in inference mode."""

    def answer(images: Floats) -> Floats:
        with torch.inference_mode():
            return net(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return answer


def torch_compile(net: nn.Module, folder: Path) -> Answer:
    """torch.compile with its default backend."""
    return torch_eager(torch.compile(net), folder)  # type: ignore[arg-type]


def onnxruntime(net: nn.Module, folder: Path) -> Answer:
    """The exported network in a session as we open ours."""
    session = open_session((folder / "dense.onnx").read_bytes(), "dense.onnx")
    return lambda images: session.run(["logits"], {"images": images})[0]


def openvino(net: nn.Module, folder: Path) -> Answer:
    """The exported network, for latency, float32, one thread."""
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(str(folder / "dense.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda images: request.infer([images])[0]


def ncnn(net: nn.Module, folder: Path) -> Answer:
    """The network converted by pnnx, float32, one thread."""
    import ncnn as engine
    import pnnx

    program = folder / "dense.pt"
    pnnx.export(net, str(program), torch.zeros(1, *random_ensemble.SIZE), fp16=False)
    loaded = engine.Net()
    loaded.opt.num_threads = 1
    for name in ("packed", "storage", "arithmetic"):
        setattr(loaded.opt, f"use_fp16_{name}", False)
    loaded.load_param(str(folder / "dense.ncnn.param"))
    loaded.load_model(str(folder / "dense.ncnn.bin"))

    def answer(images: Floats) -> Floats:
        with loaded.create_extractor() as extractor:
            extractor.input("in0", engine.Mat(images[0]))
            return np.array(extractor.extract("out0")[1])[None]

    return answer


def earlyon(net: nn.Module, folder: Path) -> Answer:
    """Early exits as exported: one graph that computes every exit; the caller routes, nothing is saved."""
    # Not earlyon.models, which needs torchvision: there is no CPU build of that for every torch.
    from earlyon import EarlyExitConfig, EarlyExitHead, EarlyExitWrapper, ExitPoint
    from earlyon.onnx import export_to_onnx

    shape, classes = (1, *random_ensemble.SIZE), random_ensemble.CLASSES
    points = [
        ExitPoint(f"exit_{i}", layer, random_ensemble.WIDTH << i) for i, layer in enumerate(EXIT_LAYERS)
    ]
    heads = {point.name: EarlyExitHead(point.in_channels, classes) for point in points}
    config = EarlyExitConfig("resnet18", classes, points)
    wrapped = EarlyExitWrapper(net, heads, lambda logits: logits, config, input_shape=shape)
    export_to_onnx(wrapped, folder / "earlyon.onnx", input_shape=shape)
    session = open_session((folder / "earlyon.onnx").read_bytes(), "earlyon.onnx")
    outputs = [node.name for node in session.get_outputs()]
    return lambda images: session.run(outputs, {"input": images})[-1]


PEERS = {
    "torch eager": torch_eager,
    "torch.compile": torch_compile,
    "onnxruntime": onnxruntime,
    "OpenVINO": openvino,
    "ncnn": ncnn,
    "earlyon export": earlyon,
}


def open_peers(net: nn.Module, folder: Path, images: Floats) -> tuple[dict[str, Answer], dict[str, str]]:
    """The peers that run here and give the network's logits, and why the others are left out."""
    with torch.inference_mode():
        wanted = net(torch.from_numpy(images)).numpy()
    ready: dict[str, Answer] = {}
    missing: dict[str, str] = {}
    for name, make in PEERS.items():
        try:
            answer = make(net, folder)
            found = np.concatenate([answer(image[None]) for image in images])
        except ImportError as error:
            missing[name] = f"not installed ({error.name}); pip install -r benchmarks/requirements-peers.txt"
            continue
        except Exception as error:  # engines fail in many ways, and the others are still of interest
            missing[name] = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]:.160}"
            continue
        apart = float(np.abs(found - wanted).max())
        if not apart <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(wanted).max())):
            missing[name] = f"left out: its logits differ by {apart:.2e} from torch's"
            continue
        ready[name] = answer
    return ready, missing


@click.command(help=__doc__)
@click.option("--images", "npz", type=click.Path(path_type=Path), help="NPZ of 32x32 images, not digits.")
@click.option("--n", type=click.IntRange(min=2), default=40, show_default=True, help="Images a block.")
@click.option("--rounds", type=click.IntRange(min=3), default=16, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: on a busy machine.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "peers.json")
def main(npz: Path | None, n: int, rounds: int, seed: int, clock: str, target: Path) -> None:
    """Build, time all in turns, print a table, write the figures."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    images = random_ensemble.pictures(npz, max(n, 256))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        built = random_ensemble.build(folder, images, seed=seed)
        ready, missing = open_peers(random_ensemble.base(images, seed=seed).eval(), folder, images[:8])
        bundle = folder / "bundle"
        ours = {
            "ours, all four": eed_edge.load(bundle, threshold=2.0),
            "ours, half stop": eed_edge.load(bundle),
            "ours, half stop, cascade.onnx": eed_edge.load(folder / "mixed confidence" / CASCADE_FILE),
        }
        chosen = np.linspace(0, 255, n).astype(int)  # half of these 256 stop at each stage
        parts = [images[i : i + 1] for i in chosen]
        calls = {name: partial(answer_part, program, parts) for name, program in {**ready, **ours}.items()}
        before = snapshot()
        times = in_blocks(calls, items=n, rounds=rounds, now=CLOCKS[clock])
        conditions = conditions_between(before, snapshot())
        used = float(eed_edge.load(bundle)(images[chosen]).submodels_used.mean())
    rows = {}
    click.echo(f"{'one image, one thread':<32}{'mean ms':>9}{'quartiles':>18}{'over ours':>11}")
    for name, each in times.items():
        low, middle, high = (float(ms) for ms in np.percentile(each.mean(axis=1), (25, 50, 75)))
        over = ratio(each, times["ours, half stop"]).median
        rows[name] = {"mean_ms": middle, "low_ms": low, "high_ms": high, "over_ours": over}
        click.echo(f"{name:<32}{middle:>9.3f}{low:>9.3f}-{high:<8.3f}{over:>10.2f}x")
    for name, why in missing.items():
        click.echo(f"{name:<32} {why}")
    click.echo(busy_warning(conditions))
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/peers.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "peers": {name: version(name) for name in ("earlyon", "ncnn", "openvino", "pnnx", "torch")},
            "commit": report.commit(),
            "seed": seed,
            "clock": clock,
            "conditions": conditions,
            "images": str(npz) if npz else "scikit-learn digits, enlarged to 32x32",
            "n": n,
            "rounds": rounds,
            "submodels_used": used,
            "ensemble": built,
            "times": rows,
            "missing": missing,
        },
    )
    click.echo(f"written: {target}")


def answer_part(program: Answer, parts: list[Floats], i: int) -> Any:
    """One call of a program, on a part."""
    return program(parts[i])


def version(name: str) -> str | None:
    """Of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
