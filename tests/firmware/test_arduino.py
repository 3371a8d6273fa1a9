"""The Arduino port against a stub of Arduino's API: compiled as PlatformIO would, and spoken to over the link."""

from __future__ import annotations

import json
import os
import re
import shutil
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
from host_tools.image.build import DEFAULT_MODEL, build
from host_tools.link import stream
from host_tools.link.protocol import Command, Detection, StreamDone
from host_tools.link.session import Link
from model_pipeline.errors import DeviceError, MissingTool

STUB = Path(__file__).parent / "arduino_stub"
RATE = 16000
pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not in PATH")


def _settings():
    sys.path.insert(0, str(ROOT / "firmware/platform/builder"))
    try:
        import settings
    finally:
        sys.path.pop(0)
    manifest = json.loads((ROOT / "boards/nano33ble.json").read_text())
    return settings.read(manifest["kws"], "nano33ble", {}, ROOT / "firmware", lambda name, default: default)


def _sources(filters: list[str]) -> list[Path]:
    """PlatformIO's build_src_filter: the later word counts."""
    firmware = ROOT / "firmware"
    chosen: set[Path] = set()
    for sign, pattern in re.findall(r"([+-])<([^>]*)>", " ".join(filters)):
        found = {p for p in firmware.rglob("*") if p.is_file()} if pattern == "*" else set(firmware.glob(pattern))
        chosen = chosen | found if sign == "+" else chosen - found
    return sorted(chosen)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware as a process, from exactly the sources, defines and folders that environment nano33ble gets."""
    what = _settings()
    folder = tmp_path_factory.mktemp("arduino")
    sources = [*_sources(what.source_filter), *(what.model / name for name in what.model_sources)]
    assert any(p.name == "port_arduino.cpp" for p in sources)
    assert not any(p.name == "main.c" for p in sources)
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{STUB}"]
    (folder / "kws_build.h").write_text(what.build_header)
    flags += [f"-I{p}" for p in (folder, *what.includes)]
    for define in what.defines:
        name, value = (define, None) if isinstance(define, str) else define
        flags.append(f"-D{name}" if value is None else f"-D{name}={str(value).replace(chr(92), '')}")
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
def device(program: Path) -> Iterator[selftest.Device]:
    """A session with it."""
    with _running(program) as link:
        yield selftest.Device(link, selftest.Reference(DEFAULT_MODEL))


def test_it_is_the_same_application(device: selftest.Device) -> None:
    assert selftest.hello(device).startswith("nano33ble, firmware")
    info = device.info()
    assert (info.timer_source, info.timer_hz) == ("micros()", 1_000_000)


def test_the_link_loses_nothing(device: selftest.Device) -> None:
    device.frames = 300
    selftest.soak(device)
    device.windows = 3
    selftest.exact_inference(device)
    selftest.overload(device)


def test_a_board_without_microphone_says_so(device: selftest.Device) -> None:
    with pytest.raises(DeviceError, match="not supported on this board"):
        next(stream.listen(device.link))


def test_faults_are_not_offered(device: selftest.Device) -> None:
    with pytest.raises(selftest.Skipped):
        selftest.undefined_instruction(device)


def _sound(path: Path, samples: np.ndarray) -> str:
    path.write_bytes(np.asarray(samples, "<i2").tobytes())
    return str(path)


def _listen(link: Link, seconds: float, stride: int = 5) -> tuple[list, StreamDone]:
    import struct

    flags = stream.SEND_RESULTS | stream.FROM_MICROPHONE
    link.send(Command.STREAM_START, struct.pack("<BBH", stream.CONTINUOUS, flags, stride))
    events = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (event := link.next_event(0.1)) is not None:
            events.append(event)
    link.send(Command.STREAM_STOP, struct.pack("<I", 0))
    while True:
        event = link.next_event(10.0)
        assert event is not None, "no STREAM_DONE"
        if isinstance(event, StreamDone):
            return events, event
        events.append(event)


def test_the_microphone_s_first_100_ms_are_settling(program: Path, tmp_path: Path) -> None:
    """What follows them goes through front end and model as if it had been streamed."""
    rng = np.random.default_rng(3)
    sound = (rng.standard_normal(2 * RATE) * 2000).astype(np.int16)
    reference = selftest.Reference(DEFAULT_MODEL)
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
    reference = selftest.Reference(DEFAULT_MODEL)
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
    assert "pio pkg install -e nano33ble" in error.value.hint


def test_the_board_file_is_also_the_official_platform_s() -> None:
    """PlatformIO reads our file in the place of its own of the same name."""
    values = json.loads((ROOT / "boards/nano33ble.json").read_text())
    assert values["frameworks"] == ["arduino"]
    assert {"core", "cpu", "extra_flags", "f_cpu", "ldscript", "mcu", "variant"} <= set(values["build"])
    assert values["upload"]["use_1200bps_touch"] is True
    memory = load_board("nano33ble").kws.memory
    assert memory is not None
    assert values["upload"]["maximum_size"] == memory.flash_bytes
