"""``kws flash``"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common

if TYPE_CHECKING:
    from host_tools.flash.upload import Attempt, Flashing
    from host_tools.flash.usb import Running

EXAMPLE = (
    "Example: kws flash --board disco_f407vg --model runs/hey_robot/firmware_model --port PORT   or   "
    "kws flash --board nano33ble --dry-run   (PORT: as kws devices shows it)"
)


@dataclass(frozen=True)
class Flashed:
    """What came of it. ``attempts``: the last one worked; ``running``: what answered on ``port``, if it was asked."""

    board: str
    elf: str
    method: str
    attempts: list[Attempt]
    port: str | None
    running: Running | None
    app: str


def flash(
    board: Annotated[str, typer.Option(help="Board to flash, see `kws boards`.")],
    port: Annotated[str | None, typer.Option(help="Its serial port, if several or none is found.")] = None,
    probe: Annotated[str | None, typer.Option(help="Serial number of the debug probe or the board.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this upload method.", show_default="all, in order")] = None,
    elf: Annotated[Path | None, typer.Option(help="Firmware to write.", show_default="build it")] = None,
    model: common.Models = None,
    engine: Annotated[str, typer.Option(help="aot or tflm.")] = "aot",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the exact commands and stop.")] = False,
    hello: Annotated[bool, typer.Option(help="Ask the board afterwards what it runs.")] = True,
    json: common.Json = False,
) -> None:
    """Write firmware into a board: build it, upload by the first method that works, and say hello.

    The board is found by its USB ids; where two are connected, choose by --port or --probe. With a Nano 33 BLE
    whose firmware hangs, double-tap its reset button first.
    """
    from host_tools.boards import load_board
    from host_tools.flash import upload as flashing
    from host_tools.image.elf import check_image

    target = load_board(board)
    expected = {"board": board}
    image = elf or Path("build") / board / "firmware.elf"
    if elf is not None and not elf.is_file():
        raise flashing.KwsError(f"there is no firmware at {elf}", hint=f"kws build --board {board}")
    speaks = "kws"
    if elf is not None:
        from host_tools.image.build import app_of

        check_image(target, elf)
        speaks = app_of(elf)
    plan = flashing.prepare(target, image.absolute(), port=port, probe=probe, method=method)
    for place in model or ():
        if not place.exists():
            raise flashing.KwsError(f"there is no model at {place}", hint="kws run, quantize or import makes one")
    if dry_run:
        _dry_run(plan, model, engine, json)
        return
    if elf is None:
        from host_tools.image import models
        from host_tools.image.build import build
        from model_pipeline.native import work_dir

        folder = models.generated(model, work_dir() / "build" / board / "model", engine=engine)
        with ui.progress(f"build for {board}") as bar:
            built = build(board, folder, engine, progress=bar)
        expected["model_hash"] = built.model_hash
        plan = flashing.prepare(target, Path(built.elf), port=port, probe=probe, method=method)
    with ui.progress("flash") as bar:
        attempts = flashing.upload(plan.uploaders, plan.jobs, bar)
    found, running = None, None
    if hello and speaks == "kws":  # MLPerf Tiny's has no hello of ours
        with ui.progress("wait for the board"):
            device = flashing.come_back(plan)
            if device is not None and device.port is not None:
                found, running = device.port, flashing.greet(plan, device, expected)
    done = Flashed(board, str(plan.elf), attempts[-1].method, attempts, found, running, speaks)
    ui.emit(asdict(done), json, lambda _: _show(done))


def _dry_run(plan: Flashing, model: list[Path] | None, engine: str, json: bool) -> None:
    import shlex

    from host_tools.flash import upload as flashing

    ways = [(u, u.find() is not None, flashing.plan(u, job)) for u, job in zip(plan.uploaders, plan.jobs, strict=True)]
    build = ["kws", "build", "--board", plan.board.id, *(f"--model={path}" for path in model or ())]
    build += [] if engine == "aot" else ["--engine", engine]
    built = plan.elf.is_file() and not model
    result = {
        "board": plan.board.id,
        "elf": str(plan.elf),
        "built": built,
        "build": shlex.join(build),
        "port": plan.device.port if plan.device else None,
        "methods": [
            {"method": u.name, "installed": installed, "install": u.package, "steps": steps}
            for u, installed, steps in ways
        ],
    }

    def human(_: object) -> None:
        if not built:
            ui.out.say("{}", shlex.join(build))
        if len(ways) > 1:
            ui.out.say("# {} ways, of which one is enough: kws flash tries them in this order", len(ways))
        for uploader, installed, steps in ways:
            ui.out.say("# {}{}", uploader.name, "" if installed else f" (not installed: {uploader.package})")
            for line in steps:
                ui.out.say("{}", line)

    ui.emit(result, json, human)


def _show(done: Flashed) -> None:
    for attempt in done.attempts[:-1]:
        ui.out.say("{}: {}", attempt.method, attempt.reason)
    ui.out.say("[green]✓[/] {} flashed by {}", done.board, done.method)
    if done.running:
        ui.out.say("  port       {}", done.port)
        _show_running(done.running)
    elif done.app == "mlperf":
        ui.out.say("  it speaks MLPerf Tiny's protocol: kws mlperf --port PORT --data DIR")
    elif done.port is None:
        ui.out.say("not asked what it runs: the port of its serial line is not known")
        ui.out.say("kws devices shows ports, and kws devices --port PORT asks")


def _show_running(running: Running) -> None:
    ui.out.say("  firmware   {} for {}, build {}", running.firmware, running.board, running.build)
    ui.out.say("  model      {} by {}", running.model_hash, running.engine)
    ui.out.say("  free RAM   {:,} bytes", running.free_ram)
    if running.fault:
        values = ", ".join(f"{k} {v:#x}" for k, v in running.fault.items())
        ui.out.say("[yellow]  the run before ended in a fault: {}[/]", values)
