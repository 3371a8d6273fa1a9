"""The rate of all sound here, and times as samples of it."""

from __future__ import annotations

SAMPLE_RATE = 16000
# What a network sees at once, and so how long the clips of its data are: a second unless a phrase needs more.
CLIP_MS, LONGEST_CLIP_MS = 1000, 1500


def samples_of(ms: float) -> int:
    """Whole samples of a time in milliseconds."""
    return round(ms * SAMPLE_RATE / 1000)


def ms_of(samples: float) -> float:
    """Milliseconds of a number of samples."""
    return samples * 1000 / SAMPLE_RATE
