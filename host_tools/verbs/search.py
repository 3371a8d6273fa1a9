"""``kws search``"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.options.recipe import Settings
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.packages import pip_install

if TYPE_CHECKING:
    from host_tools.search.results import Found

EXAMPLE = (
    "Example: kws search --config default --data data/speech-commands --out runs/search --max-macs 1.2M "
    "--max-flash 128K --trials 40   and then the lines that it prints, as   kws train --config "
    "runs/search/front/default-17.toml --data data/speech-commands --out runs/default-17/train"
)


def search(
    data: Annotated[Path, typer.Option("--data", "-d", help="A data folder (kws data makes one).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; an unfinished one goes on.")],
    config: Annotated[
        str, typer.Option("--config", "-c", help="The recipe: TOML file, or a built-in name.")
    ] = "default",
    settings: Settings = None,
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="Board to build for.", show_default="the configuration's")
    ] = None,
    max_macs: Annotated[str, typer.Option(help="Most multiply-accumulates of a window: 1.2M.")] = "0",
    max_ram: Annotated[str, typer.Option(help="Most RAM of the whole image, as kws build counts it: 40K.")] = "0",
    max_flash: Annotated[str, typer.Option(help="Most flash of the whole image: 128K.")] = "0",
    trials: Annotated[int, typer.Option(min=0, help="Networks to train in all, earlier starts included.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no trial after this many minutes.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Of a trial; the front is then trained in full.")] = 8,
    json: common.Json = False,
) -> None:
    """Find networks on the front of accuracy against instructions, within the limits of a board.

    Each candidate is first built into the firmware and run in QEMU; what breaks a limit is never trained. Any
    stop leaves a study that goes on with the same command.
    """
    from contextlib import closing

    try:
        from host_tools.search import results
        from host_tools.search.study import Search
    except ImportError as error:
        if error.name not in ("optuna", "sqlalchemy"):
            raise
        raise MissingTool("Optuna is not installed", hint=pip_install(extra="search")) from error
    from host_tools.run.steps import lock_folder
    from host_tools.search.cost import Costs, Limits
    from host_tools.search.training import trainer
    from model_pipeline.child import Worker
    from model_pipeline.config import load_config, with_settings
    from model_pipeline.data.dataset import Dataset
    from model_pipeline.folders import claim_dir

    if not trials and not minutes:
        raise KwsError("a search needs an end", hint="--trials 40, or --minutes 60")
    recipe = with_settings(load_config(config, board=board), settings or [])
    limits = Limits(_number(max_macs, 1000), _number(max_ram, 1024), _number(max_flash, 1024))
    data_hash = Dataset.open(data, recipe.keywords, recipe.data).content_hash()
    names = ("study.db", "study.db-*", "candidates/**", "build/**", "front/**", "extra/**", "pool/**", ".lock")
    claim_dir(out, "kws search", names, sources=[data], ours=lambda folder: (folder / "candidates").is_dir())
    worker = Worker("model_pipeline.search", ["--data", str(data), "--out", str(out)])
    with closing(lock_folder(out)), worker, ui.progress("search") as progress:
        costs = Costs(recipe.board, limits, worker, out)
        study = Search(recipe, data_hash, out, limits, epochs, costs, trainer(worker))
        study.run(trials, minutes, progress, lambda: results.write(study))
        result = results.write(study)
    ui.emit({"data": str(data), **result.model_dump(mode="json")}, json, lambda _: _show(result, data))


def _number(text: str, thousand: int) -> int:
    """``1.2M`` or ``40K`` as a number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if not found:
        raise KwsError(f"{text!r} is not a number", hint="as in 40000, 40K or 1.2M")
    return round(float(found[1]) * thousand ** " KM".index(found[2].upper() or " "))


def _show(found: Found, data: Path) -> None:
    table = ui.Table(
        "trial", "how", "hop, bands", "network", "right", "MACs", "inference", "second", "RAM", "flash", "load",
        spare=(1, 7, 2, 6, 9, 10),
    )  # fmt: skip
    for column in table.columns[4:]:
        column.justify = "right"
    for r in found.front:
        table.add_row(
            str(r.trial),
            r.origin,
            f"{r.hop_ms} ms, {r.channels}",
            f"{r.front}-{r.body}, {r.blocks}x{r.kernel}",
            f"{100 * r.accuracy:.2f} %",
            *(f"{getattr(r, name) / 1e6:.2f} M" for name in ("macs", "inference", "per_second")),
            *(f"{getattr(r, name) / 1024:.1f} K" for name in ("ram", "flash")),
            f"{100 * r.load:.1f} %",
        )
    ui.out.show(table)
    ui.out.say(
        "{} trained, {} of them not to the end; {} broke a limit. Network: channels of front and body, blocks x "
        "frames. Right: on the validation clips, in float, after a short training. Inference, second (of sound): "
        "instructions. RAM and flash: of the whole image.",
        found.trained,
        found.ended_early,
        found.infeasible,
    )
    for r in found.front:
        rest = f"--data {data} --out runs/{Path(str(r.config)).stem}/train"
        ui.out.say("  kws train --config {} {}", r.config, rest)
    ui.out.say("drawn to {}", found.plot)
