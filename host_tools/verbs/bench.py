"""``kws bench``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common

if TYPE_CHECKING:
    from host_tools.image.build import BuildResult
    from host_tools.measure.features import FeatureSpeed
    from host_tools.measure.results import Bench

EXAMPLE = (
    "Example: kws bench --board disco_f407vg   or   kws bench --port /dev/ttyACM0 --rounds 50   or   "
    "kws bench --features"
)


def bench(
    port: Annotated[str | None, typer.Option(help="Serial port or URL such as socket://127.0.0.1:3456.")] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Exported model folder for --board.", show_default="firmware/model"),
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine to build with --board: aot or tflm.")] = "aot",
    rounds: Annotated[int, typer.Option(min=1, help="Windows, clips and seconds of each kind.")] = 10,
    baud: common.Baud = None,
    features: Annotated[
        bool, typer.Option("--features", help="Instead, how fast this computer makes features, beside librosa.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Measure front end, inference and detector on a device, each separately, on random features and sound."""
    if features:
        from host_tools.measure.features import bench_features
        from model_pipeline.config import FrontendConfig

        with ui.progress("features") as progress:
            speeds = bench_features(FrontendConfig(), rounds=rounds, progress=progress)
        ui.emit(speeds, json, show_features)
        return
    from host_tools.image import targets
    from host_tools.measure.device import bench as measure

    with (
        targets.target(port, board, model=model, engine=engine, baud=baud) as (link, build),
        ui.progress("benchmark") as progress,
    ):
        measured = measure(link, rounds=rounds, progress=progress)
    values = {**measured.to_json(), "build": build.to_json() if build else None}
    ui.emit(values, json, lambda _: show(measured, build))


def show_features(speeds: FeatureSpeed) -> None:
    """Prints the speed of making features."""
    rates = speeds.clips_per_second
    ui.out.say("front end on {} cores: {:,.0f} one-second clips a second", speeds.cores, rates["frontend"])
    for way, words in (("one_by_one", "clip by clip"), ("in_one_call", "all in one call")):
        ui.out.say(
            "librosa {} melspectrogram, {}: {:,.0f} (the front end: {:.1f} x)",
            speeds.librosa,
            words,
            rates[f"librosa_{way}"],
            speeds.ratio[way],
        )


def show(measured: Bench, build: BuildResult | None) -> None:
    """Prints the figures."""
    from host_tools.report import page as report

    device, unit, cost = measured.device, measured.ticks, measured.cost
    ui.out.say("{}, engine {}, model {}, firmware {}", device.board, device.engine, device.model_hash, device.firmware)
    table = ui.Table(box=None, pad_edge=False)
    table.add_column("", style="dim")
    for name in ("mean", "least", "most", "of"):
        table.add_column(name, justify="right")
    for text, ticks in (
        ("front end, a frame", cost.frontend_frame),
        ("inference", cost.inference),
        ("detector, a result", cost.detector),
    ):
        table.add_row(text, *(f"{value:,.0f}" for value in (ticks.mean, ticks.min, ticks.max, ticks.count)))
    ui.out.show(table)
    ui.out.say("unit: {} [dim]({})[/]", unit.name, unit.note)
    if device.macs and cost.inference.mean and unit.name in ("instructions", "cycles"):
        each = cost.inference.mean / device.macs
        ui.out.say("{:,} multiply-accumulates an inference: {:.2f} {} each", device.macs, each, unit.name)
    times = measured.response_ms.burst
    if times.count:
        ui.out.say("response over the link: median {:.1f} ms, most {:.1f} ms", times.p50, times.max)
    ui.out.say("audio taken: {:.1f} KB/s (real time is 32.0)", measured.throughput_bytes_per_second / 1000)
    for row in report.memory(build):
        parts = ", ".join(f"{name} {size:,}" for name, size in row.parts)
        ui.out.say("{}: {:,} of {:,} B ({})", row.name, row.used, row.limit, parts)
    ui.out.say("frames: {} lost, {} repeated", measured.link.lost, measured.link.repeated)
