"""Uploaders against fake programs that record their arguments, fail, hang, or drop the port."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host_tools.boards import load_board
from host_tools.flash import upload as flash
from host_tools.flash import usb as devices
from host_tools.flash.uploaders import UPLOADERS, Job, Run, Uploader
from host_tools.flash.usb import Device, Running, UsbId, UsbIds
from host_tools.image.build import BuildResult
from model_pipeline.errors import CheckFailed, DeviceError, KwsError, MissingTool
from tests.support.fake_device import FakeFirmware, listening
from tests.support.small_elf import image

if TYPE_CHECKING:
    from tests.support.fake_ports import FakePorts, FakeTools

pytest_plugins = ["tests.support.fake_ports"]

APP, BOOT, STLINK = UsbId(0x2341, 0x805A), UsbId(0x2341, 0x005A), UsbId(0x0483, 0x374B)
NANO = UsbIds("nano33ble", application=frozenset({APP}), bootloader=frozenset({BOOT}))
DISCO = UsbIds("disco_f407vg", probe=frozenset({STLINK}))


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """Something to write."""
    path = tmp_path / "a folder" / "firmware.elf"
    path.parent.mkdir()
    path.write_bytes(image("disco_f407vg nucleo_f446re nucleo_l4r5zi"))
    return path


def _job(elf: Path, **more) -> Job:
    settings = {"interface": "stlink", "target": "stm32f4x"}
    return Job(elf, 0x0800_0000, **{"settings": settings, "environment": "disco_f407vg", **more})


def _upload(names: str, job: Job) -> list[flash.Attempt]:
    uploaders = [UPLOADERS[name] for name in names.split()]
    return flash.upload(uploaders, [job] * len(uploaders))


NRF_BY_JLINK = {"interface": "jlink", "transport": "swd", "target": "nrf52"}
TO_BIN = "arm-none-eabi-objcopy -O binary ELF BIN"


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        (
            "openocd",
            {"probe": "066DFF"},
            "openocd -f interface/stlink.cfg -c 'adapter serial 066DFF' -f target/stm32f4x.cfg"
            " -c 'program {ELF} verify reset exit'",
        ),
        (
            "openocd",
            {},
            "openocd -f interface/stlink.cfg -f target/stm32f4x.cfg -c 'program {ELF} verify reset exit'",
        ),
        (
            "openocd",
            {"settings": NRF_BY_JLINK},
            "openocd -f interface/jlink.cfg -c 'transport select swd' -f target/nrf52.cfg"
            " -c 'program {ELF} verify reset exit'",
        ),
        ("st-flash", {"probe": "066DFF"}, TO_BIN + "\nst-flash --reset --serial 066DFF write BIN 0x08000000"),
        ("pyocd", {"probe": "0240"}, "pyocd load --target stm32f4x --uid 0240 ELF"),
        ("dfu-util", {}, TO_BIN + "\ndfu-util -d 0483:df11 -a 0 -s 0x08000000:leave -D BIN"),
    ],
)
def test_the_exact_commands(fake_tools: FakeTools, elf: Path, name: str, more: dict, expected: str) -> None:
    calls = [shlex.split(line) for line in expected.splitlines()]
    for program in {call[0] for call in calls}:
        fake_tools.add(program)
    attempts = _upload(name, _job(elf, **more))
    assert [a.reason for a in attempts] == [""]

    def real(part: str) -> str:
        return part.replace("ELF", str(elf)).replace("BIN", str(elf.with_suffix(".bin")))

    assert fake_tools.calls() == [[real(part) for part in call] for call in calls]


def test_dry_run_shows_what_would_be_run(fake_tools: FakeTools, elf: Path) -> None:
    fake_tools.add("openocd")
    (line,) = flash.plan(UPLOADERS["openocd"], _job(elf))
    _upload("openocd", _job(elf))
    assert [shlex.split(line)] == fake_tools.calls()


def test_the_next_method_is_tried_when_one_fails(fake_tools: FakeTools, elf: Path) -> None:
    fake_tools.add("openocd", "print('Info: hello'); print('Error: open failed'); sys.exit(1)")
    fake_tools.add("arm-none-eabi-objcopy")
    fake_tools.add("st-flash")
    attempts = _upload("pyocd openocd st-flash", _job(elf))
    assert [(a.method, a.reason) for a in attempts] == [
        ("pyocd", "not installed"),
        ("openocd", "Error: open failed (exit code 1)"),
        ("st-flash", ""),
    ]
    assert "plug in the probe" in attempts[1].hint


def test_when_all_fail_each_reason_is_told(fake_tools: FakeTools, elf: Path) -> None:
    fake_tools.add("openocd", "print('Error: init mode failed (unable to connect to the target)'); sys.exit(1)")
    with pytest.raises(DeviceError) as error:
        _upload("openocd pyocd", _job(elf))
    assert "openocd: Error: init mode failed" in str(error.value)
    assert "pyocd: not installed" in str(error.value)
    assert "SWD" in error.value.hint
    assert "\n" not in str(error.value)


def test_nothing_installed(fake_tools: FakeTools, elf: Path) -> None:
    with pytest.raises(MissingTool, match="openocd, st-flash") as error:
        _upload("openocd st-flash", _job(elf))
    assert error.value.hint == "apt-get install openocd"


def test_a_program_that_hangs_is_ended_with_its_children(fake_tools: FakeTools, elf: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    fake_tools.add("hanger", f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}])")
    started = time.monotonic()
    step = Run(("hanger",), timeout=2.0)
    with pytest.raises(flash.UploadFailed, match="hanger hung: no end within 2 s"):
        flash.call(UPLOADERS["openocd"], step)
    assert time.monotonic() - started < 30
    assert pid.exists()
    for _ in range(100):
        if not _alive(int(pid.read_text())):
            return
        time.sleep(0.05)
    raise AssertionError("its child is still there")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_can_t_be_run(elf: Path, tmp_path: Path) -> None:
    with pytest.raises(flash.UploadFailed, match="can't run nothing"):
        flash.call(UPLOADERS["openocd"], Run((str(tmp_path / "nothing"),)))


def test_openocd_refuses_what_would_break_its_command(elf: Path) -> None:
    with pytest.raises(KwsError, match="braces"):
        UPLOADERS["openocd"].steps(_job(elf.with_name("a}b.elf")))
    with pytest.raises(KwsError, match="not a serial number"):
        UPLOADERS["openocd"].steps(_job(elf, probe="x; shutdown"))


def test_a_setting_that_the_board_lacks_is_named(elf: Path) -> None:
    with pytest.raises(KwsError, match="openocd has no 'target'"):
        UPLOADERS["openocd"].steps(_job(elf, settings={"interface": "stlink"}))


@pytest.mark.parametrize("uploader", UPLOADERS.values(), ids=list(UPLOADERS))
def test_every_uploader_says_what_to_install(uploader: Uploader) -> None:
    assert "install" in uploader.package
    assert uploader.needs in ("probe", "port", "dfu")
    assert uploader.hint("something that nobody has seen before") == ""


@pytest.mark.parametrize(
    ("name", "output", "advice"),
    [  # what the real programs print without a board (Debian 12)
        (
            "openocd",
            "Error: unable to find a matching CMSIS-DAP device\n** OpenOCD init failed **",
            "plug in the probe",
        ),
        ("openocd", "Error: No J-Link device found", "plug in the probe"),
        ("openocd", "Error: open failed\n** OpenOCD init failed **", "plug in the probe"),
        ("st-flash", "2026-11-23T20:50:09 WARN usb.c: Couldn't find any ST-Link devices", "plug in the probe"),
        ("dfu-util", "dfu-util: No DFU capable USB device available", "BOOT0"),
        ("bossac", "No device found on ttyACM9", "knows no nRF52840"),
    ],
)
def test_known_failures_have_advice(name: str, output: str, advice: str) -> None:
    assert advice in UPLOADERS[name].hint(output)


# ---- the Nano 33 BLE: 1200 baud, and a port that comes back under another name


def _port_file(ports: FakePorts, port: str, usb: UsbId, serial_number: str) -> str:
    """Python that plugs a port in from another process."""
    text = json.dumps({"device": port, "vid": usb.vid, "pid": usb.pid, "serial_number": serial_number})
    return f"open({str(ports.folder / 'new.json')!r}, 'w').write({text!r})"


def _touchable(monkeypatch, ports: FakePorts, becomes: str | None) -> list[str]:
    """In place of opening a real port at 1200 baud. ``becomes``: the boot loader's port, or None: it does not come."""
    touched: list[str] = []

    def touch(port: str) -> None:
        touched.append(port)
        ports.pull(port)
        if becomes:
            ports.plug(becomes, BOOT, "ABC")

    monkeypatch.setattr(devices, "touch", touch)
    return touched


def _nano_tools(fake_tools: FakeTools, ports: FakePorts, after: str = "/dev/ttyACM2") -> None:
    fake_tools.add("arm-none-eabi-objcopy")
    fake_tools.add("bossac", _port_file(ports, after, APP, "ABC"))


def test_the_touch_then_the_port_s_other_name(fake_tools, fake_ports: FakePorts, elf: Path, monkeypatch) -> None:
    fake_ports.plug("/dev/ttyACM0", APP, "ABC")
    before = flash.serial_port(NANO, native_usb=True, port=None, probe=None)
    assert before is not None
    touched = _touchable(monkeypatch, fake_ports, "/dev/ttyACM1")
    _nano_tools(fake_tools, fake_ports)
    _upload("bossac", _job(elf, port=before.port, bootloader=NANO.bootloader))
    assert touched == ["/dev/ttyACM0"]
    assert fake_tools.calls()[1] == [
        *["bossac", "--port=/dev/ttyACM1", "-U", "-i", "-e", "-w", str(elf.with_suffix(".bin")), "-R"]
    ]
    fake_ports.pull("/dev/ttyACM1")
    after = flash.wait_for_return(NANO, before, native_usb=True, timeout=2)
    assert after is not None and after.port == "/dev/ttyACM2"


def test_a_board_in_its_boot_loader_is_not_touched(fake_tools, fake_ports: FakePorts, elf: Path, monkeypatch) -> None:
    fake_ports.plug("/dev/ttyACM4", BOOT, "ABC")
    touched = _touchable(monkeypatch, fake_ports, None)
    _nano_tools(fake_tools, fake_ports)
    _upload("bossac", _job(elf, port=None, bootloader=NANO.bootloader))
    assert touched == []
    assert fake_tools.calls()[1][1] == "--port=/dev/ttyACM4"


def test_a_boot_loader_that_does_not_come(fake_tools, fake_ports: FakePorts, elf: Path, monkeypatch) -> None:
    fake_ports.plug("/dev/ttyACM0", APP, "ABC")
    _touchable(monkeypatch, fake_ports, None)
    _nano_tools(fake_tools, fake_ports)
    monkeypatch.setattr("host_tools.flash.uploaders.BOOTLOADER_S", 0.2)
    with pytest.raises(DeviceError, match="the boot loader's port did not appear") as error:
        _upload("bossac", _job(elf, port="/dev/ttyACM0", bootloader=NANO.bootloader))
    assert "double-tap" in error.value.hint
    assert [c[0] for c in fake_tools.calls()] == ["arm-none-eabi-objcopy"]


def test_no_port_at_all(fake_tools, fake_ports: FakePorts, elf: Path) -> None:
    _nano_tools(fake_tools, fake_ports)
    with pytest.raises(DeviceError, match="no port of this board") as error:
        _upload("bossac", _job(elf, bootloader=NANO.bootloader))
    assert "double-tap" in error.value.hint


def test_a_port_that_does_not_come_back(fake_ports: FakePorts) -> None:
    gone = Device("/dev/ttyACM0", APP, "ABC", None)
    fake_ports.plug("/dev/ttyACM5", APP, "another board")
    with pytest.raises(DeviceError, match="the port of nano33ble did not appear") as error:
        flash.wait_for_return(NANO, gone, native_usb=True, timeout=0.2)
    assert "reset" in error.value.hint


def test_a_probe_s_port_stays(fake_ports: FakePorts) -> None:
    fake_ports.plug("/dev/ttyACM0", STLINK, "066D")
    device = flash.serial_port(DISCO, native_usb=False, port=None, probe=None)
    assert device is not None and device.port == "/dev/ttyACM0"
    assert flash.wait_for_return(DISCO, device, native_usb=False) == device


@pytest.mark.parametrize(("board", "port"), [("disco_f407vg", None), ("nucleo_f446re", "/dev/ttyACM0")])
def test_a_probe_s_port_is_asked_where_it_is_wired(board: str, port: str | None, fake_ports: FakePorts) -> None:
    fake_ports.plug("/dev/ttyACM0", STLINK, "066D")
    plan = flash.prepare(load_board(board), Path("firmware.elf"))
    assert (plan.device.port if plan.device else None) == port
    named = flash.prepare(load_board(board), Path("firmware.elf"), port="/dev/ttyUSB0")
    assert named.device is not None and named.device.port == "/dev/ttyUSB0"


def test_arduino_s_bossac_is_preferred(fake_tools: FakeTools, tmp_path: Path, monkeypatch) -> None:
    bossac = UPLOADERS["bossac"]
    assert bossac.find() is None
    fake_tools.add("bossac")
    assert bossac.find() == str(fake_tools.folder / "bossac")
    own = tmp_path / "home/.arduino15/packages/arduino/tools/bossac/1.9.1-arduino2/bossac"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert bossac.find() == str(own)
    monkeypatch.setenv("KWS_BOSSAC", str(fake_tools.folder / "bossac"))
    assert bossac.find() == str(fake_tools.folder / "bossac")


def test_what_runs_is_compared_with_what_was_flashed() -> None:
    running = Running("nano33ble", "0.1.0", "aot", "0123", "b1", 1000, (), "pin", None)
    flash.check_running(running, {"board": "nano33ble", "model_hash": "0123", "build": "b1"})
    flash.check_running(running, {})
    with pytest.raises(CheckFailed, match="says model '0123', but 'ffff' was flashed"):
        flash.check_running(running, {"board": "nano33ble", "model_hash": "ffff"})


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("Open On-Chip Debugger\nInfo : x\nError: open failed\nin procedure 'program'\n", "Error: open failed"),
        ("one\n\ntwo\n", "two"),
        ("", ""),
        ("x" * 1000, "x" * 200),
    ],
)
def test_the_telling_line(output: str, line: str) -> None:
    assert flash.telling_line(output) == line


def test_ctrl_c_ends_the_program(fake_tools: FakeTools, tmp_path: Path, monkeypatch) -> None:
    pid = tmp_path / "pid"
    fake_tools.add("slow", f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    real = subprocess.Popen.wait
    first = [True]

    def wait(self, timeout=None):
        if first[0]:
            first[0] = False
            while not (pid.exists() and pid.read_text()):
                time.sleep(0.02)
            raise KeyboardInterrupt
        return real(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        flash.call(UPLOADERS["openocd"], Run(("slow",)))
    monkeypatch.undo()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# ---- the verbs


def _kws(capsys, *arguments: str) -> tuple[int, str, str]:
    from host_tools.cli import main

    code = 0
    try:
        main(list(arguments))
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_flash_ends_with_what_the_board_says(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("openocd")
    with listening(FakeFirmware()) as url:
        code, out, _ = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf), "--port", url, "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["method"], result["port"]) == ("openocd", url)
    assert result["running"]["model_hash"] == "0123456789abcdef"
    assert result["running"]["free_ram"] == 60_000
    assert fake_tools.calls()[0][-1] == f"program {{{elf}}} verify reset exit"


def test_flash_for_people(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("st-flash")
    fake_tools.add("arm-none-eabi-objcopy")
    with listening(FakeFirmware()) as url:
        code, out, _ = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf), "--port", url)
    assert code == 0
    assert "openocd: not installed" in out
    for text in ("flashed by st-flash", "0.1.0 for disco_f407vg", "0123456789abcdef by aot", "60,000 bytes"):
        assert text in out


@pytest.mark.parametrize(
    ("board", "lines"),
    [
        ("disco_f407vg", ["openocd -f interface/stlink.cfg -f target/stm32f4x.cfg -c", "st-flash --reset write"]),
        (
            "nucleo_f446re",
            [
                "openocd -f interface/stlink.cfg -f target/stm32f4x.cfg -c",
                "st-flash --reset write",
                "pyocd load --target stm32f446retx",
                "dfu-util -d 0483:df11 -a 0 -s 0x08000000:leave -D",
            ],
        ),
        (
            "nucleo_l4r5zi",
            [
                "openocd -f interface/stlink.cfg -f target/stm32l4x.cfg -c",
                "pyocd load --target stm32l4r5zitx",
                "dfu-util -d 0483:df11 -a 0 -s 0x08000000:leave -D",
            ],
        ),
        (
            "nano33ble",
            ["open <the board’s port> at 1200 baud", "wait up to 10 s for a port of 2341:005a", "bossac", "-t upload"],
        ),
        (
            "nano33ble_uart",
            [
                "'--port=<that port>' -U -i -e -w",
                "openocd -f interface/cmsis-dap.cfg -f target/nrf52.cfg -c",
                "openocd -f interface/jlink.cfg -c 'transport select swd' -f target/nrf52.cfg -c",
                "pyocd load --target nrf52840",
            ],
        ),
    ],
)
def test_dry_run_of_every_board(fake_tools, fake_ports: FakePorts, board: str, lines: list[str], capsys) -> None:
    code, out, _ = _kws(capsys, "flash", "--board", board, "--dry-run")
    assert code == 0
    for line in lines:
        assert line in out
    assert fake_tools.calls() == []
    methods = [upload.method for upload in load_board(board).kws.upload]
    assert ("of which one is enough" in out) == (len(methods) > 1)
    for method in methods:
        installed = UPLOADERS[method].find() is not None
        assert (f"# {method} (not installed: {UPLOADERS[method].package})" in out) == (not installed)


def test_flash_of_two_boards_asks_which(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("openocd")
    fake_ports.plug("/dev/ttyACM0", STLINK, "A1")
    fake_ports.plug("/dev/ttyACM1", STLINK, "B2")
    code, _, err = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf))
    assert code == 2
    assert "2 of the probe of disco_f407vg are connected" in err
    assert "choose one by --probe" in err
    code, _, _ = _kws(
        capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf), "--probe", "B2", "--no-hello", "--json"
    )
    assert code == 0
    assert "adapter serial B2" in fake_tools.calls()[0]


def test_flash_without_a_port_says_so(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("openocd")
    code, out, _ = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf))
    assert code == 0
    assert "the port of its serial line is not known" in out


def test_mlperfs_application_is_not_asked_in_our_protocol(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    sizes = dict.fromkeys((n for n in BuildResult.model_fields if n.startswith(("flash_", "ram_"))), 0)
    texts = dict.fromkeys(("model", "model_name", "model_hash", "sha256"), "x")
    built = BuildResult(board="disco_f407vg", engine="aot", elf=str(elf), app="mlperf", **sizes, **texts)
    (elf.parent / "build.json").write_text(json.dumps(built.to_json()))
    fake_tools.add("openocd")
    fake_ports.plug("/dev/ttyACM0", STLINK, "A1")
    code, out, _ = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf))
    assert code == 0 and "kws mlperf --port PORT" in out


def test_flash_that_fails_is_one_line_and_exit_4(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("openocd", "print('Error: open failed'); sys.exit(1)")
    code, _, err = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf))
    assert code == 4
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "openocd: Error: open failed (exit code 1); st-flash: not installed" in line


def test_flash_of_the_wrong_board(fake_tools, fake_ports: FakePorts, elf: Path, capsys) -> None:
    fake_tools.add("openocd")
    code, _, err = _kws(capsys, "flash", "--board", "nonesuch", "--elf", str(elf))
    assert code == 2 and "no board 'nonesuch'" in err
    code, _, err = _kws(capsys, "flash", "--board", "host", "--elf", str(elf))
    assert code == 2 and "can't be flashed" in err
    code, _, err = _kws(capsys, "flash", "--board", "disco_f407vg", "--elf", str(elf.with_name("none.elf")))
    assert code == 2 and "no firmware at" in err


def test_devices_lists_and_asks(fake_ports: FakePorts, capsys) -> None:
    fake_ports.plug("/dev/ttyACM0", STLINK, "A1")
    fake_ports.plug("/dev/ttyUSB0", UsbId(0x1A86, 0x7523), None)
    code, out, _ = _kws(capsys, "devices", "--json", "--no-hello")
    assert code == 0
    probe, adapter = json.loads(out)["devices"]
    assert probe["roles"]["disco_f407vg"] == "probe"
    assert adapter["roles"] == {}
    # A port that can't be opened is told, and a strange one is left alone.
    code, out, _ = _kws(capsys, "devices", "--json")
    probe, adapter = json.loads(out)["devices"]
    assert code == 0 and "ttyACM0" in probe["note"]
    assert adapter["note"] == ""


def test_devices_asks_no_probe_that_is_not_wired(fake_ports: FakePorts, capsys, monkeypatch) -> None:
    asked: list[tuple[str, int]] = []

    def hello(port: str, timeout: float, *, baud: int) -> devices.Running:
        asked.append((port, baud))
        raise DeviceError("no answer")

    monkeypatch.setattr(devices, "hello", hello)
    fake_ports.plug("/dev/ttyACM0", UsbId(0x0D28, 0x0204), "N1")  # DAPLink: of nano33ble_uart alone
    fake_ports.plug("/dev/ttyACM1", STLINK, "A1")  # of a Discovery, or of a Nucleo, which is wired
    code, out, _ = _kws(capsys, "devices", "--json")
    bare, link = json.loads(out)["devices"]
    assert code == 0 and asked == [("/dev/ttyACM1", 500000)]
    assert bare["note"] == "not asked; nano33ble_uart: heard at the port of its 3.3 V adapter"
    assert link["note"] == "no answer; disco_f407vg: heard at the port of its 3.3 V adapter"
    asked.clear()
    for wanted in (("--all",), ("--port", "/dev/ttyACM0")):  # who asks for it has it asked
        assert _kws(capsys, "devices", *wanted, "--json")[0] == 0
        assert ("/dev/ttyACM0", 460800) in asked
        asked.clear()


def test_devices_tells_what_a_port_runs(fake_ports: FakePorts, capsys) -> None:
    with listening(FakeFirmware()) as url:
        code, out, _ = _kws(capsys, "devices", "--port", url, "--json")
    assert code == 0
    (row,) = json.loads(out)["devices"]
    assert row["running"]["board"] == "disco_f407vg"
