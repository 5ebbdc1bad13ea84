"""Bounds for operators that compute with values: element by element, over axes, products, quantising."""

from eed_edge.runtime.bundle.walk.rule import (
    Inputs,
    OperatorNode,
    exact_shape,
    made,
    need_axes,
    needed,
    optional,
)
from eed_edge.runtime.bundle.walk.sizes import (
    BOOL,
    FLOAT,
    INT8,
    INT32,
    INT64,
    ONE,
    UINT8,
    Shape,
    Size,
    Tensor,
    axis_of,
    broadcast,
    constants,
    elements,
    product,
)


def same_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """Operators whose output is like their first input, such as ``Relu`` and ``Softmax``."""
    first = needed(inputs, 0)
    return made(first.kind, first.shape)


def unchanged_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Identity``."""
    return [needed(inputs, 0)]


def element_wise_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """Operators that broadcast all inputs, such as ``Add``; products and sums of sizes are followed."""
    tensors = [needed(inputs, i) for i in range(len(inputs))]
    first, shape = needed(inputs, 0), broadcast(*(tensor.shape for tensor in tensors))
    return [Tensor(first.kind, shape, values=_values(node.operator, tensors, shape))]


def compared_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """Comparisons and logic."""
    return made(BOOL, broadcast(*(needed(inputs, i).shape for i in range(len(inputs)))))


def where_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Where``: the type of its second input."""
    tensors = [needed(inputs, i) for i in range(3)]
    return made(tensors[1].kind, broadcast(*(tensor.shape for tensor in tensors)))


def cast_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Cast``; between integers, known values stay known if the type holds them."""
    first, kind = needed(inputs, 0), node.attributes.get("to")
    if kind is None:
        raise ValueError("expected Cast to name a type, got none")
    values = first.values if {first.kind, kind} <= {INT32, INT64} else None
    if values is not None and kind == INT32 and not all(_fits_int32(value) for value in values):
        values = None
    return [Tensor(kind, first.shape, values=values)]


def reduction_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``ReduceSum`` and its kin, whose second input names the axes."""
    first, second = needed(inputs, 0), optional(inputs, 1)
    axes = constants(second, "axes") if second is not None else []
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        return made(first.kind, first.shape)
    return made(first.kind, _reduced(first.shape, axes, node.attributes.get("keepdims", 1)))


def index_of_extreme_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``ArgMax`` and ``ArgMin``."""
    first = needed(inputs, 0)
    shape = _reduced(first.shape, [node.attributes.get("axis", 0)], node.attributes.get("keepdims", 1))
    return made(INT64, shape)


def gemm_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Gemm``: ``(m, k)`` and ``(k, n)`` to ``(m, n)``, each input transposed if its attribute says so."""
    left, right = needed(inputs, 0), needed(inputs, 1)
    if len(left.shape) != 2 or len(right.shape) != 2:
        raise ValueError(f"expected matrices, got {len(left.shape)} and {len(right.shape)} axes")
    rows = left.shape[1 if node.attributes.get("transA", 0) else 0]
    columns = right.shape[0 if node.attributes.get("transB", 0) else 1]
    return made(left.kind, (rows, columns))


def matrix_product_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``MatMul`` with numpy's rules for more and for fewer than two axes."""
    left, right = needed(inputs, 0), needed(inputs, 1)
    first, second = need_axes(left, 1, "a matrix"), need_axes(right, 1, "a matrix")
    rows = first[-2:-1] if len(first) > 1 else ()
    columns = second[-1:] if len(second) > 1 else ()
    return made(left.kind, (*broadcast(first[:-2], second[:-2]), *rows, *columns))


def product_operations_bound(node: OperatorNode, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Multiply-accumulates of ``Gemm`` and ``MatMul``."""
    left = needed(inputs, 0)
    inner = left.shape[0 if node.attributes.get("transA", 0) else -1]
    return product((*outputs[0].shape, inner)).factor


def quantised_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``QuantizeLinear`` to uint8 or int8, for a whole tensor or along one axis."""
    first = needed(inputs, 0)
    point = _check_scale(node, inputs, (UINT8, INT8))
    kind = point.kind if point is not None else node.attributes.get("output_dtype", 0) or UINT8
    if kind not in (UINT8, INT8):
        raise ValueError(f"expected uint8 or int8, got the type {kind}")
    return made(kind, first.shape)


def dequantised_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``DequantizeLinear`` from uint8, int8 or, for biases, int32."""
    first = needed(inputs, 0)
    point = _check_scale(node, inputs, (UINT8, INT8, INT32))
    if first.kind not in (UINT8, INT8, INT32) or (point is not None and point.kind != first.kind):
        raise ValueError(f"expected uint8, int8 or int32 as the zero point, got the type {first.kind}")
    return made(needed(inputs, 1).kind, first.shape)


def _check_scale(node: OperatorNode, inputs: Inputs, kinds: tuple[int, ...]) -> Tensor | None:
    """Check scale and zero point against the tensor and the axis; return the zero point."""
    first, scale, point = needed(inputs, 0), needed(inputs, 1), optional(inputs, 2)
    sizes = exact_shape(scale, "a scale")
    if scale.kind != FLOAT or len(sizes) > 1:
        raise ValueError(f"expected a float32 scale with at most one axis, got the type {scale.kind}")
    if point is not None and (point.kind not in kinds or exact_shape(point, "a zero point") != sizes):
        raise ValueError(f"expected a zero point like the scale, got the type {point.kind}")
    if sizes not in ((), (1,)):
        axis = axis_of(node.attributes.get("axis", 1), len(first.shape))
        if first.shape[axis].power or first.shape[axis].factor < sizes[0]:
            raise ValueError(
                f"expected {first.shape[axis].factor} scales along the axis {axis}, got {sizes[0]}"
            )
    return point


def _reduced(shape: Shape, axes: list[int], keep: int) -> Shape:
    """Return a shape after reducing axes, all of them if none is named."""
    elements(shape)
    gone = {axis_of(axis, len(shape)) for axis in axes} if axes else set(range(len(shape)))
    reduced = [ONE if i in gone else size for i, size in enumerate(shape)]
    return tuple(size for i, size in enumerate(reduced) if keep or i not in gone)


def _values(operator: str, tensors: list[Tensor], shape: Shape) -> Shape | None:
    """Return the product or sum of two known size values, both of one element."""
    kind = tensors[0].kind
    if operator not in ("Mul", "Add") or len(tensors) != 2 or product(shape) != ONE or len(shape) > 1:
        return None
    left, right = tensors[0].values, tensors[1].values
    if not left or not right or min(left[0].factor, right[0].factor) < 0:
        return None
    one, other = left[0], right[0]
    exact = one.exact and other.exact
    if operator == "Mul":
        result = Size(one.factor * other.factor, one.power + other.power, exact)
    elif one.power == other.power:
        result = Size(one.factor + other.factor, one.power, exact)
    else:
        return None
    fits = _fits_int32(result) if kind == INT32 else result.factor < 1 << (31 if result.power else 63)
    return (result,) if fits else None  # beyond its type the runtime has another number


def _fits_int32(value: Size) -> bool:
    """Whether int32 holds the value for any number of images."""
    return value.exact and not value.power and -(1 << 31) <= value.factor < 1 << 31
