"""Sound bytes of models whose graphs would take all memory or time, or do what no network does."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eed_edge import manifest as contract
from tests.hostile.changed_bundle import Generator, with_file


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


def squared_constant() -> Generator:
    """A constant multiplied by itself 40 times: a number of a terabit to whoever follows it exactly."""
    names = ["by", *(f"x{i}" for i in range(40))]
    return with_nodes(
        *(node("Mul", f"{one} {one}", other) for one, other in itertools.pairwise(names)),
        node("ConstantOfShape", names[-1], "big"),
        by=ints(3),
    )


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
    "graph: Range to a number that wraps": with_nodes(
        node("Cast", "low", "wrapped", to=6),
        node("Cast", "wrapped", "limit", to=7),
        node("Range", "zero limit one", "big"),
        low=np.int64((1 << 31) - 1 - (1 << 32)),
        zero=np.int64(0),
        one=np.int64(1),
    ),
    "graph: Range down to a product that wraps": with_nodes(
        node("Mul", "x y", "wrapped"),
        node("Cast", "wrapped", "limit", to=7),
        node("Range", "zero limit down", "big"),
        x=np.int32(1 << 16),
        y=np.int32(1 << 15),
        zero=np.int64(0),
        down=np.int64(-1),
    ),
    "graph: Range down to a size known from above": with_nodes(
        node("ConvTranspose", "images w", "t", strides=[64, 64], pads=[200, 200, 200, 200]),
        node("Shape", "t", "limit", start=2, end=3),
        node("Range", "start limit down", "r"),
        node("Reshape", "r column", "c"),
        node("Mul", "c r", "big"),
        w=np.zeros((3, 1, 1, 1), np.float32),
        start=np.int64(1 << 20),
        down=np.int64(-1),
        column=ints(-1, 1),
    ),
    "graph: windows in a row": with_nodes(
        helper.make_node("Resize", ["images", "", "s"], ["wide"]),
        node("ConvTranspose", "wide w", "big"),
        s=np.array([1, 1, 64, 64], np.float32),
        w=np.zeros((3, 1, 64, 64), np.float32),
    ),
    "graph: work of loading from a fixed shape": with_nodes(
        node("ReduceMean", "images batch", "m"),
        node("Shape", "m", "shape"),
        node("ConstantOfShape", "shape", "zero"),
        node("Expand", "zero square", "x0"),
        *(node("MatMul", f"x{i} x0", f"x{i + 1}") for i in range(9)),
        batch=ints(0),
        square=ints(1, 1, 1024, 1024),
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
    "graph: the squares of squares": squared_constant(),
    "graph: Split without outputs": with_nodes(helper.make_node("Split", ["images"], [])),
    "graph: And without inputs": with_nodes(helper.make_node("And", [], ["x"])),
    "graph: Concat of 120,000 inputs": with_nodes(
        helper.make_node("Concat", ["v"] * 120_000, ["x"], axis=0), v=ints(*range(64))
    ),
    "graph: Sum of 120,000 inputs": with_nodes(helper.make_node("Sum", ["images"] * 120_000, ["x"])),
    "graph: a name of 15 MB": with_nodes(node("Relu", "images", "x" * 15_000_000)),
    "graph: an operator of 100,000 letters": with_nodes(node("x" * 100_000, "images", "x")),
    "graph: a name twice": with_nodes(node("Relu", "images", "x"), node("Neg", "images", "x")),
}
