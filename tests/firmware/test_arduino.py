"""The Arduino port against a stub of Arduino's API: compiled as PlatformIO would, and spoken to over the link.

With $KWS_ARDUINO_CORE, a checkout of ArduinoCore-mbed that has ArduinoCore-API's ``api`` in cores/arduino, the port is
also compiled against the real headers, by the real variant's flags.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from host_tools.boards import ROOT, load_board
from host_tools.check import selftest
from host_tools.check.device import Device, Reference, Skipped
from host_tools.cli import main
from host_tools.image import arduino
from host_tools.image.build import DEFAULT_MODEL, build
from host_tools.link import stream
from host_tools.link.codes import Command
from host_tools.link.events import Detection, StreamDone
from host_tools.link.session import Link
from model_pipeline.errors import DeviceError, MissingTool

STUB = Path(__file__).parent / "arduino_stub"
RATE = 16000
pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not in PATH")


SETTINGS = arduino.settings()


def _settings():
    manifest = json.loads((ROOT / "boards/nano33ble.json").read_text())
    return SETTINGS.read(manifest["kws"], "nano33ble", {}, ROOT / "firmware", lambda name, default: default)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware as a process, from exactly the sources, defines and folders that environment nano33ble gets."""
    what = _settings()
    folder = tmp_path_factory.mktemp("arduino")
    sources = SETTINGS.sources(what, ROOT / "firmware")
    assert any(p.name == "port_arduino.cpp" for p in sources)
    assert not any(p.name == "main.c" for p in sources)
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{STUB}"]
    (folder / "kws_build.h").write_text(what.build_header)
    flags += [f"-I{p}" for p in (folder, *what.includes)]
    flags += SETTINGS.define_flags(what)
    jobs = []
    objects = []
    for source in [*sources, STUB / "arduino_stub.cpp"]:
        target = folder / f"{len(objects)}-{source.name}.o"
        objects.append(target)
        # As the core is built.
        language = ["g++", "-std=gnu++14", "-fno-exceptions"] if source.suffix == ".cpp" else ["gcc", "-std=gnu11"]
        jobs.append([*language, *flags, "-c", str(source), "-o", str(target)])
    for at in range(0, len(jobs), 2):
        running = [subprocess.Popen(job, stderr=subprocess.PIPE, text=True) for job in jobs[at : at + 2]]
        for process in running:
            _, errors = process.communicate()
            assert process.returncode == 0, errors
    result = folder / "firmware"
    subprocess.run(["g++", *map(str, objects), "-lm", "-o", str(result)], check=True)
    return result


@contextmanager
def _running(program: Path, **environ: str) -> Iterator[Link]:
    process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True, env={**os.environ, **environ})
    try:
        assert process.stdout is not None
        found = re.match(r"READY (\S+)", process.stdout.readline())
        assert found
        with Link.open(found[1], 10.0) as link:
            yield link
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def device(program: Path) -> Iterator[Device]:
    """A session with it."""
    with _running(program) as link:
        yield Device(link, Reference(DEFAULT_MODEL))


def test_it_is_the_same_application(device: Device) -> None:
    assert selftest.hello(device).startswith("nano33ble, firmware")
    info = device.info()
    assert (info.timer_source, info.timer_hz) == ("micros()", 1_000_000)


def test_the_link_loses_nothing(device: Device) -> None:
    device.frames = 300
    selftest.soak(device)
    device.windows = 3
    selftest.exact_inference(device)
    selftest.overload(device)


def test_a_board_without_microphone_says_so(device: Device) -> None:
    with pytest.raises(DeviceError, match="no microphone"):
        next(stream.listen(device.link))


def test_the_microphone_s_gain_is_the_bare_metal_port_s(program: Path, tmp_path: Path) -> None:
    """In half decibels above 0x28, as PDM's register counts; the drivers of the other port are tested for the same."""
    gains = {
        board: load_board(board).kws.microphone.gain_db  # type: ignore[union-attr]
        for board in ("nano33ble", "nano33ble_uart")
    }
    assert gains["nano33ble"] == gains["nano33ble_uart"] == 12
    log = tmp_path / "log"
    sound = _sound(tmp_path / "sound.raw", np.zeros(RATE, np.int16))
    with _running(program, STUB_PDM=sound, STUB_LOG=str(log)) as link:
        _listen(link, 0.2)
    assert log.read_text().splitlines() == [f"gain {0x28 + 2 * 12}"]


def test_a_host_that_hangs_does_not_stop_the_main_loop(program: Path, tmp_path: Path) -> None:
    """It has the port open and reads nothing for two seconds: the microphone, which keeps a quarter, loses no sample,
    and what could not be sent is counted. Arduino's Serial.write() would wait all that time."""
    hang = tmp_path / "hang"
    sound = _sound(tmp_path / "sound.raw", np.zeros(8 * RATE, np.int16))
    with _running(program, STUB_PDM=sound, STUB_HANG=str(hang)) as link:
        before = link.stats()
        flags = stream.SEND_RESULTS | stream.FROM_MICROPHONE
        link.send(Command.STREAM_START, struct.pack("<BBH", stream.CONTINUOUS, flags, 1))
        _wait_for_result(link)
        hang.touch()
        time.sleep(2.0)
        hang.unlink()
        _wait_for_result(link)
        link.send(Command.STREAM_STOP, struct.pack("<I", 0))
        done = _until_done(link)[-1]
        after = link.stats()
    assert done.dropped == 0
    assert done.total > 1.8 * RATE
    assert after.tx_dropped > before.tx_dropped


def _wait_for_result(link: Link) -> None:
    for _ in range(2):  # the first may have been on its way
        while not isinstance(event := link.next_event(10.0), stream.Result):
            assert event is not None


@pytest.mark.skipif("KWS_ARDUINO_CORE" not in os.environ, reason="KWS_ARDUINO_CORE names no ArduinoCore-mbed")
def test_it_compiles_against_the_real_core(tmp_path: Path) -> None:
    core = Path(os.environ["KWS_ARDUINO_CORE"])
    variant, main = core / "variants/ARDUINO_NANO33BLE", core / "cores/arduino"
    what = _settings()
    (tmp_path / "kws_build.h").write_text(what.build_header)
    command = [
        "arm-none-eabi-g++",
        f"@{variant / 'defines.txt'}",
        f"@{variant / 'cxxflags.txt'}",
        "-O2",
        "-Wall",
        "-Wextra",
    ]
    command += ["-DARDUINO=10810", "-DARDUINO_ARCH_MBED", "-DARDUINO_ARDUINO_NANO33BLE", "-DARDUINO_ARCH_NRF52840"]
    command += [f"-I{p}" for p in (main, main / "api/deprecated", variant, core / "libraries/PDM/src")]
    command += ["-iprefix", f"{main}/", f"@{variant / 'includes.txt'}"]
    command += [*SETTINGS.define_flags(what), *(f"-I{p}" for p in (tmp_path, *what.includes))]
    source = ROOT / "firmware/ports/arduino/port_arduino.cpp"
    done = subprocess.run([*command, str(source), "-o", str(tmp_path / "port.o")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if re.match(r"\S*port_arduino\.cpp:\d+.*warning", line)]
    assert not ours


def test_faults_are_not_offered(device: Device) -> None:
    with pytest.raises(Skipped):
        selftest.undefined_instruction(device)


def _sound(path: Path, samples: np.ndarray) -> str:
    path.write_bytes(np.asarray(samples, "<i2").tobytes())
    return str(path)


def _until_done(link: Link) -> list:
    """Events up to STREAM_DONE, which is the last."""
    events = []
    while not events or not isinstance(events[-1], StreamDone):
        event = link.next_event(10.0)
        assert event is not None, "no STREAM_DONE"
        events.append(event)
    return events


def _listen(link: Link, seconds: float, stride: int = 5) -> tuple[list, StreamDone]:
    flags = stream.SEND_RESULTS | stream.FROM_MICROPHONE
    link.send(Command.STREAM_START, struct.pack("<BBH", stream.CONTINUOUS, flags, stride))
    events = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (event := link.next_event(0.1)) is not None:
            events.append(event)
    link.send(Command.STREAM_STOP, struct.pack("<I", 0))
    events += _until_done(link)
    return events[:-1], events[-1]


def test_the_microphone_s_first_100_ms_are_settling(program: Path, tmp_path: Path) -> None:
    """What follows them goes through front end and model as if it had been streamed."""
    rng = np.random.default_rng(3)
    sound = (rng.standard_normal(2 * RATE) * 2000).astype(np.int16)
    reference = Reference(DEFAULT_MODEL)
    with _running(program, STUB_PDM=_sound(tmp_path / "sound.raw", sound)) as link:
        events, done = _listen(link, 1.6)
    expected, _ = reference.listen(sound[1600:], 5)
    given = [list(e.output) for e in events if isinstance(e, stream.Result)]
    assert done.dropped == 0
    assert len(given) >= 3
    same = min(len(given), len(expected))
    assert given[:same] == expected[:same].tolist()


def test_a_loop_too_slow_for_the_microphone_counts_what_is_lost(program: Path, tmp_path: Path) -> None:
    sound = np.zeros(RATE, np.int16)
    # Half a second a loop; the ring holds a quarter.
    with _running(program, STUB_PDM=_sound(tmp_path / "sound.raw", sound), STUB_SLOW="500") as link:
        _, done = _listen(link, 2.0)
    assert done.dropped > 0
    # What came and what was lost is the time that passed, less the settling.
    assert done.dropped % 160 == 0


def test_a_keyword_spoken_to_the_microphone(program: Path, tmp_path: Path, shared_data: Path) -> None:
    reference = Reference(DEFAULT_MODEL)
    speech, _ = selftest.speech_and_noise(shared_data / "speech_commands", reference, 1)
    heard = [label for _, label, _ in reference.listen(speech, reference.manifest.detector.stride_hops)[1]]
    sound = np.concatenate([np.zeros(1600, np.int16), speech])
    with _running(program, STUB_PDM=_sound(tmp_path / "sound.raw", sound)) as link:
        events, done = _listen(link, len(sound) / RATE + 0.3, 0)
    assert done.dropped == 0
    assert [e.label for e in events if isinstance(e, Detection)] == heard


def test_without_the_official_platform_the_build_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    with pytest.raises(MissingTool, match=r"nordicnrf52.*is not installed") as error:
        build("nano33ble", out=tmp_path / "out")
    assert "pio pkg install -g -p" in error.value.hint


def _environ(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(home),
        "PLATFORMIO_WORKSPACE_DIR": str(home / "work"),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
    }


def test_pio_run_alone_says_in_one_line_what_it_needs(tmp_path: Path) -> None:
    """PlatformIO itself would ask its registry for a minute, and then say nothing."""
    command = [sys.executable, "-m", "platformio", "run", "-d", str(ROOT), "-e", "nano33ble"]
    done = subprocess.run(command, env=_environ(tmp_path), capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "nordicnrf52@^10" in line]
    assert done.returncode != 0
    assert len(lines) == 1 and "not installed" in lines[0] and 'pio pkg install -g -p "nordicnrf52@^10"' in lines[0]


def test_a_platform_without_its_packages_and_a_network_says_so(tmp_path: Path) -> None:
    theirs = tmp_path / "platforms/nordicnrf52"
    theirs.mkdir(parents=True)
    (theirs / "platform.json").write_text(
        json.dumps(
            {
                "name": "nordicnrf52",
                "version": "10.11.0",
                "frameworks": {"arduino": {"package": "framework-arduino-mbed"}},
                "packages": {"framework-arduino-mbed": {"owner": "platformio", "optional": True, "version": "*"}},
            }
        )
    )
    script = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("wrapper", {str(ROOT / "firmware/platform/nordicnrf52/platform.py")!r})
wrapper = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wrapper)
wrapper.registries = ["registry.invalid"]
platform = wrapper.Kws_nordicnrf52Platform("platform.json")
assert platform.name == "nordicnrf52", platform.name
try:
    platform.configure_default_packages({{"framework": ["arduino"]}}, [])
except wrapper.UserSideException as error:
    print(error)
"""
    environ = {k: v for k, v in _environ(tmp_path).items() if not k.lower().endswith("_proxy")}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert "lacks its packages framework-arduino-mbed, and PlatformIO's registry is not reached" in done.stdout, (
        done.stderr
    )


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not in PATH")
def test_without_the_core_the_build_tells_what_our_part_takes(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["build", "--board", "nano33ble", "--no-realtime", "--json"])
    assert ended.value.code in (0, None)
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert "no image was made" in captured.err and "pio pkg install -g -p" in captured.err
    assert values["elf"] == values["sha256"] == "" and "Arduino's core" in values["missing"]
    # The same sources on bare metal, without that port's own.
    whole = build("nano33ble_uart", out=tmp_path / "bare")
    assert values["model_constants"] == whole.model_constants and values["ram_arena"] == whole.ram_arena
    assert 0.8 * whole.flash_total < values["flash_total"] < whole.flash_total
    assert 0.5 * (whole.ram_bss + whole.ram_arena) < values["ram_total"] < whole.ram_total


def test_the_board_file_is_also_the_official_platform_s() -> None:
    """PlatformIO reads our file in the place of its own of the same name."""
    values = json.loads((ROOT / "boards/nano33ble.json").read_text())
    assert values["frameworks"] == ["arduino"]
    assert {"core", "cpu", "extra_flags", "f_cpu", "ldscript", "mcu", "variant"} <= set(values["build"])
    assert values["upload"]["use_1200bps_touch"] is True
    memory = load_board("nano33ble").kws.memory
    assert memory is not None
    assert values["upload"]["maximum_size"] == memory.flash_bytes
