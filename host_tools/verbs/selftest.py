"""``kws selftest``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common

if TYPE_CHECKING:
    from host_tools.check.selftest import Finding

EXAMPLE = "Example: kws selftest --port /dev/ttyACM0   or   kws selftest --board disco_f407vg"


def selftest(
    port: Annotated[str | None, typer.Option(help="Serial port or URL of a board that runs our firmware.")] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Exported model folder that the board runs.", show_default="firmware/model")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder with test clips of the keywords.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the link's soak.")] = 200,
    baud: common.Baud = None,
    json: common.Json = False,
) -> None:
    """Check a board in a minute: link, inference against TFLite Micro, keywords, faults and watchdog.

    It restarts the board several times. The full suite is pytest -m hardware --port PORT tests/hardware.
    """
    from host_tools.check import selftest as checks
    from host_tools.check.device import Device, Reference, reopener
    from host_tools.image import targets
    from host_tools.image.build import DEFAULT_MODEL
    from model_pipeline.errors import CheckFailed

    reference = Reference(model or DEFAULT_MODEL)
    speech, noise = checks.speech_and_noise(data, reference) if data else (None, None)
    findings: list[checks.Finding] = []
    try:
        with (
            targets.target(port, board, model=model, baud=baud) as (link, _),
            ui.progress("self-test") as progress,
        ):
            device = Device(link, reference, frames=frames, windows=5, speech=speech, noise=noise)
            device.reopen = reopener(port, baud) if port else None
            for finding in checks.run(device, progress):
                findings.append(finding)
    finally:
        if findings:
            result = {"port": port, "board": board, "checks": [vars(f) for f in findings]}
            ui.emit(result, json, lambda _: _show(findings))
    failed = [f.name for f in findings if f.state == "failed"]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")


def _show(findings: Sequence[Finding]) -> None:
    signs = {
        "passed": ui.styled("[green]✓[/]"),
        "failed": ui.styled("[red]✗[/]"),
        "skipped": ui.styled("[dim]–[/]"),
    }
    for found in findings:
        ui.out.say("{} {:22} {}", signs[found.state], found.name.replace("_", " "), found.detail)
