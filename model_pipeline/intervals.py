"""Intervals of measured shares."""

from __future__ import annotations

import math

_Z95 = 1.959963984540054  # 97.5 % point of the standard normal distribution


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (E. B. Wilson, JASA 22, 1927), as fractions. (0, 1) for no trials."""
    if total == 0:
        return 0.0, 1.0
    z2 = _Z95 * _Z95
    centre = (count + z2 / 2) / (total + z2)
    half = _Z95 / (total + z2) * math.sqrt(count * (total - count) / total + z2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)
