"""The training flow on one page: base → pool → select → joint; what is there already is not done again."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from eed_edge.errors import CheckpointError, DeviceError
from eed_edge.files import write_json
from eed_edge.prune import pool
from eed_edge.prune.groups import count
from eed_edge.recipe import Recipe
from eed_edge.select.diversity import robust_diversity
from eed_edge.select.selection import running_order, select
from eed_edge.train import attacks, base, checkpoint, joint, nets
from eed_edge.train.batches import Images, as_float, in_order
from eed_edge.train.data import Split, Splits
from eed_edge.train.ensemble import Ensemble
from eed_edge.train.loop import JUDGE_BATCH, Watch
from eed_edge.train.nets import Classifier
from eed_edge.train.run import Log, Run, read_json, save_images, start

log = logging.getLogger(__name__)
STAGES = ("base", "pool", "select", "joint")


def train(
    recipe: Recipe, splits: Splits, path: Path, *, until: str = "joint", device: str = "auto", watch: Watch
) -> Run:
    """Run the stages of ``recipe`` up to ``until`` in the folder ``path``, each one only if it is not done.

    Args:
        splits: train, tune and calib images; test is not touched.
        watch: called with a record after every batch and epoch.

    Raises:
        CheckpointError: the folder holds another run, or a damaged one.
        DeviceError: the device is not there, or its memory is too small.
    """
    chosen = choose_device(device)
    with _memory_told():
        train_images, tune = on_device(splits.train, chosen), on_device(splits.tune, chosen)
        if not (path / "base.safetensors").exists():
            _new_base(recipe, len(splits.classes), train_images)  # what cannot work fails before all else
        run = start(path, recipe, splits)
        journal = Log(path / "log.jsonl")
        dense = _base(run, train_images, tune, journal, watch)
        if until == "base":
            return run
        candidates = _pool(run, dense, train_images, tune, journal, watch)
        if until == "pool":
            return run
        members = _select(run, dense, candidates, tune)
        if until == "select":
            return run
        _joint(run, dense, members, train_images, tune, journal, watch)
    save_images(path / "calib.npz", splits.calib)
    return run


def _base(run: Run, train_images: Images, tune: Images, journal: Log, watch: Watch) -> Classifier:
    path, cfg, device = run.path / "base.safetensors", run.recipe.base, train_images.images.device
    if path.exists():
        return run.base().to(device)
    net = _new_base(run.recipe, len(run.classes), train_images)
    state = run.path / "base.state"
    fitted = base.fit(
        net, train_images, tune, cfg=cfg, augment=run.recipe.data, seed=run.recipe.seed, state=state,
        watch=journal.watch(watch, stage="base"),
    )  # fmt: skip
    log.info("%s", fitted.told("base"))
    record = {"training": fitted.summary, "history": fitted.history}
    net.load_state_dict(fitted.last)
    checkpoint.save_net(run.path / "base-last.safetensors", net, record)
    net.load_state_dict(fitted.best)
    checkpoint.save_net(path, net, record)
    state.unlink(missing_ok=True)
    return net


def _new_base(recipe: Recipe, classes: int, train_images: Images) -> Classifier:
    """The base before training, found fit for all that is to come.

    Raises:
        CheckpointError: ``base.init`` is not of this recipe.
        NetworkError: the network cannot be built, run, traced or pruned to a member's budget.
    """
    channels, net_cfg = train_images.images.shape[1], recipe.net
    if recipe.base.init:
        net, _ = checkpoint.load_net(Path(recipe.base.init))
        _check_init(net, recipe, classes, channels)
    else:
        net = nets.build(
            net_cfg.arch, classes=classes, channels=channels, width=net_cfg.width, seed=recipe.seed
        )
        base.set_normalisation(net, train_images)
    net.to(train_images.images.device)
    nets.check_logits(net, as_float(train_images.images[:2]), classes)
    pool.check_prunable(net, train_images[slice(0, 2)], recipe)
    return net


def _pool(
    run: Run, dense: Classifier, train_images: Images, tune: Images, journal: Log, watch: Watch
) -> list[Path]:
    made = pool.build(
        dense,
        train_images,
        tune,
        recipe=run.recipe,
        folder=run.path / "pool",
        watch=lambda candidate: journal.watch(watch, stage="pool", part=candidate.name),
    )
    return [path for _, path in made]


def _select(run: Run, dense: Classifier, candidates: Sequence[Path], tune: Images) -> list[Classifier]:
    """The selected members in running order; the choice is made once and kept in ``selection.json``."""
    path = run.path / "selection.json"
    device = tune.images.device
    if not path.exists():
        cfg, loaded = run.recipe.select, [checkpoint.load_net(candidate) for candidate in candidates]
        everyone = Ensemble([net for net, _ in loaded]).to(device).eval()
        probs, labels = attacked_probs(everyone, tune, recipe=run.recipe)
        failed = probs.argmax(2) != labels
        pruning = [record["pruning"] for _, record in loaded]
        params, macs = count(dense, as_float(tune.images[:1]))
        share = 1 - run.recipe.prune.sparsity
        choice = select(
            failed,
            probs=probs,
            labels=labels,
            params=np.array([row["params"] for row in pruning]),
            macs=np.array([row["macs"] for row in pruning]),
            budget_params=share * params,
            budget_macs=share * macs,
            rule=cfg.rule,
            rd=cfg.rd,
            member_gap=cfg.member_gap,
        )
        log.info("%s", choice.reason)
        write_json(
            path,
            {
                "members": [candidates[i].stem for i in choice.members],
                "rd": choice.rd,
                "attacked": choice.attacked_accuracy,
                "reason": choice.reason,
                "attacked_alone": {
                    c.stem: float(1 - f.mean()) for c, f in zip(candidates, failed, strict=True)
                },
                "considered": [candidates[i].stem for i in choice.considered],
            },
        )
    names = read_json(path)["members"]
    return [checkpoint.load_net(run.path / "pool" / f"{name}.safetensors")[0].to(device) for name in names]


def _joint(
    run: Run,
    dense: Classifier,
    members: list[Classifier],
    train_images: Images,
    tune: Images,
    journal: Log,
    watch: Watch,
) -> None:
    path, cfg, names = (
        run.path / "joint.json",
        run.recipe.joint,
        read_json(run.path / "selection.json")["members"],
    )
    if path.exists():
        return
    if note := joint.note_switched_off(cfg, members=len(members), classes=len(run.classes)):
        log.warning("%s", note)
    ensemble, state = Ensemble(members), run.path / "joint.state"
    fitted = joint.fit(
        ensemble, train_images, tune, base=dense, cfg=cfg, augment=run.recipe.data,
        seed=run.recipe.seed + 500_000, state=state, watch=journal.watch(watch, stage="joint"),
    )  # fmt: skip
    log.info("%s", fitted.told("joint"))
    probs, labels = attacked_probs(ensemble, tune, recipe=run.recipe)
    order = running_order(probs, labels)
    checkpoint.save(run.path / "joint" / "last.safetensors", fitted.last, {"members": names})
    for place, index in enumerate(order):
        _, record = checkpoint.load_net(run.path / "pool" / f"{names[index]}.safetensors")
        kept = {"pruning": record["pruning"], "candidate": names[index]}
        checkpoint.save_net(run.member_path(place), members[index], kept)
    prefixes = [
        float((probs[order[:t]].mean(0).argmax(1) == labels).mean()) for t in range(1, len(order) + 1)
    ]
    write_json(
        path,
        {
            "members": [names[index] for index in order],
            "rd": robust_diversity(probs.argmax(2) != labels),
            "attacked_by_prefix": prefixes,
            "training": fitted.summary,
            "notes": [note] if note else [],
        },
    )
    state.unlink(missing_ok=True)


def attacked_probs(ensemble: Ensemble, images: Images, *, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Every member's probabilities on images attacked against the mean of all of them.

    Returns:
        ``(members, n, k)`` float32 and the labels ``(n,)``.

    Source:
        EED, sec. 4.2: the failures from which robust diversity is computed.
    """
    generator = torch.Generator(images.images.device).manual_seed(recipe.seed)
    eps = recipe.pool.eps_255 / 255
    parts = []
    with attacks.frozen(ensemble):
        for batch, labels in in_order(images, JUDGE_BATCH):
            attacked = attacks.pgd(
                ensemble,
                batch,
                labels,
                eps=eps,
                step=eps / 4,
                steps=recipe.pool.judge_steps,
                generator=generator,
            )
            with torch.no_grad():
                parts.append(ensemble.each(attacked).float().softmax(2).cpu().numpy())
    return np.concatenate(parts, 1), images.labels.cpu().numpy()


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA where it is there, else the CPU.

    Raises:
        DeviceError: ``cuda`` was asked for and is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "--device cuda: expected a CUDA device, torch finds none;"
            " use --device cpu or install a CUDA build"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def on_device(split: Split, device: torch.device) -> Images:
    """The split as tensors on the device: images uint8 ``(n, c, h, w)`` and labels int64."""
    return Images(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


def _check_init(net: Classifier, recipe: Recipe, classes: int, channels: int) -> None:
    wanted = {"arch": recipe.net.arch, "width": recipe.net.width, "classes": classes, "channels": channels}
    for key, value in wanted.items():
        if net.architecture[key] != value:
            raise CheckpointError(
                f"base.init: expected a network with {key} {value!r}, got {net.architecture[key]!r}"
            )


@contextmanager
def _memory_told() -> Iterator[None]:
    """Too little memory becomes one line that says which setting to lower."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
            raise DeviceError(
                "out of memory; lower the batch of the stage, such as --set base.batch=64"
            ) from error
        raise
