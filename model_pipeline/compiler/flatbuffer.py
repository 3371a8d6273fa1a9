"""A reader of FlatBuffers that trusts nothing: every offset is checked before it is followed.

The generated readers of the ``flatbuffers`` package raise struct.error, read outside the buffer or allocate what a
length field says; a file from outside must do none of that. Format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct

import numpy as np

from model_pipeline.errors import KwsError

_SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


class Buffer:
    """The bytes of one file, and how much of them may still be visited.

    The budget ends files whose vectors point to the same tables over and over: reading them would take time that
    grows with the square of the file's size.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.budget = 4 * len(data) + 65536

    def spend(self, amount: int) -> None:
        """Counts ``amount`` bytes as visited."""
        self.budget -= amount
        if self.budget < 0:
            raise KwsError("corrupt .tflite: its tables refer to each other without end")

    def unpack(self, kind: str, at: int) -> int | float:
        """One scalar of struct type ``kind`` at byte ``at``."""
        if at < 0 or at + _SIZES[kind] > len(self.data):
            raise KwsError(f"corrupt .tflite: a field at byte {at} lies outside the file of {len(self.data)} bytes")
        return struct.unpack_from("<" + kind, self.data, at)[0]

    def integer(self, kind: str, at: int) -> int:
        """As `unpack`, for integer types."""
        return int(self.unpack(kind, at))

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.integer("I", 0))


class Table:
    """One table. Fields are named by their number in the schema, from 0."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        self.buffer = buffer
        self.at = at
        self.vtable = at - buffer.integer("i", at)
        self.vtable_size = buffer.integer("H", self.vtable)
        self.size = buffer.integer("H", self.vtable + 2)
        if self.vtable_size < 4 or self.vtable_size % 2 or self.size < 4:
            raise KwsError(f"corrupt .tflite: the table at byte {at} has no valid layout")
        if self.vtable + self.vtable_size > len(buffer.data) or at + self.size > len(buffer.data):
            raise KwsError(f"corrupt .tflite: the table at byte {at} lies outside the file")
        buffer.spend(self.vtable_size + self.size)

    def _field(self, field: int) -> int:
        """Byte position of a field, 0 if it is absent."""
        slot = 4 + 2 * field
        if slot + 2 > self.vtable_size:
            return 0
        offset = self.buffer.integer("H", self.vtable + slot)
        if offset >= self.size:
            raise KwsError(f"corrupt .tflite: field {field} of the table at byte {self.at} lies outside it")
        return self.at + offset if offset else 0

    def integer(self, field: int, kind: str = "i", default: int = 0) -> int:
        """An integer field of struct type ``kind``."""
        at = self._field(field)
        return self.buffer.integer(kind, at) if at else default

    def real(self, field: int, default: float = 0.0) -> float:
        """A float32 field."""
        at = self._field(field)
        return float(self.buffer.unpack("f", at)) if at else default

    def table(self, field: int) -> Table | None:
        """A table field, None if absent."""
        at = self._field(field)
        return Table(self.buffer, at + self.buffer.integer("I", at)) if at else None

    def _vector(self, field: int, size: int) -> tuple[int, int] | None:
        """First byte and length of a vector of elements of ``size`` bytes; None if absent."""
        at = self._field(field)
        if not at:
            return None
        start = at + self.buffer.integer("I", at)
        length = self.buffer.integer("I", start)
        if start + 4 + length * size > len(self.buffer.data):
            raise KwsError(f"corrupt .tflite: a list of {length} at byte {start} reaches past the end of the file")
        return start + 4, length

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        found = self._vector(field, 4)
        if not found:
            return []
        start, length = found
        self.buffer.spend(4 * length)
        return [Table(self.buffer, at + self.buffer.integer("I", at)) for at in range(start, start + 4 * length, 4)]

    def array(self, field: int, dtype: str) -> np.ndarray:
        """A vector of scalars as a read-only array (a copy, so it may be misaligned in the file)."""
        kind = np.dtype(dtype).newbyteorder("<")
        found = self._vector(field, kind.itemsize)
        if not found:
            return np.zeros(0, kind)
        self.buffer.spend(found[1] * kind.itemsize)
        return np.frombuffer(self.buffer.data, kind, count=found[1], offset=found[0])

    def raw(self, field: int) -> bytes:
        """A vector of bytes."""
        found = self._vector(field, 1)
        if not found:
            return b""
        self.buffer.spend(found[1])
        return self.buffer.data[found[0] : found[0] + found[1]]

    def text(self, field: int) -> str:
        """A string, whatever its bytes are made printable, at most 200 characters."""
        text = self.raw(field)[:200].decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in text)
