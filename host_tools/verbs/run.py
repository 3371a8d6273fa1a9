"""``kws run``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.options.recipe import Settings

EXAMPLE = "Example: kws run --config hey_robot   or   kws run --config demo --clips 100 --set train.epochs=5"


def run(
    config: Annotated[
        str | None, typer.Option(help="TOML file or the name of a built-in one.", show_default="demo")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do every step again, even if nothing changed.")] = False,
    board: Annotated[
        str | None, typer.Option(help="Board to build for and emulate.", show_default="the configuration's")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="aot or tflm.", show_default="the configuration's")] = None,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Test clips to stream.", show_default="the configuration's")
    ] = None,
    quality: Annotated[
        str, typer.Option(help="quick, or best: more speech and examples, which take an hour or more.")
    ] = "quick",
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/<name>")] = None,
    track: common.Track = None,
    json: common.Json = False,
) -> None:
    """The main job: words to speech, to a trained int8 model, to firmware, streamed to and measured.

    A second run does only what has changed; after Ctrl-C the next run goes on where this one was.
    """
    from host_tools.measure.clips import verdict
    from host_tools.records.find import read
    from host_tools.records.mlflow import tracker
    from host_tools.run import job as mainjob
    from host_tools.run.bar import step_bar
    from host_tools.run.quality import with_quality
    from model_pipeline.config import load_config

    wanted = with_quality(load_config(config, board=board, engine=engine), quality, settings or [])
    folder = out or Path("runs") / wanted.name
    told = tracker(track)
    done = mainjob.run(wanted, folder, clips=clips, fresh=fresh, bar=step_bar)
    results = done.results
    result = {
        "results": str(folder / "results.json"),
        "report": str(folder / "report.html"),
        "outcomes": [row.model_dump() for row in done.outcomes],
        **{key: value for key, value in results.to_json().items() if key not in ("clips", "config")},
    }

    def human(_: object) -> None:
        from host_tools.report import tables as show

        show.results(results)
        for warning in results.training.warnings if results.training else ():
            ui.out.say("warning: {}", warning)
        ui.out.say("report: [bold]{}[/]", result["report"])
        if told:
            ui.out.say("in MLflow: run {} of {}", result["mlflow"], told.uri)

    if told:
        result["mlflow"] = told.write(read(folder))
    ui.emit(result, json, human)
    verdict(results, folder / "report.html")
