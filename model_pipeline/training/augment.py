"""What makes one clip many: fresh audio augmentation every epoch, and features for training made by the firmware's
own front end in the background while TensorFlow works."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import AugmentConfig, FrontendConfig, TrainConfig
from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE, as_pcm
from model_pipeline.features import model_input
from model_pipeline.manifest import step_db
from model_pipeline.native import shared_library

_CHUNK = 200  # clips made at once: large enough for NumPy, small enough to share out over cores
_COLOURS = 4  # shapes that a microphone's response is made of


class Noise:
    """Recordings to mix in, as one array with the places where a whole second begins.

    Args:
        recordings: int16 [m] each; shorter ones than a second are repeated.
    """

    def __init__(self, recordings: Sequence[np.ndarray]) -> None:
        whole = [np.resize(r, max(len(r), CLIP_SAMPLES)) for r in recordings if len(r)]
        self.samples = np.ascontiguousarray(np.concatenate(whole) if whole else np.zeros(CLIP_SAMPLES), np.int16)
        lengths = np.array([len(r) for r in whole] or [CLIP_SAMPLES])
        self.first = np.cumsum(lengths) - lengths
        self.starts = lengths - CLIP_SAMPLES + 1
        self.any = bool(whole)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Places in ``samples`` where ``count`` random seconds begin, each recording as often as any: int64 [count]."""
        which = rng.integers(0, len(self.first), count)
        return (self.first[which] + rng.integers(0, self.starts[which])).astype(np.int64)

    def pieces(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` random seconds: float32 [count, 16000] in int16 units."""
        return self.samples[self.draw(count, rng)[:, None] + np.arange(CLIP_SAMPLES)].astype(np.float32)


def augment_audio(audio: np.ndarray, noise: Noise, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random version of each clip: speed with pitch (resampling), shift in time, gain, noise at a random SNR.

    Args:
        audio: int16 [n, 16000].

    Returns:
        int16 [n, 16000].
    """
    audio = np.ascontiguousarray(audio, np.int16)
    count: int = len(audio)
    length: int = audio.shape[1]
    speed = _amplitude(rng.uniform(-1, 1, count) * 20 * np.log10(1 + config.speed_percent / 100))
    shift = np.asarray(rng.uniform(-1, 1, count) * config.shift_ms * SAMPLE_RATE / 1000, np.float32)
    gain = _amplitude(rng.uniform(-1, 1, count) * config.gain_db)
    start = noise.draw(count, rng)
    snr = _amplitude(-rng.uniform(*config.noise_snr_db, count))
    snr[rng.random(count) >= (config.noise_probability if noise.any else 0.0)] = -1.0
    out, scratch = np.empty_like(audio), np.empty(length, np.float32)
    arrays = [a.ctypes.data_as(ctypes.c_void_p) for a in (speed, shift, gain, noise.samples, start, snr, scratch)]
    _library().kws_augment(
        audio.ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(count),
        ctypes.c_size_t(length),
        *arrays,
    )
    return out


def silence_audio(noise: Noise, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` seconds without speech: noise from -45 to +6 dB of its own level, one in 20 digital zero, one in
    four with a second noise: int16 [count, 16000]."""
    out = noise.pieces(count, rng) * _amplitude(rng.uniform(-45, 6, count))[:, None]
    both = rng.random(count) < 0.25
    out[both] += noise.pieces(int(both.sum()), rng) * _amplitude(rng.uniform(-30, 0, int(both.sum())))[:, None]
    out[rng.random(count) < 0.05] = 0
    return as_pcm(out)


def spec_augment(
    features: np.ndarray, rng: np.random.Generator, frames: int, channels: int, masks: int = 1
) -> np.ndarray:
    """SpecAugment (Park and others, arXiv:1904.08779) without warping: ``masks`` in time of at most ``frames`` and as
    many in frequency of at most ``channels``, set to the lowest value.

    Args:
        features: int8 [n, frames, channels]; changed in place and returned.
    """
    count: int = len(features)
    for axis, widest in ((1, frames), (2, channels)):
        total: int = features.shape[axis]
        index = np.arange(total)
        for _ in range(masks):
            width = rng.integers(0, min(widest, total // 4) + 1, count)[:, None]
            start = (rng.random(count)[:, None] * (total - width)).astype(int)
            mask = (index >= start) & (index < start + width)
            mask = mask[:, :, None] if axis == 1 else mask[:, None, :]
            np.copyto(features, -128, where=mask)
    return features


def warp(features: np.ndarray, rng: np.random.Generator, percent: float, frames: float, channels: float) -> np.ndarray:
    """Each example stretched and moved in time and moved along frequency: what speed, place and pitch do to sound (a
    vocal tract of another length moves a mel spectrum; Jaitly and Hinton, 2013), done to features that were made once.
    Values are moved, not interpolated: blurred features would be learnt as such. The edges are repeated.

    Args:
        features: int8 [n, t, c].
        percent, frames, channels: the most by which time is stretched, and moved, and frequency is moved.

    Returns:
        int8 [n, t, c].
    """
    count, time, bands = features.shape
    speed = (1 + percent / 100) ** rng.uniform(-1, 1, (count, 1))
    middle = (time - 1) / 2
    frame = speed * (np.arange(time) - middle) + middle + rng.uniform(-frames, frames, (count, 1))
    channel = np.arange(bands) + rng.uniform(-channels, channels, (count, 1))
    frame, channel = (
        np.clip(np.rint(places), 0, length - 1).astype(int) for places, length in ((frame, time), (channel, bands))
    )
    return np.asarray(features[np.arange(count)[:, None, None], frame[:, :, None], channel[:, None, :]])


def recolour(
    features: np.ndarray, rng: np.random.Generator, level_db: float, colour_db: float, step: float
) -> np.ndarray:
    """Each example louder or softer, and as another microphone would hear it: on plain log-mel features a gain is a
    sum, and a microphone's response a gain for each channel. What the front end heard as nothing (-128) stays nothing.

    The responses are smooth: half a cosine to two over the channels, of random sizes, the slower the larger.

    Args:
        features: int8 [n, t, c].
        level_db: louder or softer by at most so much.
        colour_db: the standard deviation of a response over examples and channels.
        step: of the features, in dB.

    Returns:
        int8 [n, t, c].
    """
    count, _, bands = features.shape
    order = np.arange(1, _COLOURS + 1)
    shapes = np.cos(np.pi * order[:, None] * (np.arange(bands) + 0.5) / bands) / order[:, None]  # [m, c]
    shapes *= colour_db / np.sqrt(np.mean(np.sum(shapes**2, axis=0)))
    db = rng.uniform(-level_db, level_db, (count, 1)) + rng.standard_normal((count, _COLOURS)) @ shapes
    moved = features + np.rint(db / step).astype(np.int16)[:, None, :]
    return np.where(features > -128, np.clip(moved, -128, 127), features).astype(np.int8)


# What `vary` reads, so that it changes nothing.
UNVARIED: dict[str, Any] = {
    "warp_percent": 0.0,
    "warp_frames": 0.0,
    "warp_channels": 0.0,
    "level_db": 0.0,
    "colour_db": 0.0,
    "spec_augment": False,
}


def vary(features: np.ndarray, rng: np.random.Generator, config: AugmentConfig, frontend: FrontendConfig) -> np.ndarray:
    """What makes new examples of features int8 [n, t, c] that are used in every epoch; they may be changed in place."""
    if config.warp_percent or config.warp_frames or config.warp_channels:
        features = warp(features, rng, config.warp_percent, config.warp_frames, config.warp_channels)
    if config.level_db or config.colour_db:
        features = recolour(features, rng, config.level_db, config.colour_db, step_db(frontend))
    if config.spec_augment:
        spec_augment(features, rng, config.spec_frames, config.spec_channels, config.spec_masks)
    return features


class FeatureStream:
    """Epochs of augmented training batches, made ahead by threads.

    The same seed gives the same batches whatever the number of threads and wherever training was resumed.
    """

    def __init__(
        self,
        audio: np.ndarray,
        labels: np.ndarray,
        noise: Sequence[np.ndarray],
        frontend: FrontendConfig,
        frames: int,
        config: TrainConfig,
        augment: AugmentConfig,
        *,
        unknown: int,
        words: np.ndarray,
        extra: np.ndarray | None = None,
        extra_share: float = 0.0,
        per_epoch: tuple[int, int],
        workers: int = 2,
    ) -> None:
        """
        Args:
            audio: int16 [n, 16000] of all speech of the split; labels: int [n].
            words: int [n], which word each clip is; unknown words are drawn with the square root of their numbers,
                so that a word with few clips is heard too.
            extra: bool [n], which clips are of `DataConfig.extra`; they get ``extra_share`` of the unknown draws.
            per_epoch: how many unknown and how many silence clips an epoch holds.
        """
        self.audio, self.labels, self.noise = audio, labels, Noise(noise)
        self.frontend, self.frames, self.config, self.augment = frontend, frames, config, augment
        self.unknown, self.per_epoch = unknown, per_epoch
        self.keyword_index = np.flatnonzero(labels != unknown)
        self.unknown_index = np.flatnonzero(labels == unknown)
        spoken = words[self.unknown_index]
        weight = 1.0 / np.sqrt(np.bincount(spoken, minlength=1)[spoken])
        if extra is not None:
            added = extra[self.unknown_index]
            if added.any() and not added.all():
                weight[added] = extra_share / added.sum()  # each clip alike: near words have more of them
                weight[~added] *= (1 - extra_share) / weight[~added].sum()
        self.unknown_weight = weight / weight.sum() if len(weight) else weight
        self.workers = workers
        self._stop = threading.Event()
        _library()  # built here, once, and not by all the threads at the same time

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        unknown = self.per_epoch[0] if len(self.unknown_index) else 0
        return len(self.keyword_index) + unknown + self.per_epoch[1]

    def representative(self, count: int) -> np.ndarray:
        """int8 [m, frames, channels]: ``count`` clips without augmentation, all labels mixed, and some silence."""
        rng = np.random.default_rng(7)
        index = rng.permutation(len(self.audio))[:count]
        silence = silence_audio(self.noise, max(1, len(index) // 10), rng)
        return model_input(np.concatenate([self.audio[index], silence]), self.frontend, self.frames)

    def epoch(self, number: int, pool: ThreadPoolExecutor) -> list[Future[tuple[np.ndarray, np.ndarray]]]:
        """Starts to make epoch ``number``; the results, in order, are pairs (int8 [m, frames, channels], int [m])."""
        rng = np.random.default_rng([self.config.seed, number])
        count, silent = self.per_epoch
        order = [self.keyword_index]
        if len(self.unknown_index):
            replace = count > len(self.unknown_index)
            order.append(rng.choice(self.unknown_index, count, replace=replace, p=self.unknown_weight))
        order.append(np.full(silent, -1))
        index = rng.permutation(np.concatenate(order))
        chunks = np.array_split(index, max(1, -(-len(index) // _CHUNK)))
        return [pool.submit(self._make, chunk, number, i) for i, chunk in enumerate(chunks)]

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
        size = self.config.batch
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
            return np.zeros((0, self.frames, self.frontend.channels), np.int8), np.zeros(0, np.int64)
        rng = np.random.default_rng([self.config.seed, epoch, part])
        audio = np.empty((len(chunk), CLIP_SAMPLES), np.int16)
        speech = chunk >= 0
        if speech.any():
            audio[speech] = augment_audio(self.audio[chunk[speech]], self.noise, self.augment, rng)
        if not speech.all():
            audio[~speech] = silence_audio(self.noise, int((~speech).sum()), rng)
        labels = np.where(speech, self.labels[chunk], self.unknown + 1)
        features = model_input(audio, self.frontend, self.frames)
        if self.augment.spec_augment:
            c = self.augment
            spec_augment(features, rng, c.spec_frames, c.spec_channels, c.spec_masks)
        return features, labels.astype(np.int64)


@functools.cache
def _library() -> ctypes.CDLL:
    return shared_library("augment", [Path(__file__).with_name("augment.c")], flags=["-O3"])


def _amplitude(db: np.ndarray | float) -> np.ndarray:
    return np.asarray(10.0 ** (db / 20.0), np.float32)
