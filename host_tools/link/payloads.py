"""From a frame's payload to a typed event, and from samples or features to payloads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from host_tools.link.codes import MAX_PAYLOAD, MAX_SAMPLES, EventType
from host_tools.link.events import (
    Ack,
    Audio,
    Detection,
    Event,
    Fault,
    Features,
    HelloReply,
    Log,
    Nak,
    ProfileReply,
    Ready,
    Refusal,
    ResetOk,
    Result,
    SetDetectorOk,
    Stats,
    StreamDone,
    Unknown,
)
from host_tools.link.frames import Frame
from host_tools.link.info import Info

EVENTS: dict[int, Any] = {
    EventType.ACK: Ack,
    EventType.NAK: Nak,
    EventType.HELLO_REPLY: HelloReply,
    EventType.INFO_REPLY: Info,
    EventType.STATS_REPLY: Stats,
    EventType.RESULT: Result,
    EventType.DETECTION: Detection,
    EventType.LOG: Log,
    EventType.FAULT: Fault,
    EventType.FEATURES: Features,
    EventType.ERROR: Refusal,
    EventType.STREAM_DONE: StreamDone,
    EventType.READY: Ready,
    EventType.SET_DETECTOR_OK: SetDetectorOk,
    EventType.RESET_OK: ResetOk,
    EventType.PROFILE_REPLY: ProfileReply,
    EventType.AUDIO: Audio,
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
