"""Numbers of a measurement: accuracy with its interval, confusion, percentiles, and what a tick may be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from host_tools.link.events import Stats
from host_tools.link.info import Info
from host_tools.measure.results import Classes, LinkUse, Ticks
from model_pipeline.intervals import Share, confusion_matrix

_CALIBRATION_TOLERANCE = 1e-3


def proportion(correct: int, total: int) -> dict[str, float | int | None]:
    """`intervals.Share` as results.json has one of clips."""
    return Share.of(correct, total).correct()


def classification(truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> Classes:
    """What was right, by each label's recall and precision too."""
    matrix = confusion_matrix(truth, predicted, len(labels))
    recall = [{"label": name, **proportion(matrix[i][i], sum(matrix[i]))} for i, name in enumerate(labels)]
    heard = [sum(row[i] for row in matrix) for i in range(len(labels))]
    precision = [{"label": name, **proportion(matrix[i][i], heard[i])} for i, name in enumerate(labels)]
    correct = sum(matrix[i][i] for i in range(len(labels)))
    return Classes.model_validate(
        {
            "labels": list(labels),
            "accuracy": proportion(correct, len(truth)),
            "confusion": matrix,
            "recall": recall,
            "precision": precision,
        }
    )


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """Count, mean, smallest, largest and percentiles (linear between the ranks); ``{"count": 0}`` for none."""
    if not len(values):
        return {"count": 0}
    array = np.asarray(values, float)
    p50, p90, p95, p99 = np.percentile(array, (50, 90, 95, 99))
    result = {
        "mean": array.mean(),
        "min": array.min(),
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "max": array.max(),
    }
    return {"count": len(array), **{name: round(float(value), 3) for name, value in result.items()}}


def tick_unit(info: Info) -> Ticks:
    """Names the unit of the ticks that this device counts, and never more than is known.

    DWT counts core cycles, but in an emulator whose DWT counts instructions: on a core the calibration loop, with a
    taken branch each turn, takes more cycles than it has instructions. CLOCK_MONOTONIC at 1 GHz counts nanoseconds.
    Any other timer counts instructions only where the device's calibration loop of a known number of instructions
    took that many ticks, to 0.1 %; that is so in QEMU under ``-icount shift=0``. Everything else stays ticks of that
    timer.
    """
    source, hz, expected, ticks = info.timer_source, info.timer_hz, info.calibration_expected, info.calibration_ticks
    exact = bool(expected) and abs(ticks - expected) <= _CALIBRATION_TOLERANCE * expected
    if source == "DWT" and not exact:
        return Ticks(name="cycles", note="core cycles, counted by the DWT of a real core", source=source, hz=hz)
    if source == "CLOCK_MONOTONIC" and hz == 1_000_000_000:
        return Ticks(name="ns", note="wall time of the host computer, not of a board", source=source, hz=hz)
    plain = f"ticks of {source or 'an unnamed timer'}" + (f" at {hz:,} Hz" if hz else "")
    if not expected:
        return Ticks(name=plain, note=f"{source} has no calibration loop", source=source, hz=hz)
    if exact:
        note = f"guest instructions: a loop of {expected:,} instructions took {ticks:,} ticks of {source}; not cycles"
        return Ticks(name="instructions", note=note, source=source, hz=hz)
    note = f"a loop of {expected:,} instructions took {ticks:,} ticks of {source}, so a tick is not an instruction"
    return Ticks(name=plain, note=note, source=source, hz=hz)


def link_summary(host: dict[str, int], before: Stats | None, after: Stats | None, missing: int = 0) -> LinkUse:
    """What both ends counted, and in sum ``lost`` and ``repeated`` frames.

    Args:
        host: the link's counters; before, after: the device's at start and end.
        missing: answers that never came although no gap was seen.
    """
    device: dict[str, int] = {}
    if before and after:
        old, new = asdict(before), asdict(after)
        device = {name: (new[name] - old[name]) & 0xFFFFFFFF for name in new if name != "at"}
    damage = ("malformed", "crc", "oversized", "length", "missing", "version", "ring_overflow", "overrun", "framing")
    lost = host["lost"] + host["bad"] + missing + sum(device.get(f"rx_{name}", 0) for name in damage)
    lost += device.get("tx_dropped", 0) + device.get("audio_dropped", 0)
    repeated = host["resent"] + host["repeated"] + device.get("rx_duplicate", 0)
    return LinkUse(lost=lost, repeated=repeated, host=dict(host), device=device)
