"""Intervals, confusion, and the honesty of units."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from host_tools.link.events import Stats
from host_tools.link.info import Info
from host_tools.measure import metrics
from model_pipeline.intervals import wilson


@given(st.integers(1, 5000), st.data())
def test_wilson_equals_scipy(total: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, total))
    interval = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson(correct, total) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60))
def test_confusion_counts_every_pair(pairs: list[tuple[int, int]]) -> None:
    result = metrics.classification([t for t, _ in pairs], [p for _, p in pairs], list("abcde"))
    for truth in range(5):
        for heard in range(5):
            assert result.confusion[truth][heard] == pairs.count((truth, heard))
    assert result.accuracy.correct == sum(t == p for t, p in pairs)
    assert sum(r.total for r in result.recall) == sum(r.total for r in result.precision) == len(pairs)


def test_spread_of_nothing_and_of_something() -> None:
    assert metrics.spread([]) == {"count": 0}
    result = metrics.spread(list(range(101)))
    assert (result["count"], result["mean"], result["p50"], result["p95"], result["max"]) == (101, 50, 50, 95, 100)
    assert metrics.spread(np.array([3.0]))["p99"] == 3


def _info(**values: object) -> Info:
    base = Info(timer_source="TIM2", timer_hz=84_000_000, calibration_expected=10_000, calibration_ticks=10_000)
    return dataclasses.replace(base, **values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "instructions"),
        ({"calibration_ticks": 10_010}, "instructions"),
        ({"calibration_ticks": 10_011}, "ticks of TIM2 at 84,000,000 Hz"),
        ({"calibration_ticks": 9_989}, "ticks of TIM2 at 84,000,000 Hz"),
        ({"calibration_ticks": 0}, "ticks of TIM2 at 84,000,000 Hz"),
        ({"calibration_expected": 0, "calibration_ticks": 0}, "ticks of TIM2 at 84,000,000 Hz"),
        ({"timer_source": "DWT"}, "instructions"),  # of Renode: no core runs the loop in so few cycles
        ({"timer_source": "DWT", "calibration_ticks": 14_000}, "cycles"),
        ({"timer_source": "SYSTICK", "timer_hz": 0, "calibration_ticks": 5}, "ticks of SYSTICK"),
        (
            {
                "timer_source": "CLOCK_MONOTONIC",
                "timer_hz": 1_000_000_000,
                "calibration_expected": 0,
                "calibration_ticks": 0,
            },
            "ns",
        ),
        (
            {"timer_source": "CLOCK_MONOTONIC", "timer_hz": 1000, "calibration_expected": 0},
            "ticks of CLOCK_MONOTONIC at 1,000 Hz",
        ),
        ({"timer_source": "", "timer_hz": 0, "calibration_expected": 0}, "ticks of an unnamed timer"),
    ],
)
def test_a_tick_is_never_called_more_than_is_known(values: dict, name: str) -> None:
    unit = metrics.tick_unit(_info(**values))
    assert unit.name == name
    assert unit.note


def test_link_summary_counts_every_kind_of_loss() -> None:
    clean = {name: 0 for name in ("sent", "resent", "naks", "timeouts", "received", "lost", "repeated", "bad")}
    zero = Stats(*[0] * 16)
    assert metrics.link_summary(clean, zero, zero).lost == 0
    for name in (
        "rx_malformed",
        "rx_crc",
        "rx_oversized",
        "rx_length",
        "rx_missing",
        "rx_version",
        "rx_ring_overflow",
        "rx_overrun",
        "rx_framing",
        "tx_dropped",
        "audio_dropped",
    ):
        summary = metrics.link_summary(clean, zero, dataclasses.replace(zero, **{name: 1}))
        assert (summary.lost, summary.repeated) == (1, 0), name
    assert metrics.link_summary({**clean, "lost": 2, "bad": 1}, zero, zero).lost == 3
    assert metrics.link_summary(clean, zero, zero, missing=4).lost == 4
    repeated = metrics.link_summary({**clean, "resent": 1}, zero, dataclasses.replace(zero, rx_duplicate=2))
    assert (repeated.lost, repeated.repeated) == (0, 3)
    # What happened before the measurement is not its fault.
    old = dataclasses.replace(zero, rx_crc=7)
    assert metrics.link_summary(clean, old, old).lost == 0
