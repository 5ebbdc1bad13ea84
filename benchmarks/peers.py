"""Compare a team with its alternatives in one run: the dense network in other engines, and early exits.

    .venv/bin/python -m pip install -r benchmarks/requirements-peers.txt
    .venv/bin/python benchmarks/peers.py

A CIFAR-sized ResNet-18 with random weights in torch eager, torch.compile, onnxruntime, OpenVINO and ncnn, in
float32, in the precision that OpenVINO chooses by itself, and in int8; the same with three early exits as
``earlyon`` exports it (every exit is computed); and four pruned members of 5 % in eed-edge, in float32 and in
int8: all of them, and with half of the images left stopping at each. ncnn stays float, as no package has its
quantiser. One image a call, one thread, block by block; a figure is the mean over the images, its median and
quartiles over the rounds, and its ratios are over the dense network in float and in int8. A peer that is not
installed is named and left out. Each engine must give the dense network's logits, nearly. Writes
benchmarks/results/peers.json unless --json says otherwise.
"""

import copy
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
from eed_edge.export.int8.quantise import quantise
from eed_edge.manifest import CASCADE_FILE
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.measure.clock import CLOCKS, in_blocks, ratio
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot

RESULTS = Path(__file__).parent / "results"
Answer = Callable[[Floats], Any]
BASELINES = {"over dense": "onnxruntime", "over dense int8": "onnxruntime int8"}
EXIT_LAYERS = ("body.blocks.1", "body.blocks.3", "body.blocks.5")  # the ends of stages of 64, 128, 256
FLOAT32, ROUNDED = 1e-3, 0.2
"""Largest difference of a logit, times the largest logit where that is above 1, in float32 and below."""


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


def onnxruntime_int8(net: nn.Module, folder: Path) -> Answer:
    """The network quantised as ``eed-edge export --with-dense-int8`` does it."""
    session = open_session((folder / "dense-int8.onnx").read_bytes(), "dense-int8.onnx")
    return lambda images: session.run(["logits"], {"images": images})[0]


def openvino(net: nn.Module, folder: Path) -> Answer:
    """The exported network, for latency, float32, one thread."""
    return _in_openvino(folder / "dense.onnx", INFERENCE_PRECISION_HINT="f32")


def openvino_default(net: nn.Module, folder: Path) -> Answer:
    """The same in the precision that OpenVINO chooses, bfloat16 where the processor has it."""
    return _in_openvino(folder / "dense.onnx")


def openvino_int8(net: nn.Module, folder: Path) -> Answer:
    """The file that onnxruntime runs in int8."""
    return _in_openvino(folder / "dense-int8.onnx")


def _in_openvino(model: Path, **settings: str) -> Answer:
    import openvino as ov

    asked = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, **settings}
    request = ov.Core().compile_model(str(model), "CPU", asked).create_infer_request()
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
    """Early exits as exported: one graph computes every exit and the caller picks one; no time is saved."""
    # earlyon.models would need torchvision, which has no CPU build for every torch.
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
    "torch eager": (torch_eager, FLOAT32),
    "torch.compile": (torch_compile, FLOAT32),
    "onnxruntime": (onnxruntime, FLOAT32),
    "onnxruntime int8": (onnxruntime_int8, ROUNDED),
    "OpenVINO": (openvino, FLOAT32),
    "OpenVINO default precision": (openvino_default, ROUNDED),
    "OpenVINO int8": (openvino_int8, ROUNDED),
    "ncnn": (ncnn, FLOAT32),
    "earlyon export": (earlyon, FLOAT32),
}
"""Each with how far its logits may be from the network's."""


def write_int8(folder: Path, images: Floats) -> None:
    """Quantise the dense network and the bundle's sub-models beside the float ones."""
    dense, bundle = (folder / "dense.onnx").read_bytes(), folder / "bundle"
    (folder / "dense-int8.onnx").write_bytes(quantise(dense, images))
    made = eed_edge.load(bundle).manifest
    models = [quantise((bundle / entry.file).read_bytes(), images) for entry in made.submodels]
    costs = [(entry.params, entry.macs) for entry in made.submodels]
    random_ensemble.write_folder(folder / "bundle-int8", models, costs, precision="int8")


def open_peers(net: nn.Module, folder: Path, images: Floats) -> tuple[dict[str, Answer], dict[str, str]]:
    """Open the peers that run here and give the network's logits; say why the others are left out."""
    with torch.inference_mode():
        reference = net(torch.from_numpy(images)).numpy()
    ready: dict[str, Answer] = {}
    missing: dict[str, str] = {}
    for name, (make, allowed) in PEERS.items():
        try:
            answer = make(copy.deepcopy(net), folder)  # some change the network that they are given
            answers = np.concatenate([answer(image[None]) for image in images])
        except ImportError as error:
            missing[name] = f"not installed ({error.name}); pip install -r benchmarks/requirements-peers.txt"
            continue
        except Exception as error:  # engines fail in many ways, and the others are still of interest
            missing[name] = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]:.160}"
            continue
        apart = float(np.abs(answers - reference).max())
        if not apart <= allowed * max(1.0, float(np.abs(reference).max())):
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
        write_int8(folder, images[:256])
        ready, missing = open_peers(random_ensemble.base(images, seed=seed).eval(), folder, images[:8])
        bundle, int8 = folder / "bundle", folder / "bundle-int8"
        ours = {
            "ours, all four": eed_edge.load(bundle, threshold=2.0),
            "ours, half stop": eed_edge.load(bundle),
            "ours, half stop, cascade.onnx": eed_edge.load(folder / "mixed confidence" / CASCADE_FILE),
            "ours int8, all four": eed_edge.load(int8, threshold=2.0),
            "ours int8, half stop": eed_edge.load(int8),
        }
        places = np.linspace(0, 255, n).astype(int)  # half of these 256 stop at each stage
        parts = [images[i : i + 1] for i in places]
        calls = {name: partial(answer_part, program, parts) for name, program in {**ready, **ours}.items()}
        before = snapshot()
        times = in_blocks(calls, items=n, rounds=rounds, now=CLOCKS[clock])
        conditions = conditions_between(before, snapshot())
        used = {
            name: float(eed_edge.load(each)(images[places]).submodels_used.mean())
            for name, each in (("float32", bundle), ("int8", int8))
        }
    rows = {}
    heads = "".join(f"{head:>14}" for head in BASELINES)
    click.echo(f"{'one image, one thread':<32}{'mean ms':>9}{'quartiles':>18}{heads}")
    for name, each in times.items():
        low, middle, high = (float(ms) for ms in np.percentile(each.mean(axis=1), (25, 50, 75)))
        over = {key: ratio(times[peer], each).median for key, peer in BASELINES.items() if peer in times}
        rows[name] = {"mean_ms": middle, "low_ms": low, "high_ms": high, "speedup": over}
        cells = "".join(f"{value:>13.2f}x" for value in over.values())
        click.echo(f"{name:<32}{middle:>9.3f}{low:>9.3f}-{high:<8.3f}{cells}")
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
    """Call a program on one part of the images."""
    return program(parts[i])


def version(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
