"""Teaches with the speech embedding as it is, and a linear head of its own over it: for words that people never said.

The embedding has heard millions of people; synthesisers' voices are few and alike. Fine-tuned on these it goes on
learning how they sound, and people are understood less with every pass. A linear head on the frozen network has one
best solution; how much its weights are held back (``scenes.head_decay``) was chosen by people saying other words
(docs/own-words.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from model_pipeline.config import ScenesConfig
from model_pipeline.files import atomic_path
from model_pipeline.models import speech_embedding
from model_pipeline.models.base import Linear
from model_pipeline.progress import ProgressCallback
from model_pipeline.training.pool import NONE, Answer, Pool

FILE = "head.npz"  # in the pool's folder
_PASSES = 200  # of the optimiser: on 40,000 examples it ends after half of them
_AT_ONCE = 10_000


def fit(
    heard: NDArray,
    labels: NDArray[np.integer],
    count: int,
    decay: float,
    step: Callable[[int], object] | None = None,
) -> Linear:
    """The linear head with the least cross-entropy plus ``decay`` times half the sum of its squared weights, for values
    that are brought to unit variance. Every label weighs the same, however many examples it has.

    Args:
        heard: [m, n]; labels: int [m], all of 0 … ``count`` - 1 or some of them.
        step: is called after each pass, with how many there were.
    """
    from scipy.optimize import minimize  # slow to import, and most trainings have no such head

    x = np.asarray(heard, np.float32)
    mean, spread = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3)
    x = (x - mean) / spread
    number = np.bincount(labels, minlength=count)
    share = (1.0 / np.maximum(number, 1))[labels]
    share = np.asarray(share / share.sum(), np.float32)
    rows, size = np.arange(len(x)), x.shape[1] * count

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = values[:size].reshape(-1, count).astype(np.float32), values[size:].astype(np.float32)
        said = log_softmax(x @ weights + bias, axis=1)
        slope = np.exp(said)
        slope[rows, labels] -= 1
        slope *= share[:, None]
        loss = -float(share @ said[rows, labels]) + decay * float(np.square(weights).sum()) / 2
        gradient = np.concatenate([(x.T @ slope + np.float32(decay) * weights).ravel(), slope.sum(axis=0)])
        return loss, gradient.astype(np.float64)

    passes = 0

    def passed(_: object) -> None:
        nonlocal passes
        passes += 1
        if step:
            step(passes)

    start = np.zeros(size + count)
    found = minimize(cost, start, jac=True, method="L-BFGS-B", callback=passed, options={"maxiter": _PASSES}).x
    weights = found[:size].reshape(-1, count).astype(np.float32) / spread[:, None]
    return Linear(weights, found[size:].astype(np.float32) - mean @ weights)


def teach(
    pool: Pool,
    config: ScenesConfig,
    labels: int,
    validation: tuple[NDArray[np.int16], NDArray[np.int64]],
    report: ProgressCallback,
) -> Answer:
    """Fits a head to the pool's examples with a hard label (``heard.npy`` has what `speech_embedding.pooled` gives),
    and fills ``logits.npy`` with what it says of all of them. ``head.npz`` and its accuracy are kept.

    Args:
        validation: int16 [n, samples] and labels [n]; only to be reported.

    Returns:
        What it says of windows: int16 [n, samples] to logits [n, labels].
    """
    path = pool.folder / FILE
    if not pool.state().get("taught"):
        heard, hard = pool.array("heard"), np.array(pool.array("labels"))
        index = np.flatnonzero(hard != NONE)
        head = fit(
            heard[index],
            hard[index].astype(np.int64),
            labels,
            config.head_decay,
            lambda passes: report(min(passes, _PASSES - 1), _PASSES, "a head for the speech embedding"),
        )
        logits = pool.grow("logits", len(heard), (labels,), np.float16)
        for start in range(0, len(heard), _AT_ONCE):
            logits[start : start + _AT_ONCE] = head(heard[start : start + _AT_ONCE])
        logits.flush()
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, weights=head.weights, bias=head.bias)
        right = head(speech_embedding.pooled(validation[0])).argmax(axis=1) == validation[1]
        teacher = {"source": f"{speech_embedding.source()}, as it is, with a linear head"}
        pool.note(taught=True, teacher={**teacher, "validation_accuracy": round(float(np.mean(right)), 5)})
    (pool.folder / "heard.npy").unlink(missing_ok=True)
    head = read(pool)
    return lambda windows: head(speech_embedding.pooled(windows))


def read(pool: Pool) -> Linear:
    """The head that `teach` fitted."""
    with np.load(pool.folder / FILE) as stored:
        return Linear(stored["weights"], stored["bias"])
