"""Hard negatives: places of the training speech in which a network hears a keyword that is not said.

A network that has learnt from random places of connected speech has seen few of those that it takes for a keyword. It
is run over all of the training part, and trained on with scenes of what it fell for (as detectors of faces and persons
are: H. A. Rowley and others, PAMI 20, 1998, "bootstrap").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from model_pipeline.config import FrontendConfig
from model_pipeline.features import Frontend, quantize
from model_pipeline.manifest import input_scale
from model_pipeline.progress import ProgressCallback
from model_pipeline.training.scenes import Sounds

_STRIDE = 2  # hops between two windows that are looked at
_APART = 12  # hops: of places nearer than that only the worst counts
_PIECE = 20000  # frames at once


def mine(
    logits: Callable[[NDArray[np.int8]], NDArray[np.float32]],
    sounds: Sequence[Sounds],
    frontend: FrontendConfig,
    frames: int,
    score: float,
    report: ProgressCallback,
) -> list[Sounds]:
    """``sounds`` with the places at which a network's most probable keyword has a probability of at least ``score``.

    Args:
        logits: of int8 [n, frames, channels]: float32 [n, labels], the last two of which are not keywords.
        frames: of a window.
    """
    total = sum(len(r) for s in sounds for r in s.recordings)
    done, found = 0, []
    for source in sounds:
        spots: list[NDArray[np.int64]] = []
        joined = np.concatenate([np.zeros(0, np.int16), *source.recordings])
        heard = quantize(Frontend(frontend).process(joined), input_scale(frontend))
        for first in range(0, max(0, len(heard) - frames + 1), _PIECE):
            piece = heard[first : first + _PIECE + frames - 1]
            windows = np.lib.stride_tricks.sliding_window_view(piece, frames, axis=0)[::_STRIDE].transpose(0, 2, 1)
            sure = softmax(logits(np.ascontiguousarray(windows)), axis=1)[:, :-2].max(axis=1)
            at = first + _STRIDE * peaks(sure, score, _APART // _STRIDE)
            spots.append(frontend.window_samples + (at + frames - 1) * frontend.hop_samples)
            report(done + first * frontend.hop_samples, total, "looking for hard places")
        done += len(joined)
        found.append(replace(source, spots=np.concatenate([np.zeros(0, np.int64), *spots])))
    return found


def peaks(values: NDArray[np.float32], least: float, apart: int) -> NDArray[np.int64]:
    """Places of ``values`` [n] that are at least ``least`` and the highest of all within ``apart`` on both sides; of
    equals the first."""
    if not len(values):
        return np.zeros(0, np.int64)
    padded = np.pad(values, apart, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * apart + 1)
    return np.flatnonzero((values >= least) & (around.argmax(axis=1) == apart))
