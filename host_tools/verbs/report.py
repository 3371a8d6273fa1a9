"""``kws report``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from host_tools import ui

EXAMPLE = "Example: kws report runs/demo"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def report(
        run: Annotated[Path, typer.Argument(help="Folder with a results.json.", show_default=False)],
        out: Annotated[Path | None, typer.Option(help="Folder for report.html.", show_default="the same")] = None,
        json: ui.Json = False,
    ) -> None:
        """Draw report.html from results.json again, and print its figures."""
        from host_tools import report as reports
        from host_tools import show

        results = reports.read_results(run)
        folder = out or (run if run.is_dir() else run.parent)
        with ui.progress("drawing the report"):
            _, page = reports.write_report(results, folder)

        def human(_: dict[str, Any]) -> None:
            show.results(results)
            ui.out.print(f"report: [bold]{ui.plain(str(page))}[/]")

        ui.emit({**results, "report": str(page)}, json, human)
