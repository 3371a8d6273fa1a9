"""``kws evaluate``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui

if TYPE_CHECKING:
    from model_pipeline.evaluate import Evaluation
    from model_pipeline.score import Speakers

EXAMPLE = (
    "Example: kws evaluate firmware/model --data data/speech_commands --engine aot --snr 10   or   "
    "kws evaluate firmware/model --streaming --negative data/talk --negative data/prose --plot det.svg   "
    "or   kws evaluate firmware/model --near"
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
        data: Annotated[Path | None, typer.Option("--data", "-d", help="A data folder.", show_default=False)] = None,
        split: Annotated[Split, typer.Option(help="Which clips.")] = Split.testing,
        engine: Annotated[Engine, typer.Option(help="TFLite Micro, or our compiled plan.")] = Engine.tflm,
        record: Annotated[bool, typer.Option("--record", help="Write the accuracy into model.json.")] = False,
        minimum: Annotated[float, typer.Option(help="Exit with 1 below this accuracy, in per cent.")] = 0.0,
        streaming: Annotated[
            bool, typer.Option("--streaming", help="Long audio through model and detector, instead of clips.")
        ] = False,
        negative: Annotated[
            list[Path] | None,
            typer.Option(help="With --streaming: a folder of connected speech. May be repeated.", show_default=False),
        ] = None,
        whole: Annotated[bool, typer.Option("--whole", help="All of --negative, also what was learnt from.")] = False,
        snr: Annotated[
            list[float] | None, typer.Option(help="Also in noise at this SNR in dB; may be repeated. --streaming: 10.")
        ] = None,
        gain: Annotated[
            list[float] | None, typer.Option(help="Also so many dB louder, or softer (-20); may be repeated.")
        ] = None,
        sessions: Annotated[Path | None, typer.Option(help="With --streaming: own labelled recordings.")] = None,
        keywords: Annotated[int, typer.Option(min=0, help="With --streaming: keywords; 0: each clip once.")] = 0,
        plot: Annotated[Path | None, typer.Option(help="With --streaming: picture of the DET curve.")] = None,
        near: Annotated[
            bool, typer.Option("--near", help="Words near the keywords in sound, by synthetic voices, instead.")
        ] = False,
        words: Annotated[
            list[str] | None,
            typer.Option("--word", help="With --near: this word.", show_default="chosen by sound"),
        ] = None,
        takes: Annotated[int, typer.Option(min=1, help="With --near: of each near word.")] = 12,
        json: ui.Json = False,
    ) -> None:
        """Measure an int8 model on this machine: accuracy with its interval, and the confusion matrix.

        With --streaming: misses, false accepts an hour and response time over long audio. With --near: how often
        words that sound much like a keyword set the detector off, said by voices that training has not heard.
        """
        from model_pipeline.errors import CheckFailed, KwsError
        from model_pipeline.evaluate import evaluate as run

        if words and not near:
            raise KwsError("--word goes with --near")
        if near:
            _near(model, data, words or [], takes, record=record, json=json)
            return
        if data is None and not (streaming and (negative or sessions)):
            raise KwsError("no --data DIR to measure on", hint="kws data synth, import or download makes one")
        if gain and streaming:
            raise KwsError("--gain is for clips, not for --streaming")
        if streaming:
            from host_tools.report import listening
            from model_pipeline.data.sessions import Plan
            from model_pipeline.listening.evaluate import evaluate_streaming
            from model_pipeline.listening.plot import check_name, det_plot

            if plot:
                check_name(plot)
            with ui.progress("listening") as progress:
                result = evaluate_streaming(
                    model,
                    data,
                    split.value,
                    tuple(snr or (10.0,)),
                    negative or [],
                    sessions,
                    Plan(limit=keywords),
                    progress,
                    whole=whole,
                    record=record,
                )
            if plot:
                det_plot(result, plot)
            ui.emit(result, json, listening.evaluation)
            return
        if negative or sessions or plot or whole or keywords:
            raise KwsError("--negative, --whole, --sessions, --keywords and --plot go with --streaming")
        assert data is not None
        with ui.progress("evaluating") as progress:
            found = run(
                model, data, split.value, engine.value, progress, snr_db=snr or (), gain_db=gain or (), record=record
            )
        ui.emit(found, json, _human)
        if 100 * found.accuracy < minimum:
            raise CheckFailed(f"{100 * found.accuracy:.2f} % is below the wanted {minimum:g} %")


def _near(model: Path, data: Path | None, words: list[str], takes: int, *, record: bool, json: bool) -> None:
    from host_tools.report import listening
    from model_pipeline.listening.near import evaluate_near, settings_of
    from model_pipeline.manifest import load_manifest

    settings = settings_of(load_manifest(model), data)
    with ui.progress("near words") as progress:
        result = evaluate_near(model, words, takes, settings, progress, record=record)
    ui.emit(result, json, listening.near)


def _human(values: Evaluation) -> None:
    low, high = values.interval
    ui.out.say(
        "[bold]{:.2f} %[/] of {} {} clips (95 %: {:.2f} to {:.2f}), model {}, engine {}",
        100 * values.accuracy,
        values.count,
        values.split,
        100 * low,
        100 * high,
        values.model,
        values.engine,
    )
    table = ui.Table(title="truth down, answer across", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for label in values.labels:
        table.add_column(label, justify="right")
    table.add_column("recall", justify="right")
    for i, (label, row) in enumerate(zip(values.labels, values.confusion, strict=True)):
        cells = [ui.Text(str(n), "bold") if i == j else str(n) if n else "·" for j, n in enumerate(row)]
        recall = values.recall[label]
        table.add_row(label, *cells, "–" if recall is None else f"{100 * recall:.1f} %")
    ui.out.show(table)
    changed = {f"in noise at {snr} dB SNR": found for snr, found in values.noise.items()}
    changed |= {f"at {float(gain):+g} dB": found for gain, found in values.gain.items()}
    for how, found in changed.items():
        low, high = found.interval95
        ui.out.say(
            "{}: {:.2f} % of {} spoken clips (95 %: {:.2f} to {:.2f})",
            how,
            100 * found.accuracy,
            found.clips,
            100 * low,
            100 * high,
        )
    _speakers(values.speakers)


def _speakers(values: Speakers) -> None:
    if values.several:
        ui.out.say(
            "{} speakers with five clips or more: a tenth of them below {:.0f} %, median {:.0f} %, "
            "a tenth above {:.0f} %",
            values.several,
            100 * (values.p10 or 0),
            100 * (values.median or 0),
            100 * (values.p90 or 0),
        )
    if values.groups.keys() - {"people"}:
        shares = (f"{n} {100 * g.correct / g.clips:.1f} % of {g.clips}" for n, g in values.groups.items())
        ui.out.say("by kind of voice: {}", ", ".join(shares))
