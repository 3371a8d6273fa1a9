"""What the choices of kernels share: reading a plain call, and the sums of a layer as the fast kernels form them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_pipeline.compiler.fast.requantize import Requantization, exact_steps, requantization
from model_pipeline.compiler.ir import Call, Constant

Goal = Literal["speed", "size"]


def array(call: Call, name: str) -> np.ndarray:
    """A constant of the call."""
    value = call.params[name]
    assert isinstance(value, Constant)
    return value.array


def numbers(call: Call, *names: str) -> list[int]:
    """Integer parameters of the call."""
    return [value for name in names if isinstance(value := call.params[name], int)]


def limits(call: Call) -> list[int]:
    """The fields of kws_rq_limits_t."""
    return numbers(call, "out_zero_point", "act_min", "act_max")


@dataclass(frozen=True)
class Sums:
    """The sums of a layer over x in -128..127, the zero point being folded into the bias.

    Attributes:
        weights: int8 [out_c, k]; the kernel sees every one of them, padding included.
        bias: int64 [out_c].
        bound: int64 [out_c], the largest magnitude of the whole sum.
        requantization: for doubled sums.
    """

    weights: np.ndarray
    bias: np.ndarray
    bound: np.ndarray
    requantization: Requantization


def sums(call: Call, weights: np.ndarray) -> Sums | None:
    """The sums of a convolution or dense layer; None where they do not fit the kernels' 32 bits.

    Args:
        weights: int8 [out_c, k].
    """
    in_zero, out_zero, low, high = numbers(call, "in_zero_point", "out_zero_point", "act_min", "act_max")
    wide = weights.astype(np.int64)
    bias = np.zeros(len(weights), np.int64) if call.params["bias"] == 0 else array(call, "bias").astype(np.int64)
    multiplier, shift = array(call, "multiplier").astype(np.int64), array(call, "shift").astype(np.int64)

    # Filters that training has switched off have no weights and a bias beyond all scale. Where a channel's output does
    # not depend on its input, weights of 0 and a small bias give the same: 4 v * 2^30 / 2^32 = v.
    least = bias + np.minimum(wide * (-128 - in_zero), wide * (127 - in_zero)).sum(axis=1)
    most = bias + np.maximum(wide * (-128 - in_zero), wide * (127 - in_zero)).sum(axis=1)
    steps = exact_steps(least, multiplier, shift, low - out_zero, high - out_zero)
    constant = (shift <= 0) & (steps == exact_steps(most, multiplier, shift, low - out_zero, high - out_zero))
    wide = np.where(constant[:, None], 0, wide)
    bias = np.where(constant, 4 * steps, bias)
    multiplier, shift = np.where(constant, 1 << 30, multiplier), np.where(constant, -1, shift)

    magnitude = np.abs(wide).sum(axis=1)
    bound = magnitude * max(127 - in_zero, 128 + in_zero) + np.abs(bias)
    folded = bias - in_zero * wide.sum(axis=1)
    # Doubled, with the zero point in the bias, a partial sum may be larger than the whole.
    if (magnitude * 128 + np.abs(folded)).max(initial=0) >= 1 << 30:
        return None
    found = requantization(multiplier, shift, out_zero, low, high, bound)
    return Sums(wide.astype(np.int8), folded, bound, found)
