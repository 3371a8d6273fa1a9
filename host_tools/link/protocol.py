"""The bytes of docs/protocol.md: framing, commands and typed events. Knows no port and keeps no session."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from host_tools.link import adpcm
from model_pipeline.errors import DeviceError
from model_pipeline.limits import LIMITS, check_label, check_labels
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.text import shown

VERSION = 1
MAX_PAYLOAD = LIMITS["PAYLOAD"]
MAX_INFO = 4096  # bytes of INFO in all its replies: 32 of the longest labels, and the rest
MAX_WINDOW = 1024  # frames of credit that are believed
_MAX_TEXT = 64  # characters of a text in INFO
MAX_SAMPLES = 254  # of one STREAM_DATA
_HEADER = struct.Struct("<BBHH")
_MAX_FRAME = _HEADER.size + MAX_PAYLOAD + 4
_MAX_ENCODED = _MAX_FRAME + 3  # COBS adds at most one byte in 254; without the closing zero


class Command(IntEnum):
    """Host to device."""

    HELLO = 0x01
    INFO = 0x02
    STATS = 0x03
    STREAM_START = 0x04
    STREAM_DATA = 0x05
    STREAM_STOP = 0x06
    INFER_FEATURES = 0x07
    RESET = 0x08
    SET_DETECTOR = 0x09
    DIE = 0x0A
    PROFILE = 0x0B


class Reason(IntEnum):
    """Why a frame was not acted on (the payload of NAK)."""

    MALFORMED = 1
    CRC = 2
    OVERSIZED = 3
    LENGTH = 4
    MISSING = 5
    VERSION = 6


class ErrorCode(IntEnum):
    """Why a command was not carried out (of ERROR)."""

    UNKNOWN = 1
    PAYLOAD = 2
    STATE = 3
    UNSUPPORTED = 4
    ENGINE = 5
    POSITION = 6

    @property
    def text(self) -> str:
        """For people."""
        return _ERROR_TEXTS[self]


_ERROR_TEXTS = {
    ErrorCode.UNKNOWN: "unknown command",
    ErrorCode.PAYLOAD: "bad payload",
    ErrorCode.STATE: "wrong state",
    ErrorCode.UNSUPPORTED: "not supported on this board or in this build",
    ErrorCode.ENGINE: "engine error",
    ErrorCode.POSITION: "position",
}


class LogLevel(IntEnum):
    """Of LOG."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class InfoTag(IntEnum):
    """The fields of INFO_REPLY."""

    FIRMWARE = 1
    BOARD = 2
    ENGINE = 3
    MODEL_HASH = 4
    LABELS = 5
    SHAPE = 6
    TIMER = 7
    TIMER_SOURCE = 8
    MEMORY = 9
    DETECTOR = 10
    BUILD = 11
    MORE = 12


class FaultKind(IntEnum):
    """What ended a run (of FAULT)."""

    HARD = 1
    MEMORY = 2
    BUS = 3
    USAGE = 4
    STACK = 5
    WATCHDOG = 6
    ABORT = 7

    @classmethod
    def name_of(cls, number: int) -> str:
        """For people, of kinds that this version does not know too."""
        return _FAULT_TEXTS.get(number, f"fault of kind {number}")


_FAULT_TEXTS: dict[int, str] = {
    FaultKind.HARD: "hard fault",
    FaultKind.MEMORY: "memory fault",
    FaultKind.BUS: "bus fault",
    FaultKind.USAGE: "usage fault",
    FaultKind.STACK: "stack overflow",
    FaultKind.WATCHDOG: "watchdog",
    FaultKind.ABORT: "abort",
}


class Die(IntEnum):
    """How the firmware is to end itself (of DIE)."""

    UNDEFINED = 0
    STACK = 1
    HANG = 2


class DeviceRefused(DeviceError):
    """The device did not carry out a command: ``code`` says why (an `ErrorCode`, where it is known)."""

    def __init__(self, name: str, refusal: Refusal) -> None:
        super().__init__(f"{name}: the device refused {refusal}")
        self.code = refusal.code


RESET_REASONS = ("unknown", "power", "pin", "software", "watchdog", "fault")
FAULT_MAGIC = 0x5AFEDEAD


def cobs_encode(data: bytes) -> bytes:
    """``data`` without a zero byte, by consistent overhead byte stuffing (Cheshire and Baker, 1999)."""
    out = bytearray()
    blocks = bytes(data).split(b"\0")
    for number, block in enumerate(blocks):
        while len(block) >= 254:
            out.append(255)
            out += block[:254]
            block = block[254:]
            if not block and number == len(blocks) - 1:
                return bytes(out)  # a full group at the end needs no empty one after it
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """What `cobs_encode` was given.

    Raises:
        ValueError: a zero byte, or a group that ends after the data.
    """
    if 0 in data:
        raise ValueError("zero byte in COBS data")
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        code = data[at]
        if at + code > end:
            raise ValueError("COBS group runs past the end")
        out += data[at + 1 : at + code]
        at += code
        if code != 255 and at < end:
            out.append(0)
    return bytes(out)


@dataclass(frozen=True)
class Frame:
    """One whole frame."""

    type: int
    seq: int
    payload: bytes
    version: int = VERSION

    def encode(self) -> bytes:
        """The bytes for the wire, with the closing zero."""
        if len(self.payload) > MAX_PAYLOAD:
            raise ValueError(f"payload of {len(self.payload)} bytes; at most {MAX_PAYLOAD} fit")
        body = _HEADER.pack(self.type, self.version, self.seq & 0xFFFF, len(self.payload)) + self.payload
        return cobs_encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


@dataclass(frozen=True)
class BadFrame:
    """A run of bytes that is not a frame."""

    reason: Reason
    seq: int = 0  # where it could be read


def decode_frame(encoded: bytes) -> Frame | BadFrame:
    """Decodes what stood between two zeros."""
    try:
        body = cobs_decode(encoded)
    except ValueError:
        return BadFrame(Reason.MALFORMED)
    if len(body) < _HEADER.size + 4:
        return BadFrame(Reason.MALFORMED)
    kind, version, seq, length = _HEADER.unpack_from(body)
    if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
        return BadFrame(Reason.CRC)
    if version != VERSION:
        return BadFrame(Reason.VERSION, seq)
    if length != len(body) - _HEADER.size - 4 or length > MAX_PAYLOAD:
        return BadFrame(Reason.LENGTH, seq)
    return Frame(kind, seq, body[_HEADER.size : -4], version)


class Decoder:
    """Cuts a stream of bytes into frames. State is at most one unfinished frame."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Frame | BadFrame]:
        """The frames, and runs that are none, that ``data`` completes."""
        found: list[Frame | BadFrame] = []
        *whole, rest = data.split(b"\0")
        for part in whole:
            if self._skipping or len(self._pending) + len(part) > _MAX_ENCODED:
                found.append(BadFrame(Reason.OVERSIZED))
            else:
                encoded = bytes(self._pending) + part
                if encoded:
                    found.append(decode_frame(encoded))
            self._pending.clear()
            self._skipping = False
        if not self._skipping:
            self._pending += rest
            if len(self._pending) > _MAX_ENCODED:
                self._pending.clear()
                self._skipping = True
        return found


@dataclass(frozen=True)
class Event:
    """What a device sends. ``at`` is the host's ``time.perf_counter()`` when its bytes had arrived."""

    at: float = field(default=0.0, kw_only=True, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The fields for reports: without ``at`` and what only the transfer needs."""
        values = asdict(self)
        for part in (values, *(v for v in values.values() if isinstance(v, dict))):
            for key in ("at", "more", "payload"):
                part.pop(key, None)
        return values


@dataclass(frozen=True)
class Ack(Event):
    expected: int
    window: int
    FORMAT: ClassVar[str] = "<HH"


@dataclass(frozen=True)
class Nak(Event):
    reason: int
    reserved: int
    expected: int
    got: int
    FORMAT: ClassVar[str] = "<BBHH"


@dataclass(frozen=True)
class HelloReply(Event):
    protocol: int
    window: int
    max_payload: int
    reset_reason: int
    has_fault: int
    FORMAT: ClassVar[str] = "<HHHBB"


@dataclass(frozen=True)
class Detector(Event):
    """Detector settings, see firmware/core/detector/kws_detector.h."""

    window: int
    min_count: int
    refractory_samples: int
    thresholds: tuple[int, ...]
    rest: int = 0

    def payload(self) -> bytes:
        """The payload of SET_DETECTOR."""
        numbers = (self.window, self.min_count, self.rest, 0, self.refractory_samples, len(self.thresholds))
        return struct.pack("<BBBBIB", *numbers) + bytes(self.thresholds)

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Detector:
        window, count, rest, _, refractory, n = struct.unpack_from("<BBBBIB", payload)
        if len(payload) != 9 + n:
            raise ValueError("detector length")
        return cls(window, count, refractory, tuple(payload[9:]), rest, at=at)


@dataclass(frozen=True)
class Info(Event):
    """What the firmware says of itself. Times are ticks of ``timer_source``:
    `host_tools.measure.metrics.tick_unit`."""

    firmware: str = ""
    board: str = ""
    engine: str = ""
    model_hash: str = ""
    labels: tuple[str, ...] = ()
    sample_rate: int = 0
    window_samples: int = 0
    hop_samples: int = 0
    channels: int = 0
    window_frames: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    default_stride: int = 0
    timer_hz: int = 0
    core_hz: int = 0
    calibration_expected: int = 0
    calibration_ticks: int = 0
    timer_source: str = ""
    arena_bytes: int = 0
    macs: int = 0
    stack_bytes: int = 0
    stack_used: int = 0
    free_ram: int = 0
    detector: Detector | None = None
    build: str = ""
    more: bool = False  # another INFO_REPLY goes on with the labels
    payload: bytes = b""

    def joined(self, rest: Info) -> Info:
        """This reply and the one that goes on with it, as one.

        Raises:
            ValueError: it says nothing new, or all of it is longer than a device's can be.
        """
        if not rest.payload or len(self.payload) + len(rest.payload) > MAX_INFO:
            raise ValueError(f"INFO goes on beyond {MAX_INFO} bytes" if rest.payload else "INFO goes on with nothing")
        return Info.parse(self.payload + rest.payload, rest.at)

    def check(self) -> None:
        """
        Raises:
            ValueError: a number or a label that no firmware of ours has: nothing may be made by it.
        """
        limits = {
            "sample_rate": (SAMPLE_RATE, SAMPLE_RATE),
            "window_samples": (1, LIMITS["SAMPLES"]),
            "hop_samples": (1, LIMITS["SAMPLES"]),
            "channels": (1, LIMITS["CHANNELS"]),
            "window_frames": (1, LIMITS["FRAMES"]),
            "input_bytes": (1, LIMITS["INPUT_BYTES"]),
            "output_bytes": (1, LIMITS["LABELS"]),
            "default_stride": (1, LIMITS["STRIDE_HOPS"]),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, not {least} to {most}")
        if self.input_bytes != self.window_frames * self.channels:
            raise ValueError(f"input_bytes is {self.input_bytes} for {self.window_frames} x {self.channels} values")
        if self.output_bytes != len(self.labels):
            raise ValueError(f"output_bytes is {self.output_bytes} for {len(self.labels)} labels")
        for label in check_labels(list(self.labels)):
            check_label(label)

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Info:
        values: dict = {}
        texts = {
            InfoTag.FIRMWARE: "firmware",
            InfoTag.BOARD: "board",
            InfoTag.ENGINE: "engine",
            InfoTag.MODEL_HASH: "model_hash",
            InfoTag.TIMER_SOURCE: "timer_source",
            InfoTag.BUILD: "build",
        }
        numbers = {
            InfoTag.SHAPE: "sample_rate window_samples hop_samples channels window_frames input_bytes output_bytes "
            "default_stride",
            InfoTag.TIMER: "timer_hz core_hz calibration_expected calibration_ticks _",
            InfoTag.MEMORY: "arena_bytes macs stack_bytes stack_used free_ram",
        }
        labels = b""
        offset = 0
        while offset < len(payload):
            tag, length = struct.unpack_from("<BB", payload, offset)
            value = payload[offset + 2 : offset + 2 + length]
            if len(value) != length:
                raise ValueError("INFO field runs past the end")
            offset += 2 + length
            values["more"] = tag == InfoTag.MORE  # stands only at the end of a reply
            if tag in texts:
                values[texts[tag]] = shown(value.decode("utf-8", "replace"), _MAX_TEXT)
            elif tag == InfoTag.LABELS:
                labels += value
            elif tag in numbers:
                names = numbers[tag].split()
                values.update(zip(names, struct.unpack(f"<{len(names)}I", value), strict=True))
            elif tag == InfoTag.DETECTOR:
                values["detector"] = Detector.parse(value, at)
        values.pop("_", None)
        if labels:
            values["labels"] = tuple(labels.decode("utf-8", "replace").split("\n"))
        return cls(**values, payload=payload, at=at)


@dataclass(frozen=True)
class Stats(Event):
    """The device's counters since its start or the last clear."""

    rx_frames: int
    rx_malformed: int
    rx_crc: int
    rx_oversized: int
    rx_length: int
    rx_missing: int
    rx_duplicate: int
    rx_version: int
    rx_ring_overflow: int
    rx_overrun: int
    rx_framing: int
    tx_frames: int
    tx_dropped: int
    rx_bytes: int
    tx_bytes: int
    audio_dropped: int
    FORMAT: ClassVar[str] = "<16I"


@dataclass(frozen=True)
class Result(Event):
    """One inference. ``output``: int8 values, one a label."""

    index: int
    position: int
    frontend_ticks: int
    frontend_frames: int
    inference_ticks: int
    detector_ticks: int
    output: tuple[int, ...]

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Result:
        *head, n = struct.unpack_from("<6IB", payload)
        if len(payload) != 25 + n:
            raise ValueError("RESULT length")
        index, position, frontend, frames, inference, detector = head
        output = struct.unpack_from(f"<{n}b", payload, 25)
        return cls(index, position, frontend, frames, inference, detector, output, at=at)


@dataclass(frozen=True)
class Detection(Event):
    position: int
    label: int
    score: int
    FORMAT: ClassVar[str] = "<IBB"


@dataclass(frozen=True)
class Log(Event):
    level: int
    text: str

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Log:
        return cls(payload[0], payload[1:].decode("utf-8", "replace"), at=at)


@dataclass(frozen=True)
class Fault(Event):
    """Why the previous run of the firmware ended; registers as the Armv7-M manual names them."""

    kind: int
    pc: int
    lr: int
    cfsr: int
    hfar: int
    sp: int
    uptime_ms: int
    FORMAT: ClassVar[str] = "<7I"


@dataclass(frozen=True)
class Features(Event):
    """``values``: uint16 [channels] of one frame."""

    frame: int
    values: tuple[int, ...]

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Features:
        (frame,) = struct.unpack_from("<I", payload)
        return cls(frame, struct.unpack(f"<{(len(payload) - 4) // 2}H", payload[4:]), at=at)


@dataclass(frozen=True)
class Refusal(Event):
    """ERROR: a command that could not be carried out."""

    command: int
    code: int
    seq: int
    text: str

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Refusal:
        command, code, seq = struct.unpack_from("<BBH", payload)
        return cls(command, code, seq, payload[4:].decode("utf-8", "replace"), at=at)

    def __str__(self) -> str:
        try:
            command = Command(self.command).name
        except ValueError:
            command = f"command {self.command:#04x}"
        known = self.code in ErrorCode.__members__.values()
        reason = ErrorCode(self.code).text if known else f"code {self.code}"
        return f"{command}: {reason}" + (f" ({self.text})" if self.text else "")


@dataclass(frozen=True)
class StreamDone(Event):
    total: int
    frames: int
    inferences: int
    dropped: int
    FORMAT: ClassVar[str] = "<4I"


@dataclass(frozen=True)
class Ready(Event):
    protocol: int
    FORMAT: ClassVar[str] = "<H"


@dataclass(frozen=True)
class SetDetectorOk(Event):
    n: int
    FORMAT: ClassVar[str] = "<B"


@dataclass(frozen=True)
class ResetOk(Event):
    kind: int
    FORMAT: ClassVar[str] = "<B"


@dataclass(frozen=True)
class ProfileReply(Event):
    """A part of what the plan's calls took: ``ticks`` of calls ``first`` … of ``total``."""

    first: int
    total: int
    ticks: tuple[int, ...]

    @classmethod
    def parse(cls, payload: bytes, at: float) -> ProfileReply:
        first, total = struct.unpack_from("<HH", payload)
        ticks = struct.unpack(f"<{(len(payload) - 4) // 4}I", payload[4:])
        if first + len(ticks) > total:
            raise ValueError("more calls than there are")
        return cls(first, total, ticks, at=at)


@dataclass(frozen=True, eq=False)
class Audio(Event):
    """What the front end took: ``samples`` int16 [n] from ``position`` on (since STREAM_START). ``dropped``: samples
    that this stream had lost before the front end when the block was sent."""

    position: int
    dropped: int
    coding: int  # 0: as they were, 1: went through IMA ADPCM
    samples: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Without the samples: their number."""
        return {
            "position": self.position,
            "dropped": self.dropped,
            "coding": self.coding,
            "samples": len(self.samples),
        }

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Audio:
        position, dropped, coding, step, predictor, count = struct.unpack_from("<IIBBhH", payload)
        data = payload[14:]
        if count == 0 or coding > 1:
            raise ValueError(f"{count} samples of coding {coding}")
        if coding:
            return cls(position, dropped, coding, adpcm.decode(data, count, predictor, step), at=at)
        if len(data) != 2 * count:
            raise ValueError(f"{len(data)} bytes for {count} samples")
        return cls(position, dropped, coding, np.frombuffer(data, "<i2").astype(np.int16), at=at)


@dataclass(frozen=True)
class Unknown(Event):
    """An event of a later version."""

    type: int
    payload: bytes


EVENTS: dict[int, Any] = {
    0x80: Ack,
    0x81: Nak,
    0x82: HelloReply,
    0x83: Info,
    0x84: Stats,
    0x85: Result,
    0x86: Detection,
    0x87: Log,
    0x88: Fault,
    0x89: Features,
    0x8A: Refusal,
    0x8B: StreamDone,
    0x8C: Ready,
    0x8D: SetDetectorOk,
    0x8E: ResetOk,
    0x8F: ProfileReply,
    0x90: Audio,
}


def parse_event(frame: Frame, at: float = 0.0) -> Event:
    """The frame's payload as one of the classes above.

    Raises:
        ValueError: the payload is not that of its type.
    """
    kind = EVENTS.get(frame.type)
    if kind is None:
        return Unknown(frame.type, frame.payload, at=at)
    try:
        if hasattr(kind, "FORMAT"):
            return kind(*struct.unpack(kind.FORMAT, frame.payload), at=at)
        return kind.parse(frame.payload, at)
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"{kind.__name__}: payload of {len(frame.payload)} bytes: {error}") from error


def stream_data(position: int, samples: np.ndarray) -> bytes:
    """The payload of STREAM_DATA. ``samples``: int16 [1 to 254]; ``position``: of the first, since STREAM_START."""
    if not 1 <= len(samples) <= MAX_SAMPLES:
        raise ValueError(f"{len(samples)} samples; 1 to {MAX_SAMPLES} fit")
    return struct.pack("<I", position & 0xFFFFFFFF) + np.asarray(samples, "<i2").tobytes()


def infer_features(values: np.ndarray | Sequence[int]) -> list[bytes]:
    """The payloads of the INFER_FEATURES frames for one window of int8 input values."""
    data = np.asarray(values, np.int8).tobytes()
    room = MAX_PAYLOAD - 4
    return [struct.pack("<HH", at, len(data)) + data[at : at + room] for at in range(0, len(data), room)]
