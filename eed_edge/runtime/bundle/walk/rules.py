"""The rule of every allowed operator, and how its work is counted where that is not one step an element."""

from collections.abc import Callable

from eed_edge.runtime.bundle.walk import shape_rules, value_rules, window_rules
from eed_edge.runtime.bundle.walk.attributes import REDUCTIONS
from eed_edge.runtime.bundle.walk.rule import Inputs, Node, Rule
from eed_edge.runtime.bundle.walk.sizes import Tensor, product

_LIKE_FIRST = (
    *("Abs", "BatchNormalization", "Ceil", "Celu", "Clip"),
    *("Cos", "Elu", "Erf", "Exp", "Floor"),
    *("Gelu", "HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization"),
    *("LeakyRelu", "Log", "LogSoftmax", "LRN", "Mish"),
    *("Neg", "Not", "PRelu", "Reciprocal", "Relu"),
    *("Round", "ScatterND", "Selu", "Sigmoid", "Sign"),
    *("Sin", "Softmax", "Softplus", "Softsign", "Sqrt"),
    *("Tanh", "ThresholdedRelu"),
)
_ELEMENT_WISE = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum")
_COMPARED = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor")

RULES: dict[str, Rule] = {
    **dict.fromkeys(_LIKE_FIRST, value_rules.same),
    **dict.fromkeys(_ELEMENT_WISE, value_rules.element_wise),
    **dict.fromkeys(_COMPARED, value_rules.compared),
    **dict.fromkeys(REDUCTIONS, value_rules.reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), value_rules.index_of_extreme),
    **dict.fromkeys(("MaxPool", "AveragePool"), window_rules.pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), window_rules.global_pooling),
    "Cast": value_rules.cast,
    "Concat": shape_rules.concatenation,
    "Constant": shape_rules.constant,
    "ConstantOfShape": shape_rules.constant_of_shape,
    "Conv": window_rules.convolution,
    "ConvTranspose": window_rules.transposed_convolution,
    "DequantizeLinear": value_rules.dequantised,
    "Expand": shape_rules.expand,
    "Flatten": shape_rules.flatten,
    "Gather": shape_rules.gather,
    "GatherElements": shape_rules.gather_elements,
    "Gemm": value_rules.gemm,
    "Identity": value_rules.unchanged,
    "MatMul": value_rules.matrix_product,
    "NonZero": shape_rules.non_zero,
    "Pad": shape_rules.pad,
    "QuantizeLinear": value_rules.quantised,
    "Range": shape_rules.sequence,
    "Reshape": shape_rules.reshape,
    "Resize": shape_rules.resize,
    "Shape": shape_rules.shape_of,
    "Size": shape_rules.size_of,
    "Slice": shape_rules.cut,
    "Split": shape_rules.split,
    "Squeeze": shape_rules.squeeze,
    "Tile": shape_rules.tile,
    "Transpose": shape_rules.transpose,
    "Unsqueeze": shape_rules.unsqueeze,
    "Where": value_rules.where,
}

_OPERATIONS: dict[str, Callable[[Node, Inputs, list[Tensor]], int]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), window_rules.convolution_operations),
    **dict.fromkeys(("MaxPool", "AveragePool"), window_rules.pooling_operations),
    **dict.fromkeys(("Gemm", "MatMul"), value_rules.product_operations),
}


def operations(node: Node, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Return a bound of the work of a node for one image."""
    count = _OPERATIONS.get(node.operator)
    if count is not None:
        return count(node, inputs, outputs)
    tensors = [*(tensor for tensor in inputs if tensor is not None), *outputs]
    return max(product(tensor.shape).factor for tensor in tensors)
