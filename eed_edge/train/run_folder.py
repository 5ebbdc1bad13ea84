"""Run folder: files of a training run.

::

    run.json                    recipe, classes, input, fingerprint of the data
    log.jsonl                   a line per epoch
    base.safetensors            best weights (base-last: those of the last epoch)
    soft_labels.npz             the base's answers to the training images, if the recipe wants them once
    pool/<score>-<subset>.safetensors
    selection.json
    joint/member-<i>.safetensors, joint/last.safetensors
    joint.json                  written last: the team is ready
    narrow.safetensors, single.safetensors   the baselines, each with its plan in .json and its .onnx
    calib.npz                   the images that only the gate may use
    report.json                 figures
    per_image.npz               which test images each network has right under each attack
    judged.jsonl                a line per evaluation on test images
"""

import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eed_edge import recipe as recipes
from eed_edge import schema
from eed_edge.atomic_files import write_atomic, write_json
from eed_edge.errors import CheckpointError
from eed_edge.files.npz_archive import read_arrays
from eed_edge.files.regular_files import read_regular
from eed_edge.manifest import MANIFEST_FILE, InputSpec
from eed_edge.printable import to_copy
from eed_edge.provenance import BASELINES, evaluated_digest, manifest_digest
from eed_edge.recipe import Recipe
from eed_edge.train.data.splits import Split, Splits
from eed_edge.train.data.unused_folder import check_unused
from eed_edge.train.fingerprints import first_difference, images_digest

if TYPE_CHECKING:  # torch takes seconds, and who reads a report needs no network
    from eed_edge.train.networks.build import Classifier
    from eed_edge.train.networks.ensemble import Ensemble

FORMAT = 1


@dataclass(frozen=True)
class Run:
    """One run folder and the contents of its ``run.json``."""

    path: Path
    recipe: Recipe
    classes: tuple[str, ...]
    input: InputSpec
    data_digest: str

    def base(self) -> "Classifier":
        """The dense network, best weights, in evaluation mode.

        Raises:
            CheckpointError: it is missing, damaged or of another run.
        """
        return self._load_checked(self.path / "base.safetensors")

    def baselines(self) -> "dict[str, Classifier]":
        """The static baselines that were trained, ``narrow`` and ``single``, in evaluation mode.

        Raises:
            CheckpointError: one is damaged or of another run.
        """
        paths = {name: self.path / f"{name}.safetensors" for name in BASELINES}
        return {name: self._load_checked(path) for name, path in paths.items() if path.exists()}

    def _load_checked(self, path: Path) -> "Classifier":
        """Load a network and check that it fits the recipe and the run's images."""
        from eed_edge.train.networks.checkpoint import load_network

        net, _ = load_network(path, named_arch=self.recipe.net.arch)
        expected = {
            "arch": self.recipe.net.arch,
            "classes": len(self.classes),
            "channels": self.input.size[0],
            "width": self.recipe.net.width,
        }
        if difference := first_difference(net.architecture, expected, sides=("in the file", "in run.json")):
            raise CheckpointError(
                f"{path}: expected a network of this run, but {difference}; put the run's own file back"
            )
        return net

    def members(self) -> "list[tuple[Classifier, dict[str, Any]]]":
        """The jointly trained members in running order, each with its record.

        Raises:
            CheckpointError: joint training has not finished.
        """
        from eed_edge.train.networks.checkpoint import load_network

        arch = self.recipe.net.arch
        return [load_network(path, named_arch=arch) for path in self.member_paths()]

    def member_paths(self) -> list[Path]:
        """The weight files of the members in running order.

        Raises:
            CheckpointError: joint training has not finished.
        """
        paths = [self.member_path(i) for i in range(len(self.joint()["members"]))]
        for path in paths:
            if not path.is_file():
                raise CheckpointError(
                    f"{self.path}: joint training has not finished, {path.relative_to(self.path)} is missing;"
                    " delete joint.json and run eed-edge train"
                )
        return paths

    def ensemble(self) -> "Ensemble":
        """The members as one network, in evaluation mode."""
        from eed_edge.train.networks.ensemble import Ensemble

        return Ensemble([net for net, _ in self.members()]).eval()

    def joint(self) -> dict[str, Any]:
        """The record of joint training, ``joint.json``.

        Raises:
            CheckpointError: joint training has not finished.
        """
        path = self.path / "joint.json"
        if not path.exists():
            raise CheckpointError(
                f"{self.path}: joint training has not finished; run eed-edge train to its end first"
            )
        team = read_json(path)
        try:
            schema.read_typed(tuple[str, ...], team.get("members"), "members")
        except ValueError as error:
            raise CheckpointError(
                f"{path} is damaged ({error}); delete it and run eed-edge train again"
            ) from error
        return team

    def member_path(self, index: int) -> Path:
        """Weight file of the member at ``index`` of the running order."""
        return self.path / "joint" / f"member-{index}.safetensors"

    def check_data(self, splits: Splits) -> None:
        """Check that the images are those that the run was trained on.

        Raises:
            CheckpointError: they are not.
        """
        if images_digest(splits) != self.data_digest:
            raise CheckpointError(f"{self.path} was trained on other images; give the same --data")

    def evaluated_digest(self, bundle: Path) -> "hashlib._Hash":
        """SHA-256 of what ``attack`` evaluates: the manifest with its digests, base and baselines."""
        return evaluated_digest(self.path, bundle)

    def check_report(self, report: Mapping[str, Any], bundle: Path) -> None:
        """Check that the report's figures are of this bundle, and accuracies of these networks.

        Raises:
            CheckpointError: they are not.
        """
        path, latency = self.path / "report.json", report.get("latency")
        attacked = not report.keys().isdisjoint({"accuracy", "evaluated"})
        if attacked and report.get("evaluated") != self.evaluated_digest(bundle).hexdigest():
            raise CheckpointError(
                f"{path}: expected figures of {bundle}, base.safetensors and baselines as they are now, got"
                " those of other files; run eed-edge attack again"
            )
        timed = latency.get("bundle") if isinstance(latency, Mapping) else None
        if timed not in (None, manifest_digest(bundle)):  # older versions do not name it
            again = to_copy("bench", bundle, "--run", self.path)
            raise CheckpointError(f"{path}: expected times of {bundle}, got those of another; run {again}")

    def calib(self) -> Split:
        """The calibration set, which only the gate may use."""
        path = self.path / "calib.npz"
        try:
            arrays = read_arrays(path, ["images", "labels"])
            return Split(arrays["images"].transpose(0, 3, 1, 2), arrays["labels"])
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.path}: no calib.npz; run eed-edge train to its end first"
            ) from error
        except Exception as error:  # damage makes numpy and zipfile raise many types
            raise CheckpointError(
                f"{path}: expected a whole NPZ file, got: {error}; delete it and train again"
            ) from error


def create_or_resume(path: Path, recipe: Recipe, splits: Splits) -> Run:
    """Create the run of a folder, or open the one begun there with the same recipe and data.

    Sections of the recipe that no stage has used yet may differ; the new ones are stored.

    Raises:
        CheckpointError: the folder holds a run of another recipe, other data or another version, or no run.
    """
    run = Run(path, recipe, splits.classes, splits.input, images_digest(splits))
    if (path / "run.json").exists():
        old = open_run(path)
        stored, asked = old.recipe.as_dict(), recipe.as_dict()
        fixed = {key for key in stored if any((path / file).exists() for file in _BEGUN.get(key, ()))}
        if difference := first_difference({key: stored[key] for key in stored if key in fixed}, asked):
            raise CheckpointError(
                f"{path} holds a run of another recipe ({difference}); choose another --run folder"
            )
        if "data" in fixed:
            old.check_data(splits)
        for leftover in path.rglob(".*.part"):  # of a run that was killed while it wrote
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        if stored == asked and old.data_digest == run.data_digest:
            return old
    else:
        check_unused(path)
    write_json(
        path / "run.json",
        {
            "format": FORMAT,
            "recipe": recipe.as_dict(),
            "classes": list(run.classes),
            "input": dataclasses.asdict(run.input),
            "data": run.data_digest,
        },
    )
    return run


_BASE = ("base.state", "base.safetensors")
_BEGUN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("seed", "data", "net", "base"), _BASE),
    **dict.fromkeys(("scores", "prune", "pool"), ("pool",)),
    "select": ("selection.json",),
    "joint": ("joint.state", "joint.json"),
}
"""Files that show that a section of the recipe has been used and must not change."""


def open_run(path: Path) -> Run:
    """Open the run of a folder that ``create_or_resume`` made.

    Raises:
        CheckpointError: there is none, or it is damaged or of another version.
    """
    if not (path / "run.json").is_file():
        hint = ": it is a bundle" if (path / MANIFEST_FILE).is_file() else ""
        raise CheckpointError(
            f"{path}: no run here (run.json is missing){hint}; make one with eed-edge train"
        )
    record = read_json(path / "run.json")
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a run of format {FORMAT}, got {record.get('format')!r}; train again"
        )
    try:
        return Run(
            path,
            recipes.from_dict(record["recipe"]),
            schema.read_typed(tuple[str, ...], record["classes"], "classes"),
            schema.read_typed(InputSpec, record["input"], "input"),
            schema.read_typed(str, record["data"], "data"),
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path / 'run.json'} is damaged ({error}); train again into another folder"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of the run folder.

    Raises:
        CheckpointError: the file is missing, cut short or no object.
    """
    try:
        value = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; run eed-edge train first") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, got: {error}; delete it and train again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object; delete it and train again")
    return value


def save_images(path: Path, split: Split) -> None:
    """Write a split as an NPZ file that every command reads: images ``(n, h, w, c)`` uint8, labels."""
    stream = io.BytesIO()
    np.savez_compressed(stream, images=split.images.transpose(0, 2, 3, 1), labels=split.labels)
    write_atomic(path, stream.getvalue())
