"""What is plugged in: serial ports and USB devices, matched against the boards we know."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import serial
from serial.tools import list_ports

from host_tools.boards import Board
from host_tools.link.codes import RESET_REASONS
from model_pipeline.errors import DeviceError, KwsError

SYSFS_USB = Path("/sys/bus/usb/devices")
TOUCH_BAUD = 1200
POLL_S = 0.1

Role = Literal["application", "bootloader", "probe"]


@dataclass(frozen=True)
class UsbId:
    """USB vendor and product number, written ``2341:805a`` as lsusb does."""

    vid: int
    pid: int

    @classmethod
    def parse(cls, text: str) -> UsbId:
        """From ``vvvv:pppp``.

        Raises:
            ValueError: it is not two hexadecimal numbers of 16 bits.
        """
        vid, colon, pid = text.partition(":")
        number = cls(int(vid, 16), int(pid, 16)) if colon else None
        if number is None or not (0 < number.vid <= 0xFFFF and 0 <= number.pid <= 0xFFFF):
            raise ValueError(f"{text!r} is not a USB id such as 2341:805a")
        return number

    def __str__(self) -> str:
        return f"{self.vid:04x}:{self.pid:04x}"


@dataclass(frozen=True)
class UsbIds:
    """The USB ids by which one board is known."""

    board: str
    application: frozenset[UsbId] = frozenset()
    bootloader: frozenset[UsbId] = frozenset()
    probe: frozenset[UsbId] = frozenset()

    def role(self, number: UsbId | None) -> Role | None:
        """What a device of this id is to the board."""
        roles: tuple[Role, ...] = ("application", "bootloader", "probe")
        return next((role for role in roles if number in getattr(self, role)), None)


def usb_ids(board: Board) -> UsbIds:
    """The ids in the board's file."""
    by_role: dict[str, set[UsbId]] = {"application": set(), "bootloader": set(), "probe": set()}
    for usb in board.kws.usb:
        by_role[usb.role].add(UsbId(usb.vid, usb.pid))
    return UsbIds(board.id, *(frozenset(by_role[role]) for role in ("application", "bootloader", "probe")))


def is_mute(board: Board, role: Role) -> bool:
    """Whether nothing of the board is heard at the serial port of a device of this role: a probe that is not wired."""
    return role == "probe" and board.kws.serial is not None and not board.kws.serial.through_probe


@dataclass(frozen=True)
class Device:
    """One thing that is plugged in. ``port``: its serial port, or None (a probe or a DFU boot loader has none)."""

    port: str | None
    usb: UsbId | None
    serial_number: str | None
    product: str | None

    def __str__(self) -> str:
        name = self.port or self.product or "USB device"
        return f"{name} ({self.usb}{', serial ' + self.serial_number if self.serial_number else ''})"


def ports() -> list[Device]:
    """All serial ports of this machine, in the order of their names."""
    found = []
    for info in sorted(list_ports.comports(), key=lambda p: p.device):
        usb = UsbId(info.vid, info.pid) if info.vid is not None and info.pid is not None else None
        found.append(Device(info.device, usb, info.serial_number, info.product))
    return found


def usb_devices(root: Path | None = None) -> list[Device]:
    """USB devices of Linux, with or without a serial port; empty where there is no sysfs."""
    found = []
    for folder in sorted((root or SYSFS_USB).glob("*")):
        vid, pid = _attribute(folder, "idVendor"), _attribute(folder, "idProduct")
        if vid and pid:
            usb = UsbId(int(vid, 16), int(pid, 16))
            found.append(Device(None, usb, _attribute(folder, "serial"), _attribute(folder, "product")))
    return found


def connected(known: Sequence[UsbIds]) -> list[Device]:
    """Serial ports, then the USB devices of ``known`` boards that have no serial port."""
    with_port = ports()
    seen = {(d.usb, d.serial_number) for d in with_port}
    bare = [d for d in usb_devices() if (d.usb, d.serial_number) not in seen and any(k.role(d.usb) for k in known)]
    return with_port + bare


def wait_for(
    what: str, found: Callable[[], Device | None], timeout: float, *, hint: str = "", poll: float = POLL_S
) -> Device:
    """Asks ``found`` until it gives a device.

    Raises:
        DeviceError: none came in ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        device = found()
        if device is not None:
            return device
        if time.monotonic() >= deadline:
            raise DeviceError(f"{what} did not appear within {timeout:.0f} s", hint=hint)
        time.sleep(poll)


def pick(candidates: Iterable[Device], what: str, serial_number: str | None, option: str) -> Device | None:
    """The one candidate, or the one with this serial number; None if there is none.

    Raises:
        KwsError: there are several, so the user has to choose by ``option``.
    """
    devices = list(candidates)
    if serial_number is not None:
        return next((d for d in devices if same_serial(d.serial_number, serial_number)), None)
    if len(devices) > 1:
        names = ", ".join(str(d) for d in devices)
        raise KwsError(f"{len(devices)} of {what} are connected: {names}", hint=f"choose one by {option}")
    return devices[0] if devices else None


def same_serial(one: str | None, other: str | None) -> bool:
    """Serial numbers are compared as tools print them: without regard to case."""
    return one is not None and other is not None and one.lower() == other.lower()


def touch(port: str, *, attempts: int = 3) -> None:
    """Opens ``port`` at 1200 baud and closes it with DTR low: the sign by which Arduino's USB stack enters its boot
    loader. The port vanishes, so an error after it was open is what we want.

    Raises:
        DeviceError: the port could not be opened.
    """
    for attempt in range(attempts):
        try:
            line = serial.Serial()
            line.port = port
            line.baudrate = TOUCH_BAUD
            line.open()
        except (OSError, serial.SerialException) as error:
            if attempt + 1 < attempts:
                time.sleep(0.2)  # a udev rule or ModemManager may still hold a new port
                continue
            raise DeviceError(
                f"can't open {port} at 1200 baud: {os.strerror(error.errno) if error.errno else error}",
                hint="close other programs that use it, or double-tap the reset button and run again",
            ) from error
        with contextlib.suppress(OSError, serial.SerialException):
            line.dtr = False
            line.close()
        return


@dataclass(frozen=True)
class Running:
    """What a board's firmware says of itself."""

    board: str
    firmware: str
    engine: str
    model_hash: str
    build: str
    free_ram: int
    labels: tuple[str, ...]
    reset_reason: str
    fault: dict[str, int] | None


def hello(port: str, timeout: float = 5.0, *, baud: int | None = None) -> Running:
    """Opens a session on ``port``, asks and closes.

    Raises:
        DeviceError: the port or the firmware behind it does not answer.
    """
    from host_tools.link.events import Fault
    from host_tools.link.port import BAUD
    from host_tools.link.session import Link

    with Link.open(port, timeout, baud=baud or BAUD) as link:
        info = link.info()
        device = link.device
        fault = link.expect(Fault, timeout=0.5) if device and device.has_fault else None
    reason = device.reset_reason if device else 0
    record = None
    if fault is not None:
        record = fault.as_dict()
    return Running(
        board=info.board,
        firmware=info.firmware,
        engine=info.engine,
        model_hash=info.model_hash,
        build=info.build,
        free_ram=info.free_ram,
        labels=info.labels,
        reset_reason=RESET_REASONS[reason] if reason < len(RESET_REASONS) else f"code {reason}",
        fault=record,
    )


def _attribute(folder: Path, name: str) -> str | None:
    try:
        return (folder / name).read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None  # an interface, a hub port, or gone meanwhile
