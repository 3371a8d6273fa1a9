"""``kws compare``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from host_tools import kernels, ui
from model_pipeline.errors import CheckFailed, KwsError


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog="Example: kws compare model.tflite --count 100")
    def compare(
        model: Annotated[Path, typer.Argument(help="An int8 .tflite file.", show_default=False)],
        inputs: Annotated[Path | None, typer.Option(help="int8 inputs: .npy, or raw bytes.")] = None,
        count: Annotated[int, typer.Option(min=1, help="Random inputs, where none are given.")] = 20,
        streaming: Annotated[int, typer.Option(metavar="HOP", help="Compare a streaming plan's outputs instead.")] = 0,
        frames: Annotated[
            int | None, typer.Option(help="Feature frames of the window, for --streaming of a flat input.")
        ] = None,
        size: kernels.Size = False,
        portable: kernels.Portable = False,
        json: ui.Json = False,
    ) -> None:
        """Run the compiled plan and TensorFlow Lite Micro on this machine, and name the first layer that differs."""
        from host_tools import compare as comparing
        from host_tools.profile import load_inputs
        from model_pipeline.compiler import compile_model

        try:
            tflite = model.read_bytes()
        except OSError as error:
            raise KwsError(f"can't read {model}: {error.strerror}") from error
        if streaming and inputs is not None:
            raise KwsError("--streaming makes its own frames", hint="leave out --inputs")
        with ui.progress("compare with TensorFlow Lite Micro") as progress:
            if streaming:
                result = comparing.compare_streaming(tflite, streaming, frames, count, progress=progress)
            else:
                data = load_inputs(inputs, compile_model(tflite), count)
                choice = kernels.chosen(size, portable)
                result = comparing.compare(tflite, data, kernels=choice, progress=progress)
        result = {"model": str(model), **result}
        ui.emit(result, json, _show)
        if not result["equal"]:
            raise CheckFailed("the plan is not equal to TensorFlow Lite Micro")


def _show(values: dict[str, Any]) -> None:
    if values["equal"]:
        ui.out.print(
            f"equal: {values['inputs']} inputs, {values['layers']} layers, {values['values']:,} values compared"
        )
    else:
        ui.out.print(ui.plain(values["first_difference"]["text"]))
