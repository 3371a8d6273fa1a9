"""What a device says is data: bounded in size, number and time, whatever it says."""

from __future__ import annotations

import json
import resource
import struct
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.cli import main
from host_tools.link import codes, events, session, stream, transport
from host_tools.link.codes import Command
from host_tools.link.events import Log, Stats
from host_tools.link.frames import Frame
from host_tools.link.session import Link
from host_tools.measure import device as bench
from model_pipeline.errors import DeviceError
from model_pipeline.limits import HEADER, LIMITS, header
from tests.support.fake_device import INPUT_BYTES, FakeFirmware, listening, plugged

# The device's sizes in INFO's field 6, and one number wrong in each.
SIZES = [16000, 480, 320, 40, 49, INPUT_BYTES, 4, 5]
WRONG = [
    (0, 0, "sample_rate"),
    (0, 44100, "sample_rate"),
    (1, 0, "window_samples"),
    (1, 0xFFFFFFFF, "window_samples"),
    (2, 0, "hop_samples"),
    (3, 0, "channels"),
    (3, 65, "channels"),
    (4, 0, "window_frames"),
    (4, 0xFFFFFFFF, "window_frames"),
    (5, 0, "input_bytes"),
    (5, 70000, "input_bytes"),
    (5, 0xFFFFFFFF, "input_bytes"),
    (5, INPUT_BYTES + 1, "input_bytes"),
    (6, 0, "output_bytes"),
    (6, 33, "output_bytes"),
    (6, 5, "output_bytes"),
    (7, 0, "default_stride"),
    (7, 0xFFFFFFFF, "default_stride"),
]


def field(tag: int, value: bytes) -> bytes:
    return struct.pack("<BB", tag, len(value)) + value


class Sizes(FakeFirmware):
    """Says other sizes or labels of itself."""

    def __init__(self, sizes: list[int] | None = None, labels: bytes = b"yes\nno\nunknown\nsilence") -> None:
        super().__init__()
        self.sizes, self.labels = sizes or SIZES, labels

    def _info(self) -> bytes:
        parts = [self.labels[i : i + 255] for i in range(0, len(self.labels), 255)]
        sizes = struct.pack("<8I", *self.sizes)
        texts = [(1, b"[/foo]\x1b]52;c;x\x07"), (2, b"b" * 100), (3, b"aot"), (4, b"0123456789abcdef")]
        return b"".join(field(tag, value) for tag, value in [*texts, *((5, part) for part in parts), (6, sizes)])


class Flood(FakeFirmware):
    """Answers every command, and sends ``what`` (type and payload) ``times`` with it."""

    def __init__(self, what: tuple[int, bytes], times: int) -> None:
        super().__init__()
        self.what, self.times = what, times

    def feed(self, data: bytes) -> bytes | None:
        answer = super().feed(data)
        if answer is None or not self.heard:
            return answer
        return answer + b"".join(self._out(*self.what) for _ in range(self.times))


class Endless(FakeFirmware):
    """Whose INFO goes on and on: with nothing (``size`` 0), or with labels."""

    def __init__(self, size: int, parts: int) -> None:
        super().__init__()
        self.size, self.parts = size, parts

    def _act(self, frame: Frame) -> bytes:
        if frame.type != Command.INFO:
            return super()._act(frame)
        text = field(5, b"x" * self.size) if self.size else b""
        return b"".join(self._out(0x83, text + field(12, b"\1")) for _ in range(self.parts))


def test_both_sides_have_the_same_limits() -> None:
    assert HEADER.read_text(encoding="utf-8") == header(), "python -m model_pipeline.limits"


@pytest.mark.parametrize(("place", "value", "name"), WRONG)
def test_a_size_that_no_firmware_has_is_refused_by_name(place: int, value: int, name: str) -> None:
    sizes = [*SIZES]
    sizes[place] = value
    with plugged(Sizes(sizes)) as port, Link(port) as link:
        link.hello(5)
        with pytest.raises(DeviceError, match=f"what no firmware of ours says: {name} is {value}"):
            link.info()
        with pytest.raises(DeviceError, match=name):  # and nothing is made by it
            bench.bench(link, rounds=1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (b"yes\nyes\nunknown\nsilence", "there twice"),
        (b"yes\n\nunknown\nsilence", "1 to 48 bytes"),
        (b"yes\n" + b"n" * 100 + b"\nunknown\nsilence", "1 to 48 bytes"),
        (b"yes\nn\x1b[2Jo\nunknown\nsilence", "control"),
        (b"yes\nn\0o\nunknown\nsilence", "control"),
        ("yes\nn\u202eo\nunknown\nsilence".encode(), "control or invisible"),
        (b"yes\n no\nunknown\nsilence", "space at an end"),
        (b"\n".join(b"l%d" % i for i in range(33)), "output_bytes|1 to 32"),
        (b"", "output_bytes is 4 for 0 labels"),
    ],
)
def test_labels_that_no_model_has_are_refused(labels: bytes, words: str) -> None:
    with plugged(Sizes(labels=labels)) as port, Link(port) as link:
        link.hello(5)
        with pytest.raises(DeviceError, match=words):
            link.info()


def test_texts_of_a_device_are_short_and_plain() -> None:
    with plugged(Sizes()) as port, Link(port) as link:
        link.hello(5)
        info = link.info()
    assert info.firmware == "[/foo]\\x1b]52;c;x\\x07" and len(info.board) < 100


@pytest.mark.parametrize("size", [0, 200])
def test_an_info_that_never_ends_is_refused(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_REPLY_S", 0.5)
    for parts in (1, 3, 60):  # no continuation; a few; more than fit
        with plugged(Endless(size, parts)) as port, Link(port) as link:
            link.hello(5)
            with pytest.raises(DeviceError, match=r"did not arrive|goes on"):
                link.info()


def test_a_profile_that_never_ends_is_refused() -> None:
    class Profile(FakeFirmware):
        def _act(self, frame: Frame) -> bytes:
            if frame.type != Command.PROFILE:
                return super()._act(frame)
            return b"".join(self._out(0x8F, struct.pack("<HH", 0, 9)) for _ in range(50))

    with plugged(Profile()) as port, Link(port) as link:
        link.hello(5)
        with pytest.raises(DeviceError, match="a part of the profile"):
            link.profile()


def test_a_flood_of_logs_is_bounded_counted_and_stands_in_nobodys_way() -> None:
    with plugged(Flood((0x87, b"\1[/foo]"), 2000)) as port, Link(port) as link:
        link.hello(5)
        for _ in range(5):
            assert isinstance(link.stats(), Stats)
        deadline = time.perf_counter() + 5
        while link.counters.received < 8000 and time.perf_counter() < deadline:
            time.sleep(0.01)
        assert len(link._events) <= transport.MAX_LOGS
        # Answers are found behind the logs, and what was said first is still there.
        assert link.next_event(1.0) == Log(1, "[/foo]")
        assert link.counters.received - link.counters.dropped < 300 and link.counters.dropped > 5000
        assert link.report()["dropped"] == link.counters.dropped


def test_logs_in_which_all_else_drowns_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LOG_FLOOD", 1000)
    with plugged(Flood((0x87, b"\1x"), 2000)) as port, Link(port) as link:
        link.hello(5)
        with pytest.raises(DeviceError, match="log lines faster than anything else"):
            for _ in range(20):
                link.stats()


def test_a_flood_of_events_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_EVENTS", 100)
    with plugged(Flood((0x86, struct.pack("<IBB", 7, 0, 9)), 500)) as port, Link(port) as link:
        link.hello(5)
        link.send(Command.STATS, b"\0")
        link.send(Command.STATS, b"\0")
        deadline = time.perf_counter() + 5
        while link.counters.received < 900 and time.perf_counter() < deadline:
            time.sleep(0.01)
        assert len(link._events) <= 100 and link.counters.dropped >= 300


def test_results_and_detections_of_another_model_are_damage() -> None:
    result = (0x85, struct.pack("<6IB", 0, 0, 1, 1, 1, 1, 200) + bytes(200))
    for what in (result, (0x86, struct.pack("<IBB", 0, 4, 200))):
        with plugged(Flood(what, 3)) as port, Link(port) as link:
            link.hello(5)
            link.info()
            before = link.counters.bad
            link.stats()
            link.stats()
            assert link.counters.bad > before
            assert not any(isinstance(e, events.Result) and len(e.output) != 4 for e in list(link._events)[9:])


def test_a_device_with_endless_results_is_stopped() -> None:
    head = struct.pack("<6IB", 0, 0, 1, 1, 1, 1, 4) + bytes(4)
    with plugged(Flood((0x85, head), 3000)) as port, Link(port) as link:
        link.hello(5)
        link.info()
        with pytest.raises(DeviceError, match="more results than it heard sound for"):
            for _ in stream.stream_continuous(link, [np.zeros(8000, np.int16)]):
                pass


@pytest.mark.parametrize(
    "made_up",
    [(0x86, struct.pack("<IBB", 8001, 0, 200)), (0x85, struct.pack("<6IB", 0, 8001, 1, 1, 1, 1, 4) + bytes(4))],
)
def test_answers_for_sound_that_a_device_was_not_given_are_refused(made_up: tuple[int, bytes]) -> None:
    def positions(what: tuple[int, bytes]) -> list[int]:
        with plugged(Flood(what, 1)) as port, Link(port) as link:
            link.hello(5)
            streamed = stream.stream_continuous(link, [np.zeros(8000, np.int16)])
            return [e.position for e in streamed if isinstance(e, (events.Result, events.Detection))]

    with pytest.raises(DeviceError, match=r"answers for 8,001 samples and was given"):
        positions(made_up)
    kind, payload = made_up
    assert 0 in positions((kind, payload.replace(struct.pack("<I", 8001), struct.pack("<I", 0))))


def test_logs_without_end_do_not_keep_a_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chatter(FakeFirmware):
        """Never says that the stream is done, but talks."""

        def _act(self, frame: Frame) -> bytes:
            if frame.type == Command.STREAM_STOP:
                return b"".join(self._out(0x87, b"\1x") for _ in range(50))
            return super()._act(frame)

    monkeypatch.setattr(stream, "ANSWER_S", 0.5)
    with plugged(Chatter()) as port, Link(port) as link:
        link.hello(5)
        with pytest.raises(DeviceError, match="never said that the stream was done"):
            list(stream.stream_continuous(link, [np.zeros(1600, np.int16)]))


def test_a_credit_of_65535_frames_is_not_believed() -> None:
    firmware = FakeFirmware(window=65535)
    with plugged(firmware) as port, Link(port) as link:
        link.hello(5)
        assert link._window == codes.MAX_WINDOW


def test_a_second_client_is_told_that_the_port_is_taken() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux names sockets without a file")
    with listening(FakeFirmware()) as url:
        with Link.open(url), pytest.raises(DeviceError, match="in use by another program"):
            Link.open(url)
        with Link.open(url) as link:  # once the first has gone
            assert link.info().board


@given(st.integers(0x80, 0x8F), st.lists(st.binary(max_size=512), min_size=1, max_size=4))
@settings(max_examples=60)
def test_any_reply_is_taken_or_refused_in_one_line(kind: int, payloads: list[bytes]) -> None:
    class Any(FakeFirmware):
        def _act(self, frame: Frame) -> bytes:
            return b"".join(self._out(kind, payload) for payload in payloads) + super()._act(frame)

    with plugged(Any()) as port, Link(port, resend_s=0.2) as link:
        link.hello(5)
        try:
            info = link.info()
            assert 1 <= info.input_bytes <= LIMITS["INPUT_BYTES"]
            link.stats()
        except DeviceError as error:
            assert str(error) and "\x1b" not in str(error)


@pytest.mark.parametrize("value", [0, 70000, 0xFFFFFFFF])
def test_bench_of_a_hostile_device_ends_at_once_with_a_line_and_little_memory(
    value: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with listening(Sizes([*SIZES[:5], value, *SIZES[6:]])) as url, pytest.raises(SystemExit) as ended:
        main(["bench", "--port", url])
    text = capfd.readouterr().err
    assert ended.value.code == 4 and "input_bytes" in text and "Traceback" not in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("as_json", [False, True])
def test_monitor_shows_a_hostile_log_as_text(as_json: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with listening(Flood((0x87, b"\3[/foo]\x1b]52;c;ZQ==\x07\x9b"), 1)) as url, pytest.raises(SystemExit) as ended:
        main(["monitor", "--port", url, "--seconds", "1", *(["--json"] if as_json else [])])
    text = capfd.readouterr().out
    assert ended.value.code == 0 and "[/foo]" in text and not set("\x1b\x07\x9b") & set(text)
    if as_json:
        logs = [event for event in map(json.loads, text.splitlines()) if event["event"] == "Log"]
        assert logs and logs[0]["text"].startswith("[/foo]\x1b]52")  # as it was, for scripts
