"""Shares and rates as measurements give them: counts with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_pipeline.strict import Strict

_Z95 = 1.959963984540054  # 97.5 % point of the standard normal distribution


class Share(Strict):
    """``count`` of ``total`` with the 95 % interval from ``low`` to ``high``, as fractions; ``value`` is None for no
    trials."""

    count: int
    total: int
    value: float | None
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        """The share of these counts, with its Wilson interval."""
        low, high = wilson(count, total)
        return cls(count=count, total=total, value=count / total if total else None, low=low, high=high)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Share:
        """The share that a results file or a manifest holds. In them the counts of clips are called ``correct`` and
        ``total`` or ``clips``, those of anything else ``count`` and ``total``.

        Raises:
            KeyError: neither pair is there.
        """
        return cls.of(
            values["correct"] if "correct" in values else values["count"],
            values["clips"] if "clips" in values else values["total"],
        )

    def correct(self) -> dict[str, float | int | None]:
        """As results.json has a share of clips: ``correct``, ``total``, ``value``, ``low``, ``high``."""
        return {"correct": self.count, "total": self.total, "value": self.value, "low": self.low, "high": self.high}

    @property
    def percent(self) -> str:
        """``97.1 %``, or a dash for no trials."""
        return "–" if self.value is None else f"{100 * self.value:.1f} %"

    @property
    def interval(self) -> str:
        """``95.0 to 98.3 %``, or a dash for no trials."""
        return f"{100 * self.low:.1f} to {100 * self.high:.1f} %" if self.total else "–"


class Rate(Strict):
    """``count`` events in ``hours``, an hour, with the 95 % interval from ``low`` to ``high``; None where no audio
    bounds it."""

    count: int
    hours: float
    per_hour: float | None
    low: float
    high: float | None

    @classmethod
    def of(cls, count: int, hours: float) -> Rate:
        """The rate of a Poisson process with its exact interval (F. Garwood, Biometrika 28, 1936: the chi-squared
        limits, here as quantiles of the gamma distribution)."""
        from scipy.special import gammaincinv

        low = float(gammaincinv(count, 0.025)) if count else 0.0
        high = float(gammaincinv(count + 1, 0.975))
        return cls(
            count=count,
            hours=round(hours, 4),
            per_hour=count / hours if hours else None,
            low=low / hours if hours else 0.0,
            high=high / hours if hours else None,
        )

    @property
    def described(self) -> str:
        """``2.50 an hour (95 %: 0.52 to 7.31)``, or a dash where there is no audio."""
        if self.per_hour is None or self.high is None:
            return "–"
        return f"{self.per_hour:.2f} an hour (95 %: {self.low:.2f} to {self.high:.2f})"


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (E. B. Wilson, JASA 22, 1927), as fractions. (0, 1) for no trials."""
    if total == 0:
        return 0.0, 1.0
    z2 = _Z95 * _Z95
    centre = (count + z2 / 2) / (total + z2)
    half = _Z95 / (total + z2) * math.sqrt(count * (total - count) / total + z2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], labels: int) -> list[list[int]]:
    """``[labels][labels]`` counts; rows are what was said, columns what was heard."""
    matrix = np.zeros((labels, labels), int)
    np.add.at(matrix, (np.asarray(truth, int), np.asarray(predicted, int)), 1)
    return matrix.tolist()
