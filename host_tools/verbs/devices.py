"""``kws devices``"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common

if TYPE_CHECKING:
    from host_tools.flash.usb import Running

EXAMPLE = "Example: kws devices --port /dev/ttyACM0"


@dataclass(frozen=True)
class Row:
    """Something that is connected. ``roles``: as what, by the board that it could be; ``note``: why nothing answers."""

    port: str | None
    usb: str | None
    serial_number: str | None
    product: str | None
    roles: Mapping[str, str]
    running: Running | None
    note: str


def devices(
    port: Annotated[str | None, typer.Option(help="Only this port or URL; it is asked whatever it is.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Say hello to all ports, not only to known USB ids.")] = False,
    hello: Annotated[bool, typer.Option(help="Ask each board what it runs.")] = True,
    timeout: Annotated[float, typer.Option(min=0.2, help="Seconds a board has to answer.")] = 2.0,
    json: common.Json = False,
) -> None:
    """List what is connected, what it runs, and which boards it could be flashed as.

    Only ports whose USB id belongs to a known board are spoken to, since bytes
    can upset a printer or a modem; and not the port of a probe that no board has
    wired to the chip.
    """
    from host_tools.boards import board_ids, load_board
    from host_tools.flash import usb as known

    boards = {name: load_board(name) for name in board_ids()}
    ids = {name: known.usb_ids(board) for name, board in boards.items()}
    found = [known.Device(port, None, None, None)] if port else known.connected(list(ids.values()))
    if port:
        found = [d for d in known.ports() if d.port == port] or found
    rows: list[Row] = []
    with ui.progress("ask the boards") as bar:
        for number, device in enumerate(found):
            bar(number, len(found), device.port or str(device.usb))
            roles = {name: role for name in boards if (role := ids[name].role(device.usb))}
            mute = {name for name, role in roles.items() if known.is_mute(boards[name], role)}
            wired = {*roles} - mute
            running, note = None, ""
            ask = hello and device.port and "bootloader" not in roles.values()
            if ask and (port or every or wired):
                fits = wired or {*roles} or {*boards}
                bauds = {b.kws.serial.baud for n, b in boards.items() if b.kws.serial and n in fits}
                running, note = _ask(str(device.port), sorted(bauds), timeout)
            elif "bootloader" in roles.values():
                note = "in its boot loader"
            if ask and mute and not running:
                adapter = f"{' and '.join(sorted(mute))}: heard at the port of its 3.3 V adapter"
                note = f"{note}; {adapter}" if note else f"not asked; {adapter}"
            usb = str(device.usb) if device.usb else None
            rows.append(Row(device.port, usb, device.serial_number, device.product, roles, running, note))
    ui.emit({"devices": [asdict(row) for row in rows]}, json, lambda _: _show(rows))


def _ask(port: str, bauds: list[int], timeout: float) -> tuple[Running | None, str]:
    """What answers on ``port``, tried at each of these speeds, or why nothing does."""
    from host_tools.flash.usb import hello
    from host_tools.link.port import CantOpen
    from model_pipeline.errors import DeviceError

    note = ""
    for baud in bauds or [115200]:
        try:
            return hello(port, timeout, baud=baud), ""
        except CantOpen as error:
            return None, str(error)  # no other speed will do
        except DeviceError as error:
            note = str(error)
    return None, note


def _show(rows: Sequence[Row]) -> None:
    from host_tools.link.codes import FaultKind

    if not rows:
        ui.out.say("nothing is connected")
        return
    table = ui.Table(box=None, pad_edge=False)
    for title in ("port", "USB id", "serial", "could be", "runs"):
        table.add_column(title, overflow="fold")
    for row in rows:
        could = ", ".join(f"{name}{'' if role == 'application' else f' ({role})'}" for name, role in row.roles.items())
        running = row.running
        runs = row.note
        if running:
            runs = f"micro-kws {running.firmware} ({running.board}, model {running.model_hash})"
            if fault := running.fault:  # told once by the device, so it must not be lost here
                runs += f"; the run before ended in a {FaultKind.name_of(fault['kind'])} at {fault['pc']:#010x}"
        cells = (row.port or "–", row.usb or "–", row.serial_number or "–", could or "–", runs or "–")
        table.add_row(*cells)
    ui.out.show(table)
