"""``kws profile``"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels
from model_pipeline.errors import CheckFailed, KwsError

if TYPE_CHECKING:  # `kws --help` loads no NumPy
    from host_tools.link.session import Link
    from host_tools.measure.layers import Profile
    from model_pipeline.config import CompileConfig

BAR = 16
EXAMPLE = (
    "Example: kws profile firmware/model/model.tflite --plot profile.svg   or, after kws build --profile and "
    "kws flash, kws profile firmware/model/model.tflite --port /dev/ttyACM0"
)


def profile(
    model: common.Tflite,
    target: Annotated[
        str, typer.Option(help="m4: guest instructions in QEMU; host: nanoseconds on this machine.")
    ] = "m4",
    streaming: Annotated[int, typer.Option(metavar="HOP", help="Of a streaming plan with such a hop.")] = 0,
    frames: kernels.Frames = None,
    size: kernels.Size = None,
    portable: kernels.Portable = False,
    max_constants: kernels.MaxConstants = None,
    inputs: Annotated[Path | None, typer.Option(help="int8 inputs: .npy, or raw bytes.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Random inputs, where none are given.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Also draw it: .svg, .png or .pdf.")] = None,
    port: Annotated[
        str | None, typer.Option(help="Ask the firmware on this port, of kws build --profile, by its own timer.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="Build such a firmware for this board and ask it in the emulator.")
    ] = None,
    baud: common.Baud = None,
    json: common.Json = False,
) -> None:
    """Show what each layer of a compiled model costs on a Cortex-M4, alone in QEMU or inside the firmware."""
    from host_tools.measure import layers as profiles
    from model_pipeline.compiler import compile_model

    if target not in profiles.UNITS:
        raise KwsError(f"no target {target!r}", hint=f"targets: {', '.join(profiles.UNITS)}")
    tflite = kernels.read(model)
    if port and board:
        raise KwsError("--port and --board exclude each other", hint="leave one out")
    choice = kernels.chosen(model, size, portable, max_constants)
    program = compile_model(tflite, **choice.model_dump(), hop=streaming, frames=frames)
    found: profiles.Profile
    if port or board:
        # A device takes whole windows.
        data = profiles.load_inputs(inputs, compile_model(tflite), runs)
        with _device(port, board, baud, model, streaming, choice) as link, ui.progress("profile") as progress:
            found = profiles.profile_device(program, data, link, progress)
    else:
        data = profiles.load_inputs(inputs, program, runs if target == "m4" else 100 * runs)
        with ui.progress(f"profile on {target}") as progress:
            found = profiles.profile(program, data, target, progress)  # type: ignore[arg-type]
    result = {"model": str(model), **found.model_dump(mode="json")}
    if plot is not None:
        profiles.picture(found, plot)
        result["plot"] = str(plot)
    ui.emit(result, json, lambda _: _show(found, plot))
    if not found.equal_to_host:
        raise CheckFailed(f"the outputs on {port or board or target} differ from those of this machine")


@contextlib.contextmanager
def _device(
    port: str | None, board: str | None, baud: int | None, model: Path, streaming: int, choice: CompileConfig
) -> Iterator[Link]:
    """A link to the port, or to a firmware that is built for this, with profiling, and emulated."""
    from host_tools.image import build as builder
    from host_tools.image import targets
    from host_tools.link.session import Link
    from model_pipeline.export import export

    if port:
        with Link.open(port, **({"baud": baud} if baud else {})) as link:
            yield link
        return
    assert board is not None
    if not (model.parent / "model.json").is_file():
        raise KwsError(f"{model.parent} has no model.json, which a firmware needs", hint="kws quantize makes one")
    with tempfile.TemporaryDirectory(prefix="kws-") as name:
        folder = Path(name)
        with ui.progress(f"build firmware for {board}") as progress:
            export(model.parent, folder / "model", progress, streaming=streaming, choice=choice)
            variant = builder.Variant(profile=True)
            built = builder.build(board, folder / "model", "aot", folder / "build", variant=variant, progress=progress)
        with targets.emulated(board, Path(built.elf)) as link:
            yield link


def _show(found: Profile, plot: Path | None) -> None:
    from host_tools.measure.layers import DeviceProfile, PlanProfile

    unit = found.unit
    heads = ("", "operator", "output", "MACs", "weights", "activations", unit, "a MAC", "share", "")
    table = ui.Table(*heads, spare=(9, 5, 4, 7, 2, 3))
    for column in (3, 4, 5, 6, 7, 8):
        table.columns[column].justify = "right"
    most = max((row.share for row in found.layers), default=0) or 1
    for row in found.layers:
        table.add_row(
            str(row.call),
            row.operator,
            "x".join(map(str, row.output)),
            f"{row.macs:,}" if row.macs else "",
            f"{row.weight_bytes:,}" if row.weight_bytes else "",
            f"{row.activation_bytes:,}",
            f"{row.cost:,.0f}",
            f"{row.per_mac:.2f}" if row.per_mac is not None else "",
            f"{100 * row.share:.1f} %",
            "█" * round(BAR * row.share / most),
        )
    ui.out.show(table)
    each = f"a hop of {found.hop} frames" if found.hop else "an inference"
    per_mac = f", {found.per_mac:.2f} a MAC" if found.per_mac else ""
    ui.out.say(
        "{:,.0f} {} {} ({:,} MACs{}), arena {:,} B",
        found.cost,
        unit,
        each,
        found.macs,
        per_mac,
        found.arena_bytes,
    )
    if isinstance(found, PlanProfile) and found.target == "m4":
        ui.out.say(
            "flash {:,} B (kernels, plan, constants), RAM {:,} B, stack {:,} B; {} are not cycles",
            found.flash_bytes,
            found.ram_bytes,
            found.stack_bytes,
            unit,
        )
    if isinstance(found, DeviceProfile):
        ui.out.say(
            "{}: {}; RESULT's {:,.0f} hold {:,.0f} of looking at each layer",
            found.board,
            found.unit_note,
            found.inference_ticks,
            found.hook,
        )
    if plot is not None:
        ui.out.say("drawn to {}", plot)
