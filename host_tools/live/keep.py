"""What is kept of a live stream: its sound as one WAV, and two seconds around each detection."""

from __future__ import annotations

import contextlib
import secrets
import time
import wave
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from host_tools import ui
from host_tools.link.audio import near
from host_tools.link.events import Detection, Event, Result
from host_tools.link.info import Info
from model_pipeline.data.audio import write_wav
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, write_json
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.words import folder_name

BEFORE, AFTER = 3 * SAMPLE_RATE // 2, SAMPLE_RATE // 2  # samples about the end of the window that fired
_HISTORY = 4 * SAMPLE_RATE  # samples that are at hand: a detection can be late by what is on its way to the device
_MOST_SAMPLES = (2**32 - 1024) // 2  # of one WAV: 37 hours
_MOST_WAITING = 64  # detections whose sound is still to come
_LONGEST_HISTORY = 2000  # results
_FREE, _A_SECOND = 100, 5  # detections that are kept at any rate, and in each second of sound beside


@contextlib.contextmanager
def wav(path: Path) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends int16 samples to ``path``, which is there when the block ends without an error.

    Raises:
        KwsError: the disk is full, or the file as long as a WAV can be.
    """
    count = 0
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))

        def append(samples: np.ndarray) -> None:
            nonlocal count
            count += len(samples)
            if count > _MOST_SAMPLES:
                raise KwsError(f"{path} is as long as a WAV can be", hint="go on with another file")
            file.writeframesraw(samples.astype("<i2").tobytes())

        yield append


class Keeper:
    """Writes ``DIR/<word>/<session>_nohash_<n>.wav`` of two seconds, and a JSON with its posteriors, for each
    detection: a folder that ``kws data import`` takes as it is. One session counts as one speaker."""

    def __init__(self, folder: Path, info: Info) -> None:
        self.folder = folder
        self.kept: list[Path] = []
        self.ignored = 0  # more than anybody can say
        self._info = info
        self._session = f"{int(time.time()):08x}{secrets.token_hex(2)}"  # no other session's
        self._position = 0  # behind the last sample
        self._sound = np.zeros(_HISTORY, np.int16)  # up to there; silence before the first sample
        self._results: deque[tuple[int, Result]] = deque(maxlen=_LONGEST_HISTORY)
        self._waiting: deque[tuple[int, Detection]] = deque(maxlen=_MOST_WAITING)

    def sound(self, samples: np.ndarray) -> None:
        """The next samples of the stream, int16."""
        while len(samples):
            end = self._waiting[0][0] + AFTER if self._waiting else self._position + len(samples)
            taken = samples[: max(0, end - self._position)]  # nothing where the detection is late
            samples = samples[len(taken) :]
            self._sound = np.concatenate([self._sound, taken])[-_HISTORY:]
            self._position += len(taken)
            if self._waiting and self._position >= end:
                self._write(*self._waiting.popleft())

    def take(self, event: Event) -> None:
        """An event of the stream."""
        if isinstance(event, Result):
            self._results.append((near(event.position, self._position), event))
        elif isinstance(event, Detection):
            if len(self.kept) + len(self._waiting) >= _FREE + _A_SECOND * self._position // SAMPLE_RATE:
                self.ignored += 1  # else a device could fill the disk with some bytes a file
                return
            self._waiting.append((near(event.position, self._position), event))

    def end(self) -> None:
        """Writes what waits, with silence in the place of sound that never came."""
        missing = self._waiting[-1][0] + AFTER - self._position if self._waiting else 0
        self.sound(np.zeros(min(max(0, missing), _HISTORY), np.int16))  # a device may say any position

    def _write(self, position: int, detection: Detection) -> None:
        word = self._info.labels[detection.label]
        first = self._position - len(self._sound)
        start = min(max(first, position - BEFORE), self._position - BEFORE - AFTER)
        path = self.folder / folder_name(word) / f"{self._session}_nohash_{len(self.kept)}.wav"
        with atomic_path(path) as temporary:
            write_wav(temporary, self._sound[start - first :][: BEFORE + AFTER])
        detector = self._info.detector
        facts: dict[str, Any] = {
            "word": word,
            "score": detection.score / 256,
            "fired_at_sample": position - start,
            "second": round(position / SAMPLE_RATE, 3),
            "board": self._info.board,
            "model": self._info.model_hash,
            "thresholds": [value / 256 for value in detector.thresholds] if detector else [],
            "labels": list(self._info.labels),
            "posteriors": [
                {"sample": at - start, "scores": [(value + 128) / 256 for value in result.output]}
                for at, result in self._results
                if start < at <= start + BEFORE + AFTER
            ],
        }
        write_json(path.with_suffix(".json"), facts)
        self.kept.append(path)


class _Wav:
    """A sink that keeps the sound alone."""

    def __init__(self, append: Callable[[np.ndarray], None]) -> None:
        self.sound = append

    def take(self, event: Event) -> None:
        """Nothing: a WAV has no events."""


@contextlib.contextmanager
def kept(dump: Path | None, folder: Path | None, info: Info) -> Iterator[list[Keeper | _Wav]]:
    """Sinks (`host_tools.live.feed.Sink`) for what a user wants to keep, and says at the end where it lies. What came
    until Ctrl-C inside the block is kept where the block takes it."""
    with contextlib.ExitStack() as stack:
        sinks: list[Keeper | _Wav] = []
        if dump:
            sinks.append(_Wav(stack.enter_context(wav(dump))))
        keeper = Keeper(folder, info) if folder else None
        if keeper:
            sinks.append(keeper)
        yield sinks
        if keeper:
            keeper.end()
            ui.err.say("{} detections kept in {}", len(keeper.kept), keeper.folder)
            if keeper.ignored:
                ui.err.say("{} more were not: nobody says words so fast", keeper.ignored)
    if dump:
        ui.err.say("kept {}", dump)
