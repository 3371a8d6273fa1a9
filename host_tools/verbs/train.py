"""``kws train``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, recipe

EXAMPLE = "Example: kws train --recipe default --data data/speech-commands --out runs/mine/train"


def train(
    data: Annotated[
        str,
        typer.Option("--data", "-d", help="A data folder, or the folder or URL of a sharded set (kws data shard)."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for model.keras, train.json and log.csv.")],
    config: recipe.Recipe = "demo",
    teacher: recipe.Teacher = None,
    settings: recipe.Settings = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="tf.distribute: auto, mirrored (all GPUs, or --set devices.replicas=2) or multiworker (TF_CONFIG).",
            show_default="auto",
        ),
    ] = None,
    track: common.Track = None,
    json: common.Json = False,
) -> None:
    """Train the float network. Goes on from its last epoch after a stop; Ctrl-C keeps the best so far."""
    from host_tools.records.find import read
    from host_tools.records.mlflow import tracker
    from model_pipeline.child import run_step
    from model_pipeline.outcomes import Trained

    told = tracker(track)
    arguments = [*recipe.arguments(config, settings, teacher), "--data", data, "--out", str(out)]
    if strategy:
        arguments.append(f"--set=devices.strategy={strategy}")
    with ui.progress("training") as progress:
        trained = run_step("model_pipeline.train", arguments, Trained, progress)
    result = trained.model_dump(mode="json")
    if told and trained.model_sha256:  # else a worker that is not the chief
        result["mlflow"] = told.write(read(out))

    def human(_: object) -> None:
        place = (trained.best_epoch, trained.epochs, trained.seconds)
        if trained.validation_clips:
            accuracy = 100 * trained.validation_accuracy
            ui.out.say("{}: {:.2f} % on the validation clips (epoch {} of {}), {:.0f} s", out, accuracy, *place)
        else:
            ui.out.say("{}: no validation clips, so the last epoch is kept (epoch {} of {}), {:.0f} s", out, *place)
        ui.out.say(
            "  {}: {:,} parameters, {:,} MACs a window",
            trained.architecture,
            trained.parameters,
            trained.macs,
        )

        for warning in trained.warnings:
            ui.out.say("  warning: {}", warning)
        if "mlflow" in result and told:
            ui.out.say("  in MLflow: run {} of {}", result["mlflow"], told.uri)

    ui.emit(result, json, human)
