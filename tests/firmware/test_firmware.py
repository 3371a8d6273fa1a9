"""The whole firmware behind its link: as a sanitized process of this computer, and on an emulated Cortex-M4."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host_tools.image import emulate
from host_tools.image.build import Variant, build
from host_tools.image.emulator import Emulator
from host_tools.link.codes import Command
from host_tools.link.events import Detection, Event, Fault, Features, Refusal, Result, StreamDone
from host_tools.link.frames import Decoder, Frame
from host_tools.link.info import Detector, Info
from host_tools.link.payloads import infer_features, stream_data
from host_tools.link.session import Link
from host_tools.link.stream import infer, stream_continuous
from model_pipeline.features import Frontend, quantize
from model_pipeline.listening.detector import levels_of, run_detector
from model_pipeline.manifest import Manifest, load_manifest
from tests.support.firmware_images import SANITIZE, SHIPPED, image, kept_folder, private_copy, small_model
from tests.support.tflite_builder import Oracle

CLIP, CONTINUOUS = 0, 1
SEND_FEATURES, SEND_RESULTS = 1, 2


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_manifest(SHIPPED)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle((SHIPPED / "model.tflite").read_bytes())


@pytest.fixture(scope="module", params=["host", pytest.param("disco_f407vg", marks=pytest.mark.qemu)])
def emulator(request, tmp_path_factory) -> Iterator[Emulator]:
    built = image(request.param)
    elf = private_copy(built, tmp_path_factory.mktemp(request.param))
    with emulate.start(request.param, elf) as running:
        yield running
        running.check()  # no sanitizer has stopped it


@pytest.fixture
def link(emulator) -> Iterator[Link]:
    with Link.open(emulator.url, timeout=60) as opened:
        yield opened
        opened.reset_stream()


def events(link: Link, until: type[Event], timeout: float = 60) -> list[Event]:
    """All events up to the first of a kind."""
    found: list[Event] = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        event = link.next_event(1)
        if event is not None:
            found.append(event)
            if isinstance(event, until):
                return found
    raise AssertionError(f"no {until.__name__}; got {found}")


def speechlike(samples: int, seed: int = 3) -> np.ndarray:
    """Gliding tones with pauses and noise: something in every band, loud and silent."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    tones = sum(np.sin(2 * np.pi * f * t * (1 + 0.2 * np.sin(3 * t))) for f in (180, 700, 1900, 4200))
    envelope = np.clip(np.sin(2 * np.pi * 1.7 * t), 0, 1)
    return np.clip(tones * envelope * 6000 + rng.normal(0, 40, samples), -32768, 32767).astype(np.int16)


def send_stream(link: Link, samples: np.ndarray, mode: int, flags: int = 0, stride: int = 0, block: int = 254) -> None:
    link.send(Command.STREAM_START, struct.pack("<BBH", mode, flags, stride))
    for at in range(0, len(samples), block):
        link.send(Command.STREAM_DATA, stream_data(at, samples[at : at + block]))
    link.send(Command.STREAM_STOP, struct.pack("<I", len(samples)))


def windows(manifest: Manifest, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [frames, channels] of the host's front end, and as int8 input."""
    features = Frontend(manifest.frontend).process(samples)
    return features, quantize(features, manifest.input.scale, manifest.input.zero_point)


def test_info_is_the_manifest(link, emulator, manifest):
    info = link.info()
    assert (info.board, info.engine, info.model_hash) == (emulator.board, "aot", manifest.model_hash)
    assert list(info.labels) == manifest.labels
    assert (info.window_samples, info.hop_samples) == (manifest.frontend.window_samples, manifest.frontend.hop_samples)
    assert info.input_bytes == manifest.window_frames * manifest.frontend.channels
    assert info.default_stride == manifest.detector.stride_hops
    assert info.firmware and len(info.build) == 12 and info.arena_bytes > 0
    if emulator.kind == "qemu":
        # The calibration loop's instructions are known; under -icount a tick is exactly one of them.
        assert info.timer_source == "TIM2"
        assert info.calibration_ticks == info.calibration_expected > 1000
        assert 0 < info.stack_used < info.stack_bytes and info.free_ram > 0


def test_inference_equals_tflite_micro(link, manifest, oracle):
    rng = np.random.default_rng(1)
    size = manifest.window_frames * manifest.frontend.channels
    inputs = rng.integers(-128, 128, (6, size)).astype(np.int8)
    inputs[3:] = np.clip(rng.normal(-60, 40, (3, size)), -128, 127).astype(np.int8)
    expected = oracle.run(inputs, tuple(manifest.input.shape))
    for values, outputs in zip(inputs, expected, strict=True):
        assert list(infer(link, values).output) == list(outputs)


@pytest.mark.parametrize("samples", [16000, 7777, 480, 479, 0])
def test_a_clip_equals_the_host(link, manifest, oracle, samples):
    """Features bit for bit, and the posterior of the last window, filled up in front where the clip is short."""
    audio = speechlike(samples)
    send_stream(link, audio, CLIP, SEND_FEATURES)
    got = events(link, StreamDone)
    features, values = windows(manifest, audio) if samples else (np.zeros((0, 40)), np.zeros((0, 40), np.int8))
    sent = [e for e in got if isinstance(e, Features)]
    assert [e.frame for e in sent] == list(range(len(features)))
    assert np.array_equal(np.array([e.values for e in sent]).reshape(features.shape), features)
    window = np.full((manifest.window_frames, manifest.frontend.channels), manifest.input.zero_point, np.int8)
    tail = values[-manifest.window_frames :]
    if len(tail):
        window[-len(tail) :] = tail
    expected = oracle.run(window.reshape(1, -1), tuple(manifest.input.shape))[0]
    (result,) = [e for e in got if isinstance(e, Result)]
    assert list(result.output) == list(expected)
    assert result.frontend_frames == len(features)
    done = got[-1]
    assert (done.total, done.frames, done.inferences, done.dropped) == (samples, len(features), 1, 0)


def test_continuous_results_and_detections(link, emulator, manifest, oracle):
    """Every inference at its place, with the detector set so that whatever is on top fires."""
    audio = speechlike(40000)
    before = link.info().detector
    fires = Detector(2, 1, 8000, (1,) * len(manifest.labels))
    link.set_detector(fires)
    try:
        send_stream(link, audio, CONTINUOUS, SEND_RESULTS, stride=7, block=100)
        got = events(link, StreamDone)
    finally:
        link.set_detector(before)
    _, values = windows(manifest, audio)
    ends = list(range(manifest.window_frames, len(values) + 1, 7))
    stack = np.stack([values[e - manifest.window_frames : e].reshape(-1) for e in ends])
    expected = oracle.run(stack, tuple(manifest.input.shape))
    results = [e for e in got if isinstance(e, Result)]
    hop, window = manifest.frontend.hop_samples, manifest.frontend.window_samples
    assert [r.position for r in results] == [window + (e - 1) * hop for e in ends]
    assert [list(r.output) for r in results] == [list(row) for row in expected]
    assert all(r.frontend_ticks > 0 and r.inference_ticks > 0 for r in results)
    # The rule itself is tested in test_detector.py and test_look.py; here the device follows the host's.
    rule = manifest.detector.model_copy(
        update={"window": 2, "min_count": 1, "refractory_samples": 8000, "thresholds": [1] * len(manifest.labels)}
    )
    look = manifest.look
    levels = levels_of(values, len(expected), manifest.window_frames, 7, look.frames) if look else None
    found = run_detector(rule, expected, results[0].position, 7 * hop, look=look, levels=levels)
    wanted = [(d.position, d.label, d.score) for d in found]
    assert wanted
    assert [(d.position, d.label, d.score) for d in got if isinstance(d, Detection)] == wanted


def test_stats_and_nothing_lost(link):
    link.stats(clear=True)
    send_stream(link, speechlike(16000), CLIP)
    events(link, StreamDone)
    stats = link.stats()
    assert stats.rx_frames == 2 + -(-16000 // 254) + 1  # the second STATS is one more
    lost = ("rx_malformed", "rx_crc", "rx_missing", "rx_duplicate", "rx_ring_overflow", "tx_dropped", "audio_dropped")
    assert [getattr(stats, name) for name in lost] == [0] * len(lost)
    assert link.counters.lost == link.counters.repeated == 0


REFUSED = [
    (0x42, b"", 1),
    (Command.STATS, b"\2", 2),
    (Command.STATS, b"", 2),
    (Command.INFO, b"x", 2),
    (Command.STREAM_START, b"\2\0\0\0", 2),
    (Command.STREAM_START, b"\0\x20\0\0", 2),
    (Command.STREAM_START, b"\0\x10\0\0", 2),  # ADPCM of no audio
    (Command.STREAM_START, b"\1\4\0\0", 4),  # no microphone here
    (Command.STREAM_START, b"", 2),
    (Command.STREAM_DATA, b"\0\0\0\0\1\0", 3),
    (Command.STREAM_DATA, b"\0\0\0\0\1", 2),
    (Command.STREAM_STOP, b"\0\0\0\0", 3),
    (Command.STREAM_STOP, b"\0", 2),
    (Command.INFER_FEATURES, struct.pack("<HH", 0, 7) + b"abc", 2),
    (Command.INFER_FEATURES, struct.pack("<HH", 100, 1960) + b"abc", 6),
    (Command.INFER_FEATURES, b"\0\0", 2),
    (Command.RESET, b"\7", 2),
    (Command.SET_DETECTOR, struct.pack("<BBHIB", 0, 1, 0, 0, 10) + bytes(10), 2),
    (Command.SET_DETECTOR, struct.pack("<BBHIB", 4, 1, 0, 0, 40) + bytes(40), 2),
    (Command.SET_DETECTOR, struct.pack("<BBHIB", 4, 1, 0, 0, 10) + bytes(9), 2),
    (Command.DIE, struct.pack("<IB", 1, 0), 2),
]


def test_what_makes_no_sense_is_refused_by_code(link):
    for command, payload, code in REFUSED:
        link.send(command, payload)
        refusal = events(link, Refusal)[-1]
        assert (refusal.command, refusal.code) == (command, code), (command, payload, refusal)
    assert infer(link, np.zeros(link.info().input_bytes, np.int8)).output  # and it goes on


def test_wrong_positions(link):
    link.send(Command.STREAM_START, b"\0\0\0\0")
    link.send(Command.STREAM_DATA, struct.pack("<I", 5) + b"\1\0" * 4)
    assert events(link, Refusal)[-1].code == 6
    link.send(Command.STREAM_DATA, struct.pack("<I", 0) + b"\1\0" * 4)
    link.send(Command.STREAM_STOP, struct.pack("<I", 5))
    assert events(link, Refusal)[-1].code == 6
    first, *_ = infer_features(np.zeros(1960, np.int8))
    link.send(Command.INFER_FEATURES, first)
    assert events(link, Refusal)[-1].code == 3  # a stream is running
    link.send(Command.STREAM_STOP, struct.pack("<I", 4))
    assert events(link, StreamDone)[-1].total == 4


def test_a_new_session_ends_the_old_stream(emulator):
    with Link.open(emulator.url, timeout=60) as one:
        one.send(Command.STREAM_START, b"\1\0\0\0")
        one.send(Command.STREAM_DATA, struct.pack("<I", 0) + b"\1\0" * 200)
        one.drain()
    with Link.open(emulator.url, timeout=60) as two:
        two.send(Command.STREAM_DATA, struct.pack("<I", 200) + b"\1\0")
        assert events(two, Refusal)[-1].code == 3


def test_restart_keeps_the_port(link, emulator):
    assert link.info().board == emulator.board
    reply = link.restart(timeout=60)
    assert reply.has_fault == 0
    assert link.info().board == emulator.board


@pytest.mark.qemu
@pytest.mark.parametrize(("kind", "recorded"), [(0, 4), (1, 5)], ids=["undefined instruction", "stack overflow"])
def test_a_fault_is_recorded_over_the_reset(tmp_path, kind, recorded):
    built = image("disco_f407vg")
    elf = private_copy(built, tmp_path)
    with emulate.start("disco_f407vg", elf) as running, Link.open(running.url, timeout=60) as link:
        reply = link.restart(timeout=60, die=kind)
        assert (reply.reset_reason, reply.has_fault) == (5, 1)
        fault = events(link, Fault)[-1]
        assert fault.kind == recorded
        if kind == 0:
            assert 0x08000000 <= fault.pc < 0x08000000 + built.flash_total
        assert link.hello(60).has_fault == 0  # told once
        assert not [e for e in iter(lambda: link.next_event(0.2), None) if isinstance(e, Fault)]


class Wire:
    """The bare line, for what a well-behaved host never sends."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 10)
        self.decoder = Decoder()
        self.pending: list[Frame] = []

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, kind: int, timeout: float = 60) -> list[Frame]:
        found: list[Frame] = []
        self.socket.settimeout(timeout)
        while True:
            while self.pending:
                frame = self.pending.pop(0)
                found.append(frame)
                if frame.type == kind:
                    return found
            data = self.socket.recv(65536)
            assert data, "the line was closed"
            self.pending += [f for f in self.decoder.feed(data) if isinstance(f, Frame)]

    def drain(self) -> None:
        """Reads what is there, so that a device that answers everything is never held up by us."""
        self.socket.settimeout(0)
        try:
            while data := self.socket.recv(65536):
                self.pending += [f for f in self.decoder.feed(data) if isinstance(f, Frame)]
        except BlockingIOError:
            pass


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> Path:
    return private_copy(image("host"), tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("seed", range(3))
def test_hostile_commands_never_break_the_application(sanitized, seed):
    """Thousands of well-framed frames with random commands and payloads, and noise between, under ASan and UBSan."""
    generator = random.Random(seed)
    sensible = [c for c in Command if c not in (Command.HELLO, Command.DIE, Command.RESET)]
    with emulate.start("host", sanitized) as running:
        wire = Wire(running.url)
        wire.send(b"\0" + Frame(Command.HELLO, 0, b"\1\0").encode())
        wire.until(0x82)
        seq, position, sent = 1, 0, 0
        for _ in range(4000):
            kind: int = generator.choice(sensible)
            payload = generator.randbytes(generator.choice([0, 1, 4, 5, 9, 19, 64, 512]))
            if kind == Command.STREAM_START and generator.random() < 0.8:
                payload, position = struct.pack("<BBH", generator.randrange(2), generator.randrange(4), 40), 0
            elif kind == Command.STREAM_DATA and generator.random() < 0.8:
                n = generator.randrange(1, 255)
                payload = struct.pack("<I", position) + generator.randbytes(2 * n)
                position += n
            elif kind == Command.STREAM_STOP and generator.random() < 0.5:
                payload = struct.pack("<I", position)
            elif kind == Command.INFER_FEATURES and generator.random() < 0.5:
                payload = struct.pack("<HH", generator.choice([0, 490, 1500]), 1960) + payload
            elif generator.random() < 0.1:
                kind = generator.randrange(0x0C, 0x80)
            frame = Frame(kind, seq, payload[:512]).encode()
            seq = (seq + 1) % 65536
            if generator.random() < 0.02:
                frame = generator.randbytes(generator.randrange(900)) + b"\0" + frame
            wire.send(frame)
            sent += len(frame)
            if sent > 4000:  # as little as any window holds
                wire.drain()
                sent = 0
        wire.send(b"\0" + Frame(Command.HELLO, 5, b"\1\0").encode() + Frame(Command.STATS, 6, b"\0").encode())
        wire.until(0x82)
        stats = struct.unpack("<16I", wire.until(0x84)[-1].payload)
        running.check()
        assert stats[0] > 3500 and stats[1] + stats[2] + stats[3] > 0
        assert stats[13] > 100_000


def test_line_that_goes_away_in_the_middle(sanitized):
    with emulate.start("host", sanitized) as running:
        for cut in (1, 7, 300):
            wire = Wire(running.url)
            wire.send(
                b"\0" + Frame(Command.HELLO, 0, b"\1\0").encode() + Frame(Command.STREAM_START, 1, bytes(4)).encode()
            )
            wire.until(0x82)
            wire.send(Frame(Command.STREAM_DATA, 2, bytes(508)).encode()[:cut])
            wire.socket.close()
        with Link.open(running.url, timeout=20) as link:
            assert isinstance(link.info(), Info)


def test_a_pty_works_like_a_port(sanitized):
    with emulate.start("host", sanitized, pty=True) as running:
        assert running.url.startswith("/dev/")
        for _ in range(2):
            with Link.open(running.url, timeout=20) as link:
                assert link.info().board == "host"


def info_fields(wire: Wire) -> list[tuple[int, bytes]]:
    fields, more = [], True
    while more:
        payload, more = wire.until(0x83)[-1].payload, False
        while payload:
            tag, size = payload[0], payload[1]
            fields.append((tag, payload[2 : 2 + size]))
            more |= tag == 12
            payload = payload[2 + size :]
    return fields


def test_the_longest_labels_arrive_whole(tmp_path):
    labels = [f"{'long keyword '[:8]}{i:02d} {'x' * 19}" for i in range(28)] + ["unknown", "silence"]
    with kept_folder("firmware-long-labels") as folder:
        built = build("host", small_model(tmp_path, labels), out=folder, variant=Variant(flags=SANITIZE))
        elf = private_copy(built, tmp_path)
    with emulate.start("host", elf) as running:
        wire = Wire(running.url)
        wire.send(b"\0" + Frame(Command.HELLO, 0, b"\1\0").encode() + Frame(Command.INFO, 1, b"").encode())
        fields = info_fields(wire)
        assert b"".join(v for tag, v in fields if tag == 5).decode().split("\n") == labels
        assert sorted({tag for tag, _ in fields}) == list(range(1, 13))
        wire.socket.close()
        with Link.open(running.url, 30) as link:
            assert list(link.info().labels) == labels


def test_the_led_is_lit_for_a_moment_at_a_detection(sanitized, manifest, monkeypatch):
    monkeypatch.setenv("KWS_HOST_LED", "1")
    with emulate.start("host", sanitized) as running, Link.open(running.url, timeout=20) as link:
        link.set_detector(Detector(2, 1, 8000, (1,) * len(manifest.labels)))
        audio = np.random.default_rng(3).integers(-9000, 9000, 3 * 16000, dtype=np.int16)
        found = sum(isinstance(event, Detection) for event in stream_continuous(link, [audio], stride=4))
        lit = running.stderr_text().splitlines()
        deadline = time.monotonic() + 20
        while not running.stderr_text().endswith("led 0") and time.monotonic() < deadline:
            link.info()  # whatever: the main loop turns
            time.sleep(0.05)
        ended = running.stderr_text().splitlines()
    assert found and lit[0] == "led 1" and lit.count("led 1") == found
    assert ended[-1] == "led 0" and ended.count("led 1") == found
