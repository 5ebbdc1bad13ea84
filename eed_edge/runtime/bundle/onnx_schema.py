"""Schema of the ONNX messages allowed in a bundle, and the fields that are always rejected.

Source:
    onnx.proto of onnx 1.23; ``tests/hostile/test_onnx_schema.py`` compares with the installed package.
"""

from typing import NamedTuple


class Field(NamedTuple):
    """One field: its name, the type or message it holds, how often it may occur, and its ``oneof``."""

    name: str
    kind: str
    repeated: bool = False
    oneof: str = ""


def _many(name: str, kind: str) -> Field:
    return Field(name, kind, repeated=True)


# Scalar type or enum -> wire type; strings, bytes and messages have wire type 2.
WIRE_TYPES = {
    "int32": 0,
    "int64": 0,
    "uint64": 0,
    "AttributeType": 0,
    "DataLocation": 0,
    "double": 1,
    "float": 5,
}
ENUMS = {"AttributeType": range(15), "DataLocation": range(2)}

# Message and field number -> what the field holds.
REFUSED = {
    ("ModelProto", 20): "training information",
    ("ModelProto", 25): "a function of its own",
    ("ModelProto", 26): "a configuration of several devices",
    ("NodeProto", 10): "a configuration of several devices",
    ("TensorProto", 13): "a tensor stored in another file",
}

FIELDS: dict[str, dict[int, Field]] = {
    "ModelProto": {
        1: Field("ir_version", "int64"),
        2: Field("producer_name", "string"),
        3: Field("producer_version", "string"),
        4: Field("domain", "string"),
        5: Field("model_version", "int64"),
        6: Field("doc_string", "string"),
        7: Field("graph", "GraphProto"),
        8: _many("opset_import", "OperatorSetIdProto"),
        14: _many("metadata_props", "StringStringEntryProto"),
    },
    "OperatorSetIdProto": {1: Field("domain", "string"), 2: Field("version", "int64")},
    "StringStringEntryProto": {1: Field("key", "string"), 2: Field("value", "string")},
    "GraphProto": {
        1: _many("node", "NodeProto"),
        2: Field("name", "string"),
        5: _many("initializer", "TensorProto"),
        10: Field("doc_string", "string"),
        11: _many("input", "ValueInfoProto"),
        12: _many("output", "ValueInfoProto"),
        13: _many("value_info", "ValueInfoProto"),
        14: _many("quantization_annotation", "TensorAnnotation"),
        15: _many("sparse_initializer", "SparseTensorProto"),
        16: _many("metadata_props", "StringStringEntryProto"),
    },
    "NodeProto": {
        1: _many("input", "string"),
        2: _many("output", "string"),
        3: Field("name", "string"),
        4: Field("op_type", "string"),
        5: _many("attribute", "AttributeProto"),
        6: Field("doc_string", "string"),
        7: Field("domain", "string"),
        8: Field("overload", "string"),
        9: _many("metadata_props", "StringStringEntryProto"),
    },
    "AttributeProto": {
        1: Field("name", "string"),
        2: Field("f", "float"),
        3: Field("i", "int64"),
        4: Field("s", "bytes"),
        5: Field("t", "TensorProto"),
        6: Field("g", "GraphProto"),
        7: _many("floats", "float"),
        8: _many("ints", "int64"),
        9: _many("strings", "bytes"),
        10: _many("tensors", "TensorProto"),
        11: _many("graphs", "GraphProto"),
        13: Field("doc_string", "string"),
        14: Field("tp", "TypeProto"),
        15: _many("type_protos", "TypeProto"),
        20: Field("type", "AttributeType"),
        21: Field("ref_attr_name", "string"),
        22: Field("sparse_tensor", "SparseTensorProto"),
        23: _many("sparse_tensors", "SparseTensorProto"),
    },
    "TensorProto": {
        1: _many("dims", "int64"),
        2: Field("data_type", "int32"),
        3: Field("segment", "TensorProto.Segment"),
        4: _many("float_data", "float"),
        5: _many("int32_data", "int32"),
        6: _many("string_data", "bytes"),
        7: _many("int64_data", "int64"),
        8: Field("name", "string"),
        9: Field("raw_data", "bytes"),
        10: _many("double_data", "double"),
        11: _many("uint64_data", "uint64"),
        12: Field("doc_string", "string"),
        14: Field("data_location", "DataLocation"),
        16: _many("metadata_props", "StringStringEntryProto"),
    },
    "TensorProto.Segment": {1: Field("begin", "int64"), 2: Field("end", "int64")},
    "SparseTensorProto": {
        1: Field("values", "TensorProto"),
        2: Field("indices", "TensorProto"),
        3: _many("dims", "int64"),
    },
    "TensorAnnotation": {
        1: Field("tensor_name", "string"),
        2: _many("quant_parameter_tensor_names", "StringStringEntryProto"),
    },
    "ValueInfoProto": {
        1: Field("name", "string"),
        2: Field("type", "TypeProto"),
        3: Field("doc_string", "string"),
        4: _many("metadata_props", "StringStringEntryProto"),
    },
    "TypeProto": {
        1: Field("tensor_type", "TypeProto.Tensor", oneof="value"),
        4: Field("sequence_type", "TypeProto.Sequence", oneof="value"),
        5: Field("map_type", "TypeProto.Map", oneof="value"),
        6: Field("denotation", "string"),
        7: Field("opaque_type", "TypeProto.Opaque", oneof="value"),
        8: Field("sparse_tensor_type", "TypeProto.SparseTensor", oneof="value"),
        9: Field("optional_type", "TypeProto.Optional", oneof="value"),
    },
    "TypeProto.Tensor": {1: Field("elem_type", "int32"), 2: Field("shape", "TensorShapeProto")},
    "TypeProto.Sequence": {1: Field("elem_type", "TypeProto")},
    "TypeProto.Map": {1: Field("key_type", "int32"), 2: Field("value_type", "TypeProto")},
    "TypeProto.Optional": {1: Field("elem_type", "TypeProto")},
    "TypeProto.SparseTensor": {1: Field("elem_type", "int32"), 2: Field("shape", "TensorShapeProto")},
    "TypeProto.Opaque": {1: Field("domain", "string"), 2: Field("name", "string")},
    "TensorShapeProto": {1: _many("dim", "TensorShapeProto.Dimension")},
    "TensorShapeProto.Dimension": {
        1: Field("dim_value", "int64", oneof="value"),
        2: Field("dim_param", "string", oneof="value"),
        3: Field("denotation", "string"),
    },
}
