"""What a training goes on from after a stop at any moment: one file, replaced whole after each epoch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path
from model_pipeline.training.distribute import Replicas
from model_pipeline.training.prepare import Prepared
from model_pipeline.training.trainer import Trainer

_FORMAT = 3  # another one can't be gone on from


def recipe_key(config: Config, prepared: Prepared) -> str:
    """What a checkpoint belongs to: another recipe or other data begin anew."""
    parts: list[Any] = [_FORMAT, config.frontend.model_dump(mode="json"), config.recipe()]
    hashes = [d.content_hash() for d in (prepared.dataset, prepared.extra) if d]
    if config.scenes.examples:
        parts.append(config.scenes.recipe())
    # The hashes stand for the paths.
    parts.append(config.data.model_dump(mode="json", exclude={"folder", "extra"}))
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
    try:
        content = replicas.from_chief(path.read_bytes() if there else b"", "sharing the checkpoint")
        if not content:
            return State()
        with np.load(io.BytesIO(content)) as saved:
            if str(saved["key"]) != key:
                return State()
            values = [saved[f"v{i}"] for i in range(len(trainer.variables()))]
            state = State(**json.loads(str(saved["state"])))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise KwsError(f"{path} is broken: {error}", hint=f"rm {path} and train again") from error
    for variable, value in zip(trainer.variables(), values, strict=True):
        variable.assign(value)
    return state
