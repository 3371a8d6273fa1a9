"""Images for tests of what is flashed and emulated."""

from __future__ import annotations

import struct


def image(boards: str = "disco_f407vg", address: int = 0x0800_0000, machine: int = 40, kind: int = 2) -> bytes:
    """The smallest ELF with one segment, which holds the names of ``boards`` (separated by spaces) as firmware does."""
    data = b"\0" * 16 + b"".join(name.encode() + b"\0" for name in boards.split())
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", kind, machine, 1, address, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return head + struct.pack("<8I", 1, 84, address, address, len(data), len(data), 5, 4) + data
