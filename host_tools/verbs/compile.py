"""``kws compile``"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels
from model_pipeline.folders import atomic_dir

EXAMPLE = "Example: kws compile firmware/model/model.tflite --out build/plan"


def compile(
    model: common.Tflite,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for model_aot.c and model_aot.h; replaced if there.")
    ] = None,
    streaming: Annotated[
        int,
        typer.Option(metavar="HOP", help="A plan that computes only what HOP new feature frames change; 0: all."),
    ] = 0,
    size: kernels.Size = None,
    portable: kernels.Portable = False,
    max_constants: kernels.MaxConstants = None,
    frames: kernels.Frames = None,
    json: common.Json = False,
) -> None:
    """Compile a model to C and show its layers. Without --out nothing is written."""
    from model_pipeline.compiler import compile_model, constants_by_packing, emit

    tflite = kernels.read(model)
    choice = kernels.chosen(model, size, portable, max_constants)
    program = compile_model(tflite, **choice.model_dump(), hop=streaming, frames=frames)
    if out is not None:
        with atomic_dir(out, "kws compile", sources=[model], ours=_ours) as folder:
            for name, text in emit(program).items():
                (folder / name).write_text(text, encoding="utf-8")
    layers, edges = program.layers(), program.float_edges
    plan = program.streaming.told() if program.streaming else None
    by_packing = constants_by_packing(tflite, streaming, frames)
    result = {
        "model": str(model),
        "model_hash": program.model_hash,
        "arena_bytes": program.arena_bytes,
        "arena_lower_bound": program.plan.lower_bound,
        "macs": program.macs,
        **choice.model_dump(),
        "constant_bytes": program.constant_bytes,
        "constant_bytes_by_packing": by_packing,
        "layers": [asdict(row) for row in layers],
        "float_edges": [asdict(edge) for edge in edges],
        "out": str(out) if out is not None else None,
        "streaming": asdict(plan) if plan else None,
    }

    def human(_: object) -> None:
        table = ui.Table("", "operator", "output", "MACs", "constants")
        for column in (3, 4):
            table.columns[column].justify = "right"
        for row in layers:
            shape = "x".join(map(str, row.output))
            macs = f"{row.macs:,}" if row.macs else ""
            table.add_row(str(row.call), row.operator, shape, macs, f"{row.constant_bytes:,}")
        ui.out.show(table)
        for edge in edges:
            ui.out.say(
                "the float32 {} {} is {} in the plan: {:.9g} * (value - {})",
                edge.edge,
                edge.name,
                edge.type.lower(),
                edge.scale,
                f"({edge.zero_point})" if edge.zero_point < 0 else edge.zero_point,
            )
        ui.out.say(
            "arena {:,} B (no plan is below {:,} B), {:,} MACs",
            program.arena_bytes,
            program.plan.lower_bound,
            program.macs,
        )
        ui.out.say("{}", kernels.constants_line(choice, program.constant_bytes, by_packing))
        if plan:
            ui.out.say(
                "streaming: {} of {} frames a call, equal to the window's model from call {} on",
                plan.hop,
                plan.window,
                plan.warm_up,
            )
            for layer in plan.layers:
                if layer.reason:
                    ui.out.say("  {} {}: all of it is computed each time", layer.place, layer.reason)
        if out is not None:
            ui.out.say("written to {}", out)

    ui.emit(result, json, human)


def _ours(folder: Path) -> bool:
    """What this made before there were marks."""
    return {p.name for p in folder.iterdir()} == {"model_aot.c", "model_aot.h"}
