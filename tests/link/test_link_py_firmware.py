"""The host's half of the link against the firmware itself: as a process of this computer, and in QEMU."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial

from host_tools.image import build, emulate
from host_tools.link import stream
from host_tools.link.codes import Command
from host_tools.link.events import Result, StreamDone
from host_tools.link.frames import Frame
from host_tools.link.info import Detector
from host_tools.link.session import Link
from host_tools.measure import device as bench
from host_tools.measure.clips import host_outputs
from host_tools.measure.metrics import link_summary, tick_unit
from model_pipeline.errors import DeviceError
from model_pipeline.manifest import load_manifest
from tests.support.fake_device import Faults, spoil

MODEL = Path(__file__).resolve().parents[2] / "firmware" / "model"
pytestmark = pytest.mark.skipif(not (MODEL / "model.json").exists(), reason="firmware/model holds no model")


@pytest.fixture(scope="module")
def host_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(build.build("host", MODEL, out=tmp_path_factory.mktemp("host")).elf)


@pytest.fixture
def url(host_elf: Path) -> Iterator[str]:
    with emulate.start("host", host_elf) as emulator:
        yield emulator.url


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """int16 [6, 16000]: noise of changing loudness."""
    rng = np.random.default_rng(3)
    return np.stack([bench.sound(rng) for _ in range(6)])


class BadLine:
    """A pyserial port whose frames to the device are lost, repeated and damaged."""

    def __init__(self, url: str, faults: Faults) -> None:
        self.port = serial.serial_for_url(url, timeout=0)
        self.faults = faults

    def write(self, data: bytes) -> int:
        """Some of it."""
        self.port.write(spoil(data, self.faults))
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


def test_it_says_what_it_is(url: str) -> None:
    manifest = load_manifest(MODEL)
    with Link.open(url) as link:
        info = link.info()
    assert list(info.labels) == manifest.labels
    assert info.model_hash == manifest.model_hash
    assert info.board == "host"
    assert info.window_frames == manifest.window_frames
    assert tick_unit(info).name == "ns"


def test_clips_give_what_the_model_gives_here(url: str, clips: np.ndarray) -> None:
    expected = host_outputs(MODEL, clips)
    with Link.open(url) as link:
        before = link.stats()
        for clip, output in zip(clips, expected, strict=True):
            heard = stream.stream_clip(link, clip)
            assert heard.result and list(heard.result.output) == output.tolist()
            assert heard.done and heard.done.total == 16000
            assert heard.response_ms is not None and heard.response_ms >= 0
        summary = link_summary(link.report(), before, link.stats())
    assert (summary.lost, summary.repeated) == (0, 0), summary


def test_a_bad_line_loses_nothing(url: str, clips: np.ndarray) -> None:
    """Every kind of damage is repaired by repetition, counted, and never changes a result."""
    expected = host_outputs(MODEL, clips)
    port = BadLine(url, Faults(drop_in=0.05, repeat_in=0.05, damage_in=0.05, seed=4))
    with Link(port, url, resend_s=0.05) as link:
        link.hello()
        for clip, output in zip(clips, expected, strict=True):
            heard = stream.stream_clip(link, clip)
            assert heard.result and list(heard.result.output) == output.tolist()
        stats = link.stats()
        assert link.counters.lost == 0
        assert link.counters.resent > 0
    assert stats.rx_missing > 0
    assert stats.rx_duplicate > 0
    assert stats.rx_crc + stats.rx_malformed + stats.rx_length + stats.rx_version > 0


def test_continuous_audio_is_counted_to_the_sample(url: str, clips: np.ndarray) -> None:
    with Link.open(url) as link:
        events = list(stream.stream_continuous(link, clips, stride=10))
    done = events[-1]
    assert isinstance(done, StreamDone)
    assert (done.total, done.dropped) == (clips.size, 0)
    results = [e for e in events if isinstance(e, Result)]
    assert len(results) == done.inferences > 10
    positions = np.diff([r.position for r in results])
    assert (positions == 10 * 320).all()


def test_the_detector_can_be_set(url: str) -> None:
    with Link.open(url) as link:
        n = len(link.info().labels)
        wanted = Detector(3, 2, 8000, (200,) * (n - 2) + (0, 0))
        link.set_detector(wanted)
        assert link.info().detector == wanted


def test_what_is_no_frame_is_counted_by_its_kind(url: str) -> None:
    with Link.open(url) as link:
        frame = Frame(Command.INFO, 77, b"").encode()
        with link._changed:
            link._urgent.append(frame[:-3] + b"\x55\x55\0" + b"\x09" * 700 + b"\0")
            link._changed.notify_all()
        stats = link.stats()
        assert stats.rx_oversized == 1
        assert stats.rx_malformed + stats.rx_crc + stats.rx_length == 1


def test_session_after_session(url: str, clips: np.ndarray) -> None:
    for _ in range(3):
        with Link.open(url) as link:
            heard = stream.stream_clip(link, clips[0])
            assert heard.result and link.counters.clean, link.counters


def test_a_session_left_in_mid_stream_does_not_disturb_the_next(url: str, clips: np.ndarray) -> None:
    with Link.open(url) as link:
        link.send(Command.STREAM_START, b"\1\2\0\0")
        link.drain()
    expected = host_outputs(MODEL, clips[:1])[0]
    with Link.open(url) as link:
        link.reset_stream()
        heard = stream.stream_clip(link, clips[0])
        assert heard.result and list(heard.result.output) == expected.tolist()


def test_firmware_that_dies_is_one_line(host_elf: Path) -> None:
    with emulate.start("host", host_elf) as emulator, Link.open(emulator.url) as link:
        link.info()
        emulator.stop()
        with pytest.raises(DeviceError, match="went away"):
            for _ in range(50):
                link.stats()


@pytest.mark.qemu
def test_the_same_in_qemu(tmp_path: Path, clips: np.ndarray) -> None:
    """The emulated board gives the same outputs, and its ticks are instructions."""
    expected = host_outputs(MODEL, clips[:2])
    elf = build.build("disco_f407vg", MODEL, out=tmp_path).elf
    with emulate.start("disco_f407vg", elf) as emulator, Link.open(emulator.url, 30) as link:
        info = link.info()
        assert tick_unit(info).name == "instructions"
        ticks = []
        for clip, output in zip(clips, expected, strict=False):
            heard = stream.stream_clip(link, clip)
            assert heard.result and list(heard.result.output) == output.tolist()
            ticks.append(heard.result.inference_ticks)
        assert link.counters.clean, link.counters
        assert max(ticks) < 50_000_000


def test_a_second_client_is_hung_up_on(host_elf: Path) -> None:
    with emulate.start("host", host_elf) as emulator:
        place = ("127.0.0.1", int(emulator.url.rsplit(":", 1)[1]))
        for _ in range(3):  # and the next one is let in once the first has gone
            with Link.open(emulator.url) as link, socket.create_connection(place, 5) as second:
                second.settimeout(5)
                assert second.recv(1) == b""
                assert link.info().board == "host"
