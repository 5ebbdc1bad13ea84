"""The rule of every allowed operator, and how its work is counted where that is not one step an element."""

from collections.abc import Callable

from eed_edge.runtime.bundle.walk import shape_rules, value_rules, window_rules
from eed_edge.runtime.bundle.walk.attributes import REDUCTIONS
from eed_edge.runtime.bundle.walk.rule import Inputs, OperatorNode, WalkRule
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

RULES: dict[str, WalkRule] = {
    **dict.fromkeys(_LIKE_FIRST, value_rules.same_bound),
    **dict.fromkeys(_ELEMENT_WISE, value_rules.element_wise_bound),
    **dict.fromkeys(_COMPARED, value_rules.compared_bound),
    **dict.fromkeys(REDUCTIONS, value_rules.reduction_bound),
    **dict.fromkeys(("ArgMax", "ArgMin"), value_rules.index_of_extreme_bound),
    **dict.fromkeys(("MaxPool", "AveragePool"), window_rules.pooling_bound),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), window_rules.global_pooling_bound),
    "Cast": value_rules.cast_bound,
    "Concat": shape_rules.concatenation_bound,
    "Constant": shape_rules.constant_bound,
    "ConstantOfShape": shape_rules.constant_of_shape_bound,
    "Conv": window_rules.convolution_bound,
    "ConvTranspose": window_rules.transposed_convolution_bound,
    "DequantizeLinear": value_rules.dequantised_bound,
    "Expand": shape_rules.expand_bound,
    "Flatten": shape_rules.flatten_bound,
    "Gather": shape_rules.gather_bound,
    "GatherElements": shape_rules.gather_elements_bound,
    "Gemm": value_rules.gemm_bound,
    "Identity": value_rules.unchanged_bound,
    "MatMul": value_rules.matrix_product_bound,
    "NonZero": shape_rules.non_zero_bound,
    "Pad": shape_rules.pad_bound,
    "QuantizeLinear": value_rules.quantised_bound,
    "Range": shape_rules.sequence_bound,
    "Reshape": shape_rules.reshape_bound,
    "Resize": shape_rules.resize_bound,
    "Shape": shape_rules.shape_bound,
    "Size": shape_rules.size_bound,
    "Slice": shape_rules.slice_bound,
    "Split": shape_rules.split_bound,
    "Squeeze": shape_rules.squeeze_bound,
    "Tile": shape_rules.tile_bound,
    "Transpose": shape_rules.transpose_bound,
    "Unsqueeze": shape_rules.unsqueeze_bound,
    "Where": value_rules.where_bound,
}

_OPERATIONS: dict[str, Callable[[OperatorNode, Inputs, list[Tensor]], int]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), window_rules.convolution_operations_bound),
    **dict.fromkeys(("MaxPool", "AveragePool"), window_rules.pooling_operations_bound),
    **dict.fromkeys(("Gemm", "MatMul"), value_rules.product_operations_bound),
}


def scratch_bytes(node: OperatorNode, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Return a bound of the memory that a node needs beside its inputs and outputs, for one image."""
    if node.operator in ("Conv", "ConvTranspose"):
        return window_rules.convolution_scratch_bound(node, inputs, outputs)
    return 0


def operations(node: OperatorNode, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Return a bound of the work of a node for one image."""
    count = _OPERATIONS.get(node.operator)
    if count is not None:
        return count(node, inputs, outputs)
    tensors = [*(tensor for tensor in inputs if tensor is not None), *outputs]
    return sum(product(tensor.shape).factor for tensor in tensors)
