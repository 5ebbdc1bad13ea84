"""Quantising in torch: values as the standard says, and the gradients that attacks follow."""

import numpy as np
import torch

from eed_edge.export.int8.straight_through import dequantize_linear, quantize_linear

SCALE = torch.tensor(0.25)


def gradient_of(values, zero_point):
    values = torch.tensor(values, requires_grad=True)
    rounded = dequantize_linear(quantize_linear(values, SCALE, zero_point), SCALE, zero_point)
    return torch.autograd.grad(rounded.sum(), values)[0].tolist()


def test_values_are_rounded_to_the_nearest_step_halves_to_even_and_cut_off():
    values = np.array([-1.0, 0.1, 0.12, 0.125, 0.375, 0.62, 100.0], np.float32)
    zero = torch.tensor(0, dtype=torch.uint8)
    rounded = quantize_linear(torch.from_numpy(values), SCALE, zero).numpy()
    np.testing.assert_array_equal(rounded, np.clip(np.rint(values / np.float32(0.25)), 0, 255))
    np.testing.assert_array_equal(rounded, [0, 0, 0, 0, 2, 2, 255])


def test_rounding_and_saturation_pass_the_gradient_as_it_is():
    zero = torch.tensor(100, dtype=torch.uint8)  # from -25 to 38.75
    assert gradient_of([0.1, 3.3, -30.0, 50.0], zero) == [1, 1, 1, 1]


def test_where_saturation_stands_for_a_relu_it_passes_no_gradient_below():
    zero = torch.tensor(0, dtype=torch.uint8)
    assert gradient_of([-0.3, -40.0, 0.0, 0.1, 50.0, 100.0], zero) == [0, 0, 1, 1, 1, 1]
    low = torch.tensor(-128, dtype=torch.int8)
    assert gradient_of([-0.3, 0.1, 80.0], low) == [0, 1, 1]
