import onnx
import pytest

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.onnx_scan import inspect
from eed_edge.runtime.bundle.onnx_schema import (
    ENUMS,
    FIELDS,
    REFUSED,
    WIRE_TYPES,
    Field,
)
from tests.hostile.onnx_files import SOUND
from tests.hostile.onnx_parsers import parse_in_python

SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 9: "string", 12: "bytes"}
SCALAR_WIRE_TYPES = {"double": 1, "float": 5, "int64": 0, "uint64": 0, "int32": 0}


def name_of(descriptor):
    return descriptor.full_name.removeprefix("onnx.")


def kind_of(field):
    if field.message_type is not None:
        return name_of(field.message_type)
    return field.enum_type.name if field.enum_type is not None else SCALARS[field.type]


def messages_from(descriptor, messages):
    """ModelProto and every message that its fields lead to, short of the refused fields."""
    messages[name_of(descriptor)] = descriptor
    for field in descriptor.fields:
        inner = field.message_type
        if inner and name_of(inner) not in messages and (name_of(descriptor), field.number) not in REFUSED:
            messages_from(inner, messages)
    return messages


MESSAGES = messages_from(onnx.ModelProto.DESCRIPTOR, {})


def test_the_tables_messages_are_those_that_a_model_can_hold():
    assert set(FIELDS) == set(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_tables_fields_are_those_of_onnx_or_refused(message):
    truth = {
        field.number: Field(
            field.name,
            kind_of(field),
            field.is_repeated,
            field.containing_oneof.name if field.containing_oneof else "",
        )
        for field in MESSAGES[message].fields
    }
    refused = {number for name, number in REFUSED if name == message}
    assert refused <= set(truth)
    assert FIELDS[message] == {number: field for number, field in truth.items() if number not in refused}


def test_the_tables_enums_and_wire_types_are_those_of_onnx():
    enums = {f.enum_type.name: f.enum_type for m in MESSAGES.values() for f in m.fields if f.enum_type}
    assert {name: list(values) for name, values in ENUMS.items()} == {
        name: sorted(value.number for value in enum.values) for name, enum in enums.items()
    }
    assert {**SCALAR_WIRE_TYPES, **dict.fromkeys(enums, 0)} == WIRE_TYPES


def filled(message, depth):
    """Set every field of a message and of the messages inside it, but the refused ones."""
    name = name_of(message.DESCRIPTOR)
    for field in message.DESCRIPTOR.fields:
        if (name, field.number) in REFUSED or field.name in ("op_type", "domain"):
            continue
        if field.message_type is None:
            value = {"string": "é", "bytes": b"\xff", "DataLocation": 0}.get(kind_of(field), 1)
            if field.is_repeated:
                getattr(message, field.name).extend([value] * 2)
            else:
                setattr(message, field.name, value)
        elif depth:
            if field.is_repeated:
                filled(getattr(message, field.name).add(), depth - 1)
            else:
                filled(getattr(message, field.name), depth - 1)
                getattr(message, field.name).SetInParent()
    return message


def model_with_every_field():
    model = onnx.ModelProto()
    model.graph.SetInParent()
    filled(model, 6)
    del model.opset_import[:]
    model.opset_import.add(version=18)
    types = [field.name for field in onnx.TypeProto.DESCRIPTOR.oneofs[0].fields]
    for name in types:
        inner = model.graph.value_info.add(name=name).type
        filled(getattr(inner, name), 3)
        getattr(inner, name).SetInParent()
    model.graph.value_info.add().type.tensor_type.shape.dim.add(dim_value=-1)
    for node in model.graph.node:
        node.op_type = "Relu"
    return model


def test_a_model_with_every_field_of_onnx_but_the_refused_ones_is_accepted():
    assert inspect(model_with_every_field().SerializeToString(), "a").opset == 18


@pytest.mark.parametrize("refused", REFUSED)
def test_each_refused_field_is_refused(refused):
    model = parse_in_python(SOUND)
    holder = {
        "ModelProto": model,
        "NodeProto": model.graph.node[0],
        "TensorProto": model.graph.initializer[0],
    }
    message, number = refused
    field = MESSAGES[message].fields_by_number[number]
    getattr(holder[message], field.name).add()
    with pytest.raises(BundleError, match=f"expected a self-contained model, got {REFUSED[refused]}; exp"):
        inspect(model.SerializeToString(), "a")
