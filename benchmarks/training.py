"""Images a second of adversarial training: our step against a plain eager PyTorch loop.

    .venv/bin/python benchmarks/training.py --width 16

Same network, attack (N-FGSM), batch and optimiser. The plain loop has a DataLoader with per-image crop
and flip, float32 and the default layout. Both take turns in one process; figures are medians over rounds.
Writes benchmarks/results/training.json unless --json says otherwise.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.recipe import Base
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.epoch import train_epoch
from eed_edge.train.networks import build
from eed_edge.train.state import initial_state
from eed_edge.train.system.devices import choose_device

RESULTS = Path(__file__).parent / "results"
EPS = 8 / 255


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """A data set that shifts and mirrors one picture at a time, as tutorials do."""

    def __init__(self, data: Images) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = F.pad(self.data.images[index].float() / 255, (4, 4, 4, 4))
        top, left, mirror = (int(torch.randint(0, high, ())) for high in (9, 9, 2))
        image = image[:, top : top + 32, left : left + 32]
        return image.flip(2) if mirror else image, self.data.labels[index]


def plain_epoch(net: nn.Module, data: Images, cfg: Base, device: torch.device) -> None:
    """One epoch of the loop that tutorials show."""
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    for batch, target in DataLoader(Pictures(data), cfg.batch, shuffle=True, drop_last=True):
        images, labels = batch.to(device), target.to(device)
        net.eval()
        noisy = (images + torch.empty_like(images).uniform_(-2 * EPS, 2 * EPS)).requires_grad_()
        F.cross_entropy(net(noisy), labels).backward()  # type: ignore[no-untyped-call]
        assert noisy.grad is not None
        attacked = (noisy + EPS * noisy.grad.sign()).clamp(0, 1).detach()
        net.train()
        optimiser.zero_grad()
        loss = F.cross_entropy(net(attacked), labels, label_smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss.item()  # as most loops log it


def loss(net: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor, soft: Tensor | None) -> Tensor:
    """The loss of ``plain_epoch``."""
    return F.cross_entropy(net(attacked), labels, label_smoothing=0.1)


@click.command(help=__doc__)
@click.option("--arch", default="resnet18", show_default=True)
@click.option("--width", type=int, default=16, show_default=True)
@click.option("--images", "count", type=int, default=1024, show_default=True, help="Images a round.")
@click.option("--rounds", type=int, default=5, show_default=True)
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "training.json")
def main(arch: str, width: int, count: int, rounds: int, device_name: str, target: Path) -> None:
    """Measure both in turn and write the ratio."""
    device = choose_device(device_name)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,), generator=generator)
    ours_data, plain_data = Images(pixels.to(device), labels.to(device)), Images(pixels, labels)
    cfg = Base(epochs=10_000, batch=128, lr=1e-3, averaging=0.995)
    ours, plain = (
        build.build_network(arch, classes=10, channels=3, width=width).to(device) for _ in range(2)
    )
    ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state, context = initial_state(ours, cfg), TrainingContext()
    checkpoints = Checkpointing(lambda: None, time_limit=context.time_limit)

    def our_epoch() -> None:
        state.batch, state.trained_s, state.local = 0, 0.0, {}
        train_epoch(ours, ours_data, state, cfg=cfg, loss=loss, context=context, checkpoints=checkpoints)

    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for round_number in range(rounds + 1):  # the first warms up
        for name, epoch in (
            ("ours", our_epoch),
            ("plain", lambda: plain_epoch(plain, plain_data, cfg, device)),
        ):
            started = time.perf_counter()
            epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    figures = summary(seconds, count // cfg.batch * cfg.batch)
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/training.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "commit": report.commit(),
            "network": f"{arch}, width {width}",
            "n": rounds,
            **figures,
        },
    )
    for name in ("ours", "plain"):
        click.echo(f"{name:<6}{figures[name]['images_per_s']:>9.1f} images/s")
    click.echo(f"ratio {figures['ratio']:.2f}x; written: {target}")


def summary(seconds: dict[str, list[float]], images: int) -> dict[str, Any]:
    """Images a second (median, least, most) and the median of the ratios, round by round."""
    ratios = [plain / ours for ours, plain in zip(seconds["ours"], seconds["plain"], strict=True)]
    rates = {
        name: {
            "images_per_s": images / statistics.median(times),
            "least": images / max(times),
            "most": images / min(times),
        }
        for name, times in seconds.items()
    }
    return {
        **rates,
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }


if __name__ == "__main__":
    main()
