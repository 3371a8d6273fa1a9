"""Constants of the cheap but exact requantisation; the reasoning is in firmware/core/nn/fast/requantize.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_pipeline.compiler.quant import INT8_MAX, INT8_MIN

Kind = Literal["relu", "linear", "any"]


@dataclass(frozen=True)
class Requantization:
    """The kind (which names the kernel) and int32 [channels, 3] of m, c, n."""

    kind: Kind
    table: np.ndarray


def requantization(
    multiplier: np.ndarray, shift: np.ndarray, zero_point: int, low: int, high: int, bound: np.ndarray
) -> Requantization:
    """The cheapest kind that is exact for every sum that can occur.

    Args:
        multiplier: int [channels], as TensorFlow Lite's quantised multipliers.
        shift: int [channels], to the left if positive.
        low, high: limits of the result.
        bound: int64 [channels], the largest magnitude of a channel's sum.
    """
    m = multiplier.astype(np.int64)
    # A multiplier of zero gives zero whatever the shift is.
    n = np.where(m == 0, 1, -shift.astype(np.int64))
    kind: Kind = "any"
    if (low, high) == (INT8_MIN, INT8_MAX) and n.max(initial=0) < 31:
        if zero_point == INT8_MIN and n.min(initial=1) >= 0:
            kind = "relu"
        elif n.min(initial=1) >= 1:
            kind = "linear"
    if kind != "any":
        c = np.where(n > 0, 1 << np.maximum(n - 1, 0), 0) + zero_point * (1 << n)
        # |2 * sum| and |c + x| with |x| <= |sum| + 1, and 1 more for the sign
        if bound.max(initial=0) < 1 << 30 and (bound + np.abs(c)).max(initial=0) + 2 < 1 << 31:
            return Requantization(kind, np.stack([m, c, n], axis=1).astype(np.int32))
    return Requantization("any", np.stack([m, np.zeros_like(m), shift.astype(np.int64)], axis=1).astype(np.int32))


def times_256(found: Requantization, zero_point: int, bound: np.ndarray) -> np.ndarray | None:
    """The table for sums that come times 256 (kws_requantize256), or None where they do not fit 32 bits.

    Args:
        found: that of the sums themselves.
        bound: int64 [channels], the largest magnitude of a channel's sum.
    """
    if bound.max(initial=0) >= 1 << 23:
        return None
    if found.kind == "any":
        return found.table
    m, _, n = (found.table[:, i].astype(np.int64) for i in range(3))
    c = np.where(n > 0, 1 << (n + 6), 0) + 64 + zero_point * (1 << (n + 7))
    if n.max(initial=0) > 24 or (128 * (bound + 1) + np.abs(c)).max(initial=0) + 128 >= 1 << 31:
        return None
    return np.stack([m, c, n + 7], axis=1).astype(np.int32)


def exact_steps(sums: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, low: int, high: int) -> np.ndarray:
    """What TensorFlow Lite Micro makes of sums, before the zero point is added; monotone in the sum.

    Args:
        sums: int64 below 2**31 in magnitude, multiplier and shift (0 or to the right) of the same shape.
        low, high: limits of the result.
    """
    x = (sums * multiplier + (1 << 30)) >> 31
    right = np.maximum(-shift, 0)
    half = (1 << right) >> 1
    return np.clip(np.sign(x) * ((np.abs(x) + half) >> right), low, high)
