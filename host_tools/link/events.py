"""What a device sends, as types; what it says of itself is in info.py."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from host_tools.link import adpcm
from host_tools.link.codes import Command, ErrorCode
from model_pipeline.errors import DeviceError


class DeviceRefused(DeviceError):
    """The device did not carry out a command: ``code`` says why (an `ErrorCode`, where it is known)."""

    def __init__(self, name: str, refusal: Refusal) -> None:
        super().__init__(f"{name}: the device refused {refusal}")
        self.code = refusal.code


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
