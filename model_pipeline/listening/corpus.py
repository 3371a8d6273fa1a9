"""What a model says along all that it is judged on: computed once at every hop, then scored as often as needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.data import connected as negatives
from model_pipeline.data.audio import as_pcm
from model_pipeline.data.connected import Stretch
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.noise import generate as generate_noise
from model_pipeline.data.sessions import Event, Plan, Session, generate
from model_pipeline.data.split import Split
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.recogniser import Recogniser, Track
from model_pipeline.listening.scoring import Outcome, match
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE

_QUIET_DB = -30.0  # of noise.generate's level: a quiet room's


@dataclass(frozen=True)
class TrackedSession:
    """A session and what the model made of it (its audio is not kept)."""

    name: str
    events: list[Event]
    track: Track

    def outcome(self, detector: DetectorDefaults, labels: Sequence[str]) -> Outcome:
        """What the detector makes of it, against the truth."""
        return match(self.events, self.track.detect(detector), labels, self.track.samples)


@dataclass(frozen=True)
class KeywordFree:
    """Audio without keywords: every detection in it is a false accept."""

    name: str
    stretch: Stretch
    track: Track

    def detections(self, detector: DetectorDefaults) -> list[Detection]:
        """The false accepts."""
        return self.track.detect(detector)

    @property
    def hours(self) -> float:
        """Of audio."""
        return self.track.seconds / 3600


@dataclass(frozen=True)
class Alone:
    """Words said alone, one in each ``slot`` samples; before the first one there is an empty slot."""

    track: Track
    slot: int
    words: int

    def heard(self, detector: DetectorDefaults) -> list[list[int]]:
        """The labels that are detected at each word."""
        found: list[list[int]] = [[] for _ in range(self.words)]
        for detection in self.track.detect(detector):
            which = detection.position // self.slot - 1
            if which >= 0:
                found[which].append(detection.label)
        return found

    def fired(self, detector: DetectorDefaults) -> int:
        """At how many of them anything is detected."""
        return sum(bool(labels) for labels in self.heard(detector))


def one_by_one(clips: NDArray[np.int16], refractory_samples: int) -> tuple[NDArray[np.int16], int]:
    """A recording in which ``clips`` [n, samples] follow each other over a quiet room's noise, and the samples from one
    to the next: so many that no detection reaches into another clip, as smoothing's tail or by the time in which
    nothing fires."""
    slot = clips.shape[1] + max(refractory_samples, SAMPLE_RATE)
    noise = generate_noise("pink", 20, np.random.default_rng(1)).astype(np.float32)
    sound = np.resize(noise * np.float32(10 ** (_QUIET_DB / 20)), slot * (len(clips) + 1))
    for i, clip in enumerate(clips):
        sound[(i + 1) * slot : (i + 1) * slot + len(clip)] += clip
    return as_pcm(sound), slot


@dataclass
class Corpus:
    """Everything under one model. ``sessions``: by SNR in dB (None: a user's own recordings); ``near``: words near the
    keywords in sound, or other words."""

    labels: list[str]
    sessions: dict[float | None, list[TrackedSession]] = field(default_factory=dict)
    speech: list[KeywordFree] = field(default_factory=list)
    noise: list[KeywordFree] = field(default_factory=list)
    near: Alone | None = None

    def outcome(self, snr: float | None, detector: DetectorDefaults) -> Outcome:
        """All sessions of one SNR added up."""
        total = Outcome()
        for heard in self.sessions[snr]:
            total += heard.outcome(detector, self.labels)
        return total


class Listener:
    """Runs a model over sessions, speech and noise, with one progress bar for all."""

    def __init__(self, recogniser: Recogniser, stride_hops: int, progress: ProgressCallback | None = None) -> None:
        self.recogniser = recogniser
        self.stride_hops = stride_hops
        self.corpus = Corpus(recogniser.labels)
        self._progress = progress
        self._done = 0.0
        self._total = 1.0

    def expect(self, seconds: float) -> None:
        """How much audio there will be, for the bar."""
        self._total = max(1.0, seconds)

    def read(self, paths: Sequence[Path]) -> list[NDArray[np.int16]]:
        """Recordings, at the bar's beginning."""
        return negatives.read(paths, self._progress)

    def generated(self, dataset: Dataset, split: Split, snrs: Iterable[float], plan: Plan) -> None:
        """Sessions of a split at each SNR."""
        for snr in snrs:
            self.recorded(generate(dataset, split, snr, plan), snr)

    def recorded(self, sessions: Iterable[Session], snr: float | None = None) -> None:
        """Sessions that are there."""
        kept = self.corpus.sessions.setdefault(snr, [])
        for session in sessions:
            kept.append(TrackedSession(session.name, session.events, self._track(session.samples, session.name)))

    def speech(self, stretch: Stretch) -> None:
        """Connected speech without keywords."""
        self.corpus.speech.append(KeywordFree(stretch.name, stretch, self._track(stretch.samples, stretch.name)))

    def noise(self, dataset: Dataset, split: Split) -> None:
        """Noise of the split and noise made by formula."""
        stretch = negatives.noise(dataset, split)
        self.corpus.noise.append(KeywordFree(stretch.name, stretch, self._track(stretch.samples, stretch.name)))

    def near(self, clips: NDArray[np.int16], refractory_samples: int) -> None:
        """Words near the keywords in sound, said alone: int16 [n, samples], for detectors that are deaf for at most
        ``refractory_samples`` after a word."""
        samples, slot = one_by_one(clips, refractory_samples)
        self.corpus.near = Alone(self._track(samples, "near words"), slot, len(clips))

    def _track(self, samples: NDArray[np.int16], name: str) -> Track:
        def inner(done: int, total: int, _: str) -> None:
            if self._progress:
                at = self._done + seconds * done / max(1, total)
                self._progress(int(min(at, self._total)), int(self._total), name)

        seconds = len(samples) / SAMPLE_RATE
        inner(0, 1, "")
        track = self.recogniser.track(samples, self.stride_hops, inner)
        self._done += seconds
        return track
