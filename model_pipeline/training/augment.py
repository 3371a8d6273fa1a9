"""What makes one clip many: augmentation of audio, and of features that were made once."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import AugmentConfig, FrontendConfig
from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE, as_pcm
from model_pipeline.manifest import step_db
from model_pipeline.native import shared_library

_COLOURS = 4  # shapes that a microphone's response is made of


class Noise:
    """Recordings to mix in, as one array with the places where a whole clip's length begins.

    Args:
        recordings: int16 [m] each; shorter ones than a clip are repeated.
        clip: samples of a clip.
    """

    def __init__(self, recordings: Sequence[np.ndarray], clip: int = CLIP_SAMPLES) -> None:
        self.clip = clip
        whole = [np.resize(r, max(len(r), clip)) for r in recordings if len(r)]
        self.samples = np.ascontiguousarray(np.concatenate(whole) if whole else np.zeros(clip), np.int16)
        lengths = np.array([len(r) for r in whole] or [clip])
        self.first = np.cumsum(lengths) - lengths
        self.starts = lengths - clip + 1
        self.any = bool(whole)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Places in ``samples`` where ``count`` random pieces begin, each recording as often as any: int64 [count]."""
        which = rng.integers(0, len(self.first), count)
        return (self.first[which] + rng.integers(0, self.starts[which])).astype(np.int64)

    def pieces(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` random pieces: float32 [count, clip] in int16 units."""
        return self.samples[self.draw(count, rng)[:, None] + np.arange(self.clip)].astype(np.float32)


def augment_audio(audio: np.ndarray, noise: Noise, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random version of each clip: speed with pitch (resampling), shift in time, gain, noise at a random SNR.

    Args:
        audio: int16 [n, samples], as long as the noise's clips.

    Returns:
        int16 [n, samples].
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
    library().kws_augment(
        audio.ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(count),
        ctypes.c_size_t(length),
        *arrays,
    )
    return out


def silence_audio(noise: Noise, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` clips without speech: noise from -45 to +6 dB of its own level, one in 20 digital zero, one in
    four with a second noise: int16 [count, noise.clip]."""
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


@functools.cache
def library() -> ctypes.CDLL:
    """`augment.c`; built when it is first asked for, which no two threads should do at the same time."""
    return shared_library("augment", [Path(__file__).with_name("augment.c")], flags=["-O3"])


def _amplitude(db: np.ndarray | float) -> np.ndarray:
    return np.asarray(10.0 ** (db / 20.0), np.float32)
