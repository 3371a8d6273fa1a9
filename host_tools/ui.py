"""What every verb shares: progress bars on stderr, results on stdout as text or JSON."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

ProgressCallback = Callable[[int, int, str], None]
Result = TypeVar("Result")  # a dict or a pydantic model

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, for scripts.")]
Board = Annotated[str, typer.Option("--board", "-b", help="Board id; `kws boards` lists them.")]


_QUIET_S = 10.0  # between two lines where stderr is no terminal


@contextlib.contextmanager
def progress(title: str) -> Iterator[ProgressCallback]:
    """A bar with elapsed time on stderr; gives the callback ``(done, total, text)`` that pipeline steps take.

    Where stderr is no terminal, a line at the start, at the end, and every ten seconds between.
    """
    if not err.is_terminal:
        yield from _lines(title)
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as bars:
        task = bars.add_task(title, total=None, note="")

        def update(done: int, total: int, text: str) -> None:
            bars.update(task, completed=done, total=max(1, total), note=plain(text))

        yield update
        total = bars.tasks[0].total or 1
        bars.update(task, completed=total, total=total, note="")


def _lines(title: str) -> Iterator[ProgressCallback]:
    started = last = time.monotonic()
    err.print(f"{title} …")

    def update(done: int, total: int, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _QUIET_S:
            last = time.monotonic()
            err.print(f"{title}: {100 * done // max(1, total)} % {plain(text)}")

    yield update
    err.print(f"{title}: done in {time.monotonic() - started:.1f} s")


def plain(text: str) -> str:
    """``text`` as it is, for a console that would read ``[…]`` as markup."""
    return text.replace("[", "\\[")


def emit(result: Result, as_json: bool, human: Callable[[Result], None]) -> None:
    """Prints ``result`` as JSON, or for people by ``human(result)``."""
    if as_json:
        values = result if isinstance(result, dict) else result.model_dump(mode="json")  # type: ignore[attr-defined]
        print(json.dumps(values, indent=2, ensure_ascii=False, default=str))
    else:
        human(result)
