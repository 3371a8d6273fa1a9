"""What a model says along all that it is judged on: computed once at every hop, then scored as often as needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.data import connected as negatives
from model_pipeline.data.connected import Stretch
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Event, Plan, Session, generate
from model_pipeline.data.split import Split
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.recogniser import Recogniser, Track
from model_pipeline.listening.scoring import Outcome, match
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE


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


@dataclass
class Corpus:
    """Everything under one model. ``sessions``: by SNR in dB (None: a user's own recordings)."""

    labels: list[str]
    sessions: dict[float | None, list[TrackedSession]] = field(default_factory=dict)
    speech: list[KeywordFree] = field(default_factory=list)
    noise: list[KeywordFree] = field(default_factory=list)

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
