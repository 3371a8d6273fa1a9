"""Speech to a device and its answers back: a clip, or audio without end."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from host_tools.link.codes import MAX_SAMPLES, Command, ErrorCode
from host_tools.link.events import Detection, DeviceRefused, Event, Refusal, Result, StreamDone
from host_tools.link.payloads import infer_features, stream_data
from host_tools.link.session import Link
from host_tools.link.transport import Ticket
from model_pipeline.errors import DeviceError
from model_pipeline.rate import SAMPLE_RATE

CLIP, CONTINUOUS = 0, 1
SEND_FEATURES, SEND_RESULTS, FROM_MICROPHONE, SEND_AUDIO, AS_ADPCM = 1, 2, 4, 8, 16
_LIVE_BLOCK = 160  # 10 ms
ANSWER_S = 60.0  # an emulator on a busy machine is slow; a dead link is noticed much earlier
_PATIENCE_S = 4.0
_SHORTEST_HOP = 80  # samples: 5 ms
_AT_ONCE = 1000  # events
_QUIET_S = 0.1


class NoMicrophone(DeviceError):
    """The board can't hear by itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text, hint="let it listen to this computer's: kws live --port … --mic, or kws stream --mic")


@dataclass(frozen=True)
class ClipReply:
    """A device's answer to one clip. ``response_ms``: from the last sample's being handed to the port to the arrival
    of RESULT; None with the result if it was lost."""

    result: Result | None
    done: StreamDone | None
    response_ms: float | None


def stream_clip(
    link: Link, samples: np.ndarray, *, realtime: bool = False, on_event: Callable[[Event], None] | None = None
) -> ClipReply:
    """Streams int16 ``samples`` [n] in clip mode and waits for the answer.

    Args:
        realtime: send at the pace of a microphone, in blocks of 10 ms; else as fast as the device takes it.

    Raises:
        DeviceError: the device refuses, stops answering or goes away.
    """
    lost_before = link.counters.lost + link.counters.bad

    def lost() -> bool:
        return link.counters.lost + link.counters.bad > lost_before

    link.send(Command.STREAM_START, struct.pack("<BBH", CLIP, 0, 0))
    last = _send_audio(link, _blocks(samples, _LIVE_BLOCK if realtime else MAX_SAMPLES), realtime)
    link.send(Command.STREAM_STOP, struct.pack("<I", len(samples)))
    result: Result | None = None
    done: StreamDone | None = None
    deadline = time.perf_counter() + ANSWER_S
    while done is None:
        event = link.next_event(_PATIENCE_S)
        if time.perf_counter() > deadline:
            raise DeviceError(f"{link.name}: no result for {ANSWER_S:.0f} s after a clip", hint="reset the board")
        if event is None:
            link.stats()  # a lost answer shows as a gap in the numbers once anything later has come
            if lost():
                link.reset_stream()
                break
        elif isinstance(event, Result):
            result = event
        elif isinstance(event, StreamDone):
            done = event
        elif isinstance(event, Refusal):
            raise DeviceRefused(link.name, event)
        elif on_event:
            on_event(event)
    return ClipReply(result, done, _response_ms(last, result))


def stream_continuous(
    link: Link,
    blocks: Iterable[np.ndarray],
    *,
    stride: int = 0,
    realtime: bool = False,
    results: bool = True,
    also: int = 0,
) -> Generator[Event, None, None]:
    """Streams int16 blocks without end and gives every event as it comes, STREAM_DONE last.

    Closing the generator (or Ctrl-C in it) stops the stream on the device too.
    ``also``: SEND_FEATURES, SEND_AUDIO, AS_ADPCM.
    """
    flags = also | (SEND_RESULTS if results else 0)
    link.send(Command.STREAM_START, struct.pack("<BBH", CONTINUOUS, flags, stride))
    position = 0
    stopped = False
    started = time.perf_counter()
    heard = 0

    def checked(event: Event) -> Event:
        nonlocal heard
        heard += isinstance(event, (Result, Detection, StreamDone))
        if heard > _AT_ONCE + position // _SHORTEST_HOP:
            raise DeviceError(f"{link.name}: the device gives more results than it heard sound for")
        if isinstance(event, (Result, Detection)) and event.position > position:
            raise DeviceError(
                f"{link.name}: the device answers for {event.position:,} samples and was given {position:,}",
                hint="reset the board",
            )
        return _not_refused(link, event, flags)

    try:
        for block in blocks:
            for part in _blocks(block, MAX_SAMPLES):
                link.send(Command.STREAM_DATA, stream_data(position, part))
                position += len(part)
            for _ in range(_AT_ONCE):  # a device that talks without end must not stop the sound
                if (event := link.next_event(0)) is None:
                    break
                yield checked(event)
            if realtime:
                ahead = started + position / SAMPLE_RATE - time.perf_counter()
                while ahead > 0:
                    event = link.next_event(ahead)
                    if event is not None:
                        yield checked(event)
                    ahead = started + position / SAMPLE_RATE - time.perf_counter()
        link.send(Command.STREAM_STOP, struct.pack("<I", position))
        stopped = True
        deadline = time.perf_counter() + ANSWER_S
        while (event := link.next_event(max(0.0, deadline - time.perf_counter()))) is not None:
            yield checked(event)
            if isinstance(event, StreamDone):
                return
            if isinstance(event, (Result, Detection)):  # it is busy, not lost
                deadline = time.perf_counter() + ANSWER_S
            elif time.perf_counter() > deadline:
                break
        raise DeviceError(f"{link.name}: the device never said that the stream was done", hint="reset the board")
    finally:
        if not stopped:
            _stop_quietly(link, position)


def listen(
    link: Link, stride: int = 0, *, also: int = 0, stop: Callable[[], bool] | None = None
) -> Generator[Event, None, None]:
    """The device's own microphone, until the generator is closed, or until ``stop()``, which is asked again and again:
    then STREAM_DONE is the last.

    Args:
        also: SEND_FEATURES, SEND_AUDIO, AS_ADPCM.

    Raises:
        NoMicrophone: the board has none.
    """
    flags = SEND_RESULTS | FROM_MICROPHONE | also
    link.send(Command.STREAM_START, struct.pack("<BBH", CONTINUOUS, flags, stride))
    deadline = None
    try:
        while deadline is None or time.perf_counter() < deadline:
            event = link.next_event(_QUIET_S)
            if event is not None:
                yield _not_refused(link, event, flags)
                if isinstance(event, StreamDone):
                    return
            if deadline is None and stop and stop():
                link.send(Command.STREAM_STOP, struct.pack("<I", 0))
                deadline = time.perf_counter() + ANSWER_S
        raise DeviceError(f"{link.name}: the device never said that the stream was done", hint="reset the board")
    finally:
        if deadline is None:
            _stop_quietly(link, 0)


def infer(link: Link, values: np.ndarray, timeout: float = ANSWER_S) -> Result:
    """One inference over a window of int8 input values, past the front end.

    Raises:
        DeviceError: refused, or the answer was lost.
    """
    for payload in infer_features(values):
        link.send(Command.INFER_FEATURES, payload)
    result = link.expect(Result, timeout=timeout, commands=(Command.INFER_FEATURES,))
    if result is None:
        raise DeviceError(f"{link.name}: no result for {timeout:.0f} s", hint="reset the board")
    return result


def _send_audio(link: Link, blocks: Iterable[np.ndarray], realtime: bool) -> Ticket | None:
    started = time.perf_counter()
    position, last = 0, None
    for block in blocks:
        position += len(block)
        if realtime:  # a block is there when its last sample was spoken
            time.sleep(max(0.0, started + position / SAMPLE_RATE - time.perf_counter()))
        last = link.send(Command.STREAM_DATA, stream_data(position - len(block), block))
    return last


def _response_ms(last: Ticket | None, result: Result | None) -> float | None:
    if last is None or result is None:
        return None
    # The writing thread notes the time after the port took the frame, so it may be a moment behind the answer.
    for _ in range(1000):
        if last.written_at is not None:
            return round(max(0.0, result.at - last.written_at) * 1000, 3)
        time.sleep(0.0005)
    return None


def _blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for at in range(0, len(samples), size):
        yield samples[at : at + size]


def _not_refused(link: Link, event: Event, flags: int) -> Event:
    """``event``, unless it refuses the stream that was started with ``flags``."""
    if not isinstance(event, Refusal):
        return event
    if event.command == Command.STREAM_START:
        if event.code == ErrorCode.UNSUPPORTED and flags & FROM_MICROPHONE:
            raise NoMicrophone(f"{link.name}: this board has no microphone that its firmware can use")
        if event.code == ErrorCode.PAYLOAD and flags & SEND_AUDIO:
            raise DeviceError(
                f"{link.name}: its firmware is from before audio came over the link", hint="flash it anew"
            )
    raise DeviceRefused(link.name, event)


def _stop_quietly(link: Link, position: int) -> None:
    """Ends a stream that is being left early, with all that it still says; what went wrong before is the error to show,
    not this."""
    try:
        link.send(Command.STREAM_STOP, struct.pack("<I", position), timeout=1.0)
        link.drain(2.0)
        deadline = time.perf_counter() + 2.0
        while time.perf_counter() < deadline:
            if isinstance(link.next_event(_QUIET_S), (StreamDone, Refusal)):
                return
    except DeviceError:
        return
