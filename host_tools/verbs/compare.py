"""``kws compare``"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels
from model_pipeline.errors import CheckFailed, KwsError

if TYPE_CHECKING:
    from host_tools.check.layers import Comparison, DeviceComparison

EXAMPLE = (
    "Example: kws compare firmware/model/model.tflite --count 100   or   "
    "kws compare firmware/model/model.tflite --port /dev/ttyACM0"
)


def compare(
    model: common.Tflite,
    inputs: Annotated[Path | None, typer.Option(help="int8 inputs: .npy, or raw bytes.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Random inputs, where none are given.")] = 20,
    streaming: Annotated[int, typer.Option(metavar="HOP", help="Compare a streaming plan's outputs instead.")] = 0,
    frames: kernels.Frames = None,
    size: kernels.Size = None,
    portable: kernels.Portable = False,
    max_constants: kernels.MaxConstants = None,
    port: Annotated[
        str | None, typer.Option(help="Compare the outputs of the firmware on this port (or URL) instead.")
    ] = None,
    port2: Annotated[str | None, typer.Option(help="And of another one, such as a build with engine tflm.")] = None,
    baud: common.Baud = None,
    json: common.Json = False,
) -> None:
    """Run the compiled plan and TensorFlow Lite Micro on this machine, and name the first layer that differs.

    With --port, what the firmware there says is compared: its outputs and, beside --port2's, its time.
    """
    from host_tools.check import layers as comparing
    from host_tools.measure.layers import load_inputs
    from model_pipeline.compiler import compile_model

    tflite = kernels.read(model)
    if streaming and inputs is not None:
        raise KwsError("--streaming makes its own frames", hint="leave out --inputs")
    if port2 and not port:
        raise KwsError("--port2 is the second port", hint="give the first as --port")
    if port and (streaming or portable or (size, max_constants) != (None, None)):
        raise KwsError("the firmware on a port has its plan", hint="leave out what says how to compile one")
    choice = kernels.chosen(model, size, portable, max_constants)
    result: comparing.Comparison | comparing.DeviceComparison
    with ui.progress("compare with TensorFlow Lite Micro") as progress:
        if port:
            from host_tools.link.session import Link

            data = load_inputs(inputs, compile_model(tflite), count)
            rate = {"baud": baud} if baud else {}
            with contextlib.ExitStack() as stack:
                links = [stack.enter_context(Link.open(url, **rate)) for url in (port, port2) if url]
                result = comparing.compare_devices(tflite, data, links, progress)
        else:
            program = compile_model(tflite, **choice.model_dump(), hop=streaming, frames=frames)
            if streaming:
                result = comparing.compare_streaming(tflite, program, count, progress=progress)
            else:
                data = load_inputs(inputs, program, count)
                result = comparing.compare(tflite, program, data, progress=progress)
    ui.emit({"model": str(model), **result.model_dump(mode="json")}, json, lambda _: _show(result))
    if not result.equal:
        raise CheckFailed(f"{'a firmware' if port else 'the plan'} is not equal to TensorFlow Lite Micro")


def _show(found: Comparison | DeviceComparison) -> None:
    from host_tools.check.layers import DeviceComparison

    if isinstance(found, DeviceComparison):
        _show_devices(found)
    elif found.first_difference:
        ui.out.say("{}", found.first_difference.text)
    else:
        version, count = found.tflite_micro, found.layers
        ui.out.say(
            "equal to tflite_micro {}: {} inputs, {} layers, {:,} values compared",
            version,
            found.inputs,
            count,
            found.values,
        )


def _show_devices(found: DeviceComparison) -> None:
    for device in found.devices:
        first = device.first_difference
        text = first.text if first else f"equal: {found.inputs} inputs"
        each = f"{device.ticks:,.0f} {device.unit} an inference"
        ui.out.say("{} on {} ({}): {}; {}", device.engine, device.board, device.port, text, each)
    if found.speedup:
        ui.out.say("the second takes {:.2f} times what the first takes", found.speedup)
