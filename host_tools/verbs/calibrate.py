"""``kws calibrate``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, inputs
from host_tools.report import listening

EXAMPLE = (
    "Example: kws calibrate runs/demo/firmware_model --data runs/demo/data --negative FOLDER --common --dry-run\n\n"
    "FOLDER has recordings in which no keyword is said. docs/listening.md: what to turn where it fires too often"
)


def calibrate(
    model: Annotated[
        Path,
        typer.Argument(help="Folder with model.tflite and model.json, exported or not.", show_default=False),
    ],
    data: Annotated[Path, typer.Option("--data", "-d", help="A data folder; its validation split is used.")],
    negative: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of connected speech. May be repeated: the rate is then what a further corpus would give."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="False accepts an hour that are wanted at most.")] = 1.0,
    response: Annotated[
        float, typer.Option(min=0, help="Milliseconds after a word's end within which it must be answered.")
    ] = 400.0,
    snr: Annotated[list[float] | None, typer.Option(help="SNR of the sessions in dB. May be repeated.")] = None,
    stride: Annotated[
        list[int] | None, typer.Option(min=1, help="Hops between inferences to try. May be repeated.")
    ] = None,
    same: Annotated[
        bool, typer.Option("--common", help="One threshold for all words: better where false accepts are few.")
    ] = False,
    near: Annotated[
        float,
        typer.Option(
            "--near-rate",
            min=0,
            max=1,
            help="The share of near words that may fire, at any cost; 0: all. With --common.",
        ),
    ] = 0.0,
    keywords: Annotated[int, typer.Option(min=0, help="Keywords in the sessions; 0: every clip once.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sessions.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Choose and print, but write nothing.")] = False,
    json: common.Json = False,
) -> None:
    """Choose the detector's smoothing, thresholds, count, refractory time and stride for a false-accept rate, and write
    them into the model's folder.

    The folder is changed in place: model.json, and where kws export made it
    (runs/NAME/firmware_model) also the sources of a firmware. --dry-run prints
    the same and changes nothing.
    """
    from model_pipeline.data.sessions import Plan
    from model_pipeline.listening.calibrate import Wish
    from model_pipeline.listening.calibrate import calibrate as run
    from model_pipeline.listening.material import Material

    strides = tuple(sorted(set(stride or (3, 4, 5))))
    wish = Wish(rate, response, tuple(snr or (10.0,)), strides, common=same, near=near)
    material = Material(data, negative or [], Plan(seed=seed, limit=keywords))
    inputs.check(model, data=data, speech=negative or [])
    with ui.progress("calibrating") as progress:
        result = run(model, material, wish, progress, write=not dry_run)
    if not negative:
        ui.err.say("[yellow]no --negative:[/] the rate is that of noise alone; speech gives more")
    ui.emit(result, json, listening.calibration)
    if not json:
        if dry_run:
            ui.out.say("nothing was written")
        else:
            ui.out.say("written: {}", model / "model.json")
