"""``kws sessions``: long recordings with known keyword times, to hear, to evaluate and to compare devices on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.rate import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np

    from model_pipeline.data.sessions import Session

Split = Annotated[str, typer.Option(help="Whose clips: training, validation or testing.")]
Snr = Annotated[float, typer.Option(help="Of each word over the noise, in dB.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the order of words, the pauses and the levels.")]


GROUP = typer.Typer(
    name="sessions",
    help="Long recordings with known keyword times: make them, compare host and device on them.",
    no_args_is_help=True,
    epilog="Example: kws sessions make --data data/speech-commands --out sessions",
)


@GROUP.command(epilog="Example: kws sessions make --data data/speech-commands --out sessions --snr 5")
def make(
    data: common.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a wav and a json of each session.")],
    keyword: Annotated[
        list[str] | None, typer.Option(help="A keyword. May be repeated; else the eight of the default model.")
    ] = None,
    split: Split = "testing",
    snr: Snr = 10.0,
    keywords: Annotated[int, typer.Option(min=1, help="How many keywords are said in all.")] = 120,
    seed: Seed = 1,
    json: common.Json = False,
) -> None:
    """Put a split's keywords at random times into noise, with other words between."""
    from model_pipeline.config import Config
    from model_pipeline.data.dataset import Dataset
    from model_pipeline.data.sessions import Plan, generate, write_sessions

    dataset = Dataset.open(data, keyword or Config().keywords)
    made: list[Session] = []
    paths: list[Path] = []
    with ui.progress("making sessions") as progress:
        for session in generate(dataset, _split(split), snr, Plan(seed=seed, limit=keywords)):
            paths += write_sessions([session], out)
            made.append(session)
            said = sum(s.about["keywords"] for s in made)
            progress(said, max(said, keywords), session.name)
    length = round(sum(session.seconds for session in made), 1)
    said = sum(session.about["keywords"] for session in made)
    result = {"sessions": [str(path) for path in paths], "seconds": length, "keywords": said}

    def human(_: object) -> None:
        minutes = length / 60
        ui.out.say("{}: {} sessions of {:.1f} minutes in all, {} keywords", out, len(paths), minutes, said)

    ui.emit(result, json, human)


@GROUP.command(epilog="Example: kws sessions compare firmware/model --data data/speech-commands --board host")
def compare(
    model: Annotated[Path, typer.Argument(help="An exported model folder.", show_default=False)],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="A data folder to make sessions of.")] = None,
    wav: Annotated[Path | None, typer.Option(help="Any recording, instead.")] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it.")] = None,
    port: Annotated[str | None, typer.Option(help="Serial port or URL of a device with this model.")] = None,
    seconds: Annotated[float, typer.Option(min=2, help="How much audio.")] = 60.0,
    split: Split = "testing",
    snr: Snr = 10.0,
    seed: Seed = 1,
    json: common.Json = False,
) -> None:
    """Stream the same audio to a device and to this computer's copy of its code: every result must be equal."""
    from host_tools.check import stream as parity
    from host_tools.image import targets
    from model_pipeline.listening.recogniser import Recogniser

    recogniser = Recogniser(model)
    samples = _audio(recogniser.labels, data, wav, seconds, split, snr, seed)
    with (
        targets.target(port, board, model=model if board else None) as (link, _),
        ui.progress(f"stream {len(samples) / SAMPLE_RATE:.0f} s") as progress,
    ):
        result = parity.compare(link, recogniser, samples, progress=progress)

    def human(found: parity.StreamComparison) -> None:
        ui.out.say(
            "{}, engine {}: {} of {} results and {} detections in {:.0f} s of sound: {}",
            found.board,
            found.engine,
            found.equal_inferences,
            found.inferences,
            len(found.detections.device),
            found.seconds,
            ui.styled("[green]all equal[/]" if found.equal else "[red]not equal[/]"),
        )

    ui.emit(result, json, human)
    if not result.equal:
        raise CheckFailed(f"host and device differ: {result.first_difference}")
    if result.lost:
        raise CheckFailed(f"{result.lost} frames were lost on the link")


def _audio(
    labels: list[str], data: Path | None, wav: Path | None, seconds: float, split: str, snr: float, seed: int
) -> np.ndarray:
    import numpy as np

    from model_pipeline.data.audio import read_audio, resample, to_int16
    from model_pipeline.data.dataset import Dataset
    from model_pipeline.data.sessions import Plan, generate
    from model_pipeline.manifest import keywords_of

    if (data is None) == (wav is None):
        raise KwsError("give either --data DIR or --wav FILE")
    count = int(seconds * SAMPLE_RATE)
    if wav is not None:
        samples, rate = read_audio(wav)
        return to_int16(resample(samples, rate))[:count]
    assert data is not None
    pieces, total = [], 0
    plan = Plan(seed=seed, limit=max(8, int(seconds / 2)), keywords_each=20)
    for session in generate(Dataset.open(data, keywords_of(labels)), _split(split), snr, plan):
        pieces.append(session.samples)
        total += len(session.samples)
        if total >= count:
            break
    return np.concatenate(pieces)[:count]


def _split(name: str) -> Literal["training", "validation", "testing"]:
    if name not in ("training", "validation", "testing"):
        raise KwsError(f"no split {name!r}", hint="training, validation or testing")
    return cast(Literal["training", "validation", "testing"], name)
