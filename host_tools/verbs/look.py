"""``kws look``"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, inputs
from host_tools.report import listening

EXAMPLE = (
    "Example: kws look runs/demo/model --data runs/demo/data --negative FOLDER   "
    "(FOLDER: recordings in which no keyword is said)"
)


def look(
    model: Annotated[
        Path,
        typer.Argument(help="Folder with model.tflite and model.json, exported or not.", show_default=False),
    ],
    data: Annotated[Path, typer.Option("--data", "-d", help="A data folder; its training split is used.")],
    negative: Annotated[
        list[Path],
        typer.Option(help="A folder of connected speech or noise, as the model was trained with. May be repeated."),
    ],
    stride: Annotated[int, typer.Option(min=1, help="Hops between inferences.")] = 4,
    steps: Annotated[int, typer.Option(min=1, max=32, help="Results that it looks back on.")] = 24,
    hidden: Annotated[int, typer.Option(min=1, max=32, help="Hidden units.")] = 12,
    keywords: Annotated[int, typer.Option(min=0, help="Keywords in the sessions of each SNR; 0: all.")] = 1000,
    extra: Annotated[
        Path | None,
        typer.Option(help="Words of synthetic voices, as kws train keeps them in OUT/extra: they are heard then too."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sessions and of the weights.")] = 1,
    babble: Annotated[
        bool,
        typer.Option("--babble", help="Voices saying other words at once too, as for scenes.babble."),
    ] = False,
    json: common.Json = False,
) -> None:
    """Learn a second look at each word before it fires: at how results came about, and how loud it was.

    The model's folder is changed in place: model.json, and where kws export made
    it also the sources of a firmware.
    """
    from model_pipeline.data.sessions import Plan
    from model_pipeline.listening.look import LookShape
    from model_pipeline.listening.look import look as run
    from model_pipeline.listening.material import Material

    shape = LookShape(stride_hops=stride, steps=steps, hidden=hidden, seed=seed, babble=babble)
    inputs.check(model, data=data, speech=negative)
    with ui.progress("learning") as progress:
        material = Material(data, negative, Plan(seed=seed, limit=keywords))
        result = run(model, material, shape, progress, extra)
    ui.emit(asdict(result), json, lambda _: listening.second_look(result))
    if not json:
        ui.out.say("written: {}; its thresholds are those of kws calibrate, which is next", model / "model.json")
