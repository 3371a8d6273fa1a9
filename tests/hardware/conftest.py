"""The device under test: QEMU, Renode, the host port, or a board on --port. The same tests run on each."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from host_tools.boards import ROOT, load_board
from host_tools.check.device import Device, Reference, reopener
from host_tools.image.build import build
from host_tools.image.emulate import start
from host_tools.image.renode import RenodeEmulator
from host_tools.link.session import Link

MODEL = ROOT / "firmware" / "model"


@dataclass(frozen=True)
class Place:
    """Where the firmware runs."""

    kind: str  # of emulator, or "serial"
    board: str = ""

    def missing(self) -> str:
        """Why this place can't be used here, or nothing."""
        program = {"qemu": "qemu-system-arm", "renode": "renode"}.get(self.kind)
        if program and not shutil.which(program):
            return f"{program} is not in PATH"
        if self.kind in ("qemu", "renode") and not shutil.which("arm-none-eabi-gcc"):
            return "arm-none-eabi-gcc is not in PATH"
        return ""


PLACES = [
    pytest.param(Place("qemu", "disco_f407vg"), id="qemu", marks=pytest.mark.qemu),
    pytest.param(Place("renode", "disco_f407vg"), id="renode-disco_f407vg", marks=pytest.mark.renode),
    pytest.param(Place("renode", "nano33ble_uart"), id="renode-nano33ble_uart", marks=pytest.mark.renode),
    pytest.param(Place("process", "host"), id="host"),
    pytest.param(Place("serial"), id="serial", marks=pytest.mark.hardware),
]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Builds a board's firmware once for all workers; gives the ELF."""
    # Under xdist the parent of the base folder is common to all workers.
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def get(board: str) -> Path:
        folder = root / f"firmware-{board}"
        with (root / f"firmware-{board}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            elf = folder / "firmware.elf"
            if not (folder / "build.json").exists():
                elf = Path(build(board, MODEL, out=folder).elf)
            return elf

    return get


@pytest.fixture(params=PLACES)
def dut(request: pytest.FixtureRequest, built) -> Iterator[Device]:
    """A device with an open session, fresh from its start."""
    place: Place = request.param
    if reason := place.missing():
        pytest.skip(reason)
    reference = Reference(MODEL)
    if place.kind == "serial":
        port = request.config.getoption("--port")
        if not port:
            pytest.skip("no board: name its port by --port")
        baud = request.config.getoption("--baud")
        with Link.open(port, 15.0, **({"baud": baud} if baud else {})) as link:
            yield Device(link, reference, reopen=reopener(port, baud))
        return
    if place.kind != "process" and getattr(load_board(place.board).kws.emulators, place.kind) is None:
        pytest.skip(f"{place.board} has no emulator {place.kind}")
    with start(place.board, built(place.board), kind=place.kind) as emulator, Link.open(emulator.url, 60.0) as link:
        device = Device(link, reference)
        device.emulator = emulator if isinstance(emulator, RenodeEmulator) else None  # type: ignore[attr-defined]
        yield device
