"""The host's half of the link, against a device that misbehaves."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.link import codes, payloads
from host_tools.link.codes import Command, Reason
from host_tools.link.events import Result, StreamDone
from host_tools.link.frames import BadFrame, Decoder, Frame, cobs_decode, cobs_encode
from host_tools.link.session import Link
from model_pipeline.errors import DeviceError
from tests.support.fake_device import INPUT_BYTES, LABELS, FakeFirmware, Faults, expected_output, listening, plugged

FRAMES = st.builds(
    Frame, type=st.integers(0, 255), seq=st.integers(0, 65535), payload=st.binary(max_size=codes.MAX_PAYLOAD)
)


@given(st.binary(max_size=1200))
def test_cobs_round_trip_without_zeros(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + max(1, -(-len(data) // 254))
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        (b"", b"\x01"),
        (b"\0", b"\x01\x01"),
        (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
        (bytes(range(1, 255)) + b"\0", b"\xff" + bytes(range(1, 255)) + b"\x01\x01"),
        (bytes(range(0, 255)), b"\x01\xff" + bytes(range(1, 255))),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
    ],
)
def test_cobs_vectors(plain: bytes, encoded: bytes) -> None:
    """The examples that every description of COBS gives."""
    assert cobs_encode(plain) == encoded
    assert cobs_decode(encoded) == plain


def test_frame_vector() -> None:
    """The example worked by hand from docs/protocol.md."""
    body = bytes([0x01, 1, 0x34, 0x12, 2, 0, 1, 0])
    body += zlib.crc32(body).to_bytes(4, "little")
    assert cobs_decode(Frame(Command.HELLO, 0x1234, b"\x01\x00").encode()[:-1]) == body


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 700), min_size=1, max_size=40))
def test_decoder_gives_what_was_encoded_however_it_is_cut(frames: list[Frame], cuts: list[int]) -> None:
    stream = b"\0" + b"\0".join(f.encode() for f in frames)
    decoder, got, at = Decoder(), [], 0
    for cut in [*cuts, len(stream)]:
        got += decoder.feed(stream[at : at + cut])
        at += cut
    assert got == frames


@given(st.lists(st.binary(max_size=700), max_size=8))
def test_decoder_takes_any_bytes(parts: list[bytes]) -> None:
    decoder = Decoder()
    for part in parts:
        for frame in decoder.feed(part):
            if isinstance(frame, Frame):
                assert frame.encode()  # only whole frames ever come out
    assert Decoder().feed(b"\1" * 600 + b"\0") == [BadFrame(Reason.OVERSIZED)]
    assert len(decoder._pending) <= 600


@given(FRAMES, st.data())
def test_a_damaged_frame_is_never_taken(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(frame.encode())
    at = data.draw(st.integers(0, len(encoded) - 2))
    encoded[at] ^= data.draw(st.integers(1, 255))
    assert not any(isinstance(f, Frame) for f in Decoder().feed(bytes(encoded)))


@given(st.sampled_from(sorted(payloads.EVENTS)), st.binary(max_size=120))
def test_events_of_any_payload_parse_or_are_refused(kind: int, payload: bytes) -> None:
    try:
        event = payloads.parse_event(Frame(kind, 0, payload))
    except ValueError:
        return
    assert type(event) is payloads.EVENTS[kind]


def test_info_joins_labels_and_skips_what_it_does_not_know() -> None:
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        info = link.info()
    assert info.labels == LABELS
    assert (info.board, info.engine, info.timer_source, info.macs) == ("disco_f407vg", "aot", "TIM2", 1_200_000)
    assert info.input_bytes == INPUT_BYTES


def _stream(link: Link, samples: np.ndarray) -> tuple[Result | None, StreamDone | None]:
    link.send(Command.STREAM_START, struct.pack("<BBH", 0, 0, 0))
    for at in range(0, len(samples), 254):
        link.send(Command.STREAM_DATA, payloads.stream_data(at, samples[at : at + 254]))
    link.send(Command.STREAM_STOP, struct.pack("<I", len(samples)))
    link.drain()
    return link.expect(Result, timeout=2), link.expect(StreamDone, timeout=2)


def test_a_clean_line_has_clean_counters() -> None:
    samples = np.arange(16000, dtype=np.int16)
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        result, done = _stream(link, samples)
        assert link.counters.clean, link.counters
    assert result and list(result.output) == expected_output(samples.tobytes())
    assert done and done.total == 16000


@settings(max_examples=15, deadline=None)
@given(
    drop=st.floats(0, 0.15),
    repeat=st.floats(0, 0.3),
    damage=st.floats(0, 0.15),
    seed=st.integers(0, 1 << 30),
    window=st.integers(1, 40),
)
def test_what_the_host_sends_arrives_once_and_in_order(
    drop: float, repeat: float, damage: float, seed: int, window: int
) -> None:
    """However the line to the device loses, repeats and damages frames."""
    firmware = FakeFirmware(Faults(drop_in=drop, repeat_in=repeat, damage_in=damage, seed=seed), window=window)
    samples = np.random.default_rng(seed).integers(-32768, 32767, 5000, dtype=np.int16)
    with plugged(firmware) as port, Link(port, resend_s=0.02) as link:
        link.hello()
        result, done = _stream(link, samples)
    assert result and list(result.output) == expected_output(samples.tobytes())
    assert done and done.total == len(samples)
    kinds = [kind for kind, _ in firmware.acted]
    assert kinds == [Command.STREAM_START] + [Command.STREAM_DATA] * 20 + [Command.STREAM_STOP]


@settings(max_examples=10, deadline=None)
@given(drop=st.floats(0, 0.2), damage=st.floats(0, 0.2), seed=st.integers(0, 1 << 30))
def test_losses_from_the_device_are_counted_and_stall_nothing(drop: float, damage: float, seed: int) -> None:
    firmware = FakeFirmware(Faults(drop_in=0.05, drop_out=drop, damage_out=damage, seed=seed))
    samples = np.arange(3000, dtype=np.int16)
    with plugged(firmware) as port, Link(port, resend_s=0.02) as link:
        link.hello()
        link.send(Command.STREAM_START, struct.pack("<BBH", 0, 0, 0))
        for at in range(0, 3000, 200):
            link.send(Command.STREAM_DATA, payloads.stream_data(at, samples[at : at + 200]))
        link.send(Command.STREAM_STOP, struct.pack("<I", 3000))
        link.drain()
        result = link.expect(Result, timeout=0.05)
        if result is None:
            link.info()  # some later frame shows the gap
            assert link.counters.lost or link.counters.bad
        else:
            assert list(result.output) == expected_output(samples.tobytes())
    assert firmware.samples == samples.tobytes()


def test_a_lost_result_is_counted() -> None:
    with plugged(FakeFirmware(Faults(lose_result=0))) as port, Link(port) as link:
        link.hello()
        result, done = None, None
        link.send(Command.STREAM_START, struct.pack("<BBH", 0, 0, 0))
        link.send(Command.STREAM_STOP, struct.pack("<I", 0))
        done = link.expect(StreamDone, timeout=2)
        result = link.expect(Result, timeout=0.05)
        assert done and not result
        assert link.counters.lost == 1
        assert not link.counters.clean


def test_the_window_is_never_exceeded() -> None:
    """With no acknowledgement beyond HELLO's, exactly one window goes out."""
    firmware = FakeFirmware(Faults(mute_after=1), window=5)
    with plugged(firmware) as port, Link(port, resend_s=60) as link:
        link.hello()
        for _ in range(5):
            link.send(Command.INFO)
        with pytest.raises(DeviceError, match="took no data"):
            link.send(Command.INFO, timeout=0.1)
        time.sleep(0.05)
    assert firmware.heard == 6


def test_sequence_numbers_wrap() -> None:
    firmware = FakeFirmware()
    firmware.seq = 65530
    with plugged(firmware) as port, Link(port) as link:
        link._seq = 65533
        link.hello()
        for _ in range(10):
            link.info()
        assert link.counters.clean, link.counters
    assert firmware.expected == (65534 + 10) & 0xFFFF


def test_another_protocol_version_is_named() -> None:
    with listening(FakeFirmware(Faults(protocol=7))) as url, pytest.raises(DeviceError, match=r"protocol 7.*speak 1"):
        Link.open(url, 2)


def test_a_device_that_goes_silent_is_given_up() -> None:
    with plugged(FakeFirmware(Faults(mute_after=3))) as port, Link(port, resend_s=0.01) as link:
        link.hello()
        with pytest.raises(DeviceError, match="stopped answering"):
            for _ in range(100):
                link.send(Command.INFO, timeout=5)


def test_a_port_that_goes_away_is_one_line() -> None:
    with listening(FakeFirmware(Faults(vanish_after=20))) as url, Link.open(url) as link:
        with pytest.raises(DeviceError, match="went away") as caught:
            for at in range(0, 254 * 100, 254):
                link.send(Command.STREAM_DATA, payloads.stream_data(at, np.zeros(254, np.int16)))
        assert "\n" not in str(caught.value)


def test_a_device_that_restarts_in_mid_session_is_named() -> None:
    with plugged(FakeFirmware(Faults(restart_after=4))) as port, Link(port, resend_s=0.05) as link:
        link.hello()
        with pytest.raises(DeviceError, match="restarted"):
            for _ in range(10):
                link.info()


def test_restart_opens_a_new_session() -> None:
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        link.info()
        link.restart()
        assert link.info().labels == LABELS
        assert link.counters.clean, link.counters


def test_a_refused_command_says_why() -> None:
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        link.send(Command.STREAM_STOP, struct.pack("<I", 0))
        with pytest.raises(DeviceError, match="STREAM_STOP: wrong state"):
            link.expect(StreamDone, timeout=2, commands=(Command.STREAM_STOP,))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/dev/ttyNotThere9", "there is no port"),
        ("socket://127.0.0.1:1", "can't open"),
        ("nonsense://x", "can't open"),
    ],
)
def test_ports_that_cannot_be_opened(url: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        Link.open(url, 1)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_no_answer_ends_at_the_deadline() -> None:
    with listening(FakeFirmware(Faults(mute_after=0))) as url:
        started = time.monotonic()
        with pytest.raises(DeviceError, match="no micro-kws firmware answered"):
            Link.open(url, 0.5)
        assert time.monotonic() - started < 30


def test_events_before_a_failure_are_still_given() -> None:
    with plugged(FakeFirmware(Faults(vanish_after=3))) as port, Link(port) as link:
        link.hello()
        link.send(Command.STREAM_START, struct.pack("<BBH", 0, 0, 0))
        link.send(Command.STREAM_STOP, struct.pack("<I", 0))
        link.drain()
        link.send(Command.INFO)
        seen = []
        with pytest.raises(DeviceError, match="went away"):
            while True:
                seen.append(type(link.next_event(5)).__name__)
        assert seen == ["Result", "StreamDone"]
