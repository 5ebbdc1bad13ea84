"""A whole run folder by hand, small and without training: what ``attack``, ``bench`` and ``narrow`` leave."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge import manifest, recipe
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from eed_edge.manifest import Manifest
from eed_edge.report import wilson

MEMBERS = 2
CLASSES = ("cat", "<b>dog</b>", 'owl "&"')


def bundle_manifest(name: str = "tiny") -> Manifest:
    entry = {"sha256": "0" * 64, "bytes": 2**20}
    loss = manifest.RuleLoss(0.0, 0.0, 0.0, 1.5)
    return Manifest(
        name=name,
        created_by=manifest.CreatedBy("eed-edge", "0"),
        classes=CLASSES,
        input=manifest.InputSpec(
            name="images", shape=("N", 3, 4, 4), channels="RGB", preprocess=manifest.Preprocess()
        ),
        submodels=tuple(
            manifest.SubmodelEntry(
                f"submodel-{i}.onnx", **entry, params=100, macs=200, importance="nis", subset=i
            )
            for i in range(MEMBERS)
        ),
        gate=manifest.GateSpec(
            "confidence",
            manifest.GateParameters(Confidence(0.6), Agreement(2), Geometric(1, 1)),
        ),
        calibration=manifest.Calibration(10, "pgd-20", 0.1, False, loss, loss, loss),
        files={"golden.npz": manifest.FileEntry(**entry)},
    )


def shares(images: int = 400, **by_network: float) -> dict[str, Any]:
    bounds = {name: list(wilson(round(value * images), images)) for name, value in by_network.items()}
    return {**by_network, "images": images, "interval": bounds}


def work(mean: float, most: int) -> dict[str, Any]:
    bounds = list(wilson(200, 400))
    return {"mean": mean, "max": most, "mean_ms": 0.7, "p99_ms": 1.9, "accuracy": 0.5, "interval": bounds}


def difference(only: int, other: int, images: int = 400) -> dict[str, Any]:
    """A row of ``paired``, its interval by the normal distribution."""
    share, half = (only - other) / images, 1.96 * (only + other) ** 0.5 / images
    p = 0.01 if abs(share) > half else 0.5
    return {
        "difference": share,
        "interval": [share - half, share + half],
        "p": p,
        "only_dynamic": only,
        "only_other": other,
    }


def times(ms: float) -> dict[str, float]:
    low, high = (
        dict.fromkeys(("p25_ms", "mean_low_ms"), ms / 2),
        dict.fromkeys(("p75_ms", "mean_high_ms"), 2 * ms),
    )
    return dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "mean_ms"), ms) | low | high


def conditions(other_cores: float | None) -> dict[str, Any]:
    loads = {"load_start": 0.25, "load_end": 1.25, "mhz_start": 2100.0, "mhz_end": None}
    machine = {"cpu": "Some <CPU>", "cores": 2, "simd": ["avx2", "amx_int8"], "governor": None}
    return machine | loads | {"other_cores": other_cores, "seconds": 12.5}


def full_report() -> dict[str, Any]:
    """Every part of docs/REPORT.md, with figures that are easy to recognise."""
    plain = recipe.from_dict({"name": "tiny", "data": {"name": "cifar10"}, "net": {"width": 16}}).as_dict()
    shifted = {"accuracy": 0.61, "interval": [0.56, 0.66], "submodels_used": 1.6, "ece": 0.037}
    shifted |= {"abstained": 0.1, "abstained_right": 0.05, "abstained_wrong": 0.25}
    uneven = [
        {"threshold": t, "submodels_used": 1.5, **shares(clean=0.7, attacked=0.3 + t / 20)}
        for t in (0.2, 0.6, 2)
    ]
    uneven[1]["deployed"] = True
    return {
        "machine": {
            "cpu": "Some <CPU>",
            "cores": 2,
            "os": "Linux",
            "python": "3.11",
            "versions": {"numpy": "2.4"},
        },
        "commit": "0123abc",
        "seed": 7,
        "recipe": plain,
        "commands": {"attack": "eed-edge attack run bundle --data 'a & b'"},
        "accuracy": {
            "clean": shares(dense=0.8125, narrow=0.71, static=0.79, dynamic=0.7875),
            "pgd20": shares(dense=0.5, narrow=0.41, static=0.49, dynamic=0.48),
            "autoattack": shares(dense=0.45, narrow=0.3, static=0.44, dynamic=0.43),
            "adaptive": shares(dense=0.45, narrow=0.3, static=0.42, dynamic=0.21),
        },
        "paired": {
            "clean": {"images": 400, "dense": difference(20, 30), "narrow": difference(51, 20)},
            "adaptive": {"images": 400, "dense": difference(2, 98), "narrow": difference(4, 40)},
        },
        "prefixes": {
            kind: {
                "images": 400,
                "right": list(both),
                "interval": [list(wilson(round(400 * share), 400)) for share in both],
            }
            for kind, both in {"clean": (0.75, 0.79), "autoattack": (0.33, 0.44)}.items()
        },
        "duplicates": {
            "near": {"correlation": 0.95, "difference_255": 8.0},
            "pairs": {"train and test": {"exact": 3, "near": 21}},
        },
        "attacks": {
            "autoattack": {
                "settings": {"eps": 8.0, "steps": 100},
                "seconds": 4000.0,
                "warnings": ["masked <?>"],
            }
        },
        "adaptive": {
            "images": 400,
            "items": [
                {
                    "name": "prefix 1",
                    "dynamic": 0.25,
                    "interval": [0.2, 0.3],
                    "seconds": 12.5,
                    "warnings": ["odd"],
                }
            ],
            "dynamic": 0.43,
            "static": 0.42,
            "difference": 0.01,
            "warning": "the stop may hide gradients",
        },
        "slowdown": {
            "images": 400,
            "settings": "PGD",
            "uncapped": {"clean": work(1.25, 2), "pgd20": work(1.5, 2), "slowdown": work(1.875, 2)},
            "capped": {"max_submodels": 1, "clean": work(1, 1), "pgd20": work(1, 1), "slowdown": work(1, 1)},
        },
        "replay": {
            "images": 400,
            "allowed": 1,
            "disagreements": [{"image": 17, "attack": "pgd20", "torch": 1, "bundle": 2, "margin": 3e-7}],
        },
        "shift": {
            "images": 400,
            "clean": shifted,
            "attacked": [{"name": "pgd20", **shifted}],
            "corruptions": [{"name": "noise", "strength": s, **shifted} for s in (1, 2, 3)],
            "no_class": [
                {"name": "uniform", "images": 50, "submodels_used": 2.0, "confidence": 0.4, "abstained": 0.75}
            ],
        },
        "submodels_used": {"clean": 1.25, "pgd20": 1.5, "slowdown": 1.875},
        "latency": {
            "threads": 1,
            "images": 400,
            **{name: times(ms) for name, ms in (("dense", 1.5), ("static", 1.25), ("dynamic", 0.625))},
            "submodels": [times(0.5), times(0.6)],
            "prefixes": [times(0.55), times(1.25)],
            "speedups": {
                name: {"median": middle, "low": middle - 0.1, "high": middle + 0.1}
                for name, middle in (("dynamic", 2.4), ("pgd20", 2.0), ("slowdown", 1.5), ("static", 1.2))
            },
            "conditions": conditions(0.125),
            "speedup_mean": 2.4,
            "speedup_worst": 1.2,
            "overhead_ratio": 1.09,
            "load_ms": {"dense": 40.0, "ensemble": 30.0},
            "peak_rss_mib": {"dense": 90.0, "ensemble": 70.0},
        },
        "narrow": {
            "params": 330_000,
            "macs": 16_000_000,
            "mean_ms": 0.63,
            "target_ms": 0.625,
            "epochs": 12,
            "budget": {"counted": "all passes", "epochs_by_hand": False, "macs": {"base": 1.25e12}},
        },
        "cost": {
            key: {"dense": 1_000_000, "ensemble": 250_000, "each": [125_000] * 2}
            for key in ("params", "macs", "bytes")
        },
        "sparsity": 0.75,
        "rd": 0.543,
        "curves": {
            "threshold": {
                "rule": "confidence",
                "images": 400,
                "rows": [{**item, "mean_ms": 0.5 + item["threshold"] / 4} for item in uneven],
            },
            "eps": {
                "images": 100,
                "rows": [
                    {"eps_255": e, **shares(100, dense=0.8 - e / 20, static=0.7, dynamic=0.6)}
                    for e in (0, 4.0, 8)
                ],
            },
            "stopping": {"clean": [0.75, 0.25], "pgd20": [0.5, 0.5], "slowdown": [0.125, 0.875]},
            "agreement": {"clean": [[1, 0.9], [0.9, 1]], "pgd20": [[1, 0.4], [0.4, 1]]},
            "rd": {
                "threshold": 0.7,
                "rows": [{"size": s, "teams": 66, "min": 0.4, "mean": 0.5, "max": 0.6} for s in (2, 3)],
                "chosen": {"size": 2, "rd": 0.543},
            },
            "widths": {"layers": ["a$b$", "fc<1>"], "dense": [16, 32], "each": [[8, 16], [8, 24]]},
        },
    }


def log_rows() -> list[dict[str, Any]]:
    rows = [{"stage": "base", "epoch": e, "clean": 0.5 + e / 10, "attacked": 0.3} for e in (0, 1)]
    rows += [
        {"stage": "pool", "part": part, "epoch": 0, "clean": 0.4, "attacked": 0.2}
        for part in ("nis-0", "erm-0")
    ]
    return [*rows, {"stage": "joint", "epoch": 0, "clean": 0.6, "attacked": 0.375}]


def arrays() -> dict[str, np.ndarray]:
    """Two images of the strip: the first right throughout, the second fooled; three in all."""
    clean = np.full((2, 4, 4, 3), 0.5, np.float32)
    attacked = clean.copy()
    attacked[0, 0, 0, 0] += 0.03125
    return {
        "images": np.arange(3 * 48, dtype=np.uint8).reshape(3, 4, 4, 3),
        "labels": np.array([0, 1, 2]),
        "submodels_used": np.array([1, 2, 1]),
        "strip_clean": clean,
        "strip_attacked": attacked,
        "strip_labels": np.array([0, 1]),
        "strip_said_clean": np.array([[0, 0], [1, 2]]),
        "strip_said_attacked": np.array([[0, 0], [2, 2]]),
        "strip_answer_clean": np.array([0, 1]),
        "strip_answer_attacked": np.array([0, 2]),
        "strip_used_clean": np.array([1, 1]),
        "strip_used_attacked": np.array([1, 2]),
    }


def fill(run: Path, report: dict[str, Any]) -> Path:
    """Write a run folder with everything that the page reads."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "report.json").write_text(json.dumps(report))
    (run / "log.jsonl").write_text("".join(json.dumps(item) + "\n" for item in log_rows()))
    np.savez(run / "evaluation.npz", **arrays())
    return run
