"""Training examples made once and kept in files: scenes through the firmware's front end, their labels, and what a
teacher says of each. Arrays are mapped, not read, so they may be larger than memory.

``features.npy`` int8 [n, frames, channels]; ``labels.npy`` int16 [n] (`NONE`: no hard label); ``logits.npy`` float16
[n, labels], the teacher's; ``pool.json``: what they were made from and how far.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from model_pipeline.augment import spec_augment
from model_pipeline.config import FrontendConfig, TrainConfig
from model_pipeline.features import clip_features, quantize
from model_pipeline.files import write_json
from model_pipeline.manifest import input_scale
from model_pipeline.training.scenes import CONTEXT, NONE, Scenes

Report = Callable[[int, int, str], None]
Batch = tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float32]]
_PART = 500  # scenes made at once: 60 MB
_STATE = "pool.json"


@dataclass(frozen=True)
class Pool:
    """A folder of examples. ``windows``: also keep each window's audio as the teacher wants it."""

    folder: Path

    def array(self, name: str, mode: str = "r") -> np.memmap:
        """One of the arrays, mapped."""
        return open_memmap(self.folder / f"{name}.npy", mode=mode)  # type: ignore[arg-type]

    def state(self) -> dict:
        """What the folder holds, {} for nothing."""
        try:
            return dict(json.loads((self.folder / _STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def note(self, **values: object) -> None:
        """Adds to the state, atomically."""
        write_json(self.folder / _STATE, {**self.state(), **values})

    def make(
        self,
        key: str,
        count: int,
        scenes: Callable[[], Scenes],
        frontend: FrontendConfig,
        frames: int,
        heard: tuple[tuple[int, ...], type, Callable[[NDArray[np.int16]], NDArray]] | None,
        seed: int,
        report: Report,
    ) -> None:
        """Makes ``count`` examples where they are not there yet under ``key``; goes on after a kill. The same seed
        gives the same examples whatever the number of threads.

        Args:
            scenes: called only if something is to be made.
            heard: shape, type and maker of what a teacher takes for int16 [n, 16000]; kept in ``heard.npy``.
        """
        state = self.state()
        if state.get("key") != key:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _STATE).unlink(missing_ok=True)
            shapes: dict[str, tuple[tuple[int, ...], type]] = {
                "features": ((frames, frontend.channels), np.int8),
                "labels": ((), np.int16),
            }
            if heard:
                shapes["heard"] = (heard[0], heard[1])
            for name, (shape, dtype) in shapes.items():
                open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape))
            self.note(key=key, count=count, made=0)
        made = int(self.state()["made"])
        if made >= count:
            return
        report(made, count, "finding the words in the clips")
        maker, scale = scenes(), input_scale(frontend)
        arrays = {name: self.array(name, "r+") for name in ("features", "labels", *(["heard"] if heard else []))}

        def part(first: int) -> None:
            rng = np.random.default_rng([seed, first])
            n = min(_PART, count - first)
            audio, starts, labels = maker.make(maker.plan(n, rng), rng)
            for start in np.unique(starts):
                rows = np.flatnonzero(starts == start)
                features = quantize(clip_features(frontend, audio[rows, start:]), scale)
                arrays["features"][first + rows] = features[:, -frames:]
            arrays["labels"][first : first + n] = labels
            if heard:
                arrays["heard"][first : first + n] = heard[2](audio[:, CONTEXT:])

        firsts = list(range(made, count, _PART))
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for at in range(0, len(firsts), workers):
                some = firsts[at : at + workers]
                list(pool.map(part, some))
                for array in arrays.values():
                    array.flush()
                self.note(made=min(count, some[-1] + _PART))
                report(min(count, some[-1] + _PART), count, "making examples")


class PoolStream:
    """Epochs over a `Pool`, shuffled anew each time."""

    def __init__(self, pool: Pool, config: TrainConfig) -> None:
        self.pool, self.config = pool, config
        self.features, self.labels = pool.array("features"), pool.array("labels")
        self.logits = pool.array("logits") if pool.state().get("taught") else None

    @property
    def clips(self) -> int:
        """Examples in an epoch."""
        return len(self.labels)

    def representative(self, count: int) -> NDArray[np.int8]:
        """``count`` examples for measuring ranges."""
        return np.array(self.features[:count])

    def epochs(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """One iterator of batches for each epoch from ``first`` to ``last`` - 1: int8 [m, frames, channels], labels
        [m] (`NONE`: none), the teacher's logits [m, labels] (labels 0: no teacher)."""
        for number in range(first, last):
            yield self._batches(number)

    def _batches(self, number: int) -> Iterator[Batch]:
        c = self.config
        rng = np.random.default_rng([c.seed, number])
        order = rng.permutation(self.clips)
        if self.logits is None:
            order = order[self.labels[order] != NONE]
        size = min(c.batch, len(order))
        for start in range(0, len(order) - size + 1, size):
            rows = np.sort(order[start : start + size])  # in the order of the file
            x = np.array(self.features[rows])
            if c.spec_augment:
                spec_augment(x, rng, c.spec_frames, c.spec_channels, c.spec_masks)
            logits = np.zeros((size, 0)) if self.logits is None else self.logits[rows]
            yield x, self.labels[rows].astype(np.int64), logits.astype(np.float32)
