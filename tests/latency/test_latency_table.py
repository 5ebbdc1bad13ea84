"""A latency table: interpolation against hand-worked numbers, the fit against laws it should find again."""

import dataclasses

import numpy as np
import pytest
import torch

from eed_edge.errors import InputError
from eed_edge.latency.latency_table import (
    HeldOutErrors,
    LatencyTable,
    LayerTimes,
    read_latency_table,
    write_latency_table,
)
from eed_edge.latency.predicted_times import as_metrics, from_metrics
from eed_edge.latency.time_surface import fit_layers, held_out_errors

LAYER = LayerTimes(name="a", inputs=(8, 16), outputs=(10,), ms=((2.0,), (6.0,)))
TABLE = LatencyTable(
    arch="one", architecture="d", precision="float32", threads=1, input=(1, 8, 8), dense_ms=6.0,
    layers=(LAYER,), held_out=HeldOutErrors(networks=0, median=0.0, worst=0.0),
    machine={"cpu": "a chip", "cores": 2, "versions": {"numpy": "1"}}, conditions="quiet", commit="c",
)  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "outputs", "ms"),
    [(8, 10, 2), (16, 10, 6), (12, 10, 4), (16, 5, 3), (4, 10, 1), (0, 10, 0), (8, 0, 0), (12, 5, 2)],
)
def test_between_knots_time_is_bilinear_and_falls_to_nothing_without_channels(inputs, outputs, ms):
    assert LAYER.at(inputs, outputs) == pytest.approx(ms)


def test_the_gradient_is_that_of_the_cell():
    inputs = torch.tensor(12.0, requires_grad=True)
    LAYER.at(inputs, 10).backward()
    assert inputs.grad == pytest.approx(0.5)  # 4 ms over 8 channels


def drawn(law, networks=24, levels=(16, 32, 64, 128), noise=0.0):
    """Times by a law of inputs and outputs, as networks of two layers would show them."""
    draw = np.random.default_rng(0)
    times = []
    for a, b, c in draw.choice(levels, (networks, 3)):
        spread = draw.normal(1, noise, 2)
        times.append({"one": (a, b, law(a, b) * spread[0]), "two": (b, c, 2 * law(b, c) * spread[1])})
    return times


def smooth(inputs, outputs):
    return 0.01 + 1e-5 * inputs * outputs


def in_blocks_of_48(inputs, outputs):
    return 0.01 + 1e-5 * inputs * 48 * -(-outputs // 48)


@pytest.mark.parametrize(("law", "most"), [(smooth, 1e-3), (in_blocks_of_48, 0.06)])
def test_the_fit_finds_a_law_again_where_it_was_measured(law, most):
    times = drawn(law)
    for layer in fit_layers(times):
        for inputs, outputs, ms in (network[layer.name] for network in times):
            assert layer.at(inputs, outputs) == pytest.approx(ms, rel=most)


def test_a_smooth_law_is_right_between_the_widths_that_were_measured():
    one, _ = fit_layers(drawn(smooth))
    assert one.at(48, 96) == pytest.approx(smooth(48, 96), rel=1e-3)


def test_held_out_errors_are_of_the_size_of_the_noise_and_near_none_without_it():
    assert held_out_errors(drawn(smooth)).worst < 1e-3
    noisy = held_out_errors(drawn(smooth, noise=0.1))
    assert noisy.networks == 22
    assert 0.02 < noisy.median < 0.15


def test_a_table_is_the_same_after_writing_and_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "table.json"
    write_latency_table(path, TABLE)
    table = read_latency_table(path)
    assert dataclasses.replace(table, digest="") == TABLE
    path.write_text(path.read_text().replace("6.0", "5.0"))
    with pytest.raises(InputError, match=r"expected a latency table, got another file: digest"):
        read_latency_table(path)
    with pytest.raises(InputError, match=r"no.json: expected a latency table, got: No such file"):
        read_latency_table(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": (16, 8)}, "inputs: expected rising numbers"),
        ({"ms": ((2.0,),)}, "ms: expected 2 rows of 1 numbers"),
        ({"ms": ((2.0,), (-1.0,))}, "ms: expected times of 0 or more"),
    ],
)
def test_times_that_make_no_sense_are_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(LAYER, **change)


def test_predictions_go_through_the_manifest_and_only_for_the_precision_they_are_of():
    records = [{"predicted_ms": 1.5, "predicted_for": "int8", "predicted_on": "a chip"}, {}]
    assert as_metrics(records, precision="int8") == {}
    assert as_metrics(records[:1], precision="float32") == {}
    stored = as_metrics(records[:1] * 2, precision="int8")
    assert from_metrics(stored, members=2) == {"predicted_ms": [1.5, 1.5], "predicted_on": "a chip"}
    assert from_metrics({"weights_sha256": "0"}, members=2) == from_metrics(None, members=2) == {}
    assert from_metrics({**stored, "predicted_ms_1": "abc"}, members=2) == {}
