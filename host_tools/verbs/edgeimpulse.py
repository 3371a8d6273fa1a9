"""``kws edgeimpulse``: recordings, models and estimates, to and from a project at Edge Impulse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import CheckFailed, KwsError

if TYPE_CHECKING:
    from host_tools.edgeimpulse.profile import Comparison
    from host_tools.edgeimpulse.upload import Uploaded

GROUP = typer.Typer(
    name="edgeimpulse",
    help="Recordings to and from a project at Edge Impulse, its models, its estimates. The key: EI_API_KEY.",
    no_args_is_help=True,
    epilog="Example: EI_API_KEY=KEY kws edgeimpulse upload data/mine",
)

Jobs = Annotated[int, typer.Option(min=1, max=16, help="Requests side by side.")]
Timeout = Annotated[float, typer.Option(min=1, max=86400, help="Seconds to wait for a job at Edge Impulse.")]


@GROUP.command(epilog="Example: kws edgeimpulse upload data/mine --word hey_robot --word unknown")
def upload(
    folder: Annotated[Path, typer.Argument(help="A data folder.", show_default=False)],
    word: Annotated[list[str] | None, typer.Option(help="Only this word; again for more.", show_default="all")] = None,
    jobs: Jobs = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask the project what it has, not the record here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go up; no key is needed.")] = False,
    json: common.Json = False,
) -> None:
    """Send recordings, each once, with label, speaker and split; goes on where it stopped."""
    from host_tools.edgeimpulse import upload as step
    from host_tools.edgeimpulse.api import Client

    if dry_run:
        clips, unused = step.clips_of(folder, word or [])
        labels = step.counts(clips)
        result = {"clips": len(clips), "unused": unused, "labels": labels}
        ui.emit(result, json, lambda _: _show_labels(labels, unused))
        return
    with Client() as client, ui.progress("uploading") as progress:
        done = step.upload(client, folder, progress, words=word or [], jobs=jobs, fresh=fresh)
    ui.emit(done, json, _show_uploaded)
    if done.refused:
        raise CheckFailed(f"{done.refused} of {done.clips} recordings did not go up", hint="mend them and run again")


def _show_labels(labels: Mapping[str, Mapping[str, int]], unused: int) -> None:
    table = ui.Table("label", "training", "validation", "testing")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, splits in labels.items():
        table.add_row(label, *(f"{splits.get(split, 0):,}" for split in ("training", "validation", "testing")))
    ui.out.show(table)
    if unused:
        ui.out.say("{:,} clips are on none of the lists and stay", unused)


def _show_uploaded(result: Uploaded) -> None:
    ui.out.say("{} ({}): {:,} of {:,} clips sent", result.project_name, result.project, result.sent, result.clips)
    for number, text in (
        (result.before, "were there from before"),
        (result.known, "the project has already, from elsewhere"),
        (result.same, "sound the same as another file here and were left out"),
        (result.unused, "are on none of the lists and stay"),
        (result.refused, "did not go up:"),
    ):
        if number:
            ui.out.say("  {:,} {}", number, text)
    for item in result.first_refused[:10]:
        ui.out.say("    {}: {}", item.file, item.reason)
    ui.out.say("  what went up is recorded in {}", result.record)


@GROUP.command(epilog="Example: kws edgeimpulse download --out data/theirs")
def download(
    out: Annotated[Path, typer.Option("--out", "-o", help="The data folder to make; replaced if kws made it.")],
    noise: Annotated[
        str, typer.Option(help="The label whose recordings are background noise.", show_default="none")
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the recordings, for the model's manifest.")] = "",
    jobs: Jobs = 4,
    json: common.Json = False,
) -> None:
    """Make a data folder of a project's recordings; goes on where it stopped."""
    from host_tools.edgeimpulse import download as step
    from host_tools.edgeimpulse.api import Client

    with Client() as client, ui.progress("downloading") as progress:
        result = step.download(client, out, progress, noise=noise, licence=licence, jobs=jobs)

    def human(made: step.Downloaded) -> None:
        ui.out.say("{}: {:,} clips of {} words", out, made.clips, len(made.words))
        if made.noise_files:
            ui.out.say("  {} files of noise", made.noise_files)
        for reason, number in made.not_taken.items():
            ui.out.say("  left out {:,}: {}", number, reason)
        for item in made.skipped_files[:10]:
            ui.out.say("  left out {}: {}", item.file, item.reason)
        for warning in made.warnings:
            ui.out.say("  warning: {}", warning)

    ui.emit(result, json, human)


@GROUP.command(epilog="Example: kws edgeimpulse model --out theirs && kws compile theirs/model.tflite")
def model(
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder; replaced if this command made it.")],
    block: Annotated[int | None, typer.Option(min=1, help="The learning block.", show_default="the only one")] = None,
    deployed: Annotated[bool, typer.Option("--deployed", help="Out of a deployment, which is built first.")] = False,
    timeout: Timeout = 1800,
    json: common.Json = False,
) -> None:
    """Make a model folder of a project's trained int8 network, for the compiler."""
    from host_tools.edgeimpulse.api import Client
    from host_tools.edgeimpulse.model import fetch_model

    with Client() as client, ui.progress("model") as progress:
        manifest = fetch_model(client, out, progress, block=block, deployed=deployed, timeout=timeout)

    def human(_: object) -> None:
        front_end = manifest.foreign_front_end
        ui.out.say("{}: {} tells {}", str(out), manifest.name, ", ".join(manifest.labels))
        ui.out.say("  {:,} MACs an inference, for {} ms of sound", manifest.macs, front_end.window_ms)
        ui.out.say(
            "  it hears with {}'s {}, which kws can't compute: no samples can be run through it, features can",
            front_end.maker,
            front_end.kind,
        )
        ui.out.say("  kws compile {}", out / "model.tflite")

    ui.emit(manifest.model_dump(mode="json"), json, human)


@GROUP.command(epilog="Example: kws edgeimpulse profile firmware/model/model.tflite")
def profile(
    tflite: common.Tflite,
    device: Annotated[
        str, typer.Option(help="Also for this one, by Edge Impulse's name: cortex-m4f-80mhz.", show_default="none")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where the project has another model of its own.")
    ] = False,
    timeout: Timeout = 1800,
    json: common.Json = False,
) -> None:
    """Show Edge Impulse's estimates of a model beside our own figures. The model stays in the project."""
    import re

    from host_tools.edgeimpulse import profile as step
    from host_tools.edgeimpulse.api import Client
    from host_tools.options import kernels

    if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", device):
        raise KwsError("--device is a name such as cortex-m4f-80mhz")
    data = kernels.read(tflite)
    with Client() as client, ui.progress("estimating") as progress:
        result = step.compare(client, tflite, data, progress, device=device, replace=replace, timeout=timeout)
    ui.emit(result, json, _show_comparison)


def _show_comparison(result: Comparison) -> None:
    table = ui.Table("by", "on", "engine", "ms", "RAM", "flash", "", spare=(6,))
    for column in (3, 4, 5):
        table.columns[column].justify = "right"
    for row in result.rows:
        table.add_row(
            row.source,
            row.where,
            row.engine,
            "" if row.ms is None else f"{row.ms:,.2f}",
            "" if row.ram is None else f"{row.ram:,}",
            "" if row.flash is None else f"{row.flash:,}",
            row.note,
        )
    ui.out.show(table)
    if result.instructions is None:
        ui.out.say("our own figures: {}", result.why_not)
    else:
        ui.out.say(
            "ours: {:,.0f} instructions counted in QEMU; milliseconds at 1.4 cycles each (assumed); RAM with stack",
            result.instructions,
        )
