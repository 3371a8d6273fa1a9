"""``kws profile``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from host_tools import kernels, ui
from model_pipeline.errors import CheckFailed, KwsError

BAR = 16


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog="Example: kws profile firmware/model/model.tflite --plot profile.svg")
    def profile(
        model: Annotated[Path, typer.Argument(help="An int8 .tflite file.", show_default=False)],
        target: Annotated[
            str, typer.Option(help="m4: guest instructions in QEMU; host: nanoseconds on this machine.")
        ] = "m4",
        streaming: Annotated[int, typer.Option(metavar="HOP", help="Of a streaming plan with such a hop.")] = 0,
        frames: Annotated[
            int | None, typer.Option(help="Feature frames of the window, for --streaming of a flat input.")
        ] = None,
        size: kernels.Size = False,
        portable: kernels.Portable = False,
        inputs: Annotated[Path | None, typer.Option(help="int8 inputs: .npy, or raw bytes.")] = None,
        runs: Annotated[int, typer.Option(min=1, help="Random inputs, where none are given.")] = 3,
        plot: Annotated[Path | None, typer.Option(help="Also draw it: .svg, .png or .pdf.")] = None,
        json: ui.Json = False,
    ) -> None:
        """Show what each layer of a compiled model costs on a Cortex-M4."""
        from host_tools import profile as profiles
        from model_pipeline.compiler import compile_model

        if target not in profiles.UNITS:
            raise KwsError(f"no target {target!r}", hint=f"targets: {', '.join(profiles.UNITS)}")
        try:
            tflite = model.read_bytes()
        except OSError as error:
            raise KwsError(f"can't read {model}: {error.strerror}") from error
        program = compile_model(tflite, kernels.chosen(size, portable), hop=streaming, frames=frames)
        data = profiles.load_inputs(inputs, program, runs if target == "m4" else 100 * runs)
        with ui.progress(f"profile on {target}") as progress:
            result = {"model": str(model), **profiles.profile(program, data, target, progress)}  # type: ignore[arg-type]
        if plot is not None:
            profiles.picture(result, plot)
            result["plot"] = str(plot)
        ui.emit(result, json, _show)
        if not result["equal_to_host"]:
            raise CheckFailed(f"the outputs on {target} differ from those of this machine")


def _show(values: dict[str, Any]) -> None:
    unit = values["unit"]
    table = Table("", "operator", "output", "MACs", "weights", "activations", unit, "a MAC", "share", "")
    for column in (3, 4, 5, 6, 7, 8):
        table.columns[column].justify = "right"
    most = max((row["share"] for row in values["layers"]), default=0) or 1
    for row in values["layers"]:
        table.add_row(
            str(row["call"]),
            row["operator"],
            "x".join(map(str, row["output"])),
            f"{row['macs']:,}" if row["macs"] else "",
            f"{row['weight_bytes']:,}" if row["weight_bytes"] else "",
            f"{row['activation_bytes']:,}",
            f"{row['cost']:,.0f}",
            f"{row['per_mac']:.2f}" if row["per_mac"] is not None else "",
            f"{100 * row['share']:.1f} %",
            "█" * round(BAR * row["share"] / most),
        )
    ui.out.print(table)
    each = f"a hop of {values['hop']} frames" if values["hop"] else "an inference"
    per_mac = f", {values['per_mac']:.2f} a MAC" if values["per_mac"] else ""
    ui.out.print(
        f"{values['cost']:,.0f} {unit} {each} ({values['macs']:,} MACs{per_mac}), arena {values['arena_bytes']:,} B"
    )
    if values["target"] == "m4":
        ui.out.print(
            f"flash {values['flash_bytes']:,} B (kernels, plan, constants), RAM {values['ram_bytes']:,} B, "
            f"stack {values['stack_bytes']:,} B; {unit} are no cycles"
        )
    if "plot" in values:
        ui.out.print(f"drawn to {values['plot']}")
