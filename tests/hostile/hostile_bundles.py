"""Hostile bundles as small functions: each makes one in a new folder from a good bundle.

``HOSTILE_BUNDLES`` names them all. Every one must be refused by ``eed-edge check``, in one line, soon and in
little memory, and by ``eed_edge.load`` too, but for those in ``SEEN_BY_CHECK``, whose models answer wrongly.
The good bundle must have ``cascade.onnx`` and ``dense.onnx``.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eed_edge import digest_json
from eed_edge import manifest as contract
from tests.hostile.onnx_files import HOSTILE

Generator = Callable[[Path, Path], None]


def read(folder: Path) -> contract.Manifest:
    return contract.parse_manifest((folder / "manifest.json").read_bytes())


def entry(path: Path) -> dict[str, str | int]:
    with path.open("rb") as stream:
        size = path.stat().st_size
        digest = hashlib.file_digest(stream, "sha256").hexdigest() if size < 2**31 else "0" * 63 + "1"
    return {"sha256": digest, "bytes": size}


def seal(folder: Path) -> None:
    """Write the manifest again with the sizes and hashes of the files that are there."""
    manifest = read(folder)
    submodels = [dataclasses.replace(one, **entry(folder / one.file)) for one in manifest.submodels]
    files = {name: contract.FileEntry(**entry(folder / name)) for name in manifest.files}
    manifest = dataclasses.replace(manifest, submodels=tuple(submodels), files=files)
    (folder / "manifest.json").write_bytes(contract.dump_manifest(manifest))


def with_file(name: str, make: Callable[[bytes, contract.Manifest], bytes]) -> Generator:
    """A bundle with one file made anew from its bytes, and right hashes."""

    def write(good: Path, folder: Path) -> None:
        shutil.copytree(good, folder)
        path = folder / name
        path.write_bytes(make(path.read_bytes(), read(folder)))
        seal(folder)

    return write


def with_manifest(make: Callable[[dict], dict | bytes]) -> Generator:
    """A bundle with another manifest, sealed where it is an object."""

    def write(good: Path, folder: Path) -> None:
        shutil.copytree(good, folder)
        path = folder / "manifest.json"
        content = make(json.loads(path.read_bytes()))
        path.write_bytes(content if isinstance(content, bytes) else digest_json.seal(content))

    return write


def with_nodes(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Generator:
    """A bundle whose first sub-model runs ``nodes`` from ``images`` to ``big`` and goes on as if not."""

    def make(_: bytes, manifest: contract.Manifest) -> bytes:
        size, classes = manifest.input.size, len(manifest.classes)
        weight = np.zeros((int(np.prod(size)), classes), np.float32)
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *size])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
        last = [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ]
        tensors = {"w": weight, **constants}
        initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
        graph = helper.make_graph([*nodes, *last], "g", [images], [logits], initializers)
        opset = helper.make_opsetid("", 18)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()

    return with_file("submodel-0.onnx", make)


def chain(operator: str, second: np.ndarray | None, length: int = 40, **attributes: object) -> Generator:
    """One operator that grows its input, again and again."""
    names = ["images", *(f"x{i}" for i in range(length))]
    nodes = [
        helper.make_node(operator, [one, "by" if second is not None else one], [other], **attributes)
        for one, other in itertools.pairwise(names)
    ]
    return with_nodes(*nodes, **({} if second is None else {"by": second}))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def squared_batch() -> Generator:
    """The number of images to the third power, made of its shape."""
    return with_nodes(
        node("Shape", "images", "n", start=0, end=1),
        node("Concat", "n n n", "cube", axis=0),
        node("ConstantOfShape", "cube", "big"),
    )


GRAPHS: dict[str, Generator] = {
    "graph: Concat doubles": chain("Concat", None, axis=0),
    "graph: Concat doubles an inner axis": chain("Concat", None, axis=3),
    "graph: Tile": chain("Tile", ints(1, 1, 4, 4)),
    "graph: Pad": chain("Pad", ints(0, 0, 1 << 20, 0, 0, 0, 0, 0)),
    "graph: MatMul of all pairs": with_nodes(
        node("Flatten", "images", "f"), node("Transpose", "f", "t"), node("MatMul", "f t", "big")
    ),
    "graph: Expand": with_nodes(node("Expand", "one s", "big"), one=np.ones(1, np.float32), s=ints(1 << 34)),
    "graph: Expand to a computed shape": with_nodes(
        node("Cast", "images", "i", to=7),
        node("Reshape", "i m", "r"),
        node("Expand", "one r", "big"),
        one=np.ones(1, np.float32),
        m=ints(-1),
    ),
    "graph: ConstantOfShape": with_nodes(node("ConstantOfShape", "s", "big"), s=ints(1 << 20, 1 << 20)),
    "graph: many small constants": with_nodes(
        *(node("ConstantOfShape", "s", f"big{i}") for i in range(500)), s=ints(1 << 20)
    ),
    "graph: Range": with_nodes(
        node("Range", "a b c", "big"), a=np.int64(0), b=np.int64(1 << 40), c=np.int64(1)
    ),
    "graph: Range of floats": with_nodes(
        node("Range", "a b c", "big"), a=np.float32(0), b=np.float32(1e9), c=np.float32(1)
    ),
    "graph: Resize": with_nodes(
        helper.make_node("Resize", ["images", "", "s"], ["big"]), s=np.array([1, 1, 3e4, 3e4], np.float32)
    ),
    "graph: the cube of the images": squared_batch(),
    "graph: ConvTranspose": chain("ConvTranspose", np.zeros((3, 3, 1, 1), np.float32), strides=[64, 64]),
    "graph: Gather of many rows": with_nodes(
        node("Gather", "images i", "a", axis=1),
        node("Gather", "a i", "b", axis=2),
        node("Gather", "b i", "big", axis=3),
        i=np.zeros(4096, np.int64),
    ),
    "graph: 300,000 nodes": with_nodes(*(node("Relu", "images", f"x{i}") for i in range(300_000))),
    "graph: work without memory": with_nodes(
        *(node("MatMul", f"{'m' if i == 0 else f'x{i - 1}'} m", f"x{i}") for i in range(20)),
        m=np.zeros((2048, 2048), np.float32),
    ),
    "graph: an operator of no network": with_nodes(
        node("Einsum", "images images", "big", equation="abcd,efgh->abcdefgh")
    ),
    "graph: a random source": with_nodes(
        helper.make_node("RandomNormal", [], ["big"], shape=[1 << 16, 1 << 16])
    ),
    "graph: Loop": with_nodes(
        helper.make_node("Loop", ["", "", "images"], ["big"], body=helper.make_graph([], "b", [], []))
    ),
    "graph: a number of bits that no one uses": with_nodes(
        node("Cast", "images", "big", to=TensorProto.COMPLEX128)
    ),
    "graph: a name twice": with_nodes(node("Relu", "images", "x"), node("Neg", "images", "x")),
}


def sparse_file(good: Path, folder: Path) -> None:
    """A model of a terabyte, of which the disk holds nothing."""
    shutil.copytree(good, folder)
    with (folder / "submodel-0.onnx").open("r+b") as stream:
        stream.truncate(1 << 40)
    seal(folder)


def sparse_cascade(good: Path, folder: Path) -> None:
    shutil.copytree(good, folder)
    with (folder / "cascade.onnx").open("r+b") as stream:
        stream.truncate(1 << 40)
    seal(folder)


def a_fifo(good: Path, folder: Path) -> None:
    shutil.copytree(good, folder)
    (folder / "submodel-0.onnx").unlink()
    os.mkfifo(folder / "submodel-0.onnx")


def put(content: dict, path: str, value: object) -> dict:
    *parents, last = path.split(".")
    at = content
    for name in parents:
        at = at[int(name)] if name.isdigit() else at[name]
    at[last] = value
    return content


def many_keys(content: dict) -> bytes:
    return json.dumps({**content, **{str(i): 0 for i in range(400_000)}}).encode()


MANIFESTS: dict[str, Generator] = {
    "manifest: 400,000 keys": with_manifest(many_keys),
    "manifest: 60,000 keys in a megabyte": with_manifest(
        lambda m: json.dumps(put(m, "metrics", {str(i): 0 for i in range(60_000)})).encode()
    ),
    "manifest: one key many times": with_manifest(lambda _: b'{"a":0' + b',"a":0' * 150_000 + b"}"),
    "manifest: deep": with_manifest(lambda _: b'{"a":' * 100_000 + b"0" + b"}" * 100_000),
    "manifest: lists in lists": with_manifest(lambda _: b"[" * 400_000),
    "manifest: 17 levels": with_manifest(lambda m: put(m, "metrics", {"a": json.loads("[" * 17 + "]" * 17)})),
    "manifest: resize to 60,000": with_manifest(lambda m: put(m, "input.preprocess.resize", [60_000] * 2)),
    "manifest: resize to 10**12": with_manifest(lambda m: put(m, "input.preprocess.resize", [10**12] * 2)),
    "manifest: crop to 400 digits": with_manifest(
        lambda m: put(m, "input.preprocess.crop", [int("7" * 400)] * 2)
    ),
    "manifest: input of 10**6": with_manifest(lambda m: put(m, "input.shape", ["N", 1, 10**6, 10**6])),
    "manifest: bytes of 300 digits": with_manifest(lambda m: put(m, "submodels.0.bytes", int("7" * 300))),
    "manifest: macs of 300 digits": with_manifest(lambda m: put(m, "submodels.0.macs", int("7" * 300))),
    "manifest: 10,000 sub-models": with_manifest(lambda m: put(m, "submodels", m["submodels"] * 5000)),
    "manifest: a number of 5,000 digits": with_manifest(
        lambda m: json.dumps(m).replace('"schema": 1', '"schema": 1' + "0" * 5000).encode()
    ),
}


def npz(arrays: dict[str, np.ndarray], *, compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def golden(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], **how: bool) -> Generator:
    def make(raw: bytes, _: contract.Manifest) -> bytes:
        with np.load(io.BytesIO(raw)) as arrays:
            return npz(change(dict(arrays)), **how)

    return with_file("golden.npz", make)


def repeated(arrays: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([values] * times) for name, values in arrays.items()}


def many_members(raw: bytes, _: contract.Manifest) -> bytes:
    stream = io.BytesIO(raw)
    with zipfile.ZipFile(stream, "a") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")
    return stream.getvalue()


def lying_header(raw: bytes, _: contract.Manifest) -> bytes:
    """``labels`` whose header claims 2**40 elements."""
    with np.load(io.BytesIO(raw)) as arrays:
        others = {name: values for name, values in arrays.items() if name != "labels"}
    stream = io.BytesIO(npz(others))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labels.npy", header.getvalue())
    return stream.getvalue()


GOLDEN: dict[str, Generator] = {
    "golden: 16,000 images": golden(lambda a: repeated(a, 1000), compressed=True),
    "golden: a gigabyte of zeros": golden(
        lambda a: {**a, "images": np.zeros((1 << 28,), np.float32)}, compressed=True
    ),
    "golden: another array": golden(lambda a: {**a, "more": np.zeros(3)}),
    "golden: objects": golden(lambda a: {**a, "labels": np.array([None] * 16)}),
    "golden: 20,000 members": with_file("golden.npz", many_members),
    "golden: a header that lies": with_file("golden.npz", lying_header),
    "golden: no archive": with_file("golden.npz", lambda *_: b"no archive"),
}


def edited(change: Callable[[onnx.ModelProto], None]) -> Callable[[bytes, contract.Manifest], bytes]:
    def make(raw: bytes, _: contract.Manifest) -> bytes:
        model = onnx.load_model_from_string(raw)
        change(model)
        return model.SerializeToString()

    return make


def graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [graph, *(one for branch in inner for one in graphs(branch))]


def negate(model: onnx.ModelProto) -> None:
    """Negate the weights of every last layer."""
    for graph in graphs(model.graph):
        last = {name for n in graph.node if n.op_type == "Gemm" for name in n.input[1:]}
        for tensor in graph.initializer:
            if tensor.name in last:
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


def move_threshold(model: onnx.ModelProto) -> None:
    """Move every double constant that a decision compares with, by little."""
    for graph in graphs(model.graph):
        compared = {n.input[1] for n in graph.node if n.op_type == "GreaterOrEqual"}
        for tensor in graph.initializer:
            if tensor.name in compared:
                moved = numpy_helper.to_array(tensor) + 1e-9
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(moved), tensor.name))


def manifest_inside(change: Callable[[dict], dict]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        for prop in model.metadata_props:
            if prop.key == "eed_edge.manifest":
                prop.value = digest_json.seal(change(json.loads(prop.value))).decode()

    return apply


def a_single_member(raw: bytes, manifest: contract.Manifest) -> bytes:
    """The answers of the first sub-model in the place of the ensemble's, under the same metadata."""
    model = onnx.load_model_from_string(raw)
    (branch,) = (n for n in model.graph.node if n.op_type == "If")
    outside = next(a.g for a in branch.attribute if a.name == "else_branch")
    nodes = [n for n in model.graph.node if n.op_type != "If"]
    at = next(i for i, n in enumerate(model.graph.node) if n.op_type == "If")
    ends = [
        helper.make_node("Identity", [inner.input[0]], [name])
        for inner, name in zip(outside.node, branch.output, strict=True)
    ]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *ends, *nodes[at:]])
    return model.SerializeToString()


SEEN_BY_CHECK: dict[str, Generator] = {
    "cascade: negated": with_file("cascade.onnx", edited(negate)),
    "cascade: a single member": with_file("cascade.onnx", a_single_member),
    "cascade: another threshold": with_file("cascade.onnx", edited(move_threshold)),
    "cascade: another threshold inside": with_file(
        "cascade.onnx",
        edited(manifest_inside(lambda m: put(m, "gate.parameters.confidence.threshold", 0.123))),
    ),
    "cascade: other preprocessing inside": with_file(
        "cascade.onnx", edited(manifest_inside(lambda m: put(m, "input.preprocess.alpha", "white")))
    ),
    "cascade: no model": with_file("cascade.onnx", lambda *_: b"no model"),
    "dense: negated": with_file("dense.onnx", edited(negate)),
    "dense: no model": with_file("dense.onnx", lambda *_: b"no model"),
    **GOLDEN,
}

FILES: dict[str, Generator] = {
    "file: a sparse model of a terabyte": sparse_file,
    "file: a sparse cascade of a terabyte": sparse_cascade,
    "file: a pipe": a_fifo,
    **{
        f"bytes: {name}": with_file("submodel-0.onnx", lambda *_, raw=case.raw: raw)
        for name, case in HOSTILE.items()
    },
}

HOSTILE_BUNDLES: dict[str, Generator] = {**GRAPHS, **MANIFESTS, **FILES, **SEEN_BY_CHECK}
