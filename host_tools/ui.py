"""What every verb shares: progress bars on stderr, results on stdout as text or JSON."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

ProgressCallback = Callable[[int, int, str], None]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, for scripts.")]


@contextlib.contextmanager
def progress(title: str) -> Iterator[ProgressCallback]:
    """A bar with elapsed time on stderr; gives the callback ``(done, total, text)`` that pipeline steps take.

    Where stderr is no terminal, one line at the start and one at the end.
    """
    if not err.is_terminal:
        started = time.monotonic()
        err.print(f"{title} …")
        yield lambda done, total, text: None
        err.print(f"{title}: done in {time.monotonic() - started:.1f} s")
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as bars:
        task = bars.add_task(title, total=None, note="")
        yield lambda done, total, text: bars.update(task, completed=done, total=total, note=text)
        total = bars.tasks[0].total or 1
        bars.update(task, completed=total, total=total, note="")


def emit(result: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], None]) -> None:
    """Prints ``result`` as JSON, or for people by ``human(result)``."""
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False, default=str))
    else:
        human(result)
