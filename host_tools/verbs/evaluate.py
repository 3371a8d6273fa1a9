"""``kws evaluate``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from host_tools import ui
from host_tools.options import common, inputs
from model_pipeline.errors import CheckFailed, KwsError

if TYPE_CHECKING:
    from model_pipeline.evaluate import Evaluation
    from model_pipeline.score import Speakers


class Split(StrEnum):
    """Which clips."""

    training = "training"
    validation = "validation"
    testing = "testing"


class Engine(StrEnum):
    """What runs the model: TFLite Micro, or our compiled plan."""

    tflm = "tflm"
    aot = "aot"


class _OldSpelling(typer.core.TyperGroup):
    """``kws evaluate MODEL --streaming`` means ``kws evaluate stream MODEL``, with --near ``near``, else ``clips``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not {"-h", "--help"} & {args[0]}:
            chosen = next((mode for flag, mode in _FLAGS.items() if flag in args), "clips")
            for mode, options in _ONLY.items():
                wrong = [arg for arg in args if arg.partition("=")[0] in options]
                if mode != chosen and wrong:
                    raise KwsError(f"{wrong[0]} goes with kws evaluate {mode}, not with {chosen}")
            args = [chosen, *(arg for arg in args if arg not in _FLAGS)]
        return super().parse_args(ctx, args)


_FLAGS = {"--streaming": "stream", "--near": "near"}
_ONLY = {
    "clips": ("--gain", "--engine", "--minimum"),
    "stream": ("--negative", "--whole", "--sessions", "--keywords", "--plot"),
    "near": ("--word", "--takes"),
}
GROUP = typer.Typer(
    name="evaluate",
    cls=_OldSpelling,
    help="Measure an int8 model on this machine: on clips, in a stream, or at words that sound like its own.",
    no_args_is_help=True,
    epilog="Example: kws evaluate clips firmware/model --data data/speech-commands   or   "
    "kws evaluate stream firmware/model --negative data/librispeech-dev   or   kws evaluate near firmware/model",
)
SplitOption = Annotated[Split, typer.Option(help="Which clips.")]
Record = Annotated[bool, typer.Option("--record", help="Write the figures into model.json.")]


@GROUP.command(epilog="Example: kws evaluate clips firmware/model --data data/speech-commands --engine aot --snr 10")
def clips(
    model: common.Model,
    data: common.MaybeData = None,
    split: SplitOption = Split.testing,
    engine: Annotated[Engine, typer.Option(help="TFLite Micro, or our compiled plan.")] = Engine.tflm,
    record: Record = False,
    minimum: Annotated[float, typer.Option(help="Exit with 1 below this accuracy, in per cent.")] = 0.0,
    snr: Annotated[
        list[float] | None, typer.Option(help="Also in noise at this SNR in dB; may be repeated.", show_default="none")
    ] = None,
    gain: Annotated[
        list[float] | None,
        typer.Option(help="Also this many dB louder, or softer (-20); may be repeated.", show_default="none"),
    ] = None,
    json: common.Json = False,
) -> None:
    """Accuracy on single clips with its interval, and the confusion matrix."""
    from model_pipeline.evaluate import evaluate

    if data is None:
        raise KwsError("no --data DIR to measure on", hint="kws data synth, import or download makes one")
    inputs.check(model, data=data)
    with ui.progress("evaluating") as progress:
        found = evaluate(
            model, data, split.value, engine.value, progress, snr_db=snr or (), gain_db=gain or (), record=record
        )
    ui.emit(found, json, _human)
    if 100 * found.accuracy < minimum:
        raise CheckFailed(f"{100 * found.accuracy:.2f} % is below the wanted {minimum:g} %")


@GROUP.command(epilog="Example: kws evaluate stream firmware/model --negative data/librispeech-dev --plot det.svg")
def stream(
    model: common.Model,
    data: common.MaybeData = None,
    split: SplitOption = Split.testing,
    negative: Annotated[
        list[Path] | None, typer.Option(help="A folder of connected speech. May be repeated.", show_default=False)
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="All of --negative, also what was learnt from.")] = False,
    snr: Annotated[
        list[float] | None, typer.Option(help="Of the sessions' words, in dB; may be repeated.", show_default="10")
    ] = None,
    sessions: Annotated[Path | None, typer.Option(help="Own labelled recordings.", show_default=False)] = None,
    keywords: Annotated[int, typer.Option(min=0, help="Keywords in the sessions; 0: each clip once.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Picture of the DET curve.", show_default=False)] = None,
    record: Record = False,
    json: common.Json = False,
) -> None:
    """Misses, false accepts an hour and response time over long audio, through model and detector."""
    from host_tools.report import listening
    from model_pipeline.data.sessions import Plan
    from model_pipeline.listening.evaluate import Audio, evaluate_listening
    from model_pipeline.listening.plot import check_name, det_plot

    if data is None and not (negative or sessions):
        raise KwsError(
            "nothing to listen to",
            hint="--data DIR (kws data synth makes one), --sessions DIR, or --negative DIR for false accepts alone",
        )
    if plot:
        check_name(plot)
    inputs.check(model, data=data, speech=negative or [])
    with ui.progress("listening") as progress:
        result = evaluate_listening(
            model,
            Audio(data, split.value, tuple(snr or (10.0,)), negative or [], sessions, Plan(limit=keywords), whole),
            progress,
            record=record,
        )
    if plot:
        det_plot(result, plot)
    if not json:
        ui.some_words(result.absent)
    ui.emit(result, json, listening.evaluation)


@GROUP.command(epilog="Example: kws evaluate near firmware/model --word off --takes 12")
def near(
    model: common.Model,
    data: common.MaybeData = None,
    words: Annotated[
        list[str] | None, typer.Option("--word", help="This word.", show_default="chosen by sound")
    ] = None,
    takes: Annotated[int, typer.Option(min=1, help="Of each near word.")] = 12,
    record: Record = False,
    json: common.Json = False,
) -> None:
    """How often words that sound much like a keyword set the detector off, said by voices unheard in training."""
    from host_tools.report import listening
    from model_pipeline.listening.near import evaluate_near, settings_of
    from model_pipeline.manifest import load_manifest

    settings = settings_of(load_manifest(model), data)
    with ui.progress("near words") as progress:
        result = evaluate_near(model, words or [], takes, settings, progress, record=record)
    ui.emit(result, json, listening.near)


def _human(values: Evaluation) -> None:
    low, high = values.interval
    ui.some_words(values.absent)
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
    ui.out.say(
        "[dim]all its keyword clips, some of its other words, and silence from its noise: kws data info counts them[/]"
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
    if values.synthetic:
        ui.out.say(
            "[yellow]only synthetic voices speak here[/], which are far more alike than people: how well people are "
            "understood, recordings of them tell"
        )
