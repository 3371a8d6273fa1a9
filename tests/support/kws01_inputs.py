"""The 1,000 official inputs of MLPerf Tiny's keyword spotting, in the form that the reference model takes.

How the files hold them was found by comparing them with the clips they were made of (``test_kws01_inputs.py`` does it
again): the first ten MFCCs of 49 frames (30 ms, step 20 ms, 40 mel bands from 20 to 4000 Hz, clip scaled to its peak),
coefficient by coefficient, times 2.97, rounded, limited to +-127. The model takes frame by frame, with its own scale
and zero point. What the limit cut off, in coefficient 0 of a tenth of all frames, is lost: that costs some accuracy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from host_tools.mlperf.inputs import COEFFICIENTS, FRAMES, MFCC_SCALE


def official_inputs(shared_data: Path, count: int = 1000) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, the files' bytes int8 [n, 490], and labels."""
    files = sorted((shared_data / "mlperf_tiny" / "kws01_inputs").glob("*.bin"))
    assert len(files) == 1000
    inputs = np.stack([np.frombuffer(f.read_bytes(), np.int8) for f in files[:count]])
    return [f.name for f in files[:count]], inputs, np.array([int(f.stem.rsplit("_", 1)[1]) for f in files[:count]])


def mfcc(inputs: np.ndarray) -> np.ndarray:
    """float64 [n, 49, 10] from the files' bytes."""
    return inputs.reshape(-1, COEFFICIENTS, FRAMES).transpose(0, 2, 1) / MFCC_SCALE
