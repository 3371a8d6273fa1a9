"""``kws build``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels
from model_pipeline.errors import KwsError, MissingTool

EXAMPLE = (
    "Example: kws build --board disco_f407vg --model runs/demo/firmware_model --out build/demo   or   "
    "kws build --app mlperf --board nucleo_l4r5zi --model kws_ref_model.tflite"
)


def build(
    board: common.Board = "disco_f407vg",
    model: common.Models = None,
    app: Annotated[str, typer.Option(help="kws (ours) or mlperf (MLPerf Tiny's serial protocol).")] = "kws",
    energy: Annotated[
        bool, typer.Option("--energy", help="With --app mlperf: for the energy monitor, at 9600 baud.")
    ] = False,
    engine: Annotated[str, typer.Option(help="aot (the compiled plan) or tflm (TensorFlow Lite Micro).")] = "aot",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the result.", show_default="build/BOARD")
    ] = None,
    streaming: Annotated[
        int | None,
        typer.Option(
            metavar="HOP",
            help="Export the model anew: only what HOP new frames change is computed (engine aot); 0: all.",
            show_default="as exported",
        ),
    ] = None,
    size: kernels.Size = None,
    max_constants: kernels.MaxConstants = None,
    profile: Annotated[bool, typer.Option("--profile", help="Let `kws profile --port` see each layer's time.")] = False,
    check: Annotated[
        bool, typer.Option("--realtime/--no-realtime", help="Say whether the model keeps up with sound.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Exit 0 even if it does not keep up.")] = False,
    json: common.Json = False,
) -> None:
    """Build the firmware with PlatformIO, and show what it takes of flash, RAM and time.

    Time: instructions measured once in QEMU, against the board's clock, at an assumed number of cycles each. Where
    Arduino's core is needed and not installed: what our part takes, compiled by the core's flags, and no image.
    """
    from host_tools.boards import load_board
    from host_tools.image import arduino, models
    from host_tools.image import build as builder
    from host_tools.image.platformio import CoreMissing
    from host_tools.measure import realtime

    target = load_board(board)
    variant = builder.Variant(app, energy, profile)
    variant.check(engine, target)
    out = Path(out or builder.default_out(board, app))
    only = models.one(model, "--app mlperf" if app == "mlperf" else "--profile") if app == "mlperf" or profile else None
    folder: Path | None
    if only is not None and only.suffix == ".tflite" and app == "mlperf":
        from model_pipeline.mlperf import write_plan

        if streaming:
            raise KwsError("MLPerf Tiny's inputs are whole windows", hint="leave --streaming out")
        choice = kernels.chosen(only, size, max_constants=max_constants)
        builder.check_out(out)
        folder = out / "model"
        write_plan(kernels.read(only), folder, only.stem, choice, sources=[only])
    else:
        everywhere = kernels.wanted(model or [builder.DEFAULT_MODEL], size, max_constants)
        folder = models.generated(model, out / "model", engine=engine, streaming=streaming, choice=everywhere)
    lacking: MissingTool | None = None
    try:
        with ui.progress(f"build for {board}") as progress:
            done = builder.build(board, folder, engine, out, variant=variant, progress=progress)
    except CoreMissing as missing:
        lacking = missing
        with ui.progress(f"our part for {board}") as progress:
            done = arduino.part(board, folder, engine, app=app, progress=progress)

    verdict = None
    if check and app == "kws":
        with ui.progress("real time") as progress:
            elf = Path(done.elf) if done.elf else None
            verdict = realtime.check(board, folder, engine, elf=elf, progress=progress)

    def human(_: object) -> None:
        made = done.elf or "our part alone, no image"
        ui.out.say("{}: {} on {}, engine {}", made, done.model_name, done.board, done.engine)
        table = ui.Table("memory", "bytes", "of which", "budget")
        table.columns[1].justify = table.columns[3].justify = "right"
        flash = {"code": done.flash_code, "constants": done.flash_constants, "data": done.flash_data}
        ram = {"arena": done.ram_arena, "stack": done.ram_stack, "variables": done.ram_bss, "data": done.ram_data}
        for name, total, budget, pieces in (
            ("flash", done.flash_total, done.flash_budget, flash),
            ("RAM", done.ram_total, done.ram_budget, ram),
        ):
            share = f"{budget:,} ({100 * total / budget:.0f} % used)" if budget else "none"
            text = ", ".join(f"{piece} {size:,}" for piece, size in pieces.items() if size)
            table.add_row(name, f"{total:,}", text, share)
        ui.out.show(table)
        if done.missing:
            ui.out.say("not counted: {}", done.missing)
        ui.out.say("constants of the model: {:,} B", done.model_constants)
        if verdict:
            ui.out.say("{}", verdict.line())

    ui.emit({**done.to_json(), "realtime": realtime.as_dict(verdict)}, json, human)
    if lacking:
        ui.err.say("no image was made: {}; for one, {}", lacking, lacking.hint)
    if verdict and not force:
        realtime.refuse(verdict)
