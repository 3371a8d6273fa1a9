"""``kws new``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from host_tools import ui

EXAMPLE = "Example: kws new hey_robot lights_on"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def new(
        words: Annotated[list[str], typer.Argument(help="Your keywords, _ for a space.", show_default=False)],
        folder: Annotated[
            Path | None, typer.Option(help="Folder of the project.", show_default="the first word")
        ] = None,
        board: Annotated[str, typer.Option(help="Board to build for and emulate.")] = "disco_f407vg",
        json: ui.Json = False,
    ) -> None:
        """Make a project of your own words: a configuration with words near them in sound, a place for recordings."""
        from host_tools.words import project

        with ui.progress("looking for near words"):
            result = project.create(words, folder or Path(words[0]), board)

        def human(values: dict[str, Any]) -> None:
            ui.out.print(f"[bold]{ui.plain(values['config'])}[/]: {', '.join(values['keywords'])}")
            for keyword, near in values["near_words"].items():
                ui.out.print(f"  near {keyword}: {ui.plain(', '.join(near))}", soft_wrap=True)
            ui.out.print(
                f"next: [bold]kws record {values['keywords'][0]} --folder {ui.plain(values['folder'])}[/] (optional), "
                f"then [bold]kws run --config {ui.plain(values['folder'])}[/]",
                soft_wrap=True,
            )

        ui.emit(result, json, human)
