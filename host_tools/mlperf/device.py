"""The host's half of EEMBC's serial protocol: lines of text, of which nothing is believed that was not expected."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from host_tools.link.port import PORT_ERRORS, Port, claim, open_port, reader
from model_pipeline.errors import DeviceError
from model_pipeline.text import shown

BAUD = 115_200  # of performance and accuracy; energy mode: 9600
LINE_CHARS = 1024  # a result of 64 values has 600
REPLY_LINES = 64
LOAD_BYTES = 31  # of a command, as the official runner sends them
MAX_RESULTS = 64
_READY = "m-ready"
_QUIET_S = 0.2
_ASK_AGAIN_S = 2.0
_MAX_US = 1 << 63
_T = TypeVar("_T")


@dataclass(frozen=True)
class Identity:
    """What a device says of itself, as text that is safe to show."""

    name: str
    profile: str
    model: str


@dataclass(frozen=True)
class Inference:
    """What ``infer`` answered. ``microseconds``: between its two timestamps, for all measured inferences; None in
    energy mode. ``values``: of the last inference's classes."""

    microseconds: int | None
    values: tuple[float, ...]


class Device:
    """One session. All methods raise DeviceError where the device answers anything else than the protocol has, or
    nothing for ``patience_s``."""

    def __init__(self, port: Port, name: str = "port", *, patience_s: float = 10.0) -> None:
        """``port``: an open one."""
        self.name = name
        self.patience_s = patience_s
        self._port = port
        self._read = reader(port)
        self._rest = b""
        self._claim: socket.socket | None = None

    @classmethod
    def open(cls, url: str, baud: int = BAUD, *, patience_s: float = 10.0) -> Device:
        """Opens a port. Nothing is asked yet.

        Raises:
            DeviceError: there is none, or it is in use.
        """
        held = claim(url)
        try:
            device = cls(open_port(url, baud), url, patience_s=patience_s)
        except BaseException:
            if held:
                held.close()
            raise
        device._claim = held
        return device

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        with contextlib.suppress(*PORT_ERRORS):
            self._port.close()
        if self._claim:
            self._claim.close()

    # ---- commands

    def identify(self) -> Identity:
        """Waits for the device, which may just be starting, and asks what it is.

        Raises:
            DeviceError: what answers does not speak this protocol.
        """
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                lines = self.command("name", timeout=min(_ASK_AGAIN_S, self.patience_s))
            except _Silent:
                lines = []
            name = _only(lines, r"m-name-dut-\[([^]]+)\]")
            if name is not None:
                break
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"{self.name} does not answer as MLPerf Tiny's firmware does",
                    hint="kws build --app mlperf, kws flash; and --baud 9600 where it was built with --energy",
                )
        self._wait_for_silence()  # `name` may have been asked more than once
        lines = self.command("profile")
        profile, model = (_only(lines, rf"m-{what}-\[([^]]+)\]") for what in ("profile", "model"))
        if profile is None or model is None:
            raise self._unexpected("profile", lines)
        return Identity(shown(name, 80), shown(profile, 80), shown(model, 80))

    def load(self, data: bytes) -> None:
        """Sends one input, as the official runner does: 31 bytes a command."""
        lines = self.command(f"db load {len(data)}")
        if _only(lines, r"m-\[Expecting (\d{1,9}) bytes\]") != str(len(data)):
            raise self._unexpected("db load", lines)
        for at in range(0, len(data), LOAD_BYTES):
            lines = self.command(f"db {data[at : at + LOAD_BYTES].hex()}")
            last = at + LOAD_BYTES >= len(data)
            if lines != (["m-load-done"] if last else []):
                raise self._unexpected("db", lines)

    def infer(self, iterations: int, warm_up: int, *, extra_s: float = 0.0) -> Inference:
        """``warm_up`` inferences, then ``iterations`` that are measured, of the input that was loaded last; they may
        take ``extra_s`` beyond the patience."""
        command = f"infer {iterations} {warm_up}"
        lines = self.command(command, timeout=self.patience_s + extra_s)
        laps = [match[1] for line in lines if (match := re.fullmatch(r"m-lap-us-(\d{1,19})", line))]
        values = _values(lines)
        expected = [f"m-warmup-start-{warm_up}", "m-warmup-done", f"m-infer-start-{iterations}", "m-infer-done"]
        rest = [line for line in lines if not line.startswith(("m-lap-us-", "m-results-"))]
        if rest != expected or values is None or len(laps) not in (0, 2):
            raise self._unexpected(command, lines)
        if not laps:
            return Inference(None, values)
        start, end = (int(lap) for lap in laps)
        if not 0 <= start <= end < _MAX_US:
            raise DeviceError(f"{self.name}: its clock went from {start} to {end} us")
        return Inference(end - start, values)

    # ---- lines

    def command(self, text: str, *, timeout: float | None = None) -> list[str]:
        """Sends one command; the lines of its reply before ``m-ready``."""
        self._use(lambda: self._port.write(f"{text}%".encode("ascii")))
        deadline = time.monotonic() + (self.patience_s if timeout is None else timeout)
        lines: list[str] = []
        while True:
            line = self._line(deadline)
            if line is None:
                raise _Silent(f"{self.name}: no answer to {text.split(' ')[0]!r}", hint="reset the board")
            if line == _READY:
                return lines
            if line:
                lines.append(line)
            if len(lines) > REPLY_LINES:
                raise DeviceError(f"{self.name}: an answer without end to {text.split(' ')[0]!r}")

    def _line(self, deadline: float) -> str | None:
        """The next line, without its end; None: it does not come in time."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if len(line) > LINE_CHARS:
                raise DeviceError(
                    f"{self.name}: a line without end ({shown(line[:40].decode('ascii', 'replace'))} …)",
                    hint="check the baud rate, or flash kws build --app mlperf",
                )
            if newline:
                self._rest = rest
                return line.decode("ascii", "replace").strip("\r\0")
            if time.monotonic() > deadline:
                return None
            self._rest += self._use(self._read)

    def _wait_for_silence(self) -> None:
        until = end = time.monotonic() + _QUIET_S
        while time.monotonic() < until and time.monotonic() < end + self.patience_s:
            if self._use(self._read):
                until = time.monotonic() + _QUIET_S
        self._rest = b""

    def _use(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except PORT_ERRORS as error:
            text = str(error).strip() or type(error).__name__
            raise DeviceError(f"{self.name} went away: {text}", hint="check the cable or the emulator") from error

    def _unexpected(self, command: str, lines: Sequence[str]) -> DeviceError:
        refused = next((match[1] for line in lines if (match := re.fullmatch(r"e-\[(.*)\]", line))), None)
        if refused is not None:
            return DeviceError(f"{self.name} refuses {command!r}: {shown(refused, 100)}")
        said = shown(" | ".join(lines), 200) or "nothing"
        return DeviceError(f"{self.name}: to {command!r} the protocol has another answer than {said}")


class _Silent(DeviceError):
    """Nothing came in time."""


def _only(lines: Sequence[str], pattern: str) -> str | None:
    found = [match[1] for line in lines if (match := re.fullmatch(pattern, line))]
    return found[0] if len(found) == 1 else None


def _values(lines: Sequence[str]) -> tuple[float, ...] | None:
    text = _only(lines, r"m-results-\[([^]]*)\]")
    words = text.split(",") if text else []
    if not 1 <= len(words) <= MAX_RESULTS or not all(re.fullmatch(r"-?\d{1,9}\.\d{1,9}", word) for word in words):
        return None
    return tuple(map(float, words))
