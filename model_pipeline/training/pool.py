"""Training examples made once and kept in files: scenes through the firmware's front end, their labels, and what a
teacher says of each. Arrays are mapped, not read, so they may be larger than memory.

``features.npy`` int8 [n, frames, channels]; ``labels.npy`` int16 [n] (`NONE`: no hard label); ``sure.npy`` bool [n]:
there is no keyword in it, whatever a teacher says; ``logits.npy`` float16 [n, labels], the teacher's; ``pool.json``:
what they were made from and how far.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from scipy.special import softmax

from model_pipeline.config import AugmentConfig, Config, FrontendConfig
from model_pipeline.errors import KwsError
from model_pipeline.features import clip_features, quantize
from model_pipeline.files import atomic_path, read_json, write_json
from model_pipeline.folders import claim_dir
from model_pipeline.manifest import input_scale
from model_pipeline.progress import ProgressCallback
from model_pipeline.training.augment import vary
from model_pipeline.training.scenes import NONE, Scenes

Batch = tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float32]]
Answer = Callable[[NDArray[np.int16]], NDArray]
PART = 500  # scenes made at once: 60 MB at the most
_STATE = "pool.json"
_MADE = (_STATE, "features.npy", "labels.npy", "heard.npy", "logits.npy", "teacher.keras")
_BELOW = 5.0  # a keyword is at most so probable (e^-5, under 1 %) where there is none


@dataclass(frozen=True)
class Kept:
    """What a teacher takes for a window: its shape and type, and its maker, for int16 [n, samples]."""

    shape: tuple[int, ...]
    dtype: type
    maker: Answer


@dataclass(frozen=True)
class Answers:
    """What a teacher says: ``of`` windows int16 [n, samples], logits [n, labels]."""

    of: Answer
    labels: int


@dataclass(frozen=True)
class Examples:
    """What a pool's examples are: of the same ``key`` they are the same.

    Attributes:
        scenes: called only if something is to be made.
        replace: whether examples of another key make way.
    """

    key: str
    scenes: Callable[[], Scenes]
    frontend: FrontendConfig
    seed: int
    replace: bool = True


@dataclass(frozen=True)
class Pool:
    """A folder of examples."""

    folder: Path

    def array(self, name: str, mode: str = "r") -> np.memmap:
        """One of the arrays, mapped."""
        return open_memmap(self.folder / f"{name}.npy", mode=mode)  # type: ignore[arg-type]

    def state(self) -> dict[str, Any]:
        """What the folder holds, {} for nothing."""
        try:
            return read_json(self.folder / _STATE)
        except (FileNotFoundError, KwsError):
            return {}

    def note(self, **values: object) -> None:
        """Adds to the state, atomically."""
        write_json(self.folder / _STATE, {**self.state(), **values})

    def make(
        self,
        of: Examples,
        count: int,
        report: ProgressCallback,
        keep: Kept | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Makes ``count`` examples where they are not there yet; goes on after a kill, or from fewer. The same seed
        gives the same examples whatever the number of threads and the steps in which they were made.

        Args:
            keep: what a teacher takes, to be kept in ``heard.npy``.
            answers: what a teacher says, to be kept in ``logits.npy``.

        Raises:
            KwsError: examples of another key do not make way.
        """
        state = self.state()
        if state.get("key") != of.key:
            if state.get("made") and not of.replace:
                raise KwsError(
                    f"{self.folder} holds examples of other settings or other data",
                    hint="name another scenes.folder, or delete this one",
                )
            claim_dir(self.folder, "scenes", _MADE, ours=lambda _: "made" in state)
            for name in _MADE:
                (self.folder / name).unlink(missing_ok=True)
            self.note(key=of.key, made=0)
        made = int(self.state()["made"])
        if made >= count:
            return
        report(made, count, "finding the words in the clips")
        maker, frontend = of.scenes(), of.frontend
        frames, scale = frontend.frames(maker.window), input_scale(frontend)
        arrays = {
            "features": self.grow("features", count, (frames, frontend.channels), np.int8),
            "labels": self.grow("labels", count, (), np.int16),
            "sure": self.grow("sure", count, (), np.bool_),
        }
        if keep:
            arrays["heard"] = self.grow("heard", count, keep.shape, keep.dtype)
        if answers:
            arrays["logits"] = self.grow("logits", count, (answers.labels,), np.float16)

        def part(first: int) -> None:
            rng = np.random.default_rng([of.seed, first])
            n = min(PART, count - first)
            rows = slice(first, first + n)
            audio, starts, labels, sure = maker.make(maker.plan(n, rng), rng)
            if not frontend.settles:  # what is before the window makes no difference
                starts[:] = maker.context
            for start in np.unique(starts):
                some = np.flatnonzero(starts == start)
                features = quantize(clip_features(frontend, audio[some, start:]), scale)
                arrays["features"][first + some] = features[:, -frames:]
            arrays["labels"][rows], arrays["sure"][rows] = labels, sure
            if keep:
                arrays["heard"][rows] = keep.maker(audio[:, maker.context :])
            if answers:
                arrays["logits"][rows] = answers.of(audio[:, maker.context :])

        firsts = list(range(made // PART * PART, count, PART))
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for at in range(0, len(firsts), workers):
                some = firsts[at : at + workers]
                list(pool.map(part, some))
                for array in arrays.values():
                    array.flush()
                self.note(made=min(count, some[-1] + PART))
                report(min(count, some[-1] + PART), count, "making examples")

    def check_made(self, count: int | None = None) -> None:
        """Whether the first ``count`` examples (None: all that the arrays have room for) have been made.

        Raises:
            KwsError: they have not, or another process is still at it.
        """
        room = len(self.array("labels"))
        wanted, made = room if count is None else min(count, room), int(self.state().get("made", 0))
        if made < wanted:
            raise KwsError(
                f"{self.folder} is not finished: {made:,} of {wanted:,} examples are made",
                hint="wait for what makes them, or call it again: it goes on where it stopped",
            )

    def grow(self, name: str, count: int, shape: tuple[int, ...], dtype: type) -> np.memmap:
        """One of the arrays with ``count`` rows, mapped for writing; the rows that it had stay."""
        path = self.folder / f"{name}.npy"
        had = self.array(name) if path.exists() else None
        if had is None or len(had) != count:
            with atomic_path(path) as temporary:
                new = open_memmap(temporary, mode="w+", dtype=dtype, shape=(count, *shape))
                if had is not None:
                    new[: min(len(had), count)] = had[:count]
                new.flush()
        return self.array(name, "r+")


def trusted(labels: NDArray, logits: NDArray, least: float, sure: NDArray | None = None) -> NDArray:
    """``labels`` [n], `NONE` where a teacher's logits [n, labels] give the label a probability under ``least``: a clip
    that was mislabelled, or a word that noise has drowned. What the teacher says of them is still learnt. Labels that
    are ``sure`` [n] stay."""
    if not least:
        return labels
    said = softmax(np.asarray(logits, np.float32), axis=1)
    probability = said[np.arange(len(labels)), np.maximum(labels, 0)]
    doubtful = probability < least if sure is None else (probability < least) & ~sure
    return np.where(doubtful, np.asarray(NONE, labels.dtype), labels)


def corrected(logits: NDArray[np.float32], sure: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A teacher's logits [n, labels] where it can be wrong: of examples that are ``sure`` [n] to have no keyword every
    keyword is at least `_BELOW` below the better of unknown and silence (the last two)."""
    most = logits[:, -2:].max(axis=1, keepdims=True) - np.float32(_BELOW)
    result = logits.copy()
    result[:, :-2] = np.where(sure[:, None], np.minimum(logits[:, :-2], most), logits[:, :-2])
    return result


def mixed(batch: Batch, rng: np.random.Generator, config: AugmentConfig) -> Batch:
    """With ``config.mixup``: each example with some of another in it (Zhang and others, arXiv:1710.09412), and the
    teacher's probabilities mixed alike; without a teacher as it is. The hard label stays where 0.8 is of it."""
    features, labels, logits = batch
    if not config.mixup or not logits.shape[1]:
        return batch
    share = rng.beta(config.mixup, config.mixup, len(labels))
    share = np.maximum(share, 1 - share).astype(np.float32)
    other = rng.permutation(len(labels))
    a = share[:, None, None]
    x = np.rint(a * features + (1 - a) * features[other]).astype(np.int8)
    probabilities = softmax(logits, axis=1)
    probabilities = share[:, None] * probabilities + (1 - share[:, None]) * probabilities[other]
    kept = (share >= 0.8) | (labels[other] == labels)
    return x, np.where(kept, labels, NONE), np.log(np.maximum(probabilities, 1e-9)).astype(np.float32)


class PoolStream:
    """Epochs over one or more pools, shuffled anew each time; of the first pool its first ``count`` examples.

    Raises:
        KwsError: a pool is not finished: its arrays have their full length from the start, and what was not made yet is
            silence of the first label.
    """

    def __init__(self, pools: Sequence[Pool], config: Config, count: int | None = None) -> None:
        self.config = config
        for i, pool in enumerate(pools):
            pool.check_made(None if i else count)
        self.features = self._each(pools, "features", count)
        self.labels, self.sure = (np.concatenate(self._each(pools, name, count)) for name in ("labels", "sure"))
        taught = all(pool.state().get("taught") for pool in pools)
        self.logits = np.concatenate(self._each(pools, "logits", count)) if taught else None
        self._ends = np.cumsum([len(features) for features in self.features])
        if self.logits is not None:
            self.labels = trusted(self.labels, self.logits, config.train.distrust, self.sure)
        # A head weighs every label the same; other teachers, which `train.balance` is meant for, have learnt how often
        # each comes.
        self.added = np.zeros(len(config.labels), np.float32)
        if config.scenes.teacher == "embedding_head":
            self.added = self.shares(len(config.labels), config.train.balance)

    @staticmethod
    def _each(pools: Sequence[Pool], name: str, count: int | None) -> list[NDArray]:
        return [pool.array(name)[: count if i == 0 else None] for i, pool in enumerate(pools)]

    @property
    def clips(self) -> int:
        """Examples in an epoch."""
        return len(self.labels)

    def prior(self, labels: int) -> list[float]:
        """Each label's share of the examples that have one."""
        counts = np.bincount(self.labels[self.labels != NONE], minlength=labels)
        return [float(share) for share in counts / max(1, counts.sum())]

    def shares(self, labels: int, amount: float) -> NDArray[np.float32]:
        """What `prior` adds to logits, times ``amount``: float32 [labels]."""
        return np.float32(amount) * np.log(np.maximum(self.prior(labels), 1e-4), dtype=np.float32)

    def representative(self, count: int) -> NDArray[np.int8]:
        """``count`` examples for measuring ranges."""
        return np.array(self.features[0][:count])

    def _rows(self, rows: NDArray[np.int64]) -> NDArray[np.int8]:
        """The features of sorted ``rows``."""
        parts = np.split(rows, np.searchsorted(rows, self._ends[:-1]))
        begins = [0, *self._ends[:-1]]
        return np.concatenate([f[part - at] for f, part, at in zip(self.features, parts, begins, strict=True)])

    def epochs(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """One iterator of batches for each epoch from ``first`` to ``last`` - 1: int8 [m, frames, channels], labels
        [m] (`NONE`: none), the teacher's logits [m, labels] (labels 0: no teacher)."""
        for number in range(first, last):
            yield self._batches(number)

    def _batches(self, number: int) -> Iterator[Batch]:
        c = self.config.train
        rng = np.random.default_rng([c.seed, number])
        order = rng.permutation(self.clips)
        if self.logits is None:
            order = order[self.labels[order] != NONE]
        size = min(c.batch, len(order))
        for start in range(0, len(order) - size + 1, size):
            rows = np.sort(order[start : start + size])  # in the order of the file
            x = vary(self._rows(rows), rng, self.config.augment, self.config.frontend)
            logits = np.zeros((size, 0), np.float32)
            if self.logits is not None:
                logits = corrected(self.logits[rows].astype(np.float32) + self.added, self.sure[rows])
            yield mixed((x, self.labels[rows].astype(np.int64), logits), rng, self.config.augment)
