"""What every verb shares: progress bars on stderr, results on stdout as text or JSON.

**Text from outside** (of a device, a file, a label, a path) reaches the terminal in one way: as a value of `Screen.say`
or `styled`, or as a cell of `Table`. There it is neither markup nor an escape sequence, and bounded
(`model_pipeline.text.shown`). Templates are literals of the source; tests/test_ui.py looks at all of it.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import numbers
import re
import string
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from model_pipeline.progress import ProgressCallback
from model_pipeline.text import LINES, shown, to_json

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Screen", "Table", "Text", "cell_len", "set_cell_size"]  # of rich's, for who draws by hand: only here

Result = TypeVar("Result")  # a dict or a pydantic model

# Private characters, of which `shown` leaves none in a value: what stands for [ and \ while markup is read, and for a
# value that is styled itself.
_HIDE, _BACK = str.maketrans("[\\", "\ue000\ue001"), str.maketrans("\ue000\ue001", "[\\")
_STYLED = "\ue002"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class _Values(string.Formatter):
    """``str.format`` whose values are text from outside."""

    def __init__(self, lines: bool = False) -> None:
        self.lines = lines
        self.styled: list[Text] = []

    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, Text):
            self.styled.append(value)
            return _STYLED
        if not isinstance(value, numbers.Number):
            value = shown(value, LINES, lines=True) if self.lines else shown(value)
        return str(super().format_field(value, format_spec)).translate(_HIDE)


def styled(template: str, *values: object, lines: bool = False) -> Text:
    """``template``, a literal with rich's markup and the fields of ``str.format``, with ``values`` as they are (those
    that are styled themselves with their style).

    Args:
        lines: values of several lines stay so.
    """
    form = _Values(lines)
    text = Text.from_markup(form.vformat(template, values, {}), emoji=False)
    text.plain = text.plain.translate(_BACK)
    if not form.styled:
        return text
    parts = text.split(_STYLED, allow_blank=True)
    return Text.assemble(*(part for pair in itertools.zip_longest(parts, form.styled) for part in pair if part))


class Screen(Console):
    """A console for which a string is never markup, and on which no control character acts that it did not make."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def say(self, template: str, *values: object, lines: bool = False) -> None:
        """Prints `styled`; the terminal breaks what is too long."""
        self.print(styled(template, *values, lines=lines), soft_wrap=True)

    def show(self, what: Table | Text) -> None:
        """Prints a table, with the columns that fit (`Table.spare`), or styled text.

        No figure is ever cut: a table whose other columns are too wide is broken by the terminal instead, and one into
        a pipe is as wide as it likes.
        """
        if not isinstance(what, Table):
            self.print(what)
            return
        fitting = what.fitted(self) if self.is_terminal else what
        size = fitting.measured(self)
        before = self._width
        self.width = max(self.width, size.minimum) if self.is_terminal else size.maximum
        try:
            self.print(fitting, crop=False)
        finally:
            self._width = before

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's, for whatever text came here without `shown`."""
        for segment in super().render(renderable, options):
            if segment.control or not _CONTROL.search(segment.text):
                yield segment
            else:
                text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", segment.text)
                yield Segment(text, segment.style, segment.control)


class Table(RichTable):
    """A table whose title and cells are text as it is; `styled` for more.

    Args:
        spare: columns that a narrow terminal does without, by number, the first to go first.
    """

    def __init__(
        self, *headers: str, title: str | Text | None = None, spare: Sequence[int] = (), **settings: Any
    ) -> None:
        super().__init__(*map(shown, headers), title=_cell(title), **settings)
        self.spare = tuple(spare)

    def add_column(self, header: RenderableType = "", *arguments: Any, **settings: Any) -> None:  # type: ignore[override]
        super().add_column(_cell(header), *arguments, **settings)

    def add_row(self, *cells: RenderableType | None, **settings: Any) -> None:  # type: ignore[override]
        super().add_row(*(_cell(cell) for cell in cells), **settings)

    def fitted(self, screen: Console) -> Table:
        """The table without the spare columns for which ``screen`` is too narrow."""
        for count in range(len(self.spare) + 1):
            some = copy.copy(self)
            some.columns = [c for n, c in enumerate(self.columns) if n not in self.spare[:count]]
            if some.measured(screen).minimum <= screen.width:
                break
        return some

    def measured(self, screen: Console) -> Measurement:
        """The least and the most characters that it takes. Numbers stand to the right and are not broken."""
        endless = screen.options.update(width=10_000)
        for column in self.columns:
            cells = [column.header, *column.cells]
            longest = max((Measurement.get(screen, endless, cell).maximum for cell in cells), default=0)
            column.no_wrap = column.no_wrap or column.justify == "right"
            column.overflow = "fold"
            column.min_width = longest if column.no_wrap else min(longest, _LEAST)
        return Measurement.get(screen, endless, self)


_LEAST = 12  # of a column of text that has more


def _cell(cell: Any) -> Any:
    return shown(cell) if isinstance(cell, str) else cell


out = Screen()
err = Screen(stderr=True)


_QUIET_S = 10.0  # between two lines where stderr is not a terminal


@contextlib.contextmanager
def progress(title: str) -> Iterator[ProgressCallback]:
    """A bar with elapsed time on stderr; gives the callback ``(done, total, text)`` that pipeline steps take.

    Where stderr is not a terminal, a line at the start, at the end, and every ten seconds between.
    """
    if not err.is_terminal:
        yield from _lines(title)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text=styled("[green]✓[/]")),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=err) as bars:
        task = bars.add_task(shown(title), total=None, note="")

        def update(done: int, total: int, text: str) -> None:
            bars.update(task, completed=done, total=max(1, total), note=shown(text))

        yield update
        total = bars.tasks[0].total or 1
        bars.update(task, completed=total, total=total, note="")


def _lines(title: str) -> Iterator[ProgressCallback]:
    started = last = time.monotonic()
    err.say("{} …", title)

    def update(done: int, total: int, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _QUIET_S:
            last = time.monotonic()
            err.say("{}: {} % done{}", title, 100 * done // max(1, total), f", {text}" if text else "")

    yield update
    err.say("{}: done in {:.1f} s", title, time.monotonic() - started)


def live(refresh_per_second: float = 10, *, screen: Screen | None = None) -> Live:
    """A part of the terminal that is drawn anew; ``update`` takes `styled` text or a table."""
    from rich.live import Live

    return Live(console=screen or err, refresh_per_second=refresh_per_second, transient=True)


@contextlib.contextmanager
def whole_screen(what: RenderableType) -> Iterator[Callable[[], None]]:
    """``what`` on the whole terminal, which is as before afterwards; gives a function that draws it anew."""
    from rich.live import Live

    with Live(what, console=out, screen=True, auto_refresh=False) as shown_live:
        yield shown_live.refresh


def emit(result: Result, as_json: bool, human: Callable[[Result], None]) -> None:
    """Prints ``result`` as JSON, or for people by ``human(result)``."""
    if as_json:
        values = result if isinstance(result, dict) else result.model_dump(mode="json")  # type: ignore[attr-defined]
        print(to_json(values, indent=2))
    else:
        human(result)


def document(text: str) -> None:
    """Prints a whole file of ours as it is, for ``>``; control characters of it are shown, not sent."""
    print(_CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text), end="")


def some_words(absent: Sequence[str]) -> None:
    """Says of which keywords nothing was judged."""
    if absent:
        out.say("[yellow]no clips of {}[/]: the figures are of the other words", ", ".join(absent))


def emit_line(event: Mapping[str, object]) -> None:
    """Prints ``event`` as one line of JSON, at once."""
    print(to_json(event), flush=True)
