"""``kws emulate``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common

PORT = 3456  # what the documentation's examples connect to
EXAMPLE = f"Example: kws emulate --board disco_f407vg   (then: kws bench --port socket://127.0.0.1:{PORT})"


def emulate(
    board: common.Board = "disco_f407vg",
    elf: Annotated[
        Path | None,
        typer.Option(
            help="Firmware image.", show_default="build/BOARD/firmware.elf of the shipped model, brought up to date"
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--with", help="qemu, renode or process.", show_default="the board's first")
    ] = None,
    icount: Annotated[
        bool, typer.Option(help="QEMU: count instructions exactly (ticks are instructions then).")
    ] = True,
    pty: Annotated[bool, typer.Option("--pty", help="Board host: a pseudo-terminal in the place of TCP.")] = False,
    tcp_port: Annotated[
        int | None,
        typer.Option(
            "--tcp-port",
            min=0,
            max=65535,
            help="TCP port on this computer for the link; 0: any.",
            show_default=f"{PORT} if free",
        ),
    ] = None,
    json: common.Json = False,
) -> None:
    """Run a firmware image in an emulator until Ctrl-C, and print the port to connect to."""
    from host_tools.boards import load_board
    from host_tools.image import build as builder
    from host_tools.image import emulate as emulators

    emulators.kind_for(load_board(board), kind)  # told before anything is built
    if elf is None:
        with ui.progress(f"build for {board}") as progress:
            elf = Path(builder.build(board, progress=progress).elf)
    port = emulators.free_port(PORT) if tcp_port is None else tcp_port
    with emulators.start(board, elf, icount, kind=kind, pty=pty, tcp_port=port) as emulator:
        if json:
            # One line: a script reads it while this goes on.
            ui.emit_line({"url": emulator.url, "board": board, "emulator": emulator.kind, "pid": emulator.pid})
        else:
            ui.out.say("{} runs {}", emulator.kind, elf)
            ui.out.say("port: [bold]{}[/]   (Ctrl-C ends it)", emulator.url)
        emulator.wait()
        emulator.check()
