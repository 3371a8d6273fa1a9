"""What is shown of a step while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from host_tools import ui
from host_tools.run.steps import Step
from model_pipeline.progress import ProgressCallback, silent


@contextlib.contextmanager
def step_bar(step: Step, reused: bool) -> Iterator[ProgressCallback]:
    """A progress bar, or a line for a step that had nothing to do."""
    if reused:
        ui.err.say("[green]✓[/] {} [dim]nothing changed[/]", step.title)
        yield silent
        return
    with ui.progress(step.title) as progress:
        yield progress
