"""ADD as one linear function of both operands, where that is exact."""

from __future__ import annotations

import numpy as np

SHIFT = 20  # kws_fast_add shifts the sum right by so much


def linear_sum(params: dict[str, int]) -> tuple[int, int, int] | None:
    """(a, b, c) of kws_fast_add_t, equal to the reference for all 65536 pairs of operands.

    The operands are few enough to try them all. For given factors every pair leaves a range for c; the ranges have
    something in common unless the reference's roundings can't be had by a linear function (halves away from zero on
    both sides), and then the plain kernel stays.

    Args:
        params: the integers of kws_nn_add_t.
    """
    values = np.arange(-128, 128, dtype=np.int64)
    first = _requantize((values - params["zero_point1"]) << 20, params["multiplier1"], params["shift1"])
    second = _requantize((values - params["zero_point2"]) << 20, params["multiplier2"], params["shift2"])
    total = first[:, None] + second[None, :]
    exact = _requantize(total, params["out_multiplier"], params["out_shift"]) + params["out_zero_point"]
    if (params["act_min"], params["act_max"]) != (-128, 127):
        return None
    exact = np.clip(exact, -128, 127)
    factor = params["out_multiplier"] * 2.0 ** (params["out_shift"] - 31 + 20)
    # x << 8 times a, >> 16, is x times the factor, << SHIFT
    slope = [factor * params[f"multiplier{i}"] * 2.0 ** (params[f"shift{i}"] - 31) * 2.0 ** (SHIFT + 8) for i in (1, 2)]
    if max(slope) >= 1 << 30 or factor == 0:
        return None
    for nudge_a in (0, 1, -1):
        for nudge_b in (0, 1, -1):
            a, b = round(slope[0]) + nudge_a, round(slope[1]) + nudge_b
            rest = ((a * (values << 8)) >> 16)[:, None] + ((b * (values << 8)) >> 16)[None, :]
            least = np.where(exact > -128, (exact << SHIFT) - rest, -(1 << 40)).max()
            most = np.where(exact < 127, ((exact + 1) << SHIFT) - 1 - rest, 1 << 40).min()
            # The kernel's sums must not leave int32.
            bound = np.abs(rest).max()
            least, most = max(least, bound - (1 << 31) + 1), min(most, (1 << 31) - 1 - bound)
            if least <= most:
                return a, b, int((least + most) // 2)
    return None


def _requantize(value: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """As kws_nn_requantize (kws_nn_math.h), int64; shift <= 0."""
    high = (value * multiplier + (1 << 30)) >> 31
    if shift == 0:
        return high
    return (np.abs(high) + (1 << (-shift - 1)) >> -shift) * np.sign(high)
