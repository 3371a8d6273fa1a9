"""What rate of false accepts thresholds have: counted, carried on where counts are few, and corrected for having been
chosen on the speech that they are counted on. docs/listening.md tells why each step is as it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model_pipeline.listening.results import NearCost

LEVELS = np.concatenate([np.arange(64, 240, 6), np.arange(240, 256)])  # fine where good models' scores lie
PARTS = 5  # of the speech, for `to_ask`, where it is of one corpus
_ENOUGH = 5  # false accepts of a word from which its own counts are relied on
_TAIL = 20  # that its slope beyond is taken from
_PRIOR = 0.5  # false accepts that a word without any is thought to have had at the lowest level
_ASKED = 6  # rates that `to_ask` looks at, each half of the one before
_POWER, _POWER_SD = 0.7, 0.15  # of the asked rate, by which the true one goes; what is believed without counts
_SHARES = (0.3, 0.2, 0.15, 0.1, 0.05, 0.02)  # of near words that fire: what fewer cost is told at these
_SEEN = 8.0  # false accepts that are expected at the highest of them


@dataclass
class Sweep:
    """Counts at each of `LEVELS`, the same threshold for all words."""

    errors: NDArray[np.float64]  # [levels, words]: missed, late and wrong in the sessions, by the word said or heard
    parts: NDArray[np.float64]  # [parts, levels, words]: false accepts on each part of the connected speech
    each: NDArray[np.float64]  # [parts]: hours of each
    always: NDArray[np.float64] | None = None  # [levels, words]: false accepts that count whatever part is left out
    common: bool = False  # whether all words have the same threshold
    near: NDArray[np.float64] | None = None  # [levels]: the share of near words, said alone, at which anything fires
    most_near: float = 1.0  # of them, where the threshold is common; 1: they may all fire

    @property
    def hours(self) -> float:
        """Of all parts."""
        return float(self.each.sum())

    @property
    def false(self) -> NDArray[np.float64]:
        """False accepts on all parts, [levels, words]."""
        found = np.asarray(self.parts.sum(axis=0))
        return found if self.always is None else found + self.always

    @functools.cached_property
    def rates(self) -> NDArray[np.float64]:
        """`expected_rates` of it."""
        return expected_rates(self)

    def without(self, part: int) -> Sweep:
        """The same with one part less."""
        return replace(self, parts=np.delete(self.parts, part, axis=0), each=np.delete(self.each, part))

    def pick(self, wanted: float) -> list[int] | None:
        """The level of each word that gives the fewest errors within ``wanted`` false accepts an hour; None if none
        do."""
        if not self.common:
            return pick(self.errors, self.rates, wanted)
        few = None if self.near is None else self.near <= self.most_near
        return pick_common(self.errors, self.rates, wanted, few)


def total(table: NDArray[np.float64], levels: Sequence[int] | NDArray[np.int64]) -> float:
    """The sum over all words of ``table`` [levels, words], with a level for each word."""
    return float(table[levels, np.arange(len(levels))].sum())


def to_ask(sweeps: Sequence[Sweep], wanted: float) -> float:
    """The rate that `pick` must be asked for so that there really are ``wanted`` false accepts an hour; at most that.

    Thresholds are chosen where these recordings happen to be quiet, so there are more on others. How many more is seen
    by choosing on all parts but one and counting on that one (cross-fitting), for several rates: the lower the rate,
    the more. Where the parts are corpora, the one that is counted on is a corpus that was not chosen on. As counts are
    few, a power law is laid through them.

    Args:
        sweeps: one of each detector that there is to choose from.
        wanted: false accepts an hour.
    """
    hours = sweeps[0].hours
    asked = max(4.0 * wanted, _SEEN / hours) * 0.5 ** np.arange(_ASKED)
    # A half so that none has a logarithm too.
    counted = 0.5 + np.nansum(left_out(sweeps, [float(rate) for rate in asked]), axis=0)
    x, y = np.log(asked), np.log(counted / hours)
    middle_x, middle_y = np.average(x, weights=counted), np.average(y, weights=counted)
    # Least squares, weighted by what a Poisson count's logarithm is worth.
    own = float((counted * (x - middle_x) ** 2).sum())
    slope = float((counted * (x - middle_x) * (y - middle_y)).sum()) + _POWER / _POWER_SD**2
    slope = float(np.clip(slope / (own + 1 / _POWER_SD**2), 0.4, 1.0))
    ask = min(wanted, math.exp(middle_x + (math.log(wanted) - middle_y) / slope))
    return max(ask, min(wanted, lowest(sweeps)))


def near_costs(found: Sweep) -> list[NearCost]:
    """For each of `_SHARES` the lowest common threshold at which no more of the near words fire, with what else there
    is at it; those with the same threshold once. Empty without near words."""
    if found.near is None:
        return []
    levels = [int(np.argmax(found.near <= share)) for share in _SHARES if (found.near <= share).any()]
    return [
        NearCost(
            near=round(float(found.near[i]), 4),
            errors=float(found.errors[i].sum()),
            false_accepts_per_hour=round(float(found.rates[i].sum()), 3),
            threshold=int(LEVELS[i]),
        )
        for i in dict.fromkeys(levels)
    ]


def left_out(sweeps: Sequence[Sweep], asked: Sequence[float]) -> NDArray[np.float64]:
    """False accepts on each part of the detector that is chosen on all others: [parts, asked], NaN where no thresholds
    give the rate that is asked for."""
    counted = np.full((len(sweeps[0].parts), len(asked)), np.nan)
    for part in range(len(counted)):
        pairs = [(sweep.without(part), sweep.parts[part]) for sweep in sweeps]
        for i, rate in enumerate(asked):
            fit = [
                (total(others.errors, levels), total(false, levels))
                for others, false in pairs
                if (levels := others.pick(float(rate)))
            ]
            if fit:
                counted[part, i] = min(fit, key=lambda each: each[0])[1]
    return counted


def lowest(sweeps: Sequence[Sweep]) -> float:
    """False accepts an hour that are expected of the highest thresholds."""
    return min(float(sweep.rates[-1].sum()) for sweep in sweeps)


def expected_rates(found: Sweep) -> NDArray[np.float64]:
    """Expected false accepts an hour at each level, [levels, words].

    Where a word has fired at least `_ENOUGH` times its own counts are taken. Beyond, counts are too few to be trusted
    (the lowest threshold without any is just the one above the highest of a few random values), so they are carried on
    by an exponential tail over the logit of the threshold. Its slope is the inverse of the mean excess of the word's
    last `_TAIL` false accepts, or of the upper half if they are fewer (B. M. Hill, Annals of Statistics 3, 1975, for
    logarithms), drawn towards that of all words together.
    """
    logit = np.log((LEVELS + 0.5) / (256 - LEVELS - 0.5))
    false = np.maximum.accumulate(found.false[::-1], axis=0)[::-1]  # never rising with the threshold
    words = false.shape[1]
    ends, numbers, excesses = [], [], []
    for word in range(words):
        counts = false[:, word]
        ends.append(_last(counts >= _ENOUGH))
        start = _last(counts >= min(_TAIL, math.ceil(counts[0] / 2)))
        # Where each of the last ones stops to fire lies between two levels: their middle.
        gone = -np.diff(np.append(counts[start:], 0.0))
        middle = np.append((logit[start:-1] + logit[start + 1 :]) / 2, logit[-1] + 0.5)
        numbers.append(float(counts[start]))
        excesses.append(float((gone * (middle - logit[start])).sum()))
    # One false accept at one logit as a prior, so that no counts give no infinite slope.
    pooled = (sum(numbers) + 1.0) / (sum(excesses) + 1.0)
    rates = false.copy()
    for word, end in enumerate(ends):
        slope = (numbers[word] + _ENOUGH) / (excesses[word] + _ENOUGH / pooled)
        rates[end:, word] = max(false[end, word], _PRIOR) * np.exp(-slope * (logit[end:] - logit[end]))
    return rates / max(found.hours, 1e-9)


def _last(true: NDArray[np.bool_]) -> int:
    """The last index that is true, 0 if none is."""
    found = np.flatnonzero(true)
    return int(found[-1]) if len(found) else 0


def pick(errors: NDArray[np.float64], rates: NDArray[np.float64], wanted: float) -> list[int] | None:
    """The level of each word that gives the fewest errors in sum with rates that sum to at most ``wanted``; None if
    none do. By Lagrange's multiplier (each word alone minimises errors + price * rate, and the price is raised until
    the rates fit), and then what room is left is used word by word."""
    words = np.arange(errors.shape[1])
    top = len(LEVELS) - 1

    def at(price: float) -> NDArray[np.int64]:
        # Of equals the highest threshold.
        return np.asarray(top - (errors[::-1] + price * rates[::-1]).argmin(axis=0))

    highest = np.full(len(words), top)
    if total(rates, highest) > wanted:
        return None
    low, high = 0.0, 1.0
    while total(rates, at(high)) > wanted and high < 1e12:
        high *= 4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if total(rates, at(middle)) > wanted else (low, middle)
    levels = at(high)
    if total(rates, levels) > wanted:
        levels = highest
    while True:
        gain = errors[levels, words] - errors
        fits = (rates - rates[levels, words] <= wanted - total(rates, levels)) & (np.arange(top + 1)[:, None] < levels)
        gain = np.where(fits, gain, 0.0)
        word, level = np.unravel_index(gain.T.argmax(), gain.T.shape)
        if gain[level, word] <= 0:
            return [int(i) for i in levels]
        levels[word] = level


def pick_common(
    errors: NDArray[np.float64], rates: NDArray[np.float64], wanted: float, among: NDArray[np.bool_] | None = None
) -> list[int] | None:
    """As `pick`, with the same level for all words, which is one of ``among`` [levels] (None: any); of equals the
    highest."""
    allowed = np.flatnonzero((rates.sum(axis=1) <= wanted) & (True if among is None else among))
    if not len(allowed):
        return None
    own = errors.sum(axis=1)[allowed]
    return [int(allowed[len(own) - 1 - int(own[::-1].argmin())])] * errors.shape[1]
