"""What is plugged in, seen through a made-up list of ports and a made-up sysfs."""

from __future__ import annotations

import os
import pty
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.check import device as checked
from host_tools.flash import usb as devices
from host_tools.flash.usb import Device, UsbId, UsbIds
from host_tools.link.session import Link
from model_pipeline.errors import DeviceError, KwsError
from tests.support.fake_device import FakeFirmware, Faults, listening

if TYPE_CHECKING:
    from tests.support.fake_ports import FakePorts

pytest_plugins = ["tests.support.fake_ports"]

NANO = UsbId(0x2341, 0x805A)
NANO_BOOT = UsbId(0x2341, 0x005A)
STLINK = UsbId(0x0483, 0x374B)


@given(st.integers(1, 0xFFFF), st.integers(0, 0xFFFF))
def test_usb_ids_are_read_as_they_are_written(vid: int, pid: int) -> None:
    assert UsbId.parse(str(UsbId(vid, pid))) == UsbId(vid, pid)


@pytest.mark.parametrize("text", ["", "2341", "2341:", ":805a", "2341:x", "12341:805a", "0:1", "2341:805a:1"])
def test_what_is_no_usb_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        UsbId.parse(text)


def test_roles_of_one_board() -> None:
    ids = UsbIds("nano33ble", application=frozenset({NANO}), bootloader=frozenset({NANO_BOOT}))
    assert ids.role(NANO) == "application"
    assert ids.role(NANO_BOOT) == "bootloader"
    assert ids.role(STLINK) is None
    assert ids.role(None) is None


def test_ports_are_listed_with_usb_id_and_serial_number(fake_ports: FakePorts) -> None:
    fake_ports.plug("/dev/ttyACM1", NANO, "ABC")
    fake_ports.plug("/dev/ttyS0", None, None)
    assert [(d.port, d.usb, d.serial_number) for d in devices.ports()] == [
        ("/dev/ttyACM1", NANO, "ABC"),
        ("/dev/ttyS0", None, None),
    ]


def _sysfs(root: Path, name: str, **attributes: str) -> None:
    folder = root / name
    folder.mkdir()
    for key, value in attributes.items():
        (folder / key).write_text(value + "\n")


def test_a_probe_without_a_serial_port_is_found_in_sysfs(fake_ports: FakePorts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(devices, "SYSFS_USB", tmp_path)
    _sysfs(tmp_path, "1-1", idVendor="0483", idProduct="3748", serial="V2", product="STM32 STLink")
    _sysfs(tmp_path, "1-1:1.0", bInterfaceClass="ff")  # an interface, no device
    _sysfs(tmp_path, "1-2", idVendor="2341", idProduct="805a", serial="ABC")
    _sysfs(tmp_path, "1-3", idVendor="046d", idProduct="c077")  # a mouse
    fake_ports.plug("/dev/ttyACM0", NANO, "ABC")
    probe = UsbId(0x0483, 0x3748)
    known = [UsbIds("disco", probe=frozenset({probe})), UsbIds("nano", application=frozenset({NANO}))]
    found = devices.connected(known)
    assert [(d.port, d.usb) for d in found] == [("/dev/ttyACM0", NANO), (None, probe)]
    assert found[1].serial_number == "V2"


def test_of_several_boards_one_has_to_be_chosen() -> None:
    two = [Device("/dev/ttyACM0", NANO, "A1", None), Device("/dev/ttyACM1", NANO, "B2", None)]
    with pytest.raises(KwsError, match=r"2 of board x .*ttyACM0.*serial A1.*ttyACM1") as error:
        devices.pick(two, "board x", None, "--port")
    assert "--port" in error.value.hint
    assert devices.pick(two, "board x", "b2", "--port") == two[1]
    assert devices.pick(two, "board x", "C3", "--port") is None
    assert devices.pick([], "board x", None, "--port") is None


def test_waiting_ends_when_the_port_comes(fake_ports: FakePorts) -> None:
    timer = threading.Timer(0.3, fake_ports.plug, ("/dev/ttyACM7", NANO_BOOT, "ABC"))
    timer.start()
    found = devices.wait_for("the port", lambda: next(iter(devices.ports()), None), 5.0, poll=0.02)
    timer.join()
    assert found.port == "/dev/ttyACM7"


def test_waiting_has_an_end() -> None:
    started = time.monotonic()
    with pytest.raises(DeviceError, match="the port did not appear within"):
        devices.wait_for("the port", lambda: None, 0.2, poll=0.02)
    assert time.monotonic() - started < 5


def test_the_touch_opens_at_1200_baud() -> None:
    ours, theirs = pty.openpty()
    try:
        devices.touch(os.ttyname(theirs))
        import termios

        assert termios.tcgetattr(theirs)[4] == termios.B1200
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_touch_of_no_port_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="can't open /dev/ttyNONE9 at 1200 baud: No such file") as error:
        devices.touch("/dev/ttyNONE9")
    assert "double-tap" in error.value.hint


def test_a_port_that_goes_with_the_firmware_is_opened_again(fake_ports: FakePorts, monkeypatch) -> None:
    fake_ports.plug("/dev/ttyACM0", NANO, "ABC")
    fake_ports.plug("/dev/ttyACM1", STLINK, "XYZ")
    assert checked.reopener("/dev/ttyACM1") is None  # a probe's port stays
    assert checked.reopener("socket://127.0.0.1:1") is None
    reopen = checked.reopener("/dev/ttyACM0")
    assert reopen is not None
    fake_ports.pull("/dev/ttyACM0")
    with listening(FakeFirmware(Faults(vanish_after=1))) as gone, listening(FakeFirmware()) as url:
        fake_ports.plug("/dev/ttyACM5", NANO, "another board")
        fake_ports.plug(url, NANO, "ABC")
        device = checked.Device(Link.open(gone, 5.0), reopen=reopen)
        try:
            assert device.restart(5.0).protocol == 1
            assert device.link.name == url
        finally:
            device.link.close()


def test_hello_tells_what_runs() -> None:
    with listening(FakeFirmware()) as url:
        running = devices.hello(url)
    assert (running.board, running.model_hash, running.free_ram) == ("disco_f407vg", "0123456789abcdef", 60_000)
    assert running.reset_reason == "power"
    assert running.fault is None
