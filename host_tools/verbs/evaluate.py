"""``kws evaluate``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from host_tools import ui

EXAMPLE = (
    "Example: kws evaluate firmware/model --data data/speech_commands --engine aot   or   "
    "kws evaluate firmware/model --data data/speech_commands --streaming --negative data/conversations --plot det.svg"
)


class Split(StrEnum):
    """Which clips."""

    training = "training"
    validation = "validation"
    testing = "testing"


class Engine(StrEnum):
    """What runs the model: TFLite Micro, or our compiled plan."""

    tflm = "tflm"
    aot = "aot"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def evaluate(
        model: Annotated[Path, typer.Argument(help="Folder with model.tflite and model.json.", show_default=False)],
        data: Annotated[Path, typer.Option("--data", "-d", help="A data folder.")],
        split: Annotated[Split, typer.Option(help="Which clips.")] = Split.testing,
        engine: Annotated[Engine, typer.Option(help="TFLite Micro, or our compiled plan.")] = Engine.tflm,
        record: Annotated[bool, typer.Option("--record", help="Write the accuracy into model.json.")] = False,
        minimum: Annotated[float, typer.Option(help="Exit with 1 below this accuracy, in per cent.")] = 0.0,
        streaming: Annotated[
            bool, typer.Option("--streaming", help="Long audio through model and detector, instead of clips.")
        ] = False,
        negative: Annotated[Path | None, typer.Option(help="With --streaming: recordings without keywords.")] = None,
        whole: Annotated[bool, typer.Option("--whole", help="All of --negative, not only its reporting part.")] = False,
        snr: Annotated[list[float] | None, typer.Option(help="With --streaming: SNR in dB. May be repeated.")] = None,
        sessions: Annotated[Path | None, typer.Option(help="With --streaming: own labelled recordings.")] = None,
        keywords: Annotated[int, typer.Option(min=0, help="With --streaming: keywords; 0: each clip once.")] = 0,
        plot: Annotated[Path | None, typer.Option(help="With --streaming: picture of the DET curve.")] = None,
        json: ui.Json = False,
    ) -> None:
        """Measure an int8 model on this machine: accuracy with its interval, and the confusion matrix.

        With --streaming: misses, false accepts an hour and response time over long audio.
        """
        from model_pipeline.errors import CheckFailed, KwsError
        from model_pipeline.evaluate import evaluate as run

        if streaming:
            from host_tools import listening
            from model_pipeline.streaming.evaluate import evaluate_streaming
            from model_pipeline.streaming.plot import check_name, det_plot
            from model_pipeline.streaming.sessions import Plan

            if plot:
                check_name(plot)
            with ui.progress("listening") as progress:
                result = evaluate_streaming(
                    model,
                    data,
                    split.value,
                    tuple(snr or (10.0,)),
                    negative,
                    None if whole else "reporting",
                    sessions,
                    Plan(limit=keywords),
                    progress,
                    record=record,
                )
            if plot:
                det_plot(result, plot)
            ui.emit(result, json, listening.evaluation)
            return
        if negative or snr or sessions or plot or whole or keywords:
            raise KwsError("--negative, --whole, --snr, --sessions, --keywords and --plot go with --streaming")
        with ui.progress("evaluating") as progress:
            result = run(model, data, split.value, engine.value, progress, record=record)
        ui.emit(result, json, _human)
        if 100 * result["accuracy"] < minimum:
            raise CheckFailed(f"{100 * result['accuracy']:.2f} % is below the wanted {minimum:g} %")


def _human(values: dict[str, Any]) -> None:
    low, high = values["interval"]
    ui.out.print(
        f"[bold]{100 * values['accuracy']:.2f} %[/] of {values['count']} {values['split']} clips "
        f"(95 %: {100 * low:.2f} to {100 * high:.2f}), model {values['model']}, engine {values['engine']}"
    )
    table = Table(title="truth down, answer across", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for label in values["labels"]:
        table.add_column(label, justify="right")
    table.add_column("recall", justify="right")
    for i, (label, row) in enumerate(zip(values["labels"], values["confusion"], strict=True)):
        cells = [f"[bold]{n}[/]" if i == j else str(n) if n else "·" for j, n in enumerate(row)]
        recall = values["recall"][label]
        table.add_row(label, *cells, "–" if recall is None else f"{100 * recall:.1f} %")
    ui.out.print(table)
