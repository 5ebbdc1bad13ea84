"""The allowed operators and attributes are onnx's own, in every allowed opset."""

import onnx
import pytest

from eed_edge.runtime.bundle.walk.attributes import OPERATORS, OPSETS
from eed_edge.runtime.bundle.walk.rules import RULES

YOUNGER = {"Gelu": 20}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_an_allowed_attribute_is_one_of_the_schema_of_that_opset_with_its_type(operator, opset):
    if opset < YOUNGER.get(operator, 0):
        with pytest.raises(onnx.defs.SchemaError):
            onnx.defs.get_schema(operator, opset)
        return
    schema = onnx.defs.get_schema(operator, opset)
    allowed = {name: one for name, one in OPERATORS[operator].items() if opset >= one.since}
    assert allowed.keys() <= schema.attributes.keys()
    for name, one in allowed.items():
        assert schema.attributes[name].type.value == one.kind
    younger = OPERATORS[operator].keys() - allowed.keys()
    assert not younger & schema.attributes.keys()


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_schema_needs_an_attribute_that_is_not_allowed(operator):
    schema = onnx.defs.get_schema(operator, OPSETS[-1])
    assert {name for name, one in schema.attributes.items() if one.required} <= OPERATORS[operator].keys()


def test_every_allowed_operator_has_a_rule_and_none_is_a_loop_or_random():
    assert OPERATORS.keys() - {"If"} == RULES.keys()
    assert not OPERATORS.keys() & {"Loop", "Scan", "RandomNormal", "RandomUniform", "Einsum", "Bernoulli"}
