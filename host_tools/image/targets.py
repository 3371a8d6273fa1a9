"""From what a user names (a port, or a board to emulate) to an open link."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host_tools import ui
from host_tools.image import build as builder
from host_tools.image import emulate
from host_tools.link.session import Link
from model_pipeline.errors import DeviceError, KwsError

_BOOT_S = 30.0  # an emulator on a busy machine


@contextlib.contextmanager
def emulated(board: str, elf: Path) -> Iterator[Link]:
    """A link to ``elf``, which runs as long as the block.

    Raises:
        DeviceError: it does not start, or ends (with what the emulator said).
    """
    with emulate.start(board, elf) as emulator:
        try:
            with Link.open(emulator.url, timeout=_BOOT_S) as link:
                yield link
        except DeviceError:
            emulator.wait(0.5)  # a broken link is most often its end
            emulator.check()
            raise


@contextlib.contextmanager
def target(
    port: str | None, board: str | None, *, model: Path | None = None, engine: str = "aot", baud: int | None = None
) -> Iterator[tuple[Link, dict[str, Any] | None]]:
    """A link to ``port``, or to ``board``'s firmware, built now (with the exported ``model``) and emulated; and the
    build as build.json has it, or None.

    Raises:
        KwsError: neither or both are given.
    """
    if (port is None) == (board is None):
        raise KwsError("give either --port URL or --board ID", hint="--board disco_f407vg emulates that board")
    if port is not None:
        with Link.open(port, **({"baud": baud} if baud else {})) as link:
            yield link, None
        return
    assert board is not None
    with tempfile.TemporaryDirectory(prefix="kws-") as folder:
        with ui.progress(f"build firmware for {board}") as progress:
            result = builder.build(board, model, engine=engine, out=Path(folder), progress=progress)
        with emulated(board, Path(result.elf)) as link:
            yield link, result.to_json()
