"""What the choices of kernels share: reading a plain call, and the sums of a layer as the fast kernels form them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_pipeline.compiler.fast.requantize import Requantization, requantization
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
    given = np.zeros(len(weights), np.int64) if call.params["bias"] == 0 else array(call, "bias").astype(np.int64)
    magnitude = np.abs(wide).sum(axis=1)
    bound = magnitude * max(127 - in_zero, 128 + in_zero) + np.abs(given)
    bias = given - in_zero * wide.sum(axis=1)
    # Doubled, with the zero point in the bias, a partial sum may be larger than the whole.
    if (magnitude * 128 + np.abs(bias)).max(initial=0) >= 1 << 30:
        return None
    found = requantization(array(call, "multiplier"), array(call, "shift"), out_zero, low, high, bound)
    return Sums(weights, bias, bound, found)
