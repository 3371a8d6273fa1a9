"""Weights that a network begins with: bodies that have heard people, shipped for projects in which only synthesisers
say the words (`model_pipeline.training.distill` makes them)."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from model_pipeline.errors import KwsError

BASES = Path(__file__).with_name("bases")


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


def save_body(model: keras.Model, path: Path) -> None:
    """Writes all weights but those of the last layer with weights, as float16."""
    last = [layer for layer in model.layers if layer.weights][-1]
    values = {w.path: np.asarray(w, np.float16) for layer in model.layers if layer is not last for w in layer.weights}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **values)  # type: ignore[arg-type]


def begin_with(path: Path, model: keras.Model) -> None:
    """Gives ``model`` the weights of a body; its last layer keeps its own.

    Raises:
        KwsError: the body is of another shape, or the file can't be read.
    """
    try:
        with np.load(path) as stored:
            values = {name: stored[name].astype(np.float32) for name in stored.files}
    except (OSError, ValueError) as error:
        raise KwsError(f"{path} holds no weights: {error}") from error
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
