"""The host's half of docs/protocol.md over any pyserial port: a session that loses nothing silently."""

from __future__ import annotations

import struct
import time
from dataclasses import asdict
from typing import TypeVar

from host_tools.link.codes import FAULT_MAGIC, VERSION, Command
from host_tools.link.events import (
    Event,
    HelloReply,
    ProfileReply,
    Ready,
    ResetOk,
    SetDetectorOk,
    Stats,
)
from host_tools.link.frames import Frame
from host_tools.link.info import Detector, Info
from host_tools.link.port import BAUD, claim, open_port
from host_tools.link.transport import RESEND_S, RESEND_TCP_S, Transport
from model_pipeline.errors import DeviceError

_HELLO_S = 0.3
_REPLY_S = 10.0  # for all frames of a reply
_E = TypeVar("_E", bound=Event)


class Link(Transport):
    """One session with a device. Commands block only for want of credit; events arrive in a queue."""

    @classmethod
    def open(cls, url: str, timeout: float = 10.0, *, baud: int = BAUD, resend_s: float | None = None) -> Link:
        """Opens a port and a session on it.

        Args:
            url: anything pyserial takes: ``/dev/ttyACM0``, ``COM3``, a pty, ``socket://host:port``.
            timeout: seconds in which the device must answer HELLO.
            resend_s: seconds without progress after which a frame is sent again.

        Raises:
            DeviceError: no such port, no firmware of ours behind it, or one of another protocol version.
        """
        held = claim(url)
        try:
            port = open_port(url, baud)
        except BaseException:
            if held:
                held.close()
            raise
        link = cls(port, url, resend_s=resend_s or (RESEND_TCP_S if url.startswith("socket://") else RESEND_S))
        link._claim = held
        link.baud = None if url.startswith("socket://") else baud
        try:
            link.hello(timeout)
        except BaseException:
            link.close()
            raise
        return link

    def hello(self, timeout: float = 10.0) -> HelloReply:
        """Opens a new session: numbers, credit and counters start again.

        Raises:
            DeviceError: nobody answers in ``timeout`` seconds, or speaks another version.
        """
        with self._changed:
            self._check()
            self._opening = True
            self._unacked.clear()
            self._cursor = 0
            self._probing = False
            self._stray_bytes = 0
            seq = self._seq
            self.device = None
        frame = b"\0" + Frame(Command.HELLO, seq, struct.pack("<H", VERSION)).encode()
        deadline = time.perf_counter() + timeout
        while True:
            with self._changed:
                self._urgent.append(frame)
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self.device or self._failure, max(0.0, min(_HELLO_S, deadline - time.perf_counter()))
                )
                if self.device:
                    return self.device
                self._check()
                if time.perf_counter() >= deadline:
                    self._opening = False
                    raise self._silent(timeout)

    def request(self, command: Command, reply: type[_E], payload: bytes = b"", timeout: float = 5.0) -> _E:
        """Sends a command and returns its reply; asks again (three times in all) if the reply is lost, so only for
        commands that may be repeated."""
        for _ in range(3):
            self.send(command, payload)
            event = self.expect(reply, timeout=timeout, commands=(command,))
            if event is not None:
                return event
        raise DeviceError(f"{self.name}: no answer to {command.name}", hint="reset the board")

    def info(self) -> Info:
        """What the firmware says of itself, within the bounds of docs/protocol.md.

        Raises:
            DeviceError: it says something else, or not all of it in time.
        """
        info = self.request(Command.INFO, Info)
        deadline = time.perf_counter() + _REPLY_S
        try:
            while info.more:
                rest = self.expect(Info, timeout=max(0.0, deadline - time.perf_counter()))
                if rest is None:
                    raise DeviceError(f"{self.name}: the rest of the labels did not arrive", hint="reset the board")
                info = info.joined(rest)
            info.check()
        except ValueError as error:
            raise DeviceError(
                f"{self.name}: the device says what no firmware of ours says: {error}", hint="build and flash ours"
            ) from error
        with self._changed:
            self._outputs = len(info.labels)
        return info

    def stats(self, clear: bool = False) -> Stats:
        """The device's counters."""
        return self.request(Command.STATS, Stats, bytes([clear]))

    def profile(self) -> list[int]:
        """Ticks of each kernel call of the last inference; empty before the first, or if the engine is not aot.

        Raises:
            DeviceError: the firmware was not built with profiling, or a part of the answer was lost.
        """
        part = self.request(Command.PROFILE, ProfileReply)
        ticks = list(part.ticks)
        deadline = time.perf_counter() + _REPLY_S
        while len(ticks) < part.total:
            rest = self.expect(ProfileReply, timeout=max(0.0, deadline - time.perf_counter()))
            if rest is None or rest.first != len(ticks) or not rest.ticks:
                raise DeviceError(f"{self.name}: a part of the profile did not arrive", hint="try again")
            ticks += rest.ticks
        return ticks

    def set_detector(self, detector: Detector) -> None:
        """Changes the detector until the next restart."""
        self.request(Command.SET_DETECTOR, SetDetectorOk, detector.payload())

    def reset_stream(self) -> None:
        """Forgets what was heard: front end, window, detector."""
        self.request(Command.RESET, ResetOk, b"\0")

    def restart(self, timeout: float = 15.0, *, die: int | None = None) -> HelloReply:
        """Restarts the device and opens a session with it anew. ``die``: by a fault of that kind (see DIE)."""
        with self._changed:
            self._may_restart = True
        if die is None:
            self.send(Command.RESET, b"\1")
        else:
            self.send(Command.DIE, struct.pack("<IB", FAULT_MAGIC, die))
        try:
            if self.expect(Ready, timeout=timeout, commands=(Command.RESET, Command.DIE)) is None:
                raise DeviceError(f"{self.name}: the device did not come back in {timeout:.0f} s")
            return self.hello(timeout)
        finally:
            with self._changed:
                self._may_restart = False

    def report(self) -> dict[str, int]:
        """The counters as a dict."""
        return asdict(self.counters)

    def _silent(self, timeout: float) -> DeviceError:
        text = f"no micro-kws firmware answered on {self.name} within {timeout:.0f} s"
        if self._stray_bytes:
            return DeviceError(
                f"{text}; {self._stray_bytes} bytes came that are not frames of ours",
                hint="check the baud rate, or flash our firmware",
            )
        hint = "check that the board runs our firmware, then reset it"
        if self.name.startswith("socket://"):
            hint = "is another program connected to it? it serves one at a time"
        return DeviceError(text, hint=hint)
