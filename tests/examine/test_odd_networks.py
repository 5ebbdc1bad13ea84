"""Odd networks: what can be pruned is pruned right, the rest stays and the examination says why."""

import pytest
import torch

from eed_edge.examine import examination
from eed_edge.prune.channels.equality import double_if_possible, with_random_weights
from eed_edge.prune.channels.slicing import sliced
from tests.examine import odd
from tests.examine.recurrent import LongGruBlock
from tests.examine.subjects import REMOVALS, built, examined, masked_by_hand, random_removal

STAYS = {
    "SharedLayer": "body.1.first.weight and body.1.second.weight are one tensor",
    "SharedWeight": "body.1.first: 32 channels stay; body.1.first and body.1.second are one weight",
    "ChannelShuffleModule": "body.1.before.0: 32 channels stay; pruned and masked answers differ",
    "PixelShuffleBlock": "body.1.before: 128 channels stay; pruned and masked answers differ",
    "GluBlock": "body.1.before: 64 channels stay; pruned and masked answers differ",
    "EinsumBlock": "body.1.before.0: 32 channels stay; pruned and masked answers differ",
    "TorchAttention": "32 channels stay; body.1.attention is a MultiheadAttention",
    "LstmBlock": "body.1.before.0: 32 channels stay; body.1.lstm is a LSTM",
    "CustomLayerNorm": "body.1.conv1: 32 channels stay; pruned and masked answers differ",
    "DepthMultiplier": "body.1.depthwise is a convolution of 32 groups",
    "ListOfParameters": "body.1.conv: 32 channels stay; pruned and masked answers differ",
    "SigmoidBetween": "body.1.a: 32 channels stay; pruned and masked answers differ",
    "FunctionalConvolution": "body.1.before.0: 32 channels stay; pruned and masked answers differ",
    "Unused": "body.1.unused: forward never uses it",
    "ReshapedHead": "body.1.up: 512 channels stay; body.1.after.0 takes its channels from a reshaped",
    "FrozenNorm": "body.1.conv: 32 channels stay; pruned and masked answers differ",
    "PlainTensorKernel": "body.1.before.0: 32 channels stay; pruned and masked answers differ",
    "SpectralFilter": "body.0.0: 32 channels stay; body.1.filter takes its channels from a reshaped",
    "DeepConvolution": "body.0.0: 32 channels stay; pruned and masked answers differ",
    "RepeatedBlock": "body.1.inner.0: 64 channels stay; pruned and masked answers differ",
}
WIDE = {"SplitBlock", "WeightNormBlock"}
"""Too much of these stays for two members."""


@pytest.fixture(autouse=True)
def no_export(monkeypatch):
    """``test_coverage.py`` exports; here it would be a second and more each."""
    monkeypatch.setattr(examination, "onnx_faults", lambda *_, **__: [])


@pytest.mark.parametrize("name", sorted(odd.BLOCKS.keys() - WIDE))
def test_pruned_equals_masked_and_what_stays_is_said(name, monkeypatch):
    def make(**sizes):
        return odd.build(name, **sizes)

    result = examined(make, monkeypatch)
    assert result.faults == ()
    structure = result.dry.structure
    assert "body.2.0" in {group.root for group in structure.groups}  # the convolution behind the block
    drawn = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    base, images = double_if_possible(with_random_weights(built(make, monkeypatch), seed=5), drawn)
    tolerance = 1e-6 if images.dtype == torch.float64 else 1e-4
    for seed in range(REMOVALS):
        removed = random_removal(structure, seed)
        expected = masked_by_hand(base, structure, removed, images)
        with torch.no_grad():
            pruned_logits = sliced(base, structure.groups, removed).eval()(images)
        assert (pruned_logits - expected).abs().max() <= tolerance * expected.abs().max(), seed
    if name in STAYS:
        assert any(STAYS[name] in note for note in result.notes), result.notes
    else:
        assert not structure.unpruned


@pytest.mark.parametrize(
    ("name", "layer"),
    [("SplitBlock", "body.1."), ("WeightNormBlock", "computes its weight from other tensors")],
)
def test_a_network_of_which_too_much_stays_is_refused_with_the_layer_at_fault(name, layer, monkeypatch):
    (fault,) = examined(lambda **sizes: odd.build(name, **sizes), monkeypatch).faults
    assert "too little can be pruned" in fault
    assert layer in fault


def test_a_network_that_torch_pruning_cannot_follow_is_refused_in_a_line(monkeypatch):
    def make(*, classes, channels, width):
        return odd.between(LongGruBlock(width), classes=classes, channels=channels, width=width)

    (fault,) = examined(make, monkeypatch).faults
    assert fault.startswith(
        "no channels to prune (torch-pruning cannot follow them through the layers behind"
    )
