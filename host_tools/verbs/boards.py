"""``kws boards``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common

if TYPE_CHECKING:
    from host_tools.boards import Board

EXAMPLE = "Example: kws boards disco_f407vg"


def boards(
    board: Annotated[str | None, typer.Argument(help="Show one board in full.", show_default=False)] = None,
    json: common.Json = False,
) -> None:
    """List the boards that firmware can be built for, or show one."""
    from host_tools.boards import board_ids, load_board

    found = [load_board(name) for name in ([board] if board else board_ids())]
    result = {"boards": [{"id": b.id, "name": b.name, **b.kws.model_dump()} for b in found]}

    def human(_: object) -> None:
        if board:
            _show(found[0])
            return
        table = ui.Table(box=None, padding=(0, 1, 0, 0), spare=(1, 2, 3))
        for title in ("board", "family", "flash", "RAM", "core", "emulators", "name"):
            table.add_column(title, no_wrap=title != "name")
        for b in found:
            memory, clock = b.kws.memory, b.kws.clock
            table.add_row(
                b.id,
                b.kws.family,
                f"{memory.flash_bytes // 1024} KB" if memory else "",
                f"{memory.ram_bytes // 1024} KB" if memory else "",
                f"{clock.core_hz / 1e6:g} MHz" if clock else "",
                ", ".join(kind for kind, there in b.kws.emulators if there is not None),
                b.name,
            )
        ui.out.show(table)

    ui.emit(result, json, human)


def _show(board: Board) -> None:
    table = ui.Table("key", "value", title=f"{board.id}: {board.name}", title_justify="left")
    for key, value in _flat("", board.kws.model_dump()):
        table.add_row(key, value)
    ui.out.show(table)


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [row for k, v in value.items() for row in _flat(f"{prefix}.{k}" if prefix else k, v)]
    if isinstance(value, list):
        return [row for i, v in enumerate(value) for row in _flat(f"{prefix}.{i}", v)]
    if value in (None, {}, []):
        return [(prefix, "yes")] if value == {} else []
    name = prefix.rsplit(".", 1)[-1]
    hexadecimal = name.endswith("_origin") or name in ("vid", "pid")
    return [(prefix, f"{value:#x}" if hexadecimal else str(value))]
