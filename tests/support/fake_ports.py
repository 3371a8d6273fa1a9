"""A list of serial ports to order, in place of pyserial's, and fake uploaders that are put on PATH."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from host_tools.flash import usb as devices
from host_tools.flash.usb import UsbId


@dataclass
class PortInfo:
    """The fields of pyserial's ListPortInfo that we use."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None
    product: str | None = None


@dataclass
class FakePorts:
    """Ports that can be plugged and pulled. ``folder``: each file there, JSON of a PortInfo, is one more port, so that
    fake programs can change the list too."""

    folder: Path
    fixed: dict[str, PortInfo] = field(default_factory=dict)

    def plug(self, port: str, usb: UsbId | None, serial_number: str | None) -> None:
        """Adds a port."""
        vid, pid = (usb.vid, usb.pid) if usb else (None, None)
        self.fixed[port] = PortInfo(port, vid, pid, serial_number)

    def pull(self, port: str) -> None:
        """Removes a port."""
        del self.fixed[port]

    def comports(self) -> list[PortInfo]:
        """As serial.tools.list_ports.comports."""
        files = [PortInfo(**json.loads(p.read_text())) for p in sorted(self.folder.glob("*.json"))]
        return [*self.fixed.values(), *files]


_PROGRAM = """#!{python}
import json, os, sys, time
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
{body}
"""


@dataclass
class FakeTools:
    """Programs in a folder of PATH that record their arguments."""

    folder: Path

    @property
    def log(self) -> Path:
        """One JSON list a call: the program's name and its arguments."""
        return self.folder / "calls.log"

    def add(self, name: str, body: str = "") -> None:
        """Adds a program; ``body`` is Python that runs after its arguments were recorded."""
        path = self.folder / name
        path.write_text(_PROGRAM.format(python=sys.executable, log=str(self.log), name=name, body=body))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def calls(self) -> list[list[str]]:
        """What was run, in order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def fake_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    """No port of this machine is seen, only those that the test plugs in."""
    folder = tmp_path / "ports"
    folder.mkdir()
    fake = FakePorts(folder)
    monkeypatch.setattr(devices.list_ports, "comports", fake.comports)
    monkeypatch.setattr(devices, "SYSFS_USB", tmp_path / "no-sysfs")
    return fake


@pytest.fixture
def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """PATH is an empty folder that the test puts programs into."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KWS_BOSSAC", raising=False)
    return FakeTools(folder)
