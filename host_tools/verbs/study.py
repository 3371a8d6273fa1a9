"""``kws study``: what compression costs and gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.options.recipe import Settings
from model_pipeline.errors import KwsError

if TYPE_CHECKING:
    from host_tools.study.results import Compression

GROUP = typer.Typer(
    name="study",
    help="Studies of a model: compressed in many ways, each measured.",
    no_args_is_help=True,
    epilog="Example: kws study compression --config demo --out runs/demo-study",
)


@GROUP.callback()
def _group() -> None:
    """Keeps `compression` a command of its own while it is the only one."""


@GROUP.command(
    epilog="Example: kws study compression --config demo --out runs/demo-study --shares 50,25 --epochs 5 && "
    "kws runs show runs/demo-study/points/pruned-50-ptq-size"
)
def compression(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; an unfinished one goes on.")],
    config: Annotated[str, typer.Option("--config", "-c", help="The recipe: TOML file, or a built-in name.")] = "demo",
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="A data folder.", show_default="made as the configuration says"),
    ] = None,
    settings: Settings = None,
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="Board to build for.", show_default="the configuration's")
    ] = None,
    shares: Annotated[
        str, typer.Option(metavar="PERCENT,…", help="Of the base's channels, that narrower networks have.")
    ] = "75,50,25",
    epochs: Annotated[
        int, typer.Option(min=0, help="Of the base; pruned networks have half of them. 0: the recipe's.")
    ] = 0,
    aware: Annotated[
        bool, typer.Option("--aware/--no-aware", help="Also quantisation-aware training, of base and pruned networks.")
    ] = True,
    minutes: Annotated[float, typer.Option(min=0, help="Begin nothing after this many minutes. 0: no limit.")] = 0,
    negative: Annotated[
        list[Path] | None,
        typer.Option(help="Also count false accepts on this folder of speech without keywords; again for more."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what an earlier study left in --out first.")] = False,
    json: common.Json = False,
) -> None:
    """Compress one model in many ways, measure each, and draw accuracy against what it costs.

    Narrower, pruned and distilled networks, quantised after training and in it, packed for speed and for size: each is
    built into the firmware and run in QEMU. Any stop leaves a study that goes on with the same command.
    """
    from host_tools.study.compression import Wish, compress
    from model_pipeline.config import load_config, with_settings

    recipe = with_settings(load_config(config, board=board), settings or [])
    wish = Wish(_shares(shares), epochs, minutes, aware, tuple(negative or ()))
    with ui.progress("study") as progress:
        found = compress(recipe, data, out, wish, progress, fresh=fresh)
    ui.emit({"out": str(out), **found.model_dump(mode="json")}, json, lambda _: _show(found, out))


def _shares(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) / 100 for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < share < 1 for share in found):
        raise KwsError(f"--shares {text!r} is not a list of percentages between 0 and 100", hint="as in 75,50,25")
    return found


def _show(found: Compression, out: Path) -> None:
    from host_tools.study.page import PAGE, cell
    from host_tools.study.results import COSTS

    table = ui.Table(
        "network", "int8", "packed", "right", "missed", "flash", "RAM", "instr./s", "false/h", "front",
        spare=(4, 6),
    )  # fmt: skip
    for column in table.columns[3:9]:
        column.justify = "right"
    for row in found.points:
        point = row.point
        shown = [cell(row, name) for name in ("int8_validation_accuracy", "misses", *COSTS)]
        fronts = "".join(COSTS[cost] for cost in row.fronts)
        table.add_row(point.network.name, point.quantization, point.packing, *shown, fronts)
    ui.out.show(table)
    for row in (row for row in found.points if row.why):
        ui.out.say("[yellow]{}[/]: {}", row.name, row.why)
    ui.out.say(
        "[dim]right: validation clips, int8; missed, false/h: words in noise, and connected speech, by the recipe's "
        "detector. front: no other point is as accurate at less flash (F), RAM (R), instructions (I) or false accepts "
        "(A).[/]"
    )
    if found.unheard:
        ui.out.say("no false accepts: {}", found.unheard)
    if found.left:
        ui.out.say("[yellow]{} points are left[/]: the same command goes on", found.left)
    ui.out.say(
        "drawn to [bold]{}[/]; each point is a run: kws runs show {}",
        out / PAGE,
        out / "points" / found.points[0].name if found.points else out,
    )
