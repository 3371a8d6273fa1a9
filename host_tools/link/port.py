"""A port of this computer: opened, held for this process alone, read."""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections.abc import Callable
from typing import Protocol

import serial

from model_pipeline.errors import DeviceError

BAUD = 500_000  # as our boards have it (boards/*.json)
# What a port raises; pyserial the last three when one is closed or pulled out under a call.
PORT_ERRORS = (OSError, serial.SerialException, TypeError, AttributeError, ValueError)


class CantOpen(DeviceError):
    """The port itself can't be opened, whatever is behind it."""


class Port(Protocol):
    """What is used of pyserial's ports. One whose ``fileno`` raises or is not there has ``in_waiting``."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...
    def fileno(self) -> int: ...
    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


def reader(port: Port) -> Callable[[], bytes]:
    """A function that waits at most 50 ms and returns what has arrived; it raises `PORT_ERRORS`."""
    try:
        handle = port.fileno()
    except (AttributeError, OSError, ValueError, NotImplementedError):
        # Windows COM ports and rfc2217:// have no descriptor: wait for one byte, then take the rest.
        port.timeout = 0.05
        return lambda: port.read(max(1, port.in_waiting))
    port.timeout = 0
    return lambda: port.read(4096) if select.select([handle], [], [], 0.05)[0] else b""


def claim(url: str) -> socket.socket | None:
    """Holds a TCP port of this computer for this process, as a serial port is held: whoever serves it lets a second
    client wait without a word. None where that can't be done (only Linux names sockets without a file).

    Raises:
        DeviceError: another process holds it.
    """
    if not url.startswith("socket://") or not sys.platform.startswith("linux"):
        return None
    place = url.removeprefix("socket://").split("?")[0].split("/")[0].lower().replace("localhost", "127.0.0.1")
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(f"\0micro-kws {place}"[:100])
    except OSError as error:
        held.close()
        if error.errno != errno.EADDRINUSE:
            return None
        raise DeviceError(
            f"{url} is in use by another program of kws", hint="end it first: a device serves one at a time"
        ) from error
    return held


def open_port(url: str, baud: int = BAUD) -> Port:
    """An open pyserial port, which this process alone has.

    Raises:
        CantOpen: there is none, it is in use, or it may not be opened.
    """
    try:
        return serial.serial_for_url(url, baudrate=baud, timeout=0, write_timeout=20.0, exclusive=True)
    except ValueError as error:
        raise CantOpen(f"can't open {url}: {error}", hint="such as /dev/ttyACM0 or socket://127.0.0.1:3456") from error
    except (OSError, serial.SerialException) as error:
        text = str(error)
        if "No such file" in text:
            from serial.tools import list_ports

            found = ", ".join(p.device for p in list_ports.comports()) or "none"
            raise CantOpen(f"there is no port {url}", hint=f"ports here: {found}") from error
        if "lock" in text or "busy" in text.lower():
            raise CantOpen(f"{url} is in use by another program", hint="close the other serial monitor") from error
        if "ermission" in text:
            raise CantOpen(f"no right to open {url}", hint="add yourself to the group dialout") from error
        reason = text.rsplit("] ", 1)[-1].rstrip("'\"")
        raise CantOpen(f"can't open {url}: {reason}", hint="is the emulator or the board running?") from error
