"""Whether a run is good enough: its figures against thresholds, and against those of another run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from host_tools.records.compare import verdict
from model_pipeline.errors import KwsError
from model_pipeline.record import FIGURES, Record, check_name, interval_shown, shown
from model_pipeline.strict import Strict

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*([kKmM%]?)\s*")


class Check(Strict):
    """One thing that was asked of a figure, and whether it holds; ``why`` is one line for people."""

    figure: str
    wanted: str
    value: float | None
    holds: bool
    why: str


class Requirement(Strict):
    """``accuracy>=0.9``: a figure, how it is compared, and with what."""

    figure: str
    sign: str
    limit: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """
        Raises:
            KwsError: it is not of that form, or there is no such figure (the most similar one is named).
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise KwsError(
                f"{text!r} is not a requirement", hint="as in 'accuracy>=0.9', 'flash<=128K' or 'misses<20%'"
            )
        figure, sign, number, unit = found.groups()
        check_name(figure)
        thousand = 1024 if FIGURES[figure].form == "bytes" else 1000
        scale = {"": 1.0, "%": 0.01, "K": thousand, "M": thousand**2}[unit.upper()]
        return cls(figure=figure, sign=sign, limit=float(number) * scale, text=re.sub(r"\s", "", text))


def require(record: Record, wanted: Sequence[Requirement], *, sure: bool = False) -> list[Check]:
    """Holds figures against thresholds. A figure that the run does not have does not hold.

    Args:
        sure: the worse end of the figure's 95 % interval must keep the threshold, not its value alone.
    """
    checks = []
    for one in wanted:
        figure = record.figures.get(one.figure)
        if figure is None:
            why = f"{record.name} has no {one.figure}"
            checks.append(Check(figure=one.figure, wanted=one.text, value=None, holds=False, why=why))
            continue
        low_end = one.sign.startswith(">")
        end = figure.low if low_end else figure.high
        value: float | None = figure.value
        if sure and not figure.exact:
            value = end
        holds = value is not None and _COMPARE[one.sign](value, one.limit)
        interval = interval_shown(one.figure, figure)
        why = f"{one.figure} is {shown(one.figure, figure.value)}" + (f" ({interval})" if interval else "")
        checks.append(Check(figure=one.figure, wanted=one.text, value=figure.value, holds=holds, why=why))
    return checks


def against(record: Record, other: Record, figures: Sequence[str] = (), slack: float = 0.02) -> list[Check]:
    """Holds figures against another run's: none may be worse than that one's 95 % interval, and what was counted and
    has none may be worse by the share ``slack`` at most.

    Args:
        figures: those alone; all that both runs have and that can be better or worse without any.

    Raises:
        KwsError: there is no such figure, or the two runs share none.
    """
    for name in figures:
        check_name(name)
    names = figures or [n for n in FIGURES if n in record.figures and n in other.figures and FIGURES[n].better]
    if not names:
        raise KwsError(f"{record.name} and {other.name} have no figure in common", hint="kws runs show tells theirs")
    checks = []
    for name in names:
        now, before = record.figures.get(name), other.figures.get(name)
        if now is None or before is None:
            lacking = record.name if now is None else other.name
            value = now.value if now else None
            why = f"{lacking} has no {name}"
            checks.append(Check(figure=name, wanted=f"as {other.name}", value=value, holds=False, why=why))
            continue
        worse = verdict(name, before, now) == "worse"
        if worse and before.exact and now.exact:
            worse = abs(now.value - before.value) > slack * abs(before.value)
        interval = interval_shown(name, before)
        why = f"{name} is {shown(name, now.value)}, was {shown(name, before.value)}" + (
            f" ({interval})" if interval else ""
        )
        checks.append(Check(figure=name, wanted=f"as {other.name}", value=now.value, holds=not worse, why=why))
    return checks
