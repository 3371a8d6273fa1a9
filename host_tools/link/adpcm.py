"""IMA ADPCM as AUDIO carries it (docs/protocol.md): four bits a sample, the lower half of a byte first."""

from __future__ import annotations

import numpy as np

MAX_STEP = 88  # index of the largest step
_STEPS = (
    "7 8 9 10 11 12 13 14 16 17 19 21 23 25 28 31 34 37 41 45 50 55 60 66 73 80 88 97 107 118 130 143 157 173 190 209 "
    "230 253 279 307 337 371 408 449 494 544 598 658 724 796 876 963 1060 1166 1282 1411 1552 1707 1878 2066 2272 2499 "
    "2749 3024 3327 3660 4026 4428 4871 5358 5894 6484 7132 7845 8630 9493 10442 11487 12635 13899 15289 16818 18500 "
    "20350 22385 24623 27086 29794 32767"
)
_CHANGE = (-1, -1, -1, -1, 2, 4, 6, 8)


def _tables() -> tuple[list[list[int]], list[list[int]]]:
    """For each step and code: what is added to the last sample, and the next step."""
    added, following = [], []
    for index, step in enumerate(map(int, _STEPS.split())):
        sizes = [
            (step >> 3) + (step if c & 4 else 0) + (step >> 1 if c & 2 else 0) + (step >> 2 if c & 1 else 0)
            for c in range(8)
        ]
        added.append(sizes + [-size for size in sizes])
        following.append([min(MAX_STEP, max(0, index + _CHANGE[c & 7])) for c in range(16)])
    return added, following


_ADDED, _NEXT = _tables()


def decode(codes: bytes, count: int, predictor: int, step: int) -> np.ndarray:
    """int16 [count] of one block, whose state before the first sample is ``predictor`` and ``step`` (0 to 88).

    Raises:
        ValueError: not as many codes as samples, or no such step.
    """
    if len(codes) != (count + 1) // 2:
        raise ValueError(f"{len(codes)} bytes for {count} samples")
    if not 0 <= step <= MAX_STEP:
        raise ValueError(f"step {step}")
    samples = np.empty(count, np.int16)
    value = predictor
    for at in range(count):
        code = codes[at >> 1] >> 4 if at & 1 else codes[at >> 1] & 15
        value = min(32767, max(-32768, value + _ADDED[step][code]))
        step = _NEXT[step][code]
        samples[at] = value
    return samples
