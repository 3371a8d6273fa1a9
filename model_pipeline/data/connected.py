"""Audio without keywords: recordings of connected speech joined to one stream, and noise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.data import noise as noises
from model_pipeline.data.audio import SAMPLE_RATE, as_pcm, read_audio, resample, to_int16
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import loop
from model_pipeline.data.split import Split
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback

_GAP_S = (0.3, 1.0)
_GAP_RMS = 8.0  # of 32768: a quiet room
_LEVELS_DBFS = (-45.0, -30.0)
_DRAWS: dict[Split, tuple[int, ...]] = {"training": (2,), "validation": (1,), "testing": ()}  # of noise by formula


@dataclass(frozen=True)
class Stretch:
    """Joined audio: int16 [n] at 16 kHz, and where each recording begins in it."""

    name: str
    samples: NDArray[np.int16]
    starts: NDArray[np.int64]
    names: list[str]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE

    def where(self, position: int) -> tuple[str, float]:
        """The recording at a sample, and the second in it."""
        index = max(0, int(np.searchsorted(self.starts, position, side="right")) - 1)
        return self.names[index], (position - int(self.starts[index])) / SAMPLE_RATE


def read(paths: Sequence[Path], progress: ProgressCallback | None = None) -> list[NDArray[np.int16]]:
    """The recordings' audio at 16 kHz, int16 [n] each.

    Raises:
        KwsError: a file can't be read.
    """

    def one(path: Path) -> NDArray[np.int16]:
        samples, rate = read_audio(path)
        return to_int16(resample(samples, rate))

    found = []
    # libsndfile decodes outside Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, samples in enumerate(pool.map(one, paths)):
            found.append(samples)
            if progress:
                progress(number + 1, len(paths), f"reading {paths[number].name}")
    return found


def join(name: str, audio: Sequence[NDArray[np.int16]], names: Sequence[str], speed: float = 1.0) -> Stretch:
    """Joins recordings with pauses of a quiet room's noise (0.3 to 1 s), so that the front end runs on as it would.

    Args:
        audio: int16 [n] each.
        speed: plays them so much faster, pitch included.
    """
    rng = np.random.default_rng([len(audio), round(100 * speed)])
    room = noises.colored(rng, 30 * SAMPLE_RATE, 1.0) * _GAP_RMS
    pieces: list[NDArray[np.int16]] = []
    starts, at = [], 0
    for samples in audio:
        if speed != 1.0:
            places = np.arange(int(len(samples) / speed), dtype=np.float32) * np.float32(speed)
            samples = np.rint(np.interp(places, np.arange(len(samples), dtype=np.float32), samples)).astype(np.int16)
        gap = int(rng.uniform(*_GAP_S) * SAMPLE_RATE)
        first = int(rng.integers(0, len(room) - gap))
        pieces += [np.rint(room[first : first + gap]).astype(np.int16), samples]
        starts.append(at + gap)
        at += gap + len(samples)
    return Stretch(name, np.concatenate(pieces), np.array(starts, np.int64), list(names))


def speech(paths: Sequence[Path], name: str, progress: ProgressCallback | None = None) -> Stretch:
    """`read` and `join` in one."""
    return join(name, read(paths, progress), [p.name for p in paths])


def babble(dataset: Dataset, split: Split, seconds: float = noises.BABBLE_S, seed: int = 1) -> Stretch:
    """Voices of the split that say other words at once (`noises.babbles`), ``seconds`` each at the levels of `noise`.

    Raises:
        KwsError: the folder has no other words.
    """
    rng = np.random.default_rng([seed, 8, *_DRAWS[split]])
    clips = [clip for clip in dataset.clips(split) if clip.label == dataset.unknown]
    if not clips:
        raise KwsError(f"{dataset.folder} has no other words for voices to say at once")
    pieces, names = [], []
    for voices, samples in zip(noises.VOICES, noises.babbles(dataset.audio(clips), seconds, rng), strict=True):
        for level in _LEVELS_DBFS:
            pieces.append(_at_level(samples, len(samples), level, rng))
            names.append(f"{voices} voices at {level:g} dBFS")
    return Stretch("babble", np.concatenate(pieces), np.arange(len(pieces), dtype=np.int64) * len(pieces[0]), names)


def noise(dataset: Dataset, split: Split, seconds: float = 20.0, seed: int = 1) -> Stretch:
    """Every noise of the split's part of the folder, and every kind that `data.noise` makes, at two levels (-45 and -30
    dB of full scale), at most ``seconds`` of each: what is shorter does not come again, as its false accepts would.
    Each split has a draw of its own: what a detector is judged on is not what it was chosen by."""
    rng = np.random.default_rng([seed, 7, *_DRAWS[split]])
    recorded = [name for name, _ in dataset.noise]
    sources = list(zip(recorded, dataset.noise_part(split), strict=True))
    sources += [(f"made_{kind}", noises.generate(kind, seconds, rng)) for kind in noises.KINDS]
    pieces, names = [], []
    for name, samples in sources:
        for level in _LEVELS_DBFS:
            pieces.append(_at_level(samples, min(len(samples), int(seconds * SAMPLE_RATE)), level, rng))
            names.append(f"{name} at {level:g} dBFS")
    starts = np.cumsum([0, *map(len, pieces[:-1])], dtype=np.int64)
    return Stretch("noise", np.concatenate(pieces), starts, names)


def _at_level(samples: NDArray[np.int16], count: int, dbfs: float, rng: np.random.Generator) -> NDArray[np.int16]:
    return as_pcm(loop(samples, count, rng) * (32768 * 10 ** (dbfs / 20)))
