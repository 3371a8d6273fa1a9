"""Fixed-point parameters, computed exactly as TensorFlow Lite Micro computes them at start-up.

Source of the formulas: tensorflow/lite/kernels/internal/quantization_util and kernels/kernel_util in
tensorflow/tflite-micro. They change: until August 2026 FULLY_CONNECTED with one scale, SUB, LEAKY_RELU and HARD_SWISH
had multipliers of single precision; in `TFLM_VERSION` all ratios of scales are computed in double.
"""

from __future__ import annotations

import math

import numpy as np

from model_pipeline.compiler.ir import Operator, Tensor

TFLM_VERSION = "0.dev20261023182759"  # the wheel tflite-micro that plans are equal to; tests refuse any other
INT8_MIN, INT8_MAX = -128, 127
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}


def round_half_away(value: float) -> int:
    """C's ``round()``: halves go away from zero."""
    whole = math.floor(abs(value))
    return (whole + (abs(value) - whole >= 0.5)) * (1 if value >= 0 else -1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``real`` as (multiplier, shift): ``real ~ multiplier * 2**(shift - 31)`` with a multiplier below 2**31.

    Raises:
        ValueError: negative, not finite, or too large for a shift of 30.
    """
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"multiplier {real} is not a finite positive number")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"multiplier {real} is too large")
    return multiplier, shift


def multiplier_of(operator: Operator, real: float) -> tuple[int, int]:
    """`quantize_multiplier` with an error that names the operator."""
    try:
        return quantize_multiplier(real)
    except ValueError as error:
        raise operator.error(f"impossible quantisation: {error}") from error


def quantized_value(operator: Operator, real: float, tensor: Tensor) -> int:
    """``real`` in a tensor's steps, by float32 arithmetic, not limited to its type."""
    steps = float(np.float32(real) / tensor.scale)
    if not abs(steps) < 1 << 31:  # TFLite Micro refuses these, or its result is undefined
        raise operator.error(f"impossible quantisation: {real:g} is {steps:g} steps of the scale {tensor.scale:g}")
    return tensor.zero_point + round_half_away(steps)


def activation_range(operator: Operator, activation: int, output: Tensor) -> tuple[int, int]:
    """The int8 limits that a fused activation leaves."""

    def quantized(real: float) -> int:
        return quantized_value(operator, real, output)

    name = ACTIVATIONS.get(activation, str(activation))
    if name == "NONE":
        return INT8_MIN, INT8_MAX
    if name == "RELU":
        return max(INT8_MIN, quantized(0.0)), INT8_MAX
    if name == "RELU6":
        return max(INT8_MIN, quantized(0.0)), min(INT8_MAX, quantized(6.0))
    if name == "RELU_N1_TO_1":
        return max(INT8_MIN, quantized(-1.0)), min(INT8_MAX, quantized(1.0))
    raise operator.error(f"fused activation {name} is not known to the compiler")
