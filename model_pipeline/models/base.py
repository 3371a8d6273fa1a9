"""Weights that a network begins with: bodies that have heard people, shipped for projects in which only synthesisers
say the words (`model_pipeline.training.distill` makes them).

A file holds the weights of a body by their paths, and under ``says/weights`` [channels, n] and ``says/bias`` [n] what
the body's pooled channels say of the n values of `speech_embedding.pooled`. With them a linear head on the embedding is
one on the body too, so that a network can begin where its teacher is.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from model_pipeline.errors import KwsError
from model_pipeline.files import check_archive

_LARGEST = 256 << 20  # bytes, unpacked
BASES = Path(__file__).with_name("bases")
_WEIGHTS, _BIAS = "says/weights", "says/bias"


@dataclass(frozen=True)
class Linear:
    """``weights`` float32 [m, n] and ``bias`` [n]."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, values: NDArray) -> NDArray[np.float32]:
        """[k, m] to [k, n]."""
        return np.asarray(values, np.float32) @ self.weights + self.bias

    def then(self, other: Linear) -> Linear:
        """``other`` after this one, as one."""
        return Linear(self.weights @ other.weights, self.bias @ other.weights + other.bias)


def path_of(name: str) -> Path:
    """The file of a shipped base, or of one's own.

    Raises:
        KwsError: there is none.
    """
    path = Path(name) if name.endswith(".npz") else BASES / f"{name}.npz"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in BASES.glob("*.npz")))
        raise KwsError(f"there is no base {name}", hint=f"shipped are {known or 'none'}; or name a file (.npz)")
    return path


def save_body(model: keras.Model, path: Path, says: Linear | None = None) -> None:
    """Writes all weights but those of the last layer with weights, and what the body ``says``, as float16."""
    last = [layer for layer in model.layers if layer.weights][-1]
    values = {w.path: np.asarray(w, np.float16) for layer in model.layers if layer is not last for w in layer.weights}
    if says:
        values |= {_WEIGHTS: says.weights.astype(np.float16), _BIAS: says.bias.astype(np.float16)}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **values)  # type: ignore[arg-type]


def begin_with(path: Path, model: keras.Model, head: Linear | None = None) -> bool:
    """Gives ``model`` the weights of a body; its last layer keeps its own, or says what ``head`` [n, labels] says of
    the embedding's values, where the file tells what the body knows of them.

    Returns:
        Whether the last layer was given too.

    Raises:
        KwsError: the body is of another shape, or the file can't be read.
    """
    try:
        check_archive(path, _LARGEST)
        with np.load(path) as stored:
            values = {name: stored[name].astype(np.float32) for name in stored.files}
    except (OSError, ValueError, TypeError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise KwsError(f"{path} holds no weights: {error}") from error
    weights, bias = values.pop(_WEIGHTS, None), values.pop(_BIAS, None)
    last = [layer for layer in model.layers if layer.weights][-1]
    wanted = {w.path: w for layer in model.layers if layer is not last for w in layer.weights}
    unequal = [name for name, weight in wanted.items() if values.get(name, np.empty(0)).shape != tuple(weight.shape)]
    if unequal or len(values) != len(wanted):
        raise KwsError(
            f"{path.name} was made for a network of another shape",
            hint='train.base = "", or the architecture and shape that it has (docs/own-words.md)',
        )
    for name, weight in wanted.items():
        weight.assign(values[name])
    if head is None or weights is None or bias is None:
        return False
    whole = Linear(weights, bias).then(head)
    last.set_weights([whole.weights.reshape(last.weights[0].shape), whole.bias])
    return True
