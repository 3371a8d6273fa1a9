"""A device in Python for tests of the host: the device's half of docs/protocol.md, with faults to order."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from host_tools.link.codes import Command, Reason
from host_tools.link.frames import BadFrame, Decoder, Frame

LABELS = ("yes", "no", "unknown", "silence")
INPUT_BYTES = 49 * 40
WINDOW, HOP, FRAMES = 480, 320, 49


@dataclass
class Faults:
    """What goes wrong, as probabilities a frame unless said otherwise."""

    drop_in: float = 0.0
    repeat_in: float = 0.0
    damage_in: float = 0.0
    drop_out: float = 0.0
    damage_out: float = 0.0
    seed: int = 0
    protocol: int = 1
    vanish_after: int | None = None  # frames from the host, then the line is cut
    mute_after: int | None = None  # frames from the host, then no answer
    restart_after: int | None = None  # frames from the host, then READY
    lose_result: int | None = None  # this RESULT's frame is dropped on the way
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def happens(self, probability: float) -> bool:
        """Once in 1/probability."""
        return probability > 0 and self.random.random() < probability


class FakeFirmware:
    """``feed(bytes from the host) -> bytes to the host``; None: the line is cut."""

    def __init__(self, faults: Faults | None = None, window: int = 8, calibrated: bool = True) -> None:
        self.faults = faults or Faults()
        self.window = window
        self.calibrated = calibrated
        self.decoder = Decoder()
        self.seq = 0
        self.expected = 0
        self.gap_reported = False
        self.counts: Counter[str] = Counter()
        self.heard = 0
        self.results = 0
        self.acted: list[tuple[int, bytes]] = []  # what was acted on, in order
        self.samples = bytearray()
        self.mode: int | None = None
        self.input = bytearray()

    # ---- the line

    def start(self) -> bytes:
        """What a reset sends."""
        return b"\0" + self._out(0x8C, struct.pack("<H", self.faults.protocol))

    def feed(self, data: bytes) -> bytes | None:
        """One read of the firmware's main loop."""
        out = b""
        for frame in self.decoder.feed(spoil(data, self.faults)):
            self.heard += 1
            limit = self.faults.vanish_after
            if limit is not None and self.heard > limit:
                return None
            if self.faults.mute_after is not None and self.heard > self.faults.mute_after:
                continue
            if self.faults.restart_after is not None and self.heard == self.faults.restart_after:
                self.seq = self.expected = 0
                out += self.start()
                continue
            out += self._frame(frame)
        return out + (self._ack() if self.heard and not self._muted() else b"")

    def _muted(self) -> bool:
        return self.faults.mute_after is not None and self.heard > self.faults.mute_after

    def _out(self, kind: int, payload: bytes) -> bytes:
        encoded = Frame(kind, self.seq, payload).encode()
        self.seq = (self.seq + 1) & 0xFFFF
        f = self.faults
        if f.happens(f.drop_out):
            return b""
        if f.happens(f.damage_out):
            encoded = _damage(encoded[:-1], f.random) + b"\0"
        return encoded

    def _ack(self) -> bytes:
        return self._out(0x80, struct.pack("<HH", self.expected, self.window))

    def _nak(self, reason: int, got: int) -> bytes:
        return self._out(0x81, struct.pack("<BBHH", reason, 0, self.expected, got))

    # ---- the session

    def _frame(self, frame: Frame | BadFrame) -> bytes:
        if isinstance(frame, BadFrame):
            self.counts[frame.reason.name] += 1
            return self._nak(frame.reason, frame.seq)
        if frame.type == Command.HELLO:
            self.expected = (frame.seq + 1) & 0xFFFF
            self.gap_reported = False
            self.mode = None
            return self._out(0x82, struct.pack("<HHHBB", self.faults.protocol, self.window, 512, 1, 0))
        ahead = (frame.seq - self.expected) & 0xFFFF
        if ahead >= 0x8000:
            self.counts["DUPLICATE"] += 1
            return b""
        if ahead:
            self.counts["MISSING"] += 1
            if self.gap_reported:
                return b""
            self.gap_reported = True
            return self._nak(Reason.MISSING, frame.seq)
        self.expected = (self.expected + 1) & 0xFFFF
        self.gap_reported = False
        self.acted.append((frame.type, frame.payload))
        return self._act(frame)

    def _act(self, frame: Frame) -> bytes:
        payload = frame.payload
        match frame.type:
            case Command.INFO:
                return self._out(0x83, self._info())
            case Command.STATS:
                values = [0] * 16
                values[5], values[6] = self.counts["MISSING"], self.counts["DUPLICATE"]
                if payload == b"\1":
                    self.counts.clear()
                return self._out(0x84, struct.pack("<16I", *values))
            case Command.STREAM_START:
                self.mode, self.flags, self.stride = struct.unpack("<BBH", payload)
                self.stride = self.stride or 5
                self.samples.clear()
                self.inferences = 0
                self.next_at = FRAMES
                return b""
            case Command.STREAM_DATA:
                (position,) = struct.unpack_from("<I", payload)
                if self.mode is None:
                    return self._error(frame, 3)
                if position * 2 != len(self.samples):
                    return self._error(frame, 6)
                self.samples += payload[4:]
                return self._continuous() if self.mode == 1 else b""
            case Command.STREAM_STOP:
                if self.mode is None:
                    return self._error(frame, 3)
                out = b""
                if self.mode == 0:
                    out = self._result(bytes(self.samples), len(self.samples) // 2)
                    self.inferences = 1
                self.mode = None
                total = len(self.samples) // 2
                return out + self._out(0x8B, struct.pack("<4I", total, self._frames(), self.inferences, 0))
            case Command.INFER_FEATURES:
                offset, total = struct.unpack_from("<HH", payload)
                if offset == 0:
                    self.input.clear()
                if total != INPUT_BYTES or offset != len(self.input):
                    return self._error(frame, 2)
                self.input += payload[4:]
                return self._result(bytes(self.input), 0) if len(self.input) == total else b""
            case Command.RESET:
                out = self._out(0x8E, payload)
                if payload == b"\1":
                    self.seq = self.expected = 0
                    out += self.start()
                return out
            case Command.SET_DETECTOR:
                return self._out(0x8D, payload[8:9])
            case _:
                return self._error(frame, 1)

    def _error(self, frame: Frame, code: int) -> bytes:
        return self._out(0x8A, struct.pack("<BBH", frame.type, code, frame.seq) + b"as ordered")

    def _frames(self) -> int:
        n = len(self.samples) // 2
        return 0 if n < WINDOW else 1 + (n - WINDOW) // HOP

    def _continuous(self) -> bytes:
        out = b""
        while self._frames() >= self.next_at:
            end = (self.next_at - 1) * HOP + WINDOW
            part = bytes(self.samples[: 2 * end])
            if self.flags & 2:
                out += self._result(part, end)
            if max(part[-320:]) == 255 and self.inferences % 7 == 3:
                out += self._out(0x86, struct.pack("<IBB", end, 0, 200))
            self.inferences += 1
            self.next_at += self.stride
        return out

    def _result(self, seen: bytes, position: int) -> bytes:
        index, self.results = self.results, self.results + 1
        if index == self.faults.lose_result:
            self.seq = (self.seq + 1) & 0xFFFF
            return b""
        output = bytes(v & 0xFF for v in expected_output(seen))
        head = struct.pack("<6IB", index, position, 49 * 30000, 49, 9_000_000, 400, len(output))
        return self._out(0x85, head + output)

    def _info(self) -> bytes:
        fields = [
            (1, b"0.1.0"),
            (2, b"disco_f407vg"),
            (3, b"aot"),
            (4, b"0123456789abcdef"),
            (5, "\n".join(LABELS[:2]).encode() + b"\n"),
            (5, "\n".join(LABELS[2:]).encode()),
            (6, struct.pack("<8I", 16000, WINDOW, HOP, 40, FRAMES, INPUT_BYTES, len(LABELS), 5)),
            (7, struct.pack("<5I", 84_000_000, 168_000_000, 10_000, 10_000 if self.calibrated else 14_200, 0)),
            (8, b"TIM2"),
            (9, struct.pack("<5I", 20_000, 1_200_000, 4096, 900, 60_000)),
            (99, b"of a later version"),
            (11, b"test"),
        ]
        return b"".join(struct.pack("<BB", tag, len(value)) + value for tag, value in fields)


def spoil(data: bytes, faults: Faults) -> bytes:
    """What a bad line makes of whole frames on the way to the device."""
    if not (faults.drop_in or faults.repeat_in or faults.damage_in):
        return data
    out = bytearray()
    for part in data.split(b"\0"):
        if not part or faults.happens(faults.drop_in):
            continue
        if faults.happens(faults.damage_in):
            part = _damage(part, faults.random)
        out += b"\0" + part + b"\0"
        if faults.happens(faults.repeat_in):
            out += part + b"\0"
    return bytes(out)


def expected_output(seen: bytes) -> list[int]:
    """The fake network: every byte, and its place, matters."""
    digest = zlib.crc32(seen).to_bytes(4, "little")
    return [b - 128 for b in digest]


def _damage(part: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(part))
    wrong = (part[at] + chance.randrange(1, 255)) & 0xFF or 77
    return part[:at] + bytes([wrong]) + part[at + 1 :]


class SocketPort:
    """The few methods of a pyserial port that a Link uses, over a connected socket."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.timeout: float | None = None

    def fileno(self) -> int:
        """For select."""
        return self.line.fileno()

    def read(self, size: int) -> bytes:
        """What is there."""
        data = self.line.recv(size)
        if not data:
            raise OSError("line cut")
        return data

    def write(self, data: bytes) -> int:
        """All of it."""
        self.line.sendall(data)
        return len(data)

    def close(self) -> None:
        """Ends both directions."""
        self.line.close()


def _serve(firmware: FakeFirmware, line: socket.socket, stop: threading.Event) -> None:
    with contextlib.suppress(OSError), line:
        line.sendall(firmware.start())
        while not stop.is_set():
            if not select.select([line], [], [], 0.05)[0]:
                continue
            data = line.recv(4096)
            if not data:
                return
            answer = firmware.feed(data)
            if answer is None:
                return
            line.sendall(answer)


@contextlib.contextmanager
def plugged(firmware: FakeFirmware) -> Iterator[SocketPort]:
    """A port with ``firmware`` at its other end."""
    ours, theirs = socket.socketpair()
    stop = threading.Event()
    thread = threading.Thread(target=_serve, args=(firmware, theirs, stop), daemon=True)
    thread.start()
    try:
        yield SocketPort(ours)
    finally:
        stop.set()
        ours.close()
        thread.join(2)


@contextlib.contextmanager
def listening(firmware: FakeFirmware) -> Iterator[str]:
    """The URL of ``firmware`` on TCP; it takes one connection after another."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while not stop.is_set():
                if select.select([server], [], [], 0.05)[0]:
                    line, _ = server.accept()
                    _serve(firmware, line, stop)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(2)
