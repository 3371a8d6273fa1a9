"""``kws export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels

EXAMPLE = "Example: kws export runs/demo/model --out runs/demo/firmware_model"


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
    json: common.Json = False,
) -> None:
    """Make the sources that a firmware build needs of a model: configuration, C array, resolver, compiled plan."""
    from model_pipeline.export import export as run

    choice = kernels.chosen(model, size, portable, max_constants)
    with ui.progress("exporting") as progress:
        result = run(model, out, progress, streaming=streaming, choice=choice)

    def human(values: dict) -> None:
        ui.out.say("{}: {} files for model {}", values["folder"], len(values["files"]), values["model_hash"])
        bound = f"no plan is below {values['aot_arena_lower_bound']:,} B"
        ui.out.say(
            "  arena {:,} B (aot; {}), {:,} B (tflm, this host)",
            values["aot_arena_bytes"],
            bound,
            values["tflm_arena_bytes"],
        )
        each = f" for each {values['streaming']} new frames" if values["streaming"] else ""
        ui.out.say("  {:,} MACs{}", values["macs"], each)
        ui.out.say("  {}", kernels.constants_line(values))

    ui.emit(result, json, human)
