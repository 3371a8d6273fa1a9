"""Two runs or more beside each other: what differs in their settings and in their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import JsonValue

from host_tools.records.find import Found
from model_pipeline.record import FIGURES, Figure, Record
from model_pipeline.strict import Strict

Verdict = Literal["", "same", "within", "better", "worse"]
_ABOUT = ("kind", "board", "kws", "config_hash", "data_hash", "model_hash")


class Difference(Strict):
    """A setting, or a fact of the record, that is not the same in all runs; None where a run has none."""

    name: str
    values: list[JsonValue]


class FigureRow(Strict):
    """A figure of each run. ``verdicts``: of each against the first (`verdict`)."""

    name: str
    values: list[Figure | None]
    verdicts: list[Verdict]


class Comparison(Strict):
    """What `compare` finds. ``unknown``: the places of runs whose configuration nobody kept."""

    places: list[str]
    names: list[str]
    about: list[Difference]
    settings: list[Difference]
    figures: list[FigureRow]
    unknown: list[str]


def compare(runs: Sequence[Found]) -> Comparison:
    """What differs between the first run and the others.

    Returns:
        Settings by their dotted names, in the order of the configuration; figures in the order of `FIGURES`.
    """
    records = [run.record for run in runs]
    all_configs = [flat(r.config) for r in records]
    known = [bool(config) for config in all_configs]
    keys = list(dict.fromkeys(key for config in all_configs for key in config))
    figures = [name for name in FIGURES if any(name in r.figures for r in records)]
    return Comparison(
        places=[str(run.place) for run in runs],
        names=[r.name for r in records],
        about=[d for name in _ABOUT if (d := _differing(name, [_short(getattr(r, name)) or None for r in records]))],
        # A run whose configuration nobody kept says nothing about settings.
        settings=[d for key in keys if (d := _differing(key, [c.get(key) if c else None for c in all_configs], known))],
        figures=[_row(name, records) for name in figures],
        unknown=[str(run.place) for run in runs if not run.record.config],
    )


def flat(config: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """A configuration's values by their dotted names, as ``--set`` has them; lists stay whole."""
    found: dict[str, JsonValue] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def verdict(name: str, before: Figure | None, now: Figure | None) -> Verdict:
    """What ``now`` is against ``before``: "within" where the 95 % interval of one holds the value of the other, so that
    nothing is shown; "" where nothing is better or worse, or one is missing. Counted figures are as they are."""
    if before is None or now is None or not FIGURES[name].better:
        return ""
    if before.exact and now.exact:
        if before.value == now.value:
            return "same"
    elif _holds(before, now.value) if not before.exact else _holds(now, before.value):
        return "within"
    higher = now.value > before.value
    return "better" if higher == (FIGURES[name].better == "higher") else "worse"


def _holds(figure: Figure, value: float) -> bool:
    return (figure.low is None or figure.low <= value) and (figure.high is None or value <= figure.high)


def _differing(name: str, values: list[JsonValue], known: Sequence[bool] | None = None) -> Difference | None:
    counted = [v for v, there in zip(values, known, strict=True) if there] if known else values
    return Difference(name=name, values=values) if any(v != counted[0] for v in counted[1:]) else None


def _short(value: str) -> str:
    """16 digits tell hashes apart, and a narrow table has room for them."""
    return value[:16]


def _row(name: str, records: Sequence[Record]) -> FigureRow:
    values = [r.figures.get(name) for r in records]
    return FigureRow(name=name, values=values, verdicts=[verdict(name, values[0], v) for v in values])
