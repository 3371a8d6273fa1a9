"""``kws quantize``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, recipe

EXAMPLE = "Example: kws quantize runs/mine/train --recipe default --data data/speech-commands --out runs/mine/model"


def quantize(
    trained: Annotated[Path, typer.Argument(help="The folder that kws train wrote.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", "-d", help="The data folder that it was trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for model.tflite and model.json; replaced.")],
    config: recipe.Recipe = "demo",
    teacher: recipe.Teacher = None,
    settings: recipe.Settings = None,
    json: common.Json = False,
) -> None:
    """Make the int8 model: post-training and quantisation-aware, and the better of both is kept."""
    from model_pipeline.child import run_step
    from model_pipeline.outcomes import Quantized

    arguments = recipe.arguments(config, settings, teacher)
    arguments += ["--trained", str(trained), "--data", str(data), "--out", str(out)]
    with ui.progress("quantising") as progress:
        result = run_step("model_pipeline.quantize", arguments, Quantized, progress)

    def human(made: Quantized) -> None:
        ui.out.say("{}: {}, {:,} B, model {}", out, made.quantization, made.bytes, made.model)
        if not made.validation_clips:
            ui.out.say("  no validation clips: nothing says which way is better")
            return
        if made.float_validation_accuracy is not None:
            ui.out.say("  float: {:.2f} % on the validation clips", 100 * made.float_validation_accuracy)
        for way, measured in made.validation.items():
            ui.out.say("  {}: {:.2f} % (int8, TFLite Micro)", way, 100 * measured.accuracy)

    ui.emit(result, json, human)
