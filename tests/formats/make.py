"""Make a folder of fixtures with the code of today: ``python -m tests.formats.make tests/formats/version-X``.

Once for every version whose formats differ; a folder that is there is never made again, since it
shows what older versions have written. ``run/report.json`` has the commit and the machine.
"""

import io
import json
import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from tests.formats import make_answers

HERE = Path(__file__).resolve().parent
CLASSES = 5
TRAIN, TEST = 200, 40
MEAN_MS = 0.001  # less than anything takes, so that the narrow network is narrower than the base


def call(*words: object) -> str:
    """Run a command line in this process as if it had been typed; what it printed."""
    from eed_edge.cli import main

    sys.argv = ["eed-edge", *map(str, words)]
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            main()
    except SystemExit as end:
        if end.code:
            raise
    print(output.getvalue(), end="")
    return output.getvalue()


def make_images(folder: Path) -> None:
    """The first digits of scikit-learn, 8x8, that are below 5."""
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    places = np.flatnonzero(labels < CLASSES)[: TRAIN + TEST]
    pixels = np.rint(grey[places].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    folder.mkdir()
    for name, part in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
        np.savez_compressed(folder / f"{name}.npz", images=pixels[part], labels=labels[places][part])


def make_run(run: Path, under_way: Path) -> None:
    """Train epoch by epoch, and keep each kind of unfinished file once."""
    while not (run / "joint.json").exists():
        call("train", "recipe.toml", "--data", "data", "--run", run, "--max-minutes", 0)
        keep(run, "base.state", under_way / "base")
        if (run / "pool" / "erm-0.state").exists():
            keep(run, "pool/erm-0.pruned", under_way / "pool")
            keep(run, "pool/erm-0.state", under_way / "pool")
        keep(run, "joint.state", under_way / "joint")


def keep(run: Path, name: str, to: Path) -> None:
    """The file, if it is there for the first time, and the log up to it."""
    if (run / name).exists() and not (to / name).exists():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / name, to / name)
        shutil.copy(run / "log.jsonl", to / "log.jsonl")


def make_networks(folder: Path) -> None:
    """A pruned network of each kind that the package has itself, and its answers."""
    from eed_edge.train.networks.checkpoint import load_network

    folder.mkdir()
    images = make_answers.shown()[:4]
    answers = {"images": images}
    for arch, size in (("resnet18", 8), ("vgg16", 32)):
        changes = (
            'scores.names=["erm"]',
            "pool.subsets=2",
            "net.width=2",
            "prune.branches=true",
            "prune.member_share=0.1",
        )
        changes += (f"net.arch={arch}", f"data.size={size}", "base.epochs=1", "prune.round_to=1")
        run = folder / f"{arch}-run"
        words = [word for change in changes for word in ("--set", change)]
        call("train", "recipe.toml", "--data", "data", "--run", run, "--until", "pool", *words)
        shutil.copy(run / "pool" / "erm-0.safetensors", folder / f"{arch}.safetensors")
        shutil.rmtree(run)
        answers[arch] = make_answers.logits(
            load_network(folder / f"{arch}.safetensors")[0], make_answers.scaled(images, size)
        )
    np.savez_compressed(folder / "answers.npz", **answers)


def main(folder: Path) -> None:
    """All of it."""
    import torch

    from tests.formats.surface import surface

    torch.cpu.get_capabilities = dict  # no bfloat16, whose weights other machines would not find again
    folder.mkdir()
    shutil.copy(HERE / "recipe.toml", folder / "recipe.toml")
    os.chdir(folder)
    run, bundle, cli = Path("run"), Path("bundle"), Path("cli")
    make_images(Path("data"))
    make_run(run, Path("under-way"))
    call("export", run, bundle, "--with-dense", "--single-file")
    narrow = ("narrow", run, bundle, "--data", "data", "--epochs", 2, "--mean-ms", MEAN_MS)
    call(*narrow, "--max-minutes", 0)
    keep(run, "narrow.state", Path("under-way/narrow"))
    call(*narrow)
    cli.mkdir()
    call("attack", run, bundle, "--data", "data", "--json", cli / "attack.json")
    call("bench", bundle, "--run", run, "--repeats", 1, "--json", cli / "bench.json")
    call("bench", bundle, "--run", run, "--repeats", 1, "--tune", "--json", cli / "tune.json")
    (cli / "run.jsonl").write_text(call("run", bundle, "data/test.npz", "--json"))
    (cli / "surface.json").write_text(json.dumps(surface(), indent=1) + "\n")
    make_answers.of_run(run, bundle, Path("answers.npz"))
    make_networks(Path("networks"))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
