"""Whether a file is a firmware image for a board, before anything is written into one or run."""

from __future__ import annotations

import struct
from pathlib import Path

from host_tools.boards import Board
from model_pipeline.errors import KwsError

_MACHINES = {3: "x86", 8: "MIPS", 40: "ARM", 62: "x86-64", 94: "Xtensa", 183: "AArch64", 243: "RISC-V"}
_ARM, _EXECUTABLE, _LOAD = 40, 2, 1  # e_machine, e_type, p_type (ELF specification, gabi 4.1)
_MOST_BYTES = 256 << 20  # an image with all its debugging information takes a few megabytes


def check_image(board: Board, elf: Path, *, ours: bool = True) -> None:
    """
    Args:
        ours: whether it must be a firmware of this project too, built for this very board: the board's name that it
            tells in INFO is in it.

    Raises:
        KwsError: it is not such a file; says what it is instead.
    """
    hint = f"kws build --board {board.id}"
    try:
        if elf.stat().st_size > _MOST_BYTES:
            raise KwsError(f"{elf} is too large to be a firmware", hint=hint)
        content = elf.read_bytes()
    except OSError as error:
        raise KwsError(f"can't read {elf}: {error.strerror}", hint=hint) from error
    if content[:4] != b"\x7fELF" or len(content) < 52:
        raise KwsError(f"{elf} is not an ELF for {board.id}: it is not an ELF file at all", hint=hint)
    machine = int.from_bytes(content[18:20], "little")
    if content[4:6] != b"\x01\x01" or machine != _ARM:
        kind = _MACHINES.get(machine, f"machine {machine}")
        raise KwsError(f"{elf} is not an ELF for {board.id}: it is a program for {kind}", hint=hint)
    loaded = _loaded(content)
    if int.from_bytes(content[16:18], "little") != _EXECUTABLE or not loaded:
        raise KwsError(f"{elf} is not an ELF for {board.id}: there is nothing to load in it", hint=hint)
    memory = board.kws.memory
    if memory is None:
        return
    first, last = memory.flash_origin, memory.flash_origin + memory.flash_bytes
    for address, data in loaded:
        if not first <= address <= address + len(data) <= last:
            raise KwsError(
                f"{elf} is not an ELF for {board.id}: it loads {len(data):,} bytes at {address:#010x}, and the "
                f"board's flash is {first:#010x} to {last:#010x}",
                hint=hint,
            )
    if ours and not any(board.id.encode() + b"\0" in data for _, data in loaded):
        raise KwsError(f"{elf} is not a firmware of kws for {board.id} (it does not hold the board's name)", hint=hint)


def _loaded(content: bytes) -> list[tuple[int, bytes]]:
    """Physical address and bytes of each segment that is loaded from the file; [] where the headers lead out of it."""
    (start,) = struct.unpack_from("<I", content, 28)
    size, count = struct.unpack_from("<HH", content, 42)
    found = []
    for number in range(count):
        at = start + number * size
        if size < 32 or at + 32 > len(content):
            return []
        kind, offset, _, physical, length = struct.unpack_from("<5I", content, at)
        if kind != _LOAD or not length:
            continue
        if offset + length > len(content):
            return []
        found.append((physical, content[offset : offset + length]))
    return found
