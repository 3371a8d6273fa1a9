"""``kws train``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from host_tools import ui

EXAMPLE = "Example: kws train --config default --data data/speech_commands --out runs/mine/train"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def train(
        data: Annotated[Path, typer.Option("--data", "-d", help="A data folder (kws data makes one).")],
        out: Annotated[Path, typer.Option("--out", "-o", help="Folder for model.keras, train.json and log.csv.")],
        config: Annotated[str, typer.Option("--config", "-c", help="TOML file, or a built-in name.")] = "demo",
        settings: Annotated[
            list[str] | None, typer.Option("--set", help="Replace a setting: train.epochs=5; may be repeated.")
        ] = None,
        json: ui.Json = False,
    ) -> None:
        """Train the float network. Goes on from its last epoch after a stop; Ctrl-C keeps the best so far."""
        from model_pipeline.child import run_step

        arguments = ["--config", config, "--data", str(data), "--out", str(out)]
        arguments += [f"--set={setting}" for setting in settings or []]
        with ui.progress("training") as progress:
            result = run_step("model_pipeline.train", arguments, progress)

        def human(values: dict[str, Any]) -> None:
            ui.out.print(
                f"{out}: {100 * values['validation_accuracy']:.2f} % on the validation clips "
                f"(epoch {values['best_epoch']} of {values['epochs']}), {values['seconds']:.0f} s"
            )
            ui.out.print(
                f"  {values['architecture']}: {values['parameters']:,} parameters, {values['macs']:,} MACs a window"
            )

        ui.emit(result, json, human)
