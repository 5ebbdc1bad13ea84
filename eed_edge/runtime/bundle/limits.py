"""Limits of what a bundle may ask of the device that loads it."""

import dataclasses
from dataclasses import dataclass

from eed_edge import arguments


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most that ``load`` and ``check`` accept; the defaults leave room for every network of this project.

    model_bytes: of one file.
    bundle_bytes: of all files together.
    golden_images: images in ``golden.npz``.
    values: fields and packed numbers in one ONNX file, and in all sub-models together; weights apart.
    nodes: operators in one ONNX file, those in branches included.
    weights: elements of all constants of one ONNX file.
    tensor_bytes: of the largest tensor that the graph computes for one image, and of what one convolution
        works in.
    total_bytes: of all tensors that the graph computes for one image, as if none were ever freed.
    operations: multiply-accumulates and element operations for one image.
    constant_operations: those of nodes that depend on constants alone, which run while loading;
        ``DequantizeLinear`` apart, which stays as it is.

    Raises:
        InputError: a value that is not a whole number from 1 on.
    """

    model_bytes: int = 256 * 2**20
    bundle_bytes: int = 2**30
    golden_images: int = 64
    values: int = 200_000
    nodes: int = 10_000
    weights: int = 64 * 2**20
    tensor_bytes: int = 64 * 2**20
    total_bytes: int = 512 * 2**20
    operations: int = 5 * 10**10
    constant_operations: int = 8 * 2**20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = arguments.positive_int(field.name, getattr(self, field.name), advice="see Limits")
            object.__setattr__(self, field.name, value)


DEFAULT_LIMITS = Limits()
