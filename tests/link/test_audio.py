"""The board's sound at the host: what went in, from the firmware as a process and in QEMU, and losses counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from host_tools.image import emulate
from host_tools.link import adpcm, stream
from host_tools.link.audio import Track
from host_tools.link.events import Audio, Event, Features, Result, StreamDone
from host_tools.link.session import Link
from host_tools.link.stream import AS_ADPCM, SEND_AUDIO, SEND_FEATURES
from host_tools.measure import device as bench
from model_pipeline.errors import DeviceError
from tests.support import link_vectors
from tests.support.firmware_images import image, private_copy


@pytest.fixture(scope="module")
def host_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return private_copy(image("host"), tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    elf = private_copy(image("disco_f407vg"), tmp_path_factory.mktemp("disco"))
    with emulate.start("disco_f407vg", elf) as emulator, Link.open(emulator.url, 30) as link:
        yield link


def noise(seconds: int) -> np.ndarray:
    """int16 [n] of changing loudness, and the two ends of the range."""
    rng = np.random.default_rng(7)
    samples = np.concatenate([bench.sound(rng) for _ in range(seconds)])
    samples[100:104] = (-32768, 32767, -32768, 0)
    return samples


def heard(events: Iterable[Event]) -> tuple[np.ndarray, Track, StreamDone]:
    track, parts = Track(), []
    for event in events:
        if isinstance(event, Audio):
            parts.append(track.take(event))
        elif isinstance(event, StreamDone):
            track.end(event.total)
            return np.concatenate(parts), track, event
    raise AssertionError("no STREAM_DONE")


def pieces(samples: np.ndarray) -> Iterable[np.ndarray]:
    return np.array_split(samples, len(samples) // 319)


def a_minute(link: Link) -> None:
    sent = noise(60)
    samples, track, done = heard(stream.stream_continuous(link, pieces(sent), also=SEND_AUDIO))
    assert np.array_equal(samples, sent)
    assert (track.lost, track.dropped, done.dropped, done.total) == (0, 0, 0, len(sent))
    assert link.counters.clean, link.counters


def test_a_minute_over_the_host_port(host_elf: Path) -> None:
    with emulate.start("host", host_elf) as emulator, Link.open(emulator.url) as link:
        a_minute(link)


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.long
def test_a_minute_over_the_emulated_board(board: Link) -> None:
    a_minute(board)


@pytest.mark.qemu
def test_seconds_over_the_emulated_board(board: Link) -> None:
    sent = noise(3)
    samples, track, _ = heard(stream.stream_continuous(board, pieces(sent), also=SEND_AUDIO))
    assert np.array_equal(samples, sent) and track.lost == 0


@pytest.mark.qemu
def test_adpcm_and_features_from_the_emulated_board(board: Link) -> None:
    """What the decoder here gives is what the encoder there thought that it would."""
    sent = noise(2)
    events = list(stream.stream_continuous(board, pieces(sent), also=SEND_AUDIO | AS_ADPCM | SEND_FEATURES))
    samples, track, _ = heard(events)
    codes, _ = link_vectors.encoder()(sent, 0, 0)
    assert samples.tolist() == adpcm.decode(codes, len(sent), 0, 0).tolist()
    assert track.lost == 0
    frames = [e.frame for e in events if isinstance(e, Features)]
    assert frames == list(range((len(sent) - 480) // 320 + 1)) and any(isinstance(e, Result) for e in events)


def test_the_devices_own_microphone(host_elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host port has a file in the place of one; after it comes silence."""
    sent = noise(2)
    (tmp_path / "sound.raw").write_bytes(sent.astype("<i2").tobytes())
    monkeypatch.setenv("KWS_HOST_MICROPHONE", str(tmp_path / "sound.raw"))
    with emulate.start("host", host_elf) as emulator, Link.open(emulator.url) as link:
        track = Track()
        for event in stream.listen(link, also=SEND_AUDIO):  # is left in the middle
            if isinstance(event, Audio):
                track.take(event)
                if track.position > 4000:
                    break
        # Again from the beginning, with nothing of the first.
        came: list[Event] = []
        for event in stream.listen(link, also=SEND_AUDIO, stop=lambda: after_the_file(came)):
            came.append(event)
    samples, track, done = heard(came)
    assert np.array_equal(samples[: len(sent)], sent) and not samples[len(sent) :].any()
    assert done.total == len(samples) and (track.lost, track.dropped) == (0, 0)


def after_the_file(came: list[Event]) -> bool:
    return any(isinstance(e, Audio) and e.position > 2 * 16000 for e in came)


def test_a_board_without_one(host_elf: Path) -> None:
    with emulate.start("host", host_elf) as emulator, Link.open(emulator.url) as link:
        with pytest.raises(DeviceError, match="no microphone") as error:
            for _ in range(50):
                next(stream.listen(link))
        assert "--mic" in str(error.value.hint)


@pytest.mark.parametrize("flags", [AS_ADPCM, 32], ids=["adpcm without audio", "unknown"])
def test_flags_that_mean_nothing_are_refused(host_elf: Path, flags: int) -> None:
    with (
        emulate.start("host", host_elf) as emulator,
        Link.open(emulator.url) as link,
        pytest.raises(DeviceError, match="bad payload"),
    ):
        list(stream.stream_continuous(link, [noise(1)], also=flags))


def block(position: int, count: int, dropped: int = 0) -> Audio:
    return Audio(position, dropped, 0, np.full(count, 5, np.int16))


def test_what_is_missing_is_counted_and_silent() -> None:
    track = Track()
    assert track.take(block(0, 3)).tolist() == [5, 5, 5]
    assert track.take(block(5, 2, dropped=9)).tolist() == [0, 0, 5, 5]
    track.end(10)
    assert (track.position, track.lost, track.dropped) == (10, 5, 9)


def test_positions_wrap() -> None:
    track = Track()
    track.position = 0xFFFFFFFE
    track.take(block(0xFFFFFFFE, 4))
    assert track.take(block(2, 1)).tolist() == [5] and track.lost == 0


@pytest.mark.parametrize("position", [2, 60 * 16000 + 4], ids=["again", "far ahead"])
def test_positions_that_can_not_be(position: int) -> None:
    track = Track()
    track.take(block(0, 3))
    with pytest.raises(DeviceError, match="numbers its samples"):
        track.take(block(position, 1))
