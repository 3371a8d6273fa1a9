"""The stopwatch of the application: an interrupt is never in its time, wherever it falls."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pipeline.native import FIRMWARE, shared_library

U32 = st.integers(0, 2**32 - 1)
OWN = 8  # calls of the port, a tick each, that lie within the region at most


@pytest.fixture(scope="module")
def watch() -> ctypes.CDLL:
    source = Path(__file__).parent / "app_watch_driver.c"
    library = shared_library("app_watch", [source], [FIRMWARE / "app", FIRMWARE / "ports"])
    library.watched.restype = ctypes.c_uint32
    return library


@given(U32, st.integers(0, 5000), st.integers(0, 12), st.integers(1, 100_000))
def test_an_interrupt_is_not_in_the_time_of_a_region(
    watch: ctypes.CDLL, start: int, region: int, strike: int, length: int
) -> None:
    assert region < watch.watched(start, region, strike, length) <= region + OWN
