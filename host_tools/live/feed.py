"""From a source of sound to the events of one stream, with the sound itself for whoever keeps or shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from host_tools.link import stream
from host_tools.link.audio import Track, audio_flags
from host_tools.link.events import Audio, Event, StreamDone
from host_tools.link.session import Link

_FRESH_S = 0.02


@dataclass(frozen=True)
class Source:
    """Where the sound comes from: ``blocks`` of int16 that this computer gives the device, or None: its own
    microphone. ``paced``: at the pace of a microphone, which a file has not by itself."""

    name: str
    blocks: Iterator[np.ndarray] | None = None
    paced: bool = False


class Sink(Protocol):
    """Who is told of a stream. Sound comes in order; where the device sends it, an event can be ahead of its sound."""

    def sound(self, samples: np.ndarray) -> None:
        """int16, the next of the stream."""

    def take(self, event: Event) -> None:
        """Anything but sound."""


class Feed:
    """One stream from ``source`` through ``link``, of which ``sinks`` are told."""

    def __init__(self, link: Link, source: Source, sinks: Sequence[Sink]) -> None:
        self.link, self.source, self.sinks = link, source, sinks
        self._track = Track()  # of what the device sends; nothing where this computer has the sound
        self._dropped = 0

    @property
    def lost(self) -> int:
        """Samples that nobody here has heard, or that the device lost before its front end."""
        return self._track.lost + max(self._track.dropped, self._dropped)

    def events(
        self, *, also: int = 0, tick: Callable[[], bool] = lambda: False, with_sound: bool = True
    ) -> Generator[Event, None, None]:
        """Runs the stream and gives each event but AUDIO, when the sinks have it; STREAM_DONE is the last.

        Args:
            also: SEND_FEATURES.
            tick: called all the time; True ends the stream.
            with_sound: whether a device that listens by itself is to send what it heard.

        Raises:
            DeviceError: refused, or the device goes away.
        """
        blocks, sent = self.source.blocks, self.source.blocks is None and with_sound
        if sent:
            also |= audio_flags(self.link, also)
        if blocks is None:
            came: Generator[Event, None, None] = stream.listen(self.link, also=also, stop=_seldom(tick))
        else:
            heard = _until(blocks, tick, self._tell)
            came = stream.stream_continuous(self.link, heard, realtime=self.source.paced, also=also)
        try:
            for event in came:
                if isinstance(event, Audio):
                    self._tell(self._track.take(event))
                    continue
                if isinstance(event, StreamDone):
                    self._dropped = event.dropped
                    if sent:
                        self._track.end(event.total)
                for sink in self.sinks:
                    sink.take(event)
                yield event
        finally:
            came.close()

    def _tell(self, samples: np.ndarray) -> None:
        for sink in self.sinks:
            sink.sound(samples)


def _until(
    blocks: Iterator[np.ndarray], tick: Callable[[], bool], tell: Callable[[np.ndarray], None]
) -> Iterator[np.ndarray]:
    for block in blocks:
        if tick():
            return
        tell(block)
        yield block


def _seldom(tick: Callable[[], bool]) -> Callable[[], bool]:
    """``tick`` at most fifty times a second, however many events come."""
    last = 0.0

    def call() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < _FRESH_S:
            return False
        last = now
        return tick()

    return call
