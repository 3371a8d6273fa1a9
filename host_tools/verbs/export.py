"""``kws export``"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, inputs, kernels
from model_pipeline.config import CompileConfig
from model_pipeline.errors import KwsError

EXAMPLE = (
    "Example: kws export runs/demo/model --out runs/demo/firmware_model\n\n"
    "Or: kws export firmware/model --library cmake --prefix front_door --out front_door\n\n"
    "Or: kws export runs/hey_robot/model --library esphome --out build/hey_robot"
)


def export(
    model: common.Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The generated folder; replaced if it exists.")],
    streaming: Annotated[
        int | None,
        typer.Option(
            metavar="HOP",
            help="Compute only what HOP new feature frames change; 0: whole windows.",
            show_default="as model.json says",
        ),
    ] = None,
    size: kernels.Size = None,
    portable: kernels.Portable = False,
    max_constants: kernels.MaxConstants = None,
    library: Annotated[
        str | None,
        typer.Option(
            "--library",
            metavar="FLAVOUR",
            help="Make a library for another firmware instead: cmake, arduino, platformio, zephyr or esp-idf; or "
            "esphome: a word's model for its micro_wake_word.",
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="With --library: what all its names begin with.")] = "kws",
    also: Annotated[
        list[Path] | None,
        typer.Option("--also", metavar="MODEL", help="Another model in the same image. May be repeated."),
    ] = None,
    word: Annotated[str, typer.Option(help="For esphome: which keyword.", show_default="the only one")] = "",
    cutoff: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.996, help="For esphome: mean probability.", show_default="by the model's detector"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, max=32, help="For esphome: results in that mean.", show_default="by the model's detector"),
    ] = None,
    json: common.Json = False,
) -> None:
    """Make the sources that a firmware build needs of a model: configuration, C array, resolver, compiled plan."""
    from model_pipeline.export import Generated
    from model_pipeline.export import export as run

    inputs.check(model, *(also or []))
    chosen = size is not None or portable or max_constants is not None
    choice = kernels.chosen(model, size, portable, max_constants)
    if library is None and prefix != "kws":
        raise KwsError("--prefix is for --library", hint="add --library cmake")
    if library != "esphome" and (word or cutoff is not None or window is not None):
        raise KwsError("--word, --cutoff and --window are for ESPHome", hint="add --library esphome")
    if library == "esphome":
        if also or prefix != "kws" or chosen:
            raise KwsError(
                "ESPHome's models have no sources", hint="leave out --also, --prefix and how to pack weights"
            )
        _esphome(model, out, word, streaming, cutoff, window, json)
        return
    if library is not None:
        _library([model, *(also or [])], out, library, prefix, streaming, choice if chosen else None, json)
        return
    if also:
        _together([model, *also], out, streaming, choice if chosen else None, json)
        return
    with ui.progress("exporting") as progress:
        result = run(model, out, progress, streaming=streaming, choice=choice)

    def human(made: Generated) -> None:
        ui.out.say("{}: {} files for model {}", made.folder, len(made.files), made.model_hash)
        bound = f"no plan is below {made.aot_arena_lower_bound:,} B"
        arenas = (made.aot_arena_bytes, bound, made.tflm_arena_bytes)
        ui.out.say("  arena {:,} B (aot; {}), {:,} B (tflm, this host)", *arenas)
        each = f" for each {made.streaming} new frames" if made.streaming else ""
        ui.out.say("  {:,} MACs{}", made.macs, each)
        ui.out.say("  {}", kernels.constants_line(made, made.constant_bytes, made.constant_bytes_by_packing))

    ui.emit(result, json, human)


def _esphome(
    model: Path, out: Path, word: str, hop: int | None, cutoff: float | None, window: int | None, json: bool
) -> None:
    from model_pipeline.esphome import EsphomeResult, export_esphome

    with ui.progress("exporting"):
        done = export_esphome(model, out, word=word, hop=hop, cutoff=cutoff, window=window)

    def human(made: EsphomeResult) -> None:
        name = next(file for file in made.files if file.endswith(".json") and not file.startswith("."))
        ui.out.say("{}: {!r} for ESPHome, {:,} B", str(out / name), made.wake_word, made.bytes)
        ui.out.say(
            "  heard above a mean of {} over {} results, one each {} ms",
            made.probability_cutoff,
            made.sliding_window_size,
            10 * made.step_frames,
        )
        ui.out.say("  {:,} B of arena (tflm, this host)", made.tensor_arena_size)
        if made.measured:
            ui.out.say("  false accepts: {}", made.measured.false_accepts.described)
        else:
            ui.out.say("  false accepts: not measured so; kws import and kws evaluate stream do")

    ui.emit(done, json, human)


def _together(models: list[Path], out: Path, streaming: int | None, choice: CompileConfig | None, json: bool) -> None:
    from model_pipeline.together import check_number, export_together

    check_number(models)
    with ui.progress("exporting") as progress:
        plan = export_together(models, out, progress, streaming=streaming, choice=choice)

    def human(_: object) -> None:
        ui.out.say("{}: {}", out, plan.name)
        ui.out.say("  {:,} B for activations, {:,} B of constants", plan.arena_bytes, plan.constant_bytes)
        ui.out.say("  {:,} MACs an inference of all", plan.macs)

    ui.emit({"folder": str(out), **plan.to_json()}, json, human)


def _library(
    models: list[Path],
    out: Path,
    flavour: str,
    prefix: str,
    streaming: int | None,
    choice: CompileConfig | None,
    json: bool,
) -> None:
    from model_pipeline.library import export_library

    with ui.progress("exporting") as progress:
        done = export_library(models, out, flavour, prefix, streaming=streaming, choice=choice, progress=progress)

    def human(_: object) -> None:
        ui.out.say("{}: {} files, {:,} B, for {}", done.folder, len(done.files), done.bytes, flavour)
        ui.out.say("  hears {}", ", ".join(done.labels))
        look = f" and {done.look_bytes:,} B of the second look's" if done.look_bytes else ""
        state = f"{done.state_bytes:,} B of state, of it " if done.state_bytes else ""
        ui.out.say("  {}{:,} B for activations", state, done.arena_bytes)
        ui.out.say("  {:,} B of constants of the networks{}", done.constant_bytes, look)
        ui.out.say("  {:,} MACs an inference, {:,} a second", done.macs, done.macs_per_second)

    ui.emit(asdict(done), json, human)
