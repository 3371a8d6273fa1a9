"""Clips of words, and epochs of them augmented: features made by the firmware's own front end in the background while
TensorFlow works."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import Config
from model_pipeline.data.sessions import word_span
from model_pipeline.features import model_input
from model_pipeline.training.augment import Noise, augment_audio, library, silence_audio, spec_augment

_CHUNK = 200  # clips made at once: large enough for NumPy, small enough to share out over cores


@dataclass(frozen=True)
class Speech:
    """Clips of words: ``audio`` int16 [n, samples], ``labels`` int [n], ``names`` [n]: which word of which source."""

    audio: NDArray[np.int16]
    labels: NDArray[np.int64]
    names: NDArray[np.int64]
    synthetic: NDArray[np.bool_]

    def spans(self) -> NDArray[np.int64]:
        """First and last sample of each word, by energy: [n, 2]."""
        return np.array([word_span(clip) for clip in self.audio], np.int64).reshape(-1, 2)


class FeatureStream:
    """Epochs of augmented training batches, made ahead by threads.

    The same seed gives the same batches whatever the number of threads and wherever training was resumed.
    """

    def __init__(
        self,
        speech: Speech,
        noise: Sequence[np.ndarray] | Noise,
        config: Config,
        per_epoch: tuple[int, int],
        workers: int = 2,
    ) -> None:
        """
        Args:
            speech: of the split. Unknown words are drawn with the square root of their numbers, so that a word with
                few clips is heard too; synthetic ones get ``config.data.extra_share`` of the unknown draws.
            noise: int16 [m] each, or what was made of them for several streams.
            per_epoch: how many unknown and how many silence clips an epoch holds.
        """
        self.noise = noise if isinstance(noise, Noise) else Noise(noise, speech.audio.shape[1])
        self.speech, self.config, self.per_epoch = speech, config, per_epoch
        unknown = len(config.keywords)
        self.keyword_index = np.flatnonzero(speech.labels != unknown)
        self.unknown_index = np.flatnonzero(speech.labels == unknown)
        spoken = speech.names[self.unknown_index]
        weight = 1.0 / np.sqrt(np.bincount(spoken, minlength=1)[spoken])
        added = speech.synthetic[self.unknown_index]
        if added.any() and not added.all():
            share = config.data.extra_share
            weight[added] = share / added.sum()  # each clip alike: near words have more of them
            weight[~added] *= (1 - share) / weight[~added].sum()
        self.unknown_weight = weight / weight.sum() if len(weight) else weight
        self.workers = workers
        self._stop = threading.Event()
        library()  # built here, once, and not by all the threads at the same time

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        unknown = self.per_epoch[0] if len(self.unknown_index) else 0
        return len(self.keyword_index) + unknown + self.per_epoch[1]

    def representative(self, count: int) -> np.ndarray:
        """int8 [m, frames, channels]: ``count`` clips without augmentation, all labels mixed, and some silence."""
        rng = np.random.default_rng(7)
        index = rng.permutation(len(self.speech.audio))[:count]
        silence = silence_audio(self.noise, max(1, len(index) // 10), rng)
        return self._features(np.concatenate([self.speech.audio[index], silence]))

    def epoch(self, number: int, pool: ThreadPoolExecutor) -> list[Future[tuple[np.ndarray, np.ndarray]]]:
        """Starts to make epoch ``number``; the results, in order, are pairs (int8 [m, frames, channels], int [m])."""
        return [pool.submit(self._make, chunk, number, i) for i, chunk in enumerate(self._chunks(number))]

    def _chunks(self, number: int) -> list[NDArray[np.int64]]:
        """Which clips epoch ``number`` is made of, a part after the other; -1: silence."""
        rng = np.random.default_rng([self.config.train.seed, number])
        count, silent = self.per_epoch
        order = [self.keyword_index]
        if len(self.unknown_index):
            replace = count > len(self.unknown_index)
            order.append(rng.choice(self.unknown_index, count, replace=replace, p=self.unknown_weight))
        order.append(np.full(silent, -1))
        index = rng.permutation(np.concatenate(order))
        return np.array_split(index, max(1, -(-len(index) // _CHUNK)))

    def make(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Epoch ``number``, as `epoch` gives it, made here and now; clips that are none give no pair."""
        return [self._make(chunk, number, i) for i, chunk in enumerate(self._chunks(number)) if len(chunk)]

    def epochs(self, first: int, last: int) -> Iterator[Iterator[tuple[np.ndarray, np.ndarray]]]:
        """One iterator of batches for each epoch from ``first`` to ``last`` - 1; the next epoch is already being
        made while one is used."""
        self._stop.clear()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                ahead = self.epoch(first, pool) if first < last else []
                for number in range(first, last):
                    now, ahead = ahead, self.epoch(number + 1, pool) if number + 1 < last else []
                    yield self._batches(now)
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _batches(self, futures: list[Future]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = self.config.train.batch
        held: list[tuple[np.ndarray, np.ndarray]] = []
        have = 0
        for i, future in enumerate(futures):
            held.append(future.result())
            futures[i] = None  # type: ignore[call-overload]  # its memory is needed no longer
            have += len(held[-1][1])
            if have < size and i + 1 < len(futures):
                continue
            x, y = (np.concatenate(part) for part in zip(*held, strict=True))
            whole = len(y) // size * size
            for start in range(0, whole, size):
                yield x[start : start + size], y[start : start + size]
            held, have = [(x[whole:], y[whole:])], len(y) - whole
        # What is left is less than a batch; another shuffle brings it in another epoch.
        if have and self.clips < size:
            yield held[0]

    def _make(self, chunk: np.ndarray, epoch: int, part: int) -> tuple[np.ndarray, np.ndarray]:
        if self._stop.is_set():
            return self._features(np.zeros((0, self.noise.clip), np.int16)), np.zeros(0, np.int64)
        c = self.config.augment
        rng = np.random.default_rng([self.config.train.seed, epoch, part])
        audio = np.empty((len(chunk), self.noise.clip), np.int16)
        speech = chunk >= 0
        if speech.any():
            audio[speech] = augment_audio(self.speech.audio[chunk[speech]], self.noise, c, rng)
        if not speech.all():
            audio[~speech] = silence_audio(self.noise, int((~speech).sum()), rng)
        labels = np.where(speech, self.speech.labels[chunk], len(self.config.keywords) + 1)
        features = self._features(audio)
        if c.spec_augment:
            spec_augment(features, rng, c.spec_frames, c.spec_channels, c.spec_masks)
        return features, labels.astype(np.int64)

    def _features(self, audio: np.ndarray) -> np.ndarray:
        return model_input(audio, self.config.frontend, self.config.frames)
