"""The rate of all sound here, and times as samples of it."""

from __future__ import annotations

SAMPLE_RATE = 16000


def samples_of(ms: float) -> int:
    """Whole samples of a time in milliseconds."""
    return round(ms * SAMPLE_RATE / 1000)


def ms_of(samples: float) -> float:
    """Milliseconds of a number of samples."""
    return samples * 1000 / SAMPLE_RATE
