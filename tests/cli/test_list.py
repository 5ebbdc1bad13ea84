"""``eed-edge list`` has every entry of every registry, with a line on each."""

import json

from eed_edge.attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.prune.importance import SCORES
from eed_edge.recipe import recipe_names
from eed_edge.train.data.splits import DATASETS
from eed_edge.train.networks.build import ARCHITECTURES
from tests.conftest import call

REGISTRIES = {
    "recipes": recipe_names(),
    "data-sets": DATASETS,
    "architectures": ARCHITECTURES,
    "scores": SCORES,
    "training-attacks": TRAINING_ATTACKS,
    "attacks": EVALUATION_ATTACKS,
    "rules": GATE_RULES,
}


def test_every_name_has_a_line_and_its_kind_a_heading():
    plain, result = call("list").stdout, json.loads(call("list", "--json").stdout)
    assert {kind: list(entries) for kind, entries in result.items()} == {
        kind: list(names) for kind, names in REGISTRIES.items()
    }
    for kind, entries in result.items():
        assert f"{kind} (" in plain
        for name, line in entries.items():
            assert line[0].isupper() or line[0].isdigit()
            assert f"  {name} " in plain
            assert line in plain


def test_one_kind_alone():
    shown = call("list", "rules").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["rules", *GATE_RULES]
