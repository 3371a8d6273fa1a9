"""SysTick as the timer, where a core has no other."""

from __future__ import annotations

import struct
from pathlib import Path

from model_pipeline.native import FIRMWARE
from tests.support.m4 import requires_m4, run_on_m4

MILLISECOND = 16_000  # ticks


@requires_m4
def test_its_count_never_runs_backwards() -> None:
    port = FIRMWARE / "ports" / "cortexm"
    sources = [Path(__file__).parent / "systick_main.c", port / "timing.c", port / "watchdog.c"]
    result = run_on_m4(sources, [port, port.parent])
    in_loop, interrupts, in_handler, all_interrupts, passed = struct.unpack("<5I", result.output)
    assert 0 < in_loop < MILLISECOND / 10 and 0 < in_handler < MILLISECOND / 10
    assert 0 < interrupts < MILLISECOND  # 20 interrupts, of a few instructions each
    assert 1.25 * MILLISECOND <= all_interrupts - interrupts < 1.5 * MILLISECOND
    assert 21.25 * MILLISECOND <= passed < 22 * MILLISECOND
