"""``kws web``"""

from __future__ import annotations

import contextlib
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import KwsError

if TYPE_CHECKING:
    from host_tools.web.server import Board

EXAMPLE = (
    "Example: kws web   or   kws web --board disco_f407vg   or   kws web --port /dev/ttyACM0   or   "
    "kws web --model runs/demo/firmware_model --out site"
)
PORT = 8017


def web(
    model: Annotated[
        list[Path] | None,
        typer.Option(help="An exported model (kws export).", show_default="the shipped default model"),
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="The page may reach the board on this port, for browsers without Web Serial.")
    ] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    elf: Annotated[Path | None, typer.Option(help="Emulate this image for --board instead of building one.")] = None,
    baud: common.Baud = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the page's folder, and serve nothing.")] = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="TCP port of the page; 0: any.", show_default=f"{PORT} if free")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in this computer's browser.")] = False,
    json: common.Json = False,
) -> None:
    """Listen in the browser: the model as WebAssembly by the computer's microphone, and a board beside it."""
    from host_tools.image import build as builder
    from host_tools.image import emulate
    from host_tools.web import folder, server

    if port is not None and board is not None:
        raise KwsError("give either --port URL or --board ID", hint="--board disco_f407vg emulates that board")
    if elf is not None and board is None:
        raise KwsError("--elf is a firmware to emulate", hint="say for which board: --board disco_f407vg")
    if model and len(model) > 1:
        raise KwsError(
            f"the page hears one model, and --model is given {len(model)} times",
            hint="kws web for each of them; kws live takes several",
        )
    exported = model[0] if model else builder.DEFAULT_MODEL
    if out is not None:
        if port or board:
            raise KwsError("--out writes a folder for any host of files, which brings no board", hint="leave one out")
        with ui.progress("write the page"):
            sizes = folder.write(exported, out)
        result = {"folder": str(out.resolve()), "bytes": sum(sizes.values()), "files": sizes}
        ui.emit(result, json, lambda values: ui.out.say("{}: {:,} bytes", out, values["bytes"]))
        return
    with ui.progress("make the page"):
        files = folder.files(exported)
    wanted = emulate.free_port(PORT) if http_port is None else http_port
    with _reached(port, board, exported, elf, baud) as target, server.serving(files, target, wanted) as url:
        if json:
            ui.emit_line({"url": url, "board": target.name if target else None})
        else:
            ui.out.say("page: [bold]{}[/]   (Ctrl-C ends it)", url)
        if open_:
            webbrowser.open(url)
        while True:
            time.sleep(1)
            if target:
                target.check()


@contextlib.contextmanager
def _reached(
    port: str | None, board: str | None, model: Path, elf: Path | None, baud: int | None
) -> Iterator[Board | None]:
    """The board that the page may reach, or None."""
    import tempfile

    from host_tools.image import build as builder
    from host_tools.image import emulate
    from host_tools.link.port import BAUD
    from host_tools.web.server import Board

    if port is not None:
        # A UART's sound comes as ADPCM (docs/protocol.md); TCP is an emulator or a server of ports.
        yield Board(port, port, baud or BAUD, compact="://" not in port)
        return
    if board is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="kws-") as temporary:
        if elf is None:
            with ui.progress(f"build firmware for {board}") as progress:
                elf = Path(builder.build(board, model, out=Path(temporary), progress=progress).elf)
        with emulate.start(board, elf) as emulator:
            yield Board(f"{board}, emulated", emulator.url, BAUD, compact=False, check=emulator.check)
