"""``kws report``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common

EXAMPLE = "Example: kws report runs/demo   or   kws report --card firmware/model > card.md"


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run; with --card also of a model.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html, or the card's file.", show_default="the run's; a card: stdout"),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Write the card of a model instead, in Markdown.")] = False,
    json: common.Json = False,
) -> None:
    """Draw report.html from results.json again, and print its figures.

    With --card: data, accuracy by word and speaker, in noise, false accepts, cost on each board, limits.
    Accuracies are what `kws evaluate --record` wrote into the model's manifest.
    """
    if card:
        _card(run, out, json=json)
        return
    from host_tools.report import page as reports
    from host_tools.report import tables as show
    from host_tools.report.results import read_results

    results = read_results(run)
    folder = out or (run if run.is_dir() else run.parent)
    with ui.progress("drawing the report"), reports.of_a_file(run):
        _, page = reports.write_report(results, folder)

    def human(_: object) -> None:
        with reports.of_a_file(run):
            show.results(results)
        ui.out.say("report: [bold]{}[/]", page)

    ui.emit({**results.to_json(), "report": str(page)}, json, human)


def _card(model: Path, out: Path | None, *, json: bool) -> None:
    from host_tools.report import card
    from model_pipeline.files import write_text

    with ui.progress("model card") as progress:
        text = card.card(model, progress)
    if out is not None:
        write_text(out, text)
    result = {"card": None if out is None else str(out), **({"text": text} if out is None else {})}

    def human(_: object) -> None:
        if out is None:
            ui.document(text)
        else:
            ui.out.say("card: [bold]{}[/]", out)

    ui.emit(result, json, human)
