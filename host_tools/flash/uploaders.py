"""Programs that write firmware into a board, each as one small class with the exact commands that it would run.

An uploader only plans: `Uploader.steps` gives what is to be done, `host_tools.flash.upload` does it or shows it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from host_tools.flash.usb import UsbId
from model_pipeline.errors import KwsError
from model_pipeline.packages import pip_install

# Stands in a command for the port that a Touch or WaitForPort step found.
FOUND_PORT = "{port}"
BOOTLOADER_S = 10.0  # in which the boot loader must be there after a touch


@dataclass(frozen=True)
class Run:
    """A program with its arguments; fails if it exits with anything but 0."""

    command: tuple[str, ...]
    timeout: float = 120.0

    def shown(self) -> str:
        """As one would type it."""
        return shlex.join(self.command)


@dataclass(frozen=True)
class Touch:
    """Opens the application's port at 1200 baud, unless the boot loader is there already."""

    port: str | None
    bootloader: frozenset[UsbId]

    def shown(self) -> str:
        """In words."""
        return f"open {self.port or '<the board’s port>'} at 1200 baud and close it"


@dataclass(frozen=True)
class WaitForPort:
    """Waits for the boot loader's port; what it finds replaces FOUND_PORT in later commands."""

    bootloader: frozenset[UsbId]
    timeout: float

    def shown(self) -> str:
        """In words."""
        return f"wait up to {self.timeout:.0f} s for a port of {' or '.join(sorted(map(str, self.bootloader)))}"


Step = Run | Touch | WaitForPort


@dataclass(frozen=True)
class Job:
    """What is to be written where."""

    elf: Path
    address: int  # of the first byte in flash
    settings: dict[str, str] = field(default_factory=dict)  # of this method, from the board's file
    port: str | None = None  # serial port of the board
    probe: str | None = None  # serial number of the debug probe or the DFU device
    bootloader: frozenset[UsbId] = frozenset()
    environment: str = ""  # in platformio.ini
    project: Path = Path()

    def __post_init__(self) -> None:
        # It goes into OpenOCD's Tcl, and behind an option of the others.
        if self.probe and not re.fullmatch(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]*", self.probe):
            raise KwsError(f"{self.probe!r} is not a serial number of a probe")

    @property
    def bin(self) -> Path:
        """The ELF's flash contents as plain bytes; made by `to_bin`."""
        return self.elf.with_suffix(".bin")

    def to_bin(self) -> Run:
        """The step that makes `bin`."""
        return Run(("arm-none-eabi-objcopy", "-O", "binary", str(self.elf), str(self.bin)), 30.0)

    def setting(self, name: str, method: str) -> str:
        """A setting that the method can't do without.

        Raises:
            KwsError: the board's file lacks it.
        """
        value = self.settings.get(name)
        if not value:
            raise KwsError(f"the board's kws.upload entry for {method} has no {name!r}")
        return value


class Uploader:
    """One way to write firmware. ``needs``: what of the board it talks to."""

    name: ClassVar[str]
    program: ClassVar[str]
    package: ClassVar[str]  # what to install
    needs: ClassVar[str]  # "probe", "port", "dfu" or "" (finds it alone)
    # What the program prints, and what to do then.
    advice: ClassVar[Sequence[tuple[str, str]]] = ()

    def find(self) -> str | None:
        """The program to run, or None if it is not installed."""
        return shutil.which(self.program)

    def steps(self, job: Job) -> list[Step]:
        """What is to be done, in order.

        Raises:
            KwsError: the board's file lacks a setting.
        """
        raise NotImplementedError

    def hint(self, output: str) -> str:
        """What to do about a failure that printed ``output``; empty if we know nothing."""
        return next((advice for pattern, advice in self.advice if re.search(pattern, output, re.IGNORECASE)), "")


_RIGHTS = (
    "give yourself the right to the USB device: apt-get install openocd brings a udev rule, by which the group plugdev "
    "has it (usermod -aG plugdev); then log in again and plug it in again"
)
_UNPLUGGED = "plug in the probe (for an ST-LINK: the other USB connector), or name it by --probe"


class OpenOcd(Uploader):
    """OpenOCD by ST-LINK, CMSIS-DAP or J-Link. Settings: ``interface`` and ``target``, names of its scripts."""

    name, program, package, needs = "openocd", "openocd", "apt-get install openocd", "probe"
    advice = (
        (r"LIBUSB_ERROR_ACCESS|Permission denied", _RIGHTS),
        (r"open failed|No device found|unable to find (a matching )?(CMSIS-DAP|device)|no J-Link", _UNPLUGGED),
        (
            r"unable to connect to the target|Error connecting DP|Cannot read IDR|Target not examined",
            "check the board's power and the SWD jumpers; hold the reset button while it starts",
        ),
        (r"AP lock|APPROTECT", "the chip is locked: openocd's nrf52_recover erases and unlocks it"),
        (
            r"verification? failed|checksum mismatch|contents differ",
            "run again; if it stays so, the flash is worn or too small",
        ),
    )

    def steps(self, job: Job) -> list[Step]:
        """``program`` erases what is needed, writes, verifies and resets (OpenOCD manual, Flash Programming)."""
        elf = str(job.elf)
        if any(c in elf for c in "{}\\"):
            raise KwsError(f"openocd can't take a path with braces or backslashes: {elf}")
        command = [self.program, "-f", f"interface/{job.setting('interface', self.name)}.cfg"]
        if job.probe:
            command += ["-c", f"adapter serial {job.probe}"]
        if transport := job.settings.get("transport"):
            command += ["-c", f"transport select {transport}"]
        command += ["-f", f"target/{job.setting('target', self.name)}.cfg"]
        command += ["-c", f"program {{{elf}}} verify reset exit"]
        return [Run(tuple(command))]


class StFlash(Uploader):
    """stlink-tools by ST-LINK."""

    name, program, package, needs = "st-flash", "st-flash", "apt-get install stlink-tools", "probe"
    advice = (
        (r"couldn't find any ST-Link|no ST-Link", _UNPLUGGED),
        (r"LIBUSB_ERROR_ACCESS", _RIGHTS),
        (r"unknown chip|Failed to connect", "check the board's power and the SWD jumpers, or hold the reset button"),
    )

    def steps(self, job: Job) -> list[Step]:
        """``write`` takes plain bytes and an address."""
        command = [self.program, "--reset"]
        if job.probe:
            command += ["--serial", job.probe]
        return [job.to_bin(), Run((*command, "write", str(job.bin), f"0x{job.address:08x}"))]


class PyOcd(Uploader):
    """pyOCD by CMSIS-DAP, ST-LINK or J-Link. Setting: ``target``, its name of the chip."""

    name, program, package, needs = "pyocd", "pyocd", pip_install("pyocd"), "probe"
    advice = (
        (r"no available debug probes|no connected debug probes", _UNPLUGGED),
        (r"target type .* (not recogni[sz]ed|unknown)", "install the chip's pack: pyocd pack install TARGET"),
        (r"LIBUSB_ERROR_ACCESS|insufficient permissions", _RIGHTS),
    )

    def steps(self, job: Job) -> list[Step]:
        """``load`` erases sectors, writes, verifies and resets."""
        command = [self.program, "load", "--target", job.setting("target", self.name)]
        if job.probe:
            command += ["--uid", job.probe]
        return [Run((*command, str(job.elf)))]


class Bossac(Uploader):
    """Arduino's BOSSA for the Nano 33 BLE's boot loader. Debian's bossac knows no nRF52840, so Arduino's or
    PlatformIO's own copy is looked for first."""

    name, program, needs = "bossac", "bossac", "port"
    package = "Arduino's bossac: arduino-cli core install arduino:mbed_nano (Debian's bossa-cli knows no nRF52840)"
    advice = (
        (
            r"no device found|device unsupported|unsupported device|unknown device",
            "this bossac knows no nRF52840: arduino-cli core install arduino:mbed_nano brings one that does",
        ),
        (
            r"SAM-BA operation failed|no such file|could not open",
            "double-tap the reset button (the orange LED then fades in and out) and run again",
        ),
    )

    def find(self) -> str | None:
        """$KWS_BOSSAC, Arduino's, PlatformIO's, then PATH's."""
        if own := os.environ.get("KWS_BOSSAC"):
            return shutil.which(own)
        home = Path.home()
        copies = sorted(home.glob(".arduino15/packages/arduino/tools/bossac/*arduino*/bossac"), reverse=True)
        copies.append(home / ".platformio/packages/tool-bossac-nordicnrf52/bossac")
        return next((str(c) for c in copies if os.access(c, os.X_OK)), None) or shutil.which(self.program)

    def steps(self, job: Job) -> list[Step]:
        """Touch at 1200 baud, wait for the boot loader under its other name, erase, write and reset."""
        if not job.bootloader:
            raise KwsError("bossac needs a USB id with role bootloader in the board's file")
        program = self.find() or self.program
        return [
            job.to_bin(),
            Touch(job.port, job.bootloader),
            WaitForPort(job.bootloader, BOOTLOADER_S),
            Run((program, f"--port={FOUND_PORT}", "-U", "-i", "-e", "-w", str(job.bin), "-R")),
        ]


class DfuUtil(Uploader):
    """dfu-util with the boot loader in ST's ROM."""

    name, program, package, needs = "dfu-util", "dfu-util", "apt-get install dfu-util", "dfu"
    advice = (
        (r"no DFU capable USB device", "pull BOOT0 high, press reset, and plug the board's own USB connector in"),
        (r"LIBUSB_ERROR_ACCESS|cannot open DFU", _RIGHTS),
    )

    def steps(self, job: Job) -> list[Step]:
        """Alternate setting 0 is the internal flash (ST AN3156); ``leave`` starts the application."""
        usb = next(iter(sorted(job.bootloader, key=str)), UsbId(0x0483, 0xDF11))
        command = [self.program, "-d", str(usb), "-a", "0"]
        if job.probe:
            command += ["-S", job.probe]
        return [job.to_bin(), Run((*command, "-s", f"0x{job.address:08x}:leave", "-D", str(job.bin)))]


class PioUpload(Uploader):
    """PlatformIO's own upload of an environment, by the official platform of the board."""

    name, program, package, needs = "pio", "pio", pip_install("platformio"), "port"
    advice = (
        (
            r"HTTPClientError|UnknownPackage|internet connection",
            "PlatformIO's registry is needed once: go online and run again",
        ),
        (r"please specify `?upload_port|no device found", "name the port by --port, or double-tap the reset button"),
    )

    def find(self) -> str | None:
        """The PlatformIO of this Python."""
        import importlib.util

        return sys.executable if importlib.util.find_spec("platformio") else None

    def steps(self, job: Job) -> list[Step]:
        """It does its own touch and waits for the port itself."""
        command = [sys.executable, "-m", "platformio", "run", "-d", str(job.project), "-e", job.environment]
        command += ["-t", "upload"]
        if job.port:
            command += ["--upload-port", job.port]
        return [Run(tuple(command), 600.0)]


UPLOADERS: dict[str, Uploader] = {u.name: u for u in (OpenOcd(), StFlash(), PyOcd(), Bossac(), DfuUtil(), PioUpload())}
