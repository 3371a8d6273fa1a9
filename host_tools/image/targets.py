"""From what a user names (a port, or a board to emulate) to an open link."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from host_tools import ui
from host_tools.image import build as builder
from host_tools.image import emulate, models
from host_tools.image.build import BuildResult
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
    port: str | None,
    board: str | None,
    *,
    model: Path | Sequence[Path] | None = None,
    engine: str = "aot",
    baud: int | None = None,
    elf: Path | None = None,
) -> Iterator[tuple[Link, BuildResult | None]]:
    """A link to ``port``, or to ``board``'s firmware, emulated: ``elf``, or what is built now (with
    ``model``, of several in one image all); and the build, where it is known.

    Raises:
        KwsError: neither or both are given, or an ELF without a board.
    """
    if (port is None) == (board is None):
        raise KwsError("give either --port URL or --board ID", hint="--board disco_f407vg emulates that board")
    if elf is not None and board is None:
        raise KwsError("--elf is a firmware to emulate", hint="say for which board: --board disco_f407vg")
    if port is not None:
        with Link.open(port, **({"baud": baud} if baud else {})) as link:
            yield link, None
        return
    assert board is not None
    if elf is not None:
        known = (elf.parent / "build.json").is_file()
        build = builder.load_build(elf.parent) if known else None
        ours = build is not None and Path(build.elf).resolve() == elf.resolve()
        with emulated(board, elf) as link:
            yield link, build if ours else None
        return
    with tempfile.TemporaryDirectory(prefix="kws-") as folder:
        several = [model] if isinstance(model, Path) else model
        source = models.generated(several, Path(folder) / "model", engine=engine)
        with ui.progress(f"build firmware for {board}") as progress:
            result = builder.build(board, source, engine=engine, out=Path(folder), progress=progress)
        with emulated(board, Path(result.elf)) as link:
            yield link, result
