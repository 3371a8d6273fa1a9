"""What carries frames both ways: numbers, credit, repetition, and the queue of events; two threads a port."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import serial

from host_tools.link.codes import MAX_WINDOW, VERSION, Command
from host_tools.link.events import (
    Ack,
    Detection,
    DeviceRefused,
    Event,
    HelloReply,
    Log,
    Nak,
    Ready,
    Refusal,
    Result,
)
from host_tools.link.frames import BadFrame, Decoder, Frame
from host_tools.link.payloads import parse_event
from host_tools.link.port import PORT_ERRORS, Port, reader
from model_pipeline.errors import DeviceError

TRIES = 10  # resends of one frame before the link is given up
RESEND_S = 0.5
# TCP loses nothing: no progress there means a busy emulator, and a repeat would only be counted against the link.
RESEND_TCP_S = 3.0
# Events that nobody has taken yet; of more the oldest go, and are counted. A clip or a second of sound gives hundreds.
MAX_EVENTS = 20_000
MAX_LOGS = 256  # of them LOG, which a device may send without end
# LOG frames that nobody took, in this many seconds: more than a line of 1 Mbaud carries. All else waits behind them.
LOG_FLOOD = 10_000
_FLOOD_S = 2.0
_E = TypeVar("_E", bound=Event)
_T = TypeVar("_T")


@dataclass
class Counters:
    """Of one session, from HELLO on. The first four are of the host's frames, the rest of the device's."""

    sent: int = 0
    resent: int = 0
    naks: int = 0
    timeouts: int = 0
    received: int = 0
    lost: int = 0  # gaps in the device's sequence
    repeated: int = 0
    bad: int = 0  # runs of bytes that were not a frame, and events that can't be this device's
    dropped: int = 0  # events that came faster than anybody took them

    @property
    def clean(self) -> bool:
        """Nothing was lost, damaged or sent twice, in either direction."""
        return not (self.resent or self.naks or self.timeouts or self.lost or self.repeated or self.bad)


class Ticket:
    """A frame on its way. ``written_at``: ``time.perf_counter()`` once the port had taken it, else None."""

    __slots__ = ("data", "seq", "written_at")

    def __init__(self, seq: int, data: bytes) -> None:
        self.seq = seq
        self.data = data
        self.written_at: float | None = None


class Transport:
    """Frames to a device and events from it, over an open port.

    One thread reads and one writes, so that neither direction can stall the other.
    All methods may raise DeviceError once the port or the device has gone.
    """

    def __init__(self, port: Port, name: str = "port", *, resend_s: float = RESEND_S) -> None:
        """``port``: an open one."""
        self.name = name
        self.counters = Counters()
        self.device: HelloReply | None = None
        self.baud: int | None = None  # of a serial port
        self._port = port
        self._resend_s = resend_s
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._logs = 0  # of them LOG
        self._flood = (0.0, 0)  # since when, and how many LOG were dropped
        self._came = 0  # events in all, taken or not
        self._outputs = 0  # of this device's model, once known
        self._claim: socket.socket | None = None
        self._urgent: deque[bytes] = deque()
        self._unacked: deque[Ticket] = deque()
        self._cursor = 0  # how many of _unacked were written
        self._probing = False  # after a time-out only the oldest goes out, until something is acknowledged
        self._went_back_to: int | None = None
        self._tries = 0
        self._progress_at = time.perf_counter()
        self._seq = 0
        self._window = 1
        self._opening = False
        self._may_restart = False
        self._rx_expected: int | None = None
        self._stray_bytes = 0
        self._failure: DeviceError | None = None
        self._closing = False
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=f"link{loop.__name__}", daemon=True)
            for loop in (self._read_loop, self._write_loop)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends threads and port. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(2.0)
        with contextlib.suppress(OSError, serial.SerialException):
            self._port.close()
        if self._claim:
            self._claim.close()

    def send(self, command: Command, payload: bytes = b"", timeout: float = 30.0) -> Ticket:
        """Queues a command, in order and with repetition if it is lost. Blocks while the device gives no credit.

        Raises:
            DeviceError: no credit came in ``timeout`` seconds, or the link failed.
        """
        with self._changed:
            free = self._changed.wait_for(lambda: self._failure or len(self._unacked) < self._window, timeout)
            self._check()
            if not free:
                raise DeviceError(f"{self.name}: the device took no data for {timeout:.0f} s", hint="reset the board")
            ticket = Ticket(self._seq, Frame(command, self._seq, payload).encode())
            self._seq = (self._seq + 1) & 0xFFFF
            if not self._unacked:
                self._progress_at = time.perf_counter()
            self._unacked.append(ticket)
            self.counters.sent += 1
            self._changed.notify_all()
            return ticket

    def drain(self, timeout: float = 30.0) -> None:
        """Waits until the device has acknowledged everything."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._failure or not self._unacked, timeout)
            self._check()
            if not done:
                raise DeviceError(f"{self.name}: the device did not take all data in {timeout:.0f} s")

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The oldest event, or None after ``timeout`` seconds. What came before a failure is still given."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._failure, timeout)
            if self._events:
                return self._taken(self._events.popleft())
            self._check()
            return None

    def _taken(self, event: _E) -> _E:
        self._logs -= isinstance(event, Log)
        return event

    def expect(self, *kinds: type[_E], timeout: float, commands: tuple[Command, ...] = ()) -> _E | None:
        """The oldest event of these kinds, taken out of the queue (others stay), or None after ``timeout``.

        Raises:
            DeviceError: the device refused one of ``commands``.
        """
        found: list[Any] = []
        looked_at = 0  # of all events that came: each is looked at once, however many wait

        def search() -> bool:
            nonlocal looked_at
            new = min(len(self._events), self._came - looked_at)
            looked_at = self._came
            for event in itertools.islice(self._events, len(self._events) - new, None):
                refused = isinstance(event, Refusal) and event.command in commands
                if refused or isinstance(event, kinds):
                    found.append(event)
                    return True
            return self._failure is not None

        with self._changed:
            self._changed.wait_for(search, timeout)
            if not found:
                self._check()
                return None
            self._events.remove(found[-1])
            self._taken(found[-1])
        if isinstance(found[-1], Refusal) and not isinstance(found[-1], kinds):
            raise DeviceRefused(self.name, found[-1])
        return found[-1]

    # ---- the threads

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # nobody would hear of a thread's end: pass it on to who waits
            self._fail(DeviceError(f"{self.name}: the link stopped: {error!r}"))
            raise

    def _use_port(self, call: Callable[[], _T]) -> _T | None:
        """``call()``, or None when the port is gone."""
        try:
            return call()
        except PORT_ERRORS as error:
            if not self._closing:
                text = str(error).strip() or type(error).__name__
                self._fail(DeviceError(f"{self.name} went away: {text}", hint="check the cable or the emulator"))
            return None

    def _fail(self, error: DeviceError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _check(self) -> None:
        if self._failure:
            raise DeviceError(str(self._failure), hint=self._failure.hint)
        if self._closing:
            raise DeviceError(f"{self.name} is closed")

    def _read_loop(self) -> None:
        decoder = Decoder()
        read = reader(self._port)
        while not (self._closing or self._failure):
            data = self._use_port(read)
            if not data:
                continue
            at = time.perf_counter()
            with self._changed:
                frames = decoder.feed(data)
                if self._opening and not any(isinstance(f, Frame) for f in frames):
                    self._stray_bytes += len(data)
                for frame in frames:
                    self._take(frame, at)
                self._changed.notify_all()

    def _take(self, frame: Frame | BadFrame, at: float) -> None:
        """One frame of the device, in order of arrival."""
        if isinstance(frame, BadFrame):
            self.counters.bad += 1
            return
        try:
            event = parse_event(frame, at)
        except ValueError:
            self.counters.bad += 1
            return
        if isinstance(event, Ready):
            self._versions(event.protocol)
            if self.device and not self._may_restart:
                self._failure = self._failure or DeviceError(
                    f"{self.name}: the device restarted in the middle of the session", hint="kws monitor shows why"
                )
            self._rx_expected = (frame.seq + 1) & 0xFFFF
            self._queue(event)
            return
        if isinstance(event, HelloReply):
            self._versions(event.protocol)
            if self._opening and event.protocol == VERSION:
                self._open_session(event, frame.seq)
                return
        if self.device is None:
            return  # left over from an earlier session
        expected = self._rx_expected if self._rx_expected is not None else frame.seq
        ahead = (frame.seq - expected) & 0xFFFF
        if ahead >= 0x8000:
            self.counters.repeated += 1
            return
        self.counters.lost += ahead
        self.counters.received += 1
        self._rx_expected = (frame.seq + 1) & 0xFFFF
        if isinstance(event, Ack):
            self._window = min(MAX_WINDOW, max(1, event.window))
            self._acknowledge(event.expected)
        elif isinstance(event, Nak):
            self.counters.naks += 1
            self._acknowledge(event.expected)
            # One loss can cause two NAKs (damaged, then missing): go back once, the time-out does the rest.
            written = self._unacked and self._cursor
            if written and self._unacked[0].seq == event.expected != self._went_back_to:
                self._went_back_to = event.expected
                self.counters.resent += self._cursor
                self._cursor = 0
                self._progress_at = at
        elif self._outputs and (
            (isinstance(event, Result) and len(event.output) != self._outputs)
            or (isinstance(event, Detection) and event.label >= self._outputs)
        ):
            self.counters.bad += 1
        elif not isinstance(event, HelloReply):  # of a HELLO that was sent again
            self._queue(event)

    def _queue(self, event: Event) -> None:
        """Keeps ``event`` until it is taken; of too many the oldest go, logs first."""
        is_log = isinstance(event, Log)
        if is_log and self._logs >= MAX_LOGS:
            self.counters.dropped += 1  # what was said first tells most
            since, count = self._flood
            self._flood = (since, count + 1) if event.at - since < _FLOOD_S else (event.at, 1)
            if count >= LOG_FLOOD:
                self._failure = self._failure or DeviceError(
                    f"{self.name}: the device sends log lines faster than anything else gets through",
                    hint="kws monitor shows them",
                )
            return
        if len(self._events) >= MAX_EVENTS:
            self._taken(self._events.popleft())
            self.counters.dropped += 1
        self._events.append(event)
        self._logs += is_log
        self._came += 1

    def _versions(self, protocol: int) -> None:
        if protocol != VERSION:
            self._failure = self._failure or DeviceError(
                f"{self.name}: the firmware speaks link protocol {protocol}, these tools speak {VERSION}",
                hint="build and flash the firmware that belongs to this version of kws",
            )

    def _open_session(self, event: HelloReply, seq: int) -> None:
        self._opening = False
        self.counters = Counters(received=1)
        self._rx_expected = (seq + 1) & 0xFFFF
        self._window = min(MAX_WINDOW, max(1, event.window))
        self._seq = (self._seq + 1) & 0xFFFF
        self._tries = 0
        self._went_back_to = None
        self._events.clear()
        self._logs = 0
        self._outputs = 0
        self.device = event

    def _acknowledge(self, expected: int) -> None:
        if not self._unacked:
            return
        done = (expected - self._unacked[0].seq) & 0xFFFF
        if not 0 < done <= len(self._unacked):
            return  # nothing new, or of before
        for _ in range(done):
            self._unacked.popleft()
        self._cursor = max(0, self._cursor - done)
        self._probing = False
        self._went_back_to = None
        self._tries = 0
        self._progress_at = time.perf_counter()

    def _write_loop(self) -> None:
        while True:
            with self._changed:
                batch, tickets = self._pick()
                while not batch:
                    if self._closing or self._failure:
                        return
                    late = self._progress_at + self._resend_s - time.perf_counter()
                    self._changed.wait(max(0.001, late) if self._unacked else None)
                    batch, tickets = self._pick()
            if self._use_port(partial(self._port.write, batch)) is None:
                return
            now = time.perf_counter()
            for ticket in tickets:
                ticket.written_at = ticket.written_at or now

    def _pick(self) -> tuple[bytes, list[Ticket]]:
        """What is to be written now, and the tickets in it."""
        if self._urgent:
            return self._urgent.popleft(), []
        if not self._unacked or self._opening:
            return b"", []
        now = time.perf_counter()
        if self._cursor and now - self._progress_at >= self._resend_s:
            self._tries += 1
            self.counters.timeouts += 1
            if self._tries > TRIES:
                seconds = self._resend_s * TRIES
                self._failure = self._failure or DeviceError(
                    f"{self.name}: the device stopped answering (nothing acknowledged for {seconds:.0f} s)",
                    hint="reset the board or restart the emulator",
                )
                self._changed.notify_all()
                return b"", []
            self._cursor = 0
            self._probing = True
            self._went_back_to = None
            self._progress_at = now
            self.counters.resent += 1
        end = 1 if self._probing else len(self._unacked)
        tickets = [self._unacked[i] for i in range(self._cursor, min(end, self._cursor + 8))]
        self._cursor += len(tickets)
        return b"".join(t.data for t in tickets), tickets
