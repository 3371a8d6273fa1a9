"""The device's half of the link, compiled with sanitizers, against a model of docs/protocol.md in Python."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.link.codes import Reason
from host_tools.link.frames import BadFrame, Decoder, Frame, cobs_decode, cobs_encode
from model_pipeline.native import FIRMWARE, shared_library

LINK = FIRMWARE / "core" / "link"
MAX_RUN = 525
ACK, NAK, HELLO = 0x80, 0x81, 0x01


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    program = tmp_path_factory.mktemp("link") / "driver"
    command = ["gcc", "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", f"-I{LINK}", str(LINK / "kws_link.c")]
    command += [str(Path(__file__).parent / "link_driver.c"), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


@dataclass
class Received:
    acted: list[tuple[int, int, bytes]] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    stats: dict[str, int] = field(default_factory=dict)

    def frames(self) -> list[Frame]:
        found = Decoder().feed(bytes(self.sent))
        assert all(isinstance(f, Frame) for f in found), "the device sent something that is not a frame"
        return found  # type: ignore[return-value]


STATS = "rx_frames rx_malformed rx_crc rx_oversized rx_length rx_missing rx_duplicate rx_version tx_frames tx_dropped"


def run(driver: Path, chunks: Iterable[bytes], window: int = 15) -> Received:
    """Hands the chunks over one by one; an empty chunk says that no input waits."""
    data = b"".join(struct.pack("<I", len(c)) + c for c in chunks)
    done = subprocess.run([driver, str(window)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    outcome, at = Received(), 0
    while at < len(done.stdout):
        what, size = struct.unpack_from("<cI", done.stdout, at)
        body = done.stdout[at + 5 : at + 5 + size]
        at += 5 + size
        if what == b"T":
            outcome.sent += body
        elif what == b"F":
            outcome.acted.append((body[0], int.from_bytes(body[1:3], "little"), body[3:]))
        else:
            outcome.stats = dict(zip(STATS.split(), struct.unpack("<10I", body), strict=True))
    return outcome


def wire(kind: int, seq: int, payload: bytes = b"", version: int = 1) -> bytes:
    return Frame(kind, seq, payload, version).encode()


def raw(body: bytes) -> bytes:
    """Any body with a right CRC."""
    return cobs_encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


class Receiver:
    """What docs/protocol.md says of a receiver, in the plainest words: which frames are acted on, what is counted."""

    def __init__(self) -> None:
        self.acted: list[tuple[int, int, bytes]] = []
        self.counts = dict.fromkeys(("malformed", "crc", "oversized", "length", "missing", "duplicate", "version"), 0)
        self.naks: list[tuple[int, int, int]] = []
        self.expected = 0
        self.open = False
        self.gap_told = False

    def take(self, item: Frame | BadFrame) -> None:
        if isinstance(item, BadFrame):
            self.counts[item.reason.name.lower()] += 1
            self.naks.append((item.reason, self.expected, item.seq))
            return
        if item.type == HELLO:
            self.open, self.expected = True, item.seq
        ahead = (item.seq - self.expected) % 65536
        if not self.open or 0 < ahead < 32768:
            self.counts["missing"] += 1
            if not self.gap_told:
                self.naks.append((Reason.MISSING, self.expected, item.seq))
            self.gap_told = True
        elif ahead:
            self.counts["duplicate"] += 1
        else:
            self.acted.append((item.type, item.seq, item.payload))
            self.expected = (self.expected + 1) % 65536
            self.gap_told = False


def agree(outcome: Received, stream: bytes) -> Receiver:
    receiver = Receiver()
    for item in Decoder().feed(stream):
        receiver.take(item)
    assert outcome.acted == receiver.acted
    assert {k: outcome.stats[f"rx_{k}"] for k in receiver.counts} == receiver.counts
    assert outcome.stats["rx_frames"] == len(receiver.acted)
    naks = [struct.unpack("<BxHH", f.payload) for f in outcome.frames() if f.type == NAK]
    assert naks == receiver.naks
    return receiver


def test_crc_is_zlibs():
    crc = shared_library("link", [LINK / "kws_link.c"], [LINK]).kws_crc32
    crc.restype = crc.argtypes = None
    import ctypes

    crc.restype, crc.argtypes = ctypes.c_uint32, [ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t]
    generator = random.Random(1)
    for size in [*range(40), 522]:
        data = generator.randbytes(size)
        assert crc(0, data, size) == zlib.crc32(data)
        assert crc(crc(0, data[:7], min(7, size)), data[7:], max(0, size - 7)) == zlib.crc32(data)


SIZES = [0, 1, 5, 243, 244, 245, 246, 253, 254, 255, 497, 498, 499, 508, 510, 511, 512]


@pytest.mark.parametrize("fill", [b"\0", b"\1", b"\xff", None], ids=["zeros", "ones", "ff", "random"])
def test_echo_of_every_awkward_length(driver, fill):
    generator = random.Random(7)
    payloads = [fill * n if fill else generator.randbytes(n) for n in SIZES]
    chunks = [b"\0" + wire(HELLO, 9)] + [wire(0x70, 10 + i, p) for i, p in enumerate(payloads)]
    outcome = run(driver, chunks)
    assert [f.payload for f in outcome.frames() if f.type == 0xF0] == payloads
    assert [f.seq for f in outcome.frames()] == list(range(len(outcome.frames())))
    assert len(max(bytes(outcome.sent).split(b"\0"), key=len)) <= MAX_RUN


def test_too_long_to_send_is_dropped_and_leaves_a_gap(driver):
    outcome = run(driver, [wire(HELLO, 0), wire(0x72, 1), wire(0x70, 2, b"after")], window=64)
    assert outcome.stats["tx_dropped"] == 1
    assert [(f.type, f.seq) for f in outcome.frames()] == [(0xF0, 1)]


def test_half_a_frame_sent_is_ended_before_the_next(driver):
    """The port takes 3 bytes of a frame, then all again: the next frame must not be glued to the torso."""
    chunks = [wire(HELLO, 0), wire(0x71, 1, b"\3"), wire(0x70, 2, b"lost"), wire(0x71, 3), wire(0x70, 4, b"seen")]
    outcome = run(driver, chunks, window=64)
    found = Decoder().feed(bytes(outcome.sent))
    assert isinstance(found[0], BadFrame)
    assert isinstance(found[-1], Frame) and (found[-1].payload, found[-1].seq) == (b"seen", 1)
    assert outcome.stats["tx_dropped"] == 1


def test_acknowledges_each_quarter_window_and_when_idle(driver):
    chunks = [wire(HELLO, 100)] + [wire(0x60, 101 + i) for i in range(9)] + [b"", b""]
    acks = [struct.unpack("<HH", f.payload) for f in run(driver, chunks, window=16).frames() if f.type == ACK]
    assert acks == [(104, 16), (108, 16), (110, 16)]


def test_nothing_is_acted_on_before_hello(driver):
    stream = wire(0x60, 0) + wire(0x60, 1)
    outcome = run(driver, [stream])
    assert not agree(outcome, stream).acted
    assert outcome.stats["rx_missing"] == 2
    assert len([f for f in outcome.frames() if f.type == NAK]) == 1


def test_sequence_wraps(driver):
    stream = wire(HELLO, 65533) + b"".join(wire(0x60, (65534 + i) % 65536, bytes([i])) for i in range(5))
    outcome = run(driver, [stream])
    assert len(agree(outcome, stream).acted) == 6


def test_missing_then_repeated(driver):
    frames = [wire(0x60, 1 + i, bytes([i])) for i in range(4)]
    stream = wire(HELLO, 0) + frames[0] + frames[2] + frames[3] + frames[0] + b"".join(frames[1:])
    receiver = agree(run(driver, [stream]), stream)
    assert [p for _, _, p in receiver.acted[1:]] == [b"\0", b"\1", b"\2", b"\3"]
    assert receiver.counts["missing"] == 2 and receiver.counts["duplicate"] == 1 and len(receiver.naks) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\5ab\0", Reason.MALFORMED),
        (b"\3ab\0", Reason.MALFORMED),  # decodes, but is too short
        (b"\1" * MAX_RUN + b"\0", Reason.CRC),
        (b"\1" * (MAX_RUN + 1) + b"\0", Reason.OVERSIZED),
        (b"\xff" * 5000 + b"\0", Reason.OVERSIZED),
        (wire(0x60, 1, b"x" * 20)[:-5] + b"zzzz\0", Reason.CRC),
        (raw(struct.pack("<BBHH", 0x60, 1, 1, 9) + b"short"), Reason.LENGTH),
        (raw(struct.pack("<BBHH", 0x60, 1, 1, 513) + (b"y" * 50 + b"\0") * 10 + b"yyy"), Reason.LENGTH),
        (wire(0x60, 1, version=2), Reason.VERSION),
    ],
)
def test_each_bad_frame_is_counted_answered_and_survived(driver, bad, reason):
    stream = wire(HELLO, 0) + bad + wire(0x60, 1, b"next")
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        receiver = agree(run(driver, chunks), stream)
        assert receiver.counts[reason.name.lower()] == 1
        assert [n[0] for n in receiver.naks] == [reason]
        assert receiver.acted[-1] == (0x60, 1, b"next")


def mangle(generator: random.Random, frames: int) -> bytes:
    """A stream of good frames with all that can happen to them on the way."""
    out = bytearray(b"\0" + wire(HELLO, 0))
    seq = 1
    accidents: list[Callable[[bytes], bytes]] = [
        lambda f: b"",
        lambda f: f + f,
        lambda f: f[: generator.randrange(len(f))],
        lambda f: f[:-1] + f,
        lambda f: bytes(b ^ (1 << generator.randrange(8)) if generator.random() < 0.02 else b for b in f),
        lambda f: generator.randbytes(generator.randrange(1, 700)) + f,
        lambda f: generator.randbytes(generator.randrange(1, 40)).replace(b"\0", b"\1") * 40 + b"\0" + f,
        lambda f: f + wire(0x61, generator.randrange(65536), b"stray"),
        lambda f: wire(HELLO, generator.randrange(65536)) + f,
        lambda f: raw(generator.randbytes(generator.randrange(12))) + f,
        lambda f: raw(struct.pack("<BBHH", 0x60, generator.choice([1, 2]), seq, 9) + b"eight by") + f,
    ]
    for _ in range(frames):
        size = generator.choice([0, 2, 8, 40, 508, 512])
        frame = wire(0x60, seq, generator.randbytes(size))
        seq = (seq + 1) % 65536
        if generator.random() < 0.25:
            frame = generator.choice(accidents)(frame)
        out += frame
        if generator.random() < 0.02:  # the host begins again
            seq = generator.randrange(65536)
            out += wire(HELLO, seq)
            seq = (seq + 1) % 65536
    return bytes(out)


def cut(generator: random.Random, stream: bytes) -> list[bytes]:
    chunks, at = [], 0
    while at < len(stream):
        size = generator.choice([1, 2, 64, 256, 4096])
        chunks.append(stream[at : at + size])
        at += size
        if generator.random() < 0.1:
            chunks.append(b"")
    return chunks


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_mangled_frames(driver, seed):
    generator = random.Random(seed)
    stream = mangle(generator, 10_000) + b"\0"
    receiver = agree(run(driver, cut(generator, stream)), stream)
    assert len(receiver.acted) > 1000
    assert all(receiver.counts.values()), "not every accident was met"


@pytest.mark.parametrize("seed", range(2))
def test_pure_noise(driver, seed):
    generator = random.Random(100 + seed)
    stream = generator.randbytes(1 << 20) + b"\0"
    receiver = agree(run(driver, cut(generator, stream)), stream)
    assert not receiver.acted and receiver.counts["malformed"] > 1000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=560), max_size=6), st.integers(1, 600))
def test_any_bytes_in_any_pieces(driver, pieces, size):
    stream = wire(HELLO, 3) + b"\0".join(pieces) + b"\0" + wire(0x60, 4)
    agree(run(driver, [stream[i : i + size] for i in range(0, len(stream), size)]), stream)


@given(st.binary(max_size=600))
def test_host_codec_is_its_own_inverse(data):
    assert cobs_decode(cobs_encode(data)) == data
