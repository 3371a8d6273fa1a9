"""``python -m tests.support.link_vectors`` writes tests/link/vectors.json: docs/protocol.md as bytes, for any language.
The payloads are packed here by the tables of that page, not by the code that is tested."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from host_tools.link.codes import Command
from host_tools.link.events import Audio, Event
from host_tools.link.frames import BadFrame, Decoder, Frame, cobs_encode, decode_frame
from host_tools.link.payloads import parse_event

PATH = Path(__file__).resolve().parents[1] / "link" / "vectors.json"
_DETECTOR = struct.pack("<BBBBIB", 6, 1, 2, 0, 12000, 3) + bytes([196, 184, 0])
_SHAPE = struct.pack("<BB8I", 6, 32, 16000, 480, 320, 40, 49, 1960, 3, 4)
_TIMER = struct.pack("<BB5I", 7, 20, 168_000_000, 168_000_000, 1000, 1001, 0)
_MEMORY = struct.pack("<BB5I", 9, 20, 31120, 1_000_000, 8192, 700, 50_000)


def _field(tag: int, value: bytes) -> bytes:
    return bytes([tag, len(value)]) + value


_INFO = (
    _SHAPE
    + _TIMER
    + _MEMORY
    + _field(1, b"1.2.3")
    + _field(2, b"disco_f407vg")
    + _field(3, b"aot")
    + _field(4, b"0123456789abcdef")
    + _field(200, b"of a later version")
    + _field(10, _DETECTOR)
    + _field(5, b"yes\nn")
)
_PCM = struct.pack("<IIBBhH4h", 480, 3, 0, 0, 0, 4, 0, -1, 32767, -32768)
_ADPCM_ODD = struct.pack("<IIBBhH", 0xFFFFFF00, 0, 1, 20, -77, 5) + bytes([0x7F, 0x08, 0x03])
_RESULT = struct.pack("<6IB", 7, 31840, 100_000, 4, 1_400_000, 500, 3) + struct.pack("<3b", -128, 127, 0)
_EVENTS = [
    (0x80, "ACK", struct.pack("<HH", 65535, 15)),
    (0x81, "NAK", struct.pack("<BBHH", 5, 0, 3, 9)),
    (0x82, "HELLO_REPLY", struct.pack("<HHHBB", 1, 15, 512, 1, 0)),
    (0x83, "INFO_REPLY", _INFO + _field(5, b"o\nunknown")),
    (0x83, "INFO_REPLY", _INFO + _field(12, b"\1")),
    (0x83, "INFO_REPLY", _INFO + _field(13, struct.pack("<BBBBHH", 2, 1, 5, 4, 160, 3) + b"okay nabu\x1b")),
    (0x84, "STATS_REPLY", struct.pack("<16I", *range(1, 16), 0xFFFFFFFF)),
    (0x85, "RESULT", _RESULT),
    (0x86, "DETECTION", struct.pack("<IBB", 31840, 1, 201)),
    (0x83, "INFO_REPLY", _field(2, b"[b]\x1b[2J\n") + _field(3, "aot\u202e".encode()) + _field(1, b"a" * 70)),
    (0x83, "INFO_REPLY", b""),
    (0x87, "LOG", b"\2" + "na\u00efve <b>".encode()),
    (0x87, "LOG", b"\3\xff\0" + "\ufeffx".encode()),
    (0x88, "FAULT", struct.pack("<7I", 1, 0x08001234, 0x08005678, 0x00008200, 0xDEADBEEF, 0x2001FF00, 12345)),
    (0x89, "FEATURES", struct.pack("<I3H", 5, 0, 65535, 670)),
    (0x8A, "ERROR", struct.pack("<BBH", 4, 4, 2) + b"no microphone on this board"),
    (0x8B, "STREAM_DONE", struct.pack("<4I", 16000, 49, 12, 3)),
    (0x8C, "READY", struct.pack("<H", 2)),
    (0x8D, "SET_DETECTOR_OK", b"\3"),
    (0x8E, "RESET_OK", b"\0"),
    (0x8F, "PROFILE_REPLY", struct.pack("<HH2I", 1, 3, 1000, 2000)),
    (0x90, "AUDIO", _PCM),
    (0x90, "AUDIO", _ADPCM_ODD),
]
_BAD_EVENTS = [
    (0x80, b"\0\0\0"),
    (0x80, bytes(5)),
    (0x83, b"\1\5abc"),
    (0x83, _field(6, bytes(31))),
    (0x83, _field(10, _DETECTOR[:-1])),
    (0x83, _field(13, bytes(7))),
    (0x84, bytes(60)),
    (0x85, _RESULT + b"\0"),
    (0x87, b""),
    (0x89, bytes(7)),
    (0x8A, bytes(3)),
    (0x8F, struct.pack("<HHI", 3, 3, 5)),  # more calls than there are
    (0x8F, bytes(6)),
    (0x85, _RESULT[:-1]),
    (0x86, b""),
    (0x8B, bytes(15)),
    (0x90, _PCM[:-1]),
    (0x90, _PCM[:13]),
    (0x90, struct.pack("<IIBBhH", 0, 0, 0, 0, 0, 0)),  # no sample
    (0x90, struct.pack("<IIBBhH", 0, 0, 2, 0, 0, 1) + b"\0\0"),  # an unknown coding
    (0x90, struct.pack("<IIBBhH", 0, 0, 1, 89, 0, 1) + b"\0"),  # no such step
    (0x90, _ADPCM_ODD + b"\0"),
]


# INFO's sizes and labels, with one thing wrong in each: none of them is to be believed.
_SIZES = dict(
    sample_rate=16000,
    window_samples=480,
    hop_samples=320,
    channels=40,
    window_frames=49,
    input_bytes=1960,
    output_bytes=3,
    default_stride=4,
)
_LABELS = "j\u00e0\nno\nunknown".encode()
_WRONG_SIZES = [
    dict(sample_rate=44100),
    dict(window_samples=0),
    dict(window_samples=1025),
    dict(hop_samples=0xFFFFFFFF),
    dict(channels=65, input_bytes=49 * 65),
    dict(window_frames=1001, input_bytes=40 * 1001),
    dict(input_bytes=1961),
    dict(output_bytes=2),
    dict(default_stride=0),
    dict(default_stride=1001),
]
_WRONG_LABELS = [
    b"a\na\nb",
    b"a\n\nb",
    b"a\n b\nc",
    b"a\nb\nc ",
    b"a\nb\x1b\nc",
    "a\nb\u202e\nc".encode(),
    b"a\nb\n" + b"c" * 49,
]


def _infos() -> list[dict[str, Any]]:
    def info(labels: bytes = _LABELS, **changes: int) -> str:
        return (_field(6, struct.pack("<8I", *(_SIZES | changes).values())) + _field(5, labels)).hex()

    def parts(*labels: int) -> str:
        return b"".join(_field(13, struct.pack("<BBBBHH", n, 0, 5, 4, 160, 3) + b"a model") for n in labels).hex()

    rows = [(info(), True), (info(b"a\nb\n" + b"c" * 48), True)]
    rows += [(info(b"a\nb\na") + parts(2, 1), True), (info(b"a\nb\nb") + parts(1, 2), False)]
    rows += [(info() + parts(*labels), False) for labels in [(2,), (3, 1), (3, 0), (1, 1)]]
    rows += [(info(**change), False) for change in _WRONG_SIZES] + [(info(labels), False) for labels in _WRONG_LABELS]
    return [{"payload": payload, "believed": believed} for payload, believed in rows]


def _commands() -> list[dict[str, Any]]:
    return [
        {"name": "HELLO", "type": 0x01, "fields": {"protocol": 1}, "payload": struct.pack("<H", 1).hex()},
        {"name": "INFO", "type": 0x02, "fields": {}, "payload": ""},
        {"name": "STATS", "type": 0x03, "fields": {"clear": 1}, "payload": "01"},
        {
            "name": "STREAM_START",
            "type": 0x04,
            "fields": {"mode": 1, "flags": 15, "stride": 4},
            "payload": struct.pack("<BBH", 1, 15, 4).hex(),
        },
        {
            "name": "STREAM_DATA",
            "type": 0x05,
            "fields": {"position": 0xFFFFFFFE, "samples": [-32768, 0, 32767]},
            "payload": struct.pack("<I3h", 0xFFFFFFFE, -32768, 0, 32767).hex(),
        },
        {"name": "STREAM_STOP", "type": 0x06, "fields": {"total": 16000}, "payload": struct.pack("<I", 16000).hex()},
        {"name": "RESET", "type": 0x08, "fields": {"kind": 0}, "payload": "00"},
        {
            "name": "SET_DETECTOR",
            "type": 0x09,
            "fields": dict(window=6, min_count=1, rest=2, refractory_samples=12000, thresholds=[196, 184, 0]),
            "payload": _DETECTOR.hex(),
        },
    ]


def plain(event: Event) -> dict[str, Any]:
    """The fields of an event as JSON has them."""
    if isinstance(event, Audio):
        return {**event.as_dict(), "samples": event.samples.tolist()}
    values = {key: value for key, value in asdict(event).items() if key not in ("at", "payload", "reserved")}
    if isinstance(values.get("detector"), dict):
        values["detector"].pop("at")
    return json.loads(json.dumps(values))


def _frames() -> list[dict[str, Any]]:
    rng = random.Random(20)
    payloads = [b"", b"\0", b"\0" * 512, b"\xff" * 253, b"\x01" * 254, b"\x02" * 244 + b"\0", rng.randbytes(512)]
    payloads += [rng.randbytes(size) for size in (243, 244, 245, 497, 498, 499)]  # about COBS's groups of 254
    return [
        {"type": kind, "seq": seq, "payload": payload.hex(), "wire": Frame(kind, seq, payload).encode().hex()}
        for kind, seq, payload in zip([1, 5, 0x90] * 5, [0, 1, 65535, 256] * 4, payloads, strict=False)
    ]


def _not_frames() -> list[dict[str, Any]]:
    whole = Frame(Command.STATS, 9, b"\1")
    body = whole.encode()[:-1]
    damaged = bytearray(body)
    damaged[3] ^= 0x40
    runs = [
        bytes(damaged),
        body[:5],
        b"\x05\x01",  # a group that runs past the end
        Frame(3, 9, b"\1", version=2).encode()[:-1],
        cobs_encode(_with_crc(struct.pack("<BBHH", 3, 1, 9, 2) + b"\1")),
    ]
    found = []
    for run in runs:
        bad = decode_frame(run)
        assert isinstance(bad, BadFrame)
        found.append({"wire": run.hex() + "00", "reason": int(bad.reason), "seq": bad.seq})
    found.append({"wire": (b"\1" * 526).hex() + "00", "reason": 3, "seq": 0})
    return found


def _with_crc(body: bytes) -> bytes:
    import zlib

    return body + struct.pack("<I", zlib.crc32(body))


def _line() -> dict[str, Any]:
    """A line with garbage, in pieces as a port gives them, and what a receiver finds."""
    good = [Frame(0x85, n, bytes([n]) * 30).encode() for n in range(4)]
    data = b"noise\0\0" + good[0] + good[1][:-9] + b"\0" + b"\7" * 600 + b"\0" + good[2] + b"\0" + good[3]
    rng = random.Random(21)
    pieces, at = [], 0
    while at < len(data):
        size = rng.randint(1, 90)
        pieces.append(data[at : at + size].hex())
        at += size
    found: list[dict[str, Any]] = []
    for item in Decoder().feed(data):
        if isinstance(item, BadFrame):
            found.append({"reason": int(item.reason)})
        else:
            found.append({"type": item.type, "seq": item.seq, "payload": item.payload.hex()})
    return {"pieces": pieces, "found": found}


def speech_like(count: int) -> np.ndarray:
    """int16 [count]: silence, a chirp up to full scale, and steps between the ends of the range."""
    t = np.arange(count) / 16000
    rising = np.minimum(1.0, t * count / 8000)
    chirp = 32767 * rising * np.sin(2 * np.pi * (200 + 3000 * t / t[-1]) * t)
    chirp[: count // 10] = 0
    chirp[-count // 10 :: 2], chirp[-count // 10 + 1 :: 2] = -32768, 32767
    return chirp.astype(np.int16)


def make() -> dict[str, Any]:
    """All of it, but for the codes of ``adpcm``, which the firmware's own encoder makes."""
    events = []
    for kind, name, payload in _EVENTS:
        fields = plain(parse_event(Frame(kind, 0, payload)))
        events.append({"type": kind, "name": name, "payload": payload.hex(), "fields": fields})
    return {
        "about": "docs/protocol.md as bytes; written by python -m tests.support.link_vectors",
        "frames": _frames(),
        "not_frames": _not_frames(),
        "line": _line(),
        "commands": _commands(),
        "events": events,
        "not_events": [{"type": kind, "payload": payload.hex()} for kind, payload in _BAD_EVENTS],
        "infos": _infos(),
        "adpcm": _adpcm(),
    }


def _adpcm() -> list[dict[str, Any]]:
    from host_tools.link import adpcm

    encode = encoder()
    found = []
    for samples, predictor, step in ((speech_like(241), 0, 0), (speech_like(64)[::-1], -20000, 88)):
        codes, _ = encode(samples, predictor, step)
        found.append(
            {
                "predictor": predictor,
                "step": step,
                "samples": samples.tolist(),
                "codes": codes.hex(),
                "decoded": adpcm.decode(codes, len(samples), predictor, step).tolist(),
            }
        )
    return found


def encoder() -> Any:
    """The firmware's: (int16 [n], predictor, step) -> (codes, the state after them)."""
    import ctypes

    from model_pipeline.native import FIRMWARE, shared_library

    class State(ctypes.Structure):
        _fields_ = [("predictor", ctypes.c_int16), ("step", ctypes.c_uint8)]

    link = FIRMWARE / "core" / "link"
    encode_one = shared_library("adpcm", [link / "kws_adpcm.c"], [link]).kws_adpcm_encode
    encode_one.restype, encode_one.argtypes = ctypes.c_uint8, [ctypes.POINTER(State), ctypes.c_int16]

    def encode(samples: np.ndarray, predictor: int, step: int) -> tuple[bytes, tuple[int, int]]:
        state = State(predictor, step)
        codes = [encode_one(ctypes.byref(state), int(sample)) for sample in samples]
        codes += [0] * (len(codes) % 2)
        return bytes(a | b << 4 for a, b in zip(codes[::2], codes[1::2], strict=True)), (state.predictor, state.step)

    return encode


def main() -> None:
    """Writes the file."""
    lines = []
    for key, value in make().items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f"{json.dumps(key)}: [\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    PATH.write_text("{\n " + ",\n ".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
