"""What a training goes on from after a stop at any moment: one file, replaced whole after each epoch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
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


def save(path: Path, key: str, trainer: Trainer, state: dict[str, Any]) -> None:
    """Writes ``path`` whole or not at all; ``state`` is what `resume` gives back."""
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(trainer.variables())}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, key=np.array(key), state=np.array(json.dumps(state)), **arrays)


def resume(path: Path, key: str, trainer: Trainer, replicas: Replicas) -> dict[str, Any]:
    """Puts ``trainer`` where ``path`` (on the chief's machine) left it, if there is such a file of this ``key``, and
    gives its state: epochs done, the best epoch with its accuracy and loss, the lines of the log, seconds so far.

    Raises:
        KwsError: the file is broken, or the workers' data or recipes differ.
    """
    state: dict[str, Any] = {"epoch": 0, "best": 0.0, "least": None, "best_epoch": 0, "log": [], "seconds": 0.0}
    there = replicas.chief and path.exists() and path.with_name("model.keras").exists()
    if replicas.from_chief(key.encode(), "comparing the workers' data").decode() != key:
        raise KwsError(
            f"worker {replicas.worker} has other data or another recipe than the chief",
            hint="give all workers the same data, configuration and settings",
        )
    try:
        content = replicas.from_chief(path.read_bytes() if there else b"", "sharing the checkpoint")
        if not content:
            return state
        with np.load(io.BytesIO(content)) as saved:
            if str(saved["key"]) != key:
                return state
            values = [saved[f"v{i}"] for i in range(len(trainer.variables()))]
            state.update(json.loads(str(saved["state"])))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise KwsError(f"{path} is broken: {error}", hint=f"rm {path} and train again") from error
    for variable, value in zip(trainer.variables(), values, strict=True):
        variable.assign(value)
    return state
