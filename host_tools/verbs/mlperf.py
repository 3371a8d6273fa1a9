"""``kws mlperf``"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common, kernels
from model_pipeline.errors import CheckFailed, KwsError

if TYPE_CHECKING:
    from host_tools.mlperf.device import Device, Identity
    from host_tools.mlperf.scripts import Accuracy, Performance

EXAMPLE = (
    "Example: kws mlperf --board disco_f407vg --model kws_ref_model.tflite --data datasets/kws01 --limit 50   or, "
    "after kws build --app mlperf and kws flash, kws mlperf --port /dev/ttyACM0 --data datasets/kws01"
)
SCRIPTS = ("accuracy", "performance")
FEATURES = ("model", "mfcc")
_CLOCKS = {
    "instructions": "an emulated board's clock counts instructions",
    "process": "the firmware was a process of this computer",
}
_PATIENCE_S = {True: 60.0, False: 10.0}  # emulated: on a busy machine


@dataclass(frozen=True)
class Submission:
    """What the scripts gave; None for one that was not run. ``clock``: whose time the timestamps are (`_CLOCKS`)."""

    port: str | None
    board: str | None
    clock: str
    device: Identity
    accuracy: Accuracy | None = None
    performance: Performance | None = None


def mlperf(
    data: Annotated[
        Path,
        typer.Option("--data", "-d", help="Folder of the official inputs (.bin, y_labels.csv).", show_default=False),
    ],
    port: Annotated[
        str | None, typer.Option(help="Serial port or URL of a device with MLPerf Tiny's firmware.")
    ] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The .tflite on the device: its answers are compared with the plan's here."),
    ] = None,
    elf: Annotated[Path | None, typer.Option(help="With --board: this firmware.elf, instead of building one.")] = None,
    only: Annotated[str | None, typer.Option(help="accuracy or performance.", show_default="both")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Inputs of the accuracy script.", show_default="all")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="Least length of each of the five windows of the performance script.")
    ] = 10.0,
    features: Annotated[
        str,
        typer.Option(help="What the files hold: model (bytes as it takes them) or mfcc (2.97 x MFCC, by coefficient)."),
    ] = "model",
    baud: Annotated[
        int | None, typer.Option(help="Baud rate of a serial port; 9600 in energy mode.", show_default="115200")
    ] = None,
    json: common.Json = False,
) -> None:
    """Run MLPerf Tiny's accuracy and performance scripts for keyword spotting, and print the submission's figures.

    Exit code 1: a value differs from the compiled plan's, where --model is given.
    """
    import numpy as np

    from host_tools.mlperf import inputs as sets
    from host_tools.mlperf import scripts
    from model_pipeline.mlperf import compiled

    if only is not None and only not in SCRIPTS:
        raise KwsError(f"no script {only!r}", hint=f"scripts: {', '.join(SCRIPTS)}")
    if features not in FEATURES:
        raise KwsError(f"no features {features!r}", hint=f"features: {', '.join(FEATURES)}")
    if features == "mfcc" and model is None:
        raise KwsError("how the model scales its features is in its file", hint="--model FILE.tflite")
    clock = _clock(board)
    tflite = None if model is None else kernels.read(model)
    program = None if tflite is None else compiled(tflite)
    samples = sets.samples(data)
    chosen = samples[:limit] if only != "performance" else samples[: scripts.WINDOWS]
    if only is None and len(chosen) < scripts.WINDOWS:  # the windows want five inputs, however few accuracy takes
        chosen = samples[: scripts.WINDOWS]
    raw = [sample.read() for sample in chosen]
    size = len(raw[0])
    if odd := next((s for s, r in zip(chosen, raw, strict=True) if len(r) != size), None):
        raise KwsError(f"{odd.path} is not of the {size} bytes that the others have")
    arrays = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), size)
    if features == "mfcc":
        assert program is not None
        arrays = sets.as_the_model_takes(arrays, program)
    elif program is not None and size != program.input_bytes:
        raise KwsError(f"inputs of {size} bytes, of which the model takes {program.input_bytes}", hint="another --data")

    with _device(port, board, model, tflite, elf, baud) as device:
        done = Submission(port, board, clock, device.identify())
        if only != "performance":
            rows = arrays[:limit]
            with ui.progress("accuracy") as progress:
                found = scripts.accuracy(device, rows, [s.label for s in chosen[: len(rows)]], program, progress)
            done = replace(done, accuracy=found)
        if only != "accuracy":
            with ui.progress("performance") as progress:
                speed = scripts.performance(device, arrays, seconds=seconds, progress=progress)
            done = replace(done, performance=speed)
    ran = {key: value for key, value in asdict(done).items() if value is not None or key in ("port", "board")}
    ui.emit(ran, json, lambda _: _show(done))
    _judge(done.accuracy, features)


def _clock(board: str | None) -> str:
    """Whose time the device's timestamps are."""
    from host_tools.boards import load_board

    if board is None:
        return "device"
    return "process" if load_board(board).kws.family == "host" else "instructions"


@contextlib.contextmanager
def _device(
    port: str | None, board: str | None, model: Path | None, tflite: bytes | None, elf: Path | None, baud: int | None
) -> Iterator[Device]:
    from host_tools.image import build as builder
    from host_tools.image import emulate
    from host_tools.mlperf.device import BAUD, Device
    from model_pipeline.errors import DeviceError
    from model_pipeline.mlperf import write_plan

    if (port is None) == (board is None):
        raise KwsError("give either --port URL or --board ID", hint="--board disco_f407vg emulates that board")
    if elf is not None and board is None:
        raise KwsError("--elf is a firmware to emulate", hint="say for which board: --board disco_f407vg")
    if port is not None:
        with Device.open(port, baud or BAUD, patience_s=_PATIENCE_S[False]) as device:
            yield device
        return
    assert board is not None
    with tempfile.TemporaryDirectory(prefix="kws-") as scratch:
        if elf is None:
            if tflite is None or model is None:
                raise KwsError("which model is the firmware to have?", hint="--model kws_ref_model.tflite")
            write_plan(tflite, Path(scratch) / "model", model.stem)
            with ui.progress(f"build firmware for {board}") as progress:
                variant, into = builder.Variant("mlperf"), Path(scratch) / "build"
                built = builder.build(board, Path(scratch) / "model", out=into, variant=variant, progress=progress)
            elf = Path(built.elf)
        with emulate.start(board, elf) as emulator:
            try:
                with Device.open(emulator.url, patience_s=_PATIENCE_S[True]) as device:
                    yield device
            except DeviceError:
                emulator.wait(0.5)  # a broken line is most often its end
                emulator.check()
                raise


def _show(done: Submission) -> None:
    device = done.device
    ui.out.say("device {}, model {}, {}", device.name, device.model, device.profile)
    if found := done.accuracy:
        auc = "no AUC of a part that lacks a class" if found.auc is None else f"AUC {found.auc:.3f}"
        target = "met" if found.meets_target else "not met"
        ui.out.say("top-1 {:.1f} % of {:,} inputs, {}", 100 * found.top1, found.inputs, auc)
        ui.out.say("  the closed division's 90 %: {}", target)
        if found.compared is not None and found.different is not None:
            ui.out.say(
                "  {:,} of {:,} answers equal the compiled plan's, value by value",
                found.compared - found.different,
                found.compared,
            )
    if speed := done.performance:
        table = ui.Table("window", "inferences", "seconds", "inferences/s")
        for column in table.columns[1:]:
            column.justify = "right"
        for number, window in enumerate(speed.windows, 1):
            took = f"{window.microseconds / 1e6:.3f}"
            table.add_row(str(number), f"{window.iterations:,}", took, f"{window.throughput:.3f}")
        ui.out.show(table)
        ui.out.say("median throughput {:.3f} inferences/s", speed.throughput)
        if done.clock != "device":
            ui.out.say("  {}: not a board's time, nor for a submission", _CLOCKS[done.clock])


def _judge(found: Accuracy | None, features: str) -> None:
    if found and found.different:
        raise CheckFailed(
            f"{found.different} of {found.compared} answers are not the compiled plan's",
            hint="is it this model that the device was built with?",
        )
    if found and features == "model" and found.inputs >= 20 and found.top1 < 0.3:
        ui.err.say("hardly better than chance: files of 2.97 x MFCC want --features mfcc")
