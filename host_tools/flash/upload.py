"""Writes firmware into a board by the first of its methods that works, and asks the board what it runs then."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from host_tools.boards import ROOT, Board
from host_tools.flash import usb as devices
from host_tools.flash.uploaders import FOUND_PORT, UPLOADERS, Job, Run, Touch, Uploader, WaitForPort
from host_tools.flash.usb import Device, Running, UsbIds, is_mute
from model_pipeline.errors import CheckFailed, DeviceError, KwsError, MissingTool
from model_pipeline.progress import ProgressCallback

RETURN_S = 15.0  # in which a board's port must be back after an upload


@dataclass(frozen=True)
class Attempt:
    """One method that was tried. ``reason``: why it failed; empty if it did not."""

    method: str
    seconds: float
    reason: str = ""
    hint: str = ""


class UploadFailed(DeviceError):
    """One uploader's failure."""


def plan(uploader: Uploader, job: Job) -> list[str]:
    """The steps as lines that one could type or follow."""
    return [step.shown().replace(FOUND_PORT, "<that port>") for step in uploader.steps(job)]


def upload(
    uploaders: Sequence[Uploader], jobs: Sequence[Job], progress: ProgressCallback | None = None
) -> list[Attempt]:
    """Tries ``uploaders`` (each with the job of the same place) until one succeeds; its attempt is the last.

    Raises:
        MissingTool: none of their programs is installed.
        DeviceError: all that are installed failed; the message says why of each.
    """
    attempts: list[Attempt] = []
    missing: list[Uploader] = []
    for number, (uploader, job) in enumerate(zip(uploaders, jobs, strict=True)):
        if progress:
            progress(number, len(uploaders), uploader.name)
        if uploader.find() is None:
            missing.append(uploader)
            attempts.append(Attempt(uploader.name, 0.0, "not installed", uploader.package))
            continue
        started = time.monotonic()
        try:
            _carry_out(uploader, job)
        except UploadFailed as error:
            attempts.append(Attempt(uploader.name, time.monotonic() - started, str(error), error.hint))
            continue
        attempts.append(Attempt(uploader.name, time.monotonic() - started))
        return attempts
    if len(missing) == len(uploaders):
        names = ", ".join(u.name for u in missing)
        raise MissingTool(f"none of these programs is installed: {names}", hint=missing[0].package)
    tried = [a for a in attempts if a.reason != "not installed"]
    hint = next((a.hint for a in tried if a.hint), "")
    if not hint and missing:
        hint = f"another way: {missing[0].package}"
    raise DeviceError("; ".join(f"{a.method}: {a.reason}" for a in attempts), hint=hint)


def _carry_out(uploader: Uploader, job: Job) -> None:
    port: str | None = None
    known = {d.port for d in devices.ports()}
    for step in uploader.steps(job):
        match step:
            case Run():
                command = tuple(part.replace(FOUND_PORT, port or "") for part in step.command)
                call(uploader, replace(step, command=command))
            case Touch():
                if _bootloader(step.bootloader, set()) is not None:
                    continue  # someone double-tapped the reset button already
                if step.port is None:
                    raise UploadFailed(
                        "no port of this board was found",
                        hint="plug it in; if it is, double-tap the reset button and run again",
                    )
                known = {d.port for d in devices.ports()}
                try:
                    devices.touch(step.port)
                except DeviceError as error:
                    raise UploadFailed(str(error), hint=error.hint) from error
            case WaitForPort():
                port = _wait_for_bootloader(step, known)


def _bootloader(ids: frozenset[devices.UsbId], old: set[str | None]) -> Device | None:
    found = [d for d in devices.ports() if d.usb in ids]
    # A board may keep its port's name, so a new name is preferred, not required.
    return next((d for d in found if d.port not in old), found[0] if found else None)


def _wait_for_bootloader(step: WaitForPort, known: set[str | None]) -> str:
    try:
        device = devices.wait_for(
            "the boot loader's port",
            lambda: _bootloader(step.bootloader, known),
            step.timeout,
            hint="double-tap the reset button (the orange LED then fades in and out) and run again",
        )
    except DeviceError as error:
        raise UploadFailed(str(error), hint=error.hint) from error
    time.sleep(0.2)  # udev sets the port's rights a moment after it appears
    return device.port or ""


def call(uploader: Uploader, step: Run) -> str:
    """Runs one program to its end and returns what it printed.

    Raises:
        UploadFailed: it failed or took longer than its time; it and its children are gone then.
    """
    program = os.path.basename(step.command[0])
    # A file, not a pipe: a grandchild that outlives the program can't keep us waiting for its end.
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                step.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise UploadFailed(f"can't run {program}: {error.strerror}") from error
        try:
            code: int | None = process.wait(step.timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
    if code is None:
        raise UploadFailed(
            f"{program} hung: no end within {step.timeout:.0f} s",
            hint="unplug the board or the probe, plug it in again",
        )
    if code:
        raise UploadFailed(f"{telling_line(output) or 'failed'} (exit code {code})", hint=uploader.hint(output))
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a program's process group, Ctrl-C included."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
            return


def telling_line(output: str) -> str:
    """The line of a program's output that says what went wrong: the first with an error word, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    words = ("error", "fail", "no device", "not find", "couldn't", "unable", "no dfu", "cannot", "can't")
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    return (telling or lines[-1:] or [""])[0][:200]


def serial_port(ids: UsbIds, *, native_usb: bool, port: str | None, probe: str | None) -> Device | None:
    """The board's serial port as it is now: the one named by ``port``, else by USB ids (a port of the application
    for native USB, else that of the probe), else None.

    Raises:
        KwsError: several boards fit, or ``port`` is not there.
    """
    found = devices.ports()
    if port is not None:
        if device := next((d for d in found if d.port == port), None):
            return device
        return Device(port, None, None, None)  # socket://, a pty, or a name that list_ports does not know
    wanted = ids.application if native_usb else ids.probe
    option = "--port" if native_usb else "--probe or --port"
    return devices.pick((d for d in found if d.usb in wanted), f"board {ids.board}", probe, option)


def wait_for_return(
    ids: UsbIds, before: Device | None, *, native_usb: bool, timeout: float = RETURN_S
) -> Device | None:
    """The board's port after an upload: for native USB it comes back, perhaps under another name.

    Raises:
        DeviceError: it did not come back in time.
    """
    if not native_usb:
        return before
    serial_number = before.serial_number if before else None

    def find() -> Device | None:
        found = [d for d in devices.ports() if d.usb in ids.application]
        same = [d for d in found if devices.same_serial(d.serial_number, serial_number)]
        return next(iter(same or (found if serial_number is None else [])), None)

    return devices.wait_for(
        f"the port of {ids.board}",
        find,
        timeout,
        hint="press reset once; if it still has no port, the firmware hangs: double-tap reset and flash again",
    )


def check_running(running: Running, expected: Mapping[str, str]) -> None:
    """Compares what the board says with what was flashed.

    Raises:
        CheckFailed: it runs something else.
    """
    for name, text in (("board", "board"), ("model_hash", "model"), ("build", "build")):
        wanted = expected.get(name)
        said = getattr(running, name)
        if wanted and said != wanted:
            raise CheckFailed(
                f"the board says {text} {said!r}, but {wanted!r} was flashed",
                hint="press reset; if it stays so, the upload went to another board",
            )


@dataclass(frozen=True)
class Flashing:
    """All that is known before anything is written."""

    board: Board
    elf: Path
    uploaders: tuple[Uploader, ...]
    jobs: tuple[Job, ...]
    device: Device | None  # the serial port before the upload

    @property
    def native_usb(self) -> bool:
        """The microcontroller itself is on USB, so its port goes and comes with the firmware."""
        return bool(devices.usb_ids(self.board).application)

    @property
    def baud(self) -> int | None:
        """Of the board's serial line."""
        return self.board.kws.serial.baud if self.board.kws.serial else None


def prepare(
    board: Board, elf: Path, *, port: str | None = None, probe: str | None = None, method: str | None = None
) -> Flashing:
    """Looks at what is connected and plans the board's methods, or the one that is asked for.

    Raises:
        KwsError: the board can't be flashed, has no such method, or several boards are connected.
    """
    ids = devices.usb_ids(board)
    offered = [upload.method for upload in board.kws.upload]
    if not offered:
        raise KwsError(f"board {board.id} can't be flashed", hint="kws emulate runs it without a board")
    if method is not None and method not in offered:
        raise KwsError(f"board {board.id} has no upload method {method!r}", hint=f"its methods: {', '.join(offered)}")
    chosen = [upload for upload in board.kws.upload if method in (None, upload.method)]
    uploaders = tuple(UPLOADERS[upload.method] for upload in chosen)
    if probe is None and any(u.needs == "probe" for u in uploaders):
        probes = (d for d in devices.connected([ids]) if ids.role(d.usb) == "probe")
        devices.pick(probes, f"the probe of {board.id}", None, "--probe")  # refuses to guess
    native_usb = bool(ids.application)
    known = port is not None or native_usb or not is_mute(board, "probe")
    device = serial_port(ids, native_usb=native_usb, port=port, probe=probe) if known else None
    jobs = tuple(
        Job(
            elf=elf,
            address=board.kws.memory.flash_origin if board.kws.memory else 0,
            settings={k: v for k, v in upload.model_dump().items() if isinstance(v, str) and v},
            port=device.port if device else None,
            probe=probe,
            bootloader=ids.bootloader,
            environment=board.id,
            project=ROOT,
        )
        for upload in chosen
    )
    return Flashing(board, elf, uploaders, jobs, device)


def come_back(flashing: Flashing, timeout: float = RETURN_S) -> Device | None:
    """The board's port after the upload, or None if it has none that we know."""
    return wait_for_return(
        devices.usb_ids(flashing.board), flashing.device, native_usb=flashing.native_usb, timeout=timeout
    )


def greet(flashing: Flashing, device: Device, expected: Mapping[str, str], timeout: float = RETURN_S) -> Running:
    """Says hello and compares what runs with what was flashed. Native USB gets a second try: a port that has just
    come may be opened by a modem manager first.

    Raises:
        DeviceError: no answer.
        CheckFailed: it runs something else.
    """
    port = device.port or ""
    try:
        running = devices.hello(port, timeout, baud=flashing.baud)
    except DeviceError:
        again = come_back(flashing, 5.0) if flashing.native_usb else None
        if again is None or again.port is None:
            raise
        running = devices.hello(again.port, timeout, baud=flashing.baud)
    check_running(running, expected)
    return running
