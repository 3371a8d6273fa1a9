"""What a training goes on from after a stop at any moment: one file, replaced whole after each epoch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, check_archive, parse_json
from model_pipeline.training.distribute import Replicas
from model_pipeline.training.prepare import Prepared
from model_pipeline.training.trainer import Trainer

_BROKEN = (OSError, ValueError, LookupError, TypeError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile)
_AROUND = 64 << 20  # bytes of key, state with a log, and headers
_FORMAT = 3  # another one can't be gone on from


def recipe_key(config: Config, prepared: Prepared) -> str:
    """What a checkpoint belongs to: another recipe or other data begin anew."""
    parts: list[Any] = [_FORMAT, config.frontend.model_dump(mode="json"), config.recipe()]
    hashes = [d.content_hash() for d in (prepared.dataset, prepared.extra) if d]
    if config.scenes.examples:
        parts.append(config.scenes.recipe())
    # The hashes stand for the paths.
    parts.append(config.data.recipe())
    text = json.dumps([*parts, config.keywords, hashes])
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class State:
    """How far a training is.

    Attributes:
        epoch: how many are done.
        best, least, best_epoch: accuracy and loss on the validation clips of the epoch with the least loss, and which
            it was.
        log: the lines of log.csv.
        seconds: spent in earlier processes, or so far in a checkpoint.
    """

    epoch: int = 0
    best: float = 0.0
    least: float | None = None
    best_epoch: int = 0
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0


def save(path: Path, key: str, trainer: Trainer, state: State) -> None:
    """Writes ``path`` whole or not at all; ``state`` is what `resume` gives back."""
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(trainer.variables())}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, key=np.array(key), state=np.array(json.dumps(asdict(state))), **arrays)


def resume(path: Path, key: str, trainer: Trainer, replicas: Replicas) -> State:
    """Puts ``trainer`` where ``path`` (on the chief's machine) left it, if there is such a file of this ``key``, and
    gives its state, or that of a beginning.

    Raises:
        KwsError: the file is broken, or the workers' data or recipes differ.
    """
    there = replicas.chief and path.exists() and path.with_name("model.keras").exists()
    if replicas.from_chief(key.encode(), "comparing the workers' data").decode() != key:
        raise KwsError(
            f"worker {replicas.worker} has other data or another recipe than the chief",
            hint="give all workers the same data, configuration and settings",
        )
    again = f"rm {path} and train again"
    try:
        content = replicas.from_chief(path.read_bytes() if there else b"", "sharing the checkpoint")
        if not content:
            return State()
        size = sum(np.asarray(v).nbytes for v in trainer.variables())
        check_archive(io.BytesIO(content), size + _AROUND)
        with np.load(io.BytesIO(content)) as saved:
            if str(saved["key"]) != key:
                return State()
            values = [saved[f"v{i}"] for i in range(len(trainer.variables()))]
            state = State(**_checked(parse_json(str(saved["state"]).encode(), path, again)))
        for variable, value in zip(trainer.variables(), values, strict=True):
            if tuple(variable.shape) != value.shape or not np.all(np.isfinite(value)):
                raise ValueError(f"{variable.path} has shape {value.shape}, or no numbers")
    except _BROKEN as error:
        raise KwsError(f"{path} is broken: {error}", hint=again) from error
    for variable, value in zip(trainer.variables(), values, strict=True):
        variable.assign(value)
    return state


def _checked(state: dict[str, Any]) -> dict[str, Any]:
    """
    Raises:
        TypeError: a part is missing, or of another kind than `save` was given.
    """
    kinds: dict[str, Any] = {"epoch": int, "best_epoch": int, "best": int | float, "seconds": int | float, "log": list}
    for key, kind in kinds.items():
        if not isinstance(state.get(key), kind) or isinstance(state[key], bool):
            raise TypeError(f"{key} is {state.get(key)!r}")
    if not 0 <= state["best_epoch"] <= state["epoch"] or not all(isinstance(line, str) for line in state["log"]):
        raise TypeError("its epochs or its log are none")
    if not isinstance(state.get("least"), int | float | None):
        raise TypeError(f"least is {state['least']!r}")
    return state
