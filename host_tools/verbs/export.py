"""``kws export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import kernels

EXAMPLE = "Example: kws export runs/demo/model --out runs/demo/firmware_model"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def export(
        model: Annotated[Path, typer.Argument(help="Folder with model.tflite and model.json.", show_default=False)],
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
        json: ui.Json = False,
    ) -> None:
        """Make the sources that a firmware build needs of a model: configuration, C array, resolver, compiled plan."""
        from model_pipeline.export import export as run

        choice = kernels.chosen(model, size, portable, max_constants)
        with ui.progress("exporting") as progress:
            result = run(model, out, progress, streaming=streaming, choice=choice)

        def human(values: dict) -> None:
            ui.out.print(f"{values['folder']}: {len(values['files'])} files for model {values['model_hash']}")
            bound = f"no plan is below {values['aot_arena_lower_bound']:,} B"
            ui.out.print(
                f"  arena {values['aot_arena_bytes']:,} B (aot; {bound}), "
                f"{values['tflm_arena_bytes']:,} B (tflm, this host)",
                soft_wrap=True,
            )
            each = f" for each {values['streaming']} new frames" if values["streaming"] else ""
            ui.out.print(f"  {values['macs']:,} MACs{each}")
            ui.out.print(f"  {kernels.constants_line(values)}", soft_wrap=True)

        ui.emit(result, json, human)
