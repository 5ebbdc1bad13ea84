"""The card of a bundle: huggingface_hub reads its first lines, and every figure is one of report.json."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard

from eed_edge.export.model_card import front_matter, model_card
from eed_edge.manifest import parse_manifest
from eed_edge.recipe import from_dict
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call

MODEL = Path(__file__).parents[2] / "models" / "cifar10-resnet18-w16"
REPORT = json.loads((MODEL / "report.json").read_text())


def test_a_hub_reads_licence_data_and_every_accuracy_of_the_report():
    card = ModelCard((MODEL / "card.md").read_text()).data
    assert (card.license, card.datasets, card.metrics) == ("apache-2.0", ["uoft-cs/cifar10"], ["accuracy"])
    assert card.pipeline_tag == "image-classification"
    assert card.hardware.startswith(REPORT["machine"]["cpu"])
    assert card.model_name == MODEL.name
    values = sorted(result.metric_value for result in card.eval_results)
    assert values == sorted(row["dynamic"] for row in REPORT["accuracy"].values())
    for result in card.eval_results:
        assert (result.metric_type, result.dataset_type) == ("accuracy", "uoft-cs/cifar10")
        assert (result.dataset_split, result.task_type) == ("test", "image-classification")


def test_without_a_report_no_figure_and_no_licence_is_claimed(flow: Flow):
    manifest = parse_manifest((flow.bundle / "manifest.json").read_bytes())
    card = ModelCard(model_card(manifest, open_run(flow.run).recipe, {}))
    assert card.data.license == "unknown"
    assert card.data.eval_results is None
    assert not {"metrics", "hardware", "datasets"} & card.data.to_dict().keys()
    assert "None was measured when this card was written" in card.text
    assert "Whoever publishes this bundle names it here" in card.text


def test_a_report_of_this_bundle_goes_into_its_card_and_one_of_another_does_not(flow: Flow, tmp_path):
    run, bundle = (
        shutil.copytree(flow.run, tmp_path / "run"),
        shutil.copytree(flow.bundle, tmp_path / "bundle"),
    )
    row = {"dense": 0.8, "dynamic": 0.75, "images": 40}
    row["interval"] = {"dense": [0.7, 0.9], "dynamic": [0.6, 0.85]}
    report = {"accuracy": {"clean": row, "pgd20": row}, "evaluated": "0" * 64}
    (run / "report.json").write_text(json.dumps(report))
    assert "expected figures of" in call("report", run, bundle, "--card").stderr
    report["evaluated"] = open_run(run).evaluated_digest(bundle).hexdigest()
    (run / "report.json").write_text(json.dumps(report))
    assert call("report", run, bundle, "--card").stdout == f"card: {bundle / 'README.md'}\n"
    card = ModelCard((bundle / "README.md").read_text())
    assert [result.metric_value for result in card.data.eval_results] == [0.75, 0.75]
    assert "| PGD-20 | 75.0 (60.0 to 85.0) | 80.0 (70.0 to 90.0) | 40 |" in card.text
    assert call("check", bundle).exit_code == 0
    times = {name: {"mean_ms": ms} for name, ms in (("dynamic", 0.5), ("dense", 1.5), ("dense_int8", 0.75))}
    report["machine"] = {"cpu": "Some CPU", "cores": 2}
    report["latency"] = {"threads": 1, "batch": 1, **times, "speedups_int8": {"dynamic": {"median": 1.5}}}
    row["dense_int8"], row["interval"]["dense_int8"] = 0.7, [0.6, 0.8]
    (run / "report.json").write_text(json.dumps(report))
    readme = bundle / "README.md"
    readme.write_text(readme.read_text().replace("license: unknown", "license: mit"))
    call("report", run, bundle, "--card")
    assert ModelCard(readme.read_text()).data.license == "mit"  # as the publisher wrote it
    text = ModelCard(readme.read_text()).text
    assert "| PGD-20 | 75.0 (60.0 to 85.0) | 80.0 (70.0 to 90.0) | 70.0 (60.0 to 80.0) | 40 |" in text
    assert (
        "0.5 ms in the mean, the dense base 1.5 ms, the dense base in int8 0.75 ms"
        " (the bundle is 1.50 times as fast)." in text
    )


def test_a_name_cannot_end_the_first_lines(flow: Flow):
    name = "x\n---\nlicense: mit"
    recipe = from_dict({"name": name})
    row = {"dynamic": 0.5, "images": 4}
    card = ModelCard(front_matter(recipe, {"accuracy": {"clean": row}}, licence="unknown")).data
    assert (card.license, card.model_name) == ("unknown", name)
    manifest = replace(parse_manifest((flow.bundle / "manifest.json").read_bytes()), name=name)
    assert "\nlicense: mit" not in model_card(manifest, recipe, {})
