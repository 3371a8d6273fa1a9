"""Frames of docs/protocol.md: bytes between two zeros (COBS), a header, a CRC. Knows nothing of what is in them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from host_tools.link.codes import MAX_PAYLOAD, VERSION, Reason

_HEADER = struct.Struct("<BBHH")
_MAX_FRAME = _HEADER.size + MAX_PAYLOAD + 4
_MAX_ENCODED = _MAX_FRAME + 3  # COBS adds at most one byte in 254; without the closing zero


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
