"""The numbers of docs/protocol.md with their names. tests/link/test_names.py holds the firmware to them."""

from __future__ import annotations

from enum import IntEnum

from model_pipeline.limits import LIMITS

VERSION = 1
MAX_PAYLOAD = LIMITS["PAYLOAD"]
MAX_INFO = 4096  # bytes of INFO in all its replies: 32 of the longest labels, and the rest
MAX_WINDOW = 1024  # frames of credit that are believed
MAX_SAMPLES = 254  # of one STREAM_DATA


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


class EventType(IntEnum):
    """Device to host."""

    ACK = 0x80
    NAK = 0x81
    HELLO_REPLY = 0x82
    INFO_REPLY = 0x83
    STATS_REPLY = 0x84
    RESULT = 0x85
    DETECTION = 0x86
    LOG = 0x87
    FAULT = 0x88
    FEATURES = 0x89
    ERROR = 0x8A
    STREAM_DONE = 0x8B
    READY = 0x8C
    SET_DETECTOR_OK = 0x8D
    RESET_OK = 0x8E
    PROFILE_REPLY = 0x8F
    AUDIO = 0x90


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
    PART = 13


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


RESET_REASONS = ("unknown", "power", "pin", "software", "watchdog", "fault")
FAULT_MAGIC = 0x5AFEDEAD
