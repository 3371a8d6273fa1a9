"""What a live picture shows, gathered from the sound and the events of one stream. Knows no terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from host_tools.link.audio import near
from host_tools.link.events import Detection, Event, Features, Log, Result, StreamDone
from host_tools.link.info import Info
from host_tools.live.lines import told
from host_tools.measure import metrics
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.text import shown

CLIPPED = 32700  # of 32768
_CLIP_SHOWN_S = 1.0
_METER = SAMPLE_RATE // 20  # samples of the level
_STRIP = 400  # frames that are kept
_FOUND = 50  # detections that are kept for the list
_COSTS = 12  # results that the share of time is the mean of
_SENT = 4000  # blocks whose time is kept: 80 s


@dataclass(frozen=True)
class HeardWord:
    """A detection for people."""

    second: float
    word: str
    score: float


class State:
    """A sink (`host_tools.live.feed.Sink`). Times are `time.perf_counter()`."""

    def __init__(self, info: Info, source: str, *, fed: bool, clock: Callable[[], float] = time.perf_counter) -> None:
        """``fed``: the sound comes from this computer, so that the lag is known from end to end."""
        self.info, self.source, self.fed = info, source, fed
        self.unit = metrics.tick_unit(info)
        detector = info.detector
        known = detector is not None and len(detector.thresholds) == len(info.labels)
        self.thresholds = detector.thresholds if detector and known else (0,) * len(info.labels)
        self.scores = [0.0] * len(info.labels)  # as the detector has them: means over its window, 0 to 1
        self.level_db = self.peak_db = -90.0
        self.clipped = 0  # samples since the start
        self.strip: deque[tuple[int, ...]] = deque(maxlen=_STRIP)
        self.found: deque[HeardWord] = deque(maxlen=_FOUND)
        self.count = 0  # of detections
        self.fired_at = -1e9
        self.lag_s: float | None = None
        self.message = ""
        self.done: StreamDone | None = None
        self.lost_frames: Callable[[], int] = lambda: 0
        self.lost_samples: Callable[[], int] = lambda: 0
        self._clock = clock
        self._clip_at = -1e9
        self._position = 0  # of the sound
        self._result_at = 0  # samples, of the last result
        self._history: deque[tuple[int, ...]] = deque(maxlen=max(windows(info)))
        self._costs: deque[tuple[int, int]] = deque(maxlen=_COSTS)  # ticks, samples
        self._sent: deque[tuple[int, float]] = deque(maxlen=_SENT)  # position, when it was there
        self._least_offset: float | None = None

    @property
    def seconds(self) -> float:
        """Of sound that was heard."""
        return max(self._position, self._result_at) / SAMPLE_RATE

    @property
    def clipping(self) -> bool:
        """Within the last second."""
        return self._clock() - self._clip_at < _CLIP_SHOWN_S

    def fresh(self, seconds: float) -> bool:
        """Whether the last word was heard no longer ago."""
        return self._clock() - self.fired_at < seconds

    def sound(self, samples: np.ndarray) -> None:
        """int16, the next of the stream."""
        self._position += len(samples)
        if self.fed:
            self._sent.append((self._position, self._clock()))
        part = samples[-_METER:].astype(np.float64) / 32768
        power = float(np.mean(part**2)) if len(part) else 0.0
        self.level_db = max(10 * np.log10(power + 1e-9), self.level_db - 1.5)  # falls slowly, as meters do
        self.peak_db = max(20 * np.log10(float(np.abs(part).max(initial=0.0)) + 1e-9), self.peak_db - 0.3)
        loud = int((np.abs(samples.astype(np.int32)) >= CLIPPED).sum())
        if loud:
            self.clipped += loud
            self._clip_at = self._clock()

    def take(self, event: Event) -> None:
        """Any event but sound."""
        if isinstance(event, Features):
            self.strip.append(event.values)
        elif isinstance(event, Result):
            self._result(event)
        elif isinstance(event, Detection):
            second = near(event.position, self._result_at) / SAMPLE_RATE
            self.found.append(HeardWord(second, shown(told(event.label, self.info)), event.score / 256))
            self.count += 1
            self.fired_at = event.at
        elif isinstance(event, Log):
            self.message = shown(event.text)
        elif isinstance(event, StreamDone):
            self.done = event

    def detector_changed(self, thresholds: tuple[int, ...]) -> None:
        """The device's detector begins its mean anew with them."""
        self.thresholds = thresholds
        self._history.clear()

    def _result(self, event: Result) -> None:
        position = near(event.position, self._result_at)
        samples = position - self._result_at
        self._result_at = position
        self._history.append(event.output)
        kept = np.array(self._history, float)
        columns = enumerate(windows(self.info))
        self.scores = [(float(np.mean(kept[-window:, column])) + 128) / 256 for column, window in columns]
        if 0 < samples < SAMPLE_RATE * 60 and event.index:
            ticks = event.frontend_ticks + event.inference_ticks + event.detector_ticks
            self._costs.append((ticks, samples))
        self.lag_s = self._lag(position, event.at)

    def _lag(self, position: int, at: float) -> float | None:
        """Seconds from a sample's being there to the result that ends with it: exactly where this computer gave the
        sound, else beyond the quickest so far."""
        if not self.fed:
            offset = at - position / SAMPLE_RATE
            self._least_offset = min(offset, self._least_offset if self._least_offset is not None else offset)
            return offset - self._least_offset
        while self._sent and self._sent[0][0] < position:
            self._sent.popleft()
        return max(0.0, at - self._sent[0][1]) if self._sent else self.lag_s

    @property
    def ticks_a_second(self) -> float | None:
        """Of the device's timer, for a second of sound."""
        samples = sum(n for _, n in self._costs)
        return sum(ticks for ticks, _ in self._costs) * SAMPLE_RATE / samples if samples else None

    @property
    def share(self) -> float | None:
        """Of the device's time that listening takes, where its ticks are time; instructions are not."""
        ticks = self.ticks_a_second
        return ticks / self.unit.hz if ticks and self.unit.hz and self.unit.name != "instructions" else None


def windows(info: Info) -> list[int]:
    """Results that the detector averages, for each label."""
    if info.parts:
        return [max(1, part.window) for part in info.parts for _ in range(part.labels)]
    return [info.detector.window if info.detector else 1] * max(1, len(info.labels))
