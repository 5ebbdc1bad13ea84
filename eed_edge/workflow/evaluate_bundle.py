"""Measure a bundle on test images from Python."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from eed_edge import arguments
from eed_edge.evaluate.evaluate import evaluate
from eed_edge.evaluate.models_compared import ProgressCallback
from eed_edge.train.data.splits import ImagesSource
from eed_edge.train.networks.network_objects import register_network
from eed_edge.train.run_folder import Run, open_run


def evaluate_bundle(
    run: Run | str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    data: ImagesSource = None,
    *,
    network: nn.Module | None = None,
    images: int | None = None,
    suite: str | None = None,
    only: str | Sequence[str] = (),
    device: str = "cpu",
    command: str = "",
    on_progress: ProgressCallback = lambda what, done, total: None,
) -> dict[str, Any]:
    """Measure clean and attacked accuracy on the test images; as ``eed-edge attack`` does.

    The figures go into ``report.json`` of the run, too. Called again, an evaluation that was stopped goes on.

    Args:
        run: as ``train_team`` returns it, or its folder.
        bundle: exported from the run.
        data: the images as in training.
        network: the network that was passed to ``train_team``, if that was another process.
        images: number of test images, drawn by the recipe's seed; None takes all.
        suite: ``quick``, ``standard`` or ``clean``; None takes ``quick``, or ``clean`` for a run without
            attacks.
        only: attack or attacks of the suite; empty for all and the further analyses.
        device: ``auto``, ``cpu`` or ``cuda``, for the attacks; the bundle runs on the CPU.
        command: the command that made the figures, for the report.
        on_progress: called with the name of the work, the steps done and their number.

    Returns:
        The report; ``["accuracy"]["pgd20"]["dynamic"]`` is the deployed rule's share of right answers under
        PGD-20, in [0, 1], ``static`` that of all members' mean, ``dense`` that of the unpruned base.

    Raises:
        CheckpointError: joint training has not finished, run and bundle do not belong together, or ``data``
            are other images.
        InputError: more images than test has, no such suite or attack.
    """
    if images is not None:
        arguments.positive_int("images", images, advice="None takes all of test")
    if network is not None:
        register_network(network)
    return evaluate(
        run if isinstance(run, Run) else open_run(Path(run)),
        Path(bundle),
        data,
        images=images,
        suite_name=suite,
        only=[only] if isinstance(only, str) else only,
        device=device,
        command=command,
        on_progress=on_progress,
    )
