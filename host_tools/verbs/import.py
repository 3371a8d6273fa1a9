"""``kws import``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common

EXAMPLE = "Example: kws import okay_nabu.json --out okay_nabu"


def import_(
    source: Annotated[
        Path, typer.Argument(help="Manifest of a microWakeWord model (.json), or its .tflite.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder; replaced if kws import made it.")],
    front_end: Annotated[
        str, typer.Option("--front-end", help="micro: for a .tflite without a manifest.", show_default="none")
    ] = "",
    cutoff: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Probability.", show_default="as its manifest says")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=1, max=32, help="Results averaged.", show_default="as its manifest says")
    ] = None,
    json: common.Json = False,
) -> None:
    """Make a model folder of a wake word model for ESPHome (microWakeWord)."""
    from model_pipeline.microwakeword import import_model

    manifest = import_model(source, out, front_end=front_end, cutoff=cutoff, window=window)

    def human(_: object) -> None:
        ui.out.say("{}: {} hears {}", str(out), manifest.name, ", ".join(manifest.labels))
        ui.out.say(
            "  {} frames of {} ms a step, {:,} MACs", manifest.window_frames, manifest.frontend.hop_ms, manifest.macs
        )
        if manifest.role == "voice":
            ui.out.say("  it says whether anybody speaks; words of models beside it count only while it does")

    ui.emit(manifest.model_dump(mode="json"), json, human)
