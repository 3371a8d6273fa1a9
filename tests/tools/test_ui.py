"""Text from outside on the terminal: neither markup nor an escape sequence, bounded, and in one way alone."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from host_tools import ui
from host_tools.report import pictures
from model_pipeline.text import LIMIT, shown, to_json
from tests.conftest import ROOT

SOURCES = sorted([*(ROOT / "host_tools").rglob("*.py"), *(ROOT / "model_pipeline").rglob("*.py")])
HOSTILE = [
    "[/foo]",
    "[bold]x[/bold]",
    "[link=http://evil]x",
    "a\\",
    "\\[red]",
    "\x1b]52;c;ZWNobyBoaQ==\x07",
    "\x1b[2J",
    "\x9b31m",
    "a\rb",
    "a\nb",
    "a\tb",
    "\u202egnp.exe",
    "\u200b",
    "\ue000\ue001",
    ":smile:",
    "{0}{values}",
    "\udcff",
    "\x00",
]


def printed(template: str, *values: object, width: int = 200, lines: bool = False) -> str:
    """What a terminal is sent."""
    screen = ui.Screen()
    stream = io.StringIO()
    screen.file, screen.width = stream, width
    screen.say(template, *values, lines=lines)
    return stream.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_outside_text_neither_styles_nor_commands_a_terminal(text: str) -> None:
    line = printed("<[bold]{}[/]>", text)
    assert line.startswith("<") and line.endswith(">\n") and line.count("\n") == 1
    assert line[:-1].isprintable() and line.isascii()
    if text.isprintable() and text.isascii():
        assert line == f"<{text}>\n"


@given(st.text(), st.text())
@example("[bo", "ld]x")
@example("x\\", "[/]")
def test_a_value_comes_out_as_shown_whatever_stands_beside_it(a: str, b: str) -> None:
    text = ui.styled("[dim]{}{}[/] {}", a, b, ui.styled("[bold]{}[/]", a))
    assert text.plain == f"{shown(a)}{shown(b)} {shown(a)}"
    assert all(c.isprintable() or c in "\u200c\u200d" or unicodedata.category(c) == "Zs" for c in text.plain)


def test_numbers_and_widths_are_those_of_format() -> None:
    assert (
        ui.styled("{:6.2f}|{:,}|{:#06x}|{:5}|{!r}", 1.5, 12345, 16, "ab", "[x]").plain
        == "  1.50|12,345|0x0010|ab   |'[x]'"
    )


def test_long_text_is_cut_and_what_is_left_out_is_counted() -> None:
    text = shown("y" * 5 + "x" * LIMIT)
    assert text.startswith("yyyyyx") and text.endswith("… (5 characters more)") and len(text) < LIMIT + 40
    assert shown("x" * LIMIT) == "x" * LIMIT


def test_an_error_of_several_lines_keeps_them() -> None:
    assert printed("{}", "one\n\x1btwo", lines=True) == "one\n\\x1btwo\n"


def test_cells_headers_and_titles_of_a_table_are_text() -> None:
    table = ui.Table("[red]head", title="[blue]\x1b[2Jtitle")
    table.add_column("[green]second")
    table.add_row("[/foo]\n\x1b]52;c;x\x07", ui.styled("[bold]{}[/]", "[b]"))
    screen, stream = ui.Screen(), io.StringIO()
    screen.file, screen.width = stream, 100
    screen.show(table)
    text = stream.getvalue()
    for part in ("[red]head", "[blue]\\x1b[2Jtitle", "[green]second", "[/foo]\\n\\x1b]52;c;x\\x07", "[b]"):
        assert part in text
    assert "\x1b" not in text and "\x07" not in text


def test_what_bypasses_the_front_door_cannot_command_a_terminal_either() -> None:
    screen, stream = ui.Screen(), io.StringIO()
    screen.file = stream
    screen.print("[bold]\x1b]52;c;x\x07 \x9b2J")
    assert not set("\x1b\x07\x9b") & set(stream.getvalue()) and "[bold]" in stream.getvalue()


def test_progress_takes_text_of_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "_QUIET_S", 0.0)
    with ui.progress("cut [/foo]\x1b[2J") as progress:
        progress(1, 2, "[/bar]\x1b]0;x\x07")
    text = capsys.readouterr().err
    assert "\x1b" not in text and "cut [/foo]\\x1b[2J: 50 % done, [/bar]\\x1b]0;x\\x07" in text


@given(st.text())
@example("\x9b31m\u202e\udcff")
def test_json_commands_no_terminal_and_means_the_same(text: str) -> None:
    line = to_json({"x": text})
    assert json.loads(line) == {"x": text} and not set(line) & set(map(chr, [*range(32), *range(127, 160)]))
    line.encode("utf-8")


def test_a_label_is_not_a_formula_in_a_picture(tmp_path: Path) -> None:
    from model_pipeline.intervals import Rate, Share
    from model_pipeline.listening.plot import det_plot
    from model_pipeline.listening.results import DetPoint, Listening

    label = "a$_b$ \ufffe<x>&"
    svg = pictures.picture("x", label, (2, 2), lambda axes: axes.set_title(label))
    assert "a$_b$ \ufffd&lt;x&gt;&amp;" in svg
    ElementTree.fromstring(svg)
    point = DetPoint(offset=0, misses=Share.of(10, 100), false_accepts=Rate.of(10, 1.0))
    listened = Listening.model_construct(name="$x$", split="testing", speech=None, det={"10": [point]})
    det_plot(listened, tmp_path / "det.svg")
    drawn = (tmp_path / "det.svg").read_text(encoding="utf-8")
    assert "$x$, testing split" in drawn and "mathdefault" not in drawn


# What follows looks at the source: text reaches the console in one way alone.


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def problems(source: str, *, front_door: bool = False) -> list[str]:
    """What the source does that could let text from outside reach a terminal as more than text."""
    found = []
    tree = ast.parse(source)
    literals = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_literal(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if any(m.split(".")[0] == "rich" for m in modules) and not front_door:
            found.append(f"{node.lineno}: imports rich")
    for call in calls(tree):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        first = call.args[0] if call.args else None
        if name in ("say", "styled") and (
            owner.split(".")[0] in ("ui", "screen", "self") or owner in ("", "err", "out")
        ):
            named = isinstance(first, ast.Name) and first.id in literals
            if first is None or not (is_literal(first) or named or owner == ""):
                found.append(f"{call.lineno}: the template of {name} is not a literal")
        if name == "print" and not front_door:
            safe = isinstance(first, ast.Call) and getattr(first.func, "id", "") in ("to_json", "shown")
            if owner or not (first is None or is_literal(first) or safe):
                found.append(f"{call.lineno}: print")
        if name == "write" and owner.endswith(("stdout", "stderr")):
            found.append(f"{call.lineno}: {owner}.write")
        if name in ("secho", "echo"):
            found.append(f"{call.lineno}: {name}")
    return found


# A child process says what it found out as JSON to its parent, which shows it.
CHILD = {"model_pipeline/child.py": 3, "model_pipeline/data/espeak_words.py": 3}


def test_no_text_reaches_the_console_but_by_the_front_door() -> None:
    assert len(SOURCES) > 150
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        found = problems(path.read_text(encoding="utf-8"), front_door=path.name == "ui.py")
        assert len(found) <= CHILD.get(name, 0), (name, found)


@pytest.mark.parametrize(
    "line",
    [
        'ui.out.print(f"{label}")',
        'ui.out.say(f"{label}")',
        'ui.out.say("a" + label)',
        "ui.err.say(label)",
        'ui.styled("%s" % label)',
        "print(label)",
        'print(f"{label}")',
        "from rich.console import Console",
        "import rich.table",
        "sys.stdout.write(label)",
        "typer.echo(label)",
    ],
)
def test_the_look_at_the_source_finds_what_it_looks_for(line: str) -> None:
    assert problems(line)


def test_pictures_are_drawn_with_labels_as_text() -> None:
    drawing = [p for p in SOURCES if "matplotlib.figure import Figure" in p.read_text(encoding="utf-8")]
    assert len(drawing) >= 3
    assert all("PICTURES" in p.read_text(encoding="utf-8") for p in drawing)


def test_an_error_about_a_hostile_path_is_one_plain_line(capfd: pytest.CaptureFixture[str]) -> None:
    from host_tools.cli import main

    for name in ("[/foo]", "\x1b]52;c;x\x07", os.fsdecode(b"\xff")):
        with pytest.raises(SystemExit) as ended:
            main(["compile", f"/nowhere/{name}"])
        text = capfd.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in text
        assert text.startswith("error: ") and not set("\x1b\x07") & set(text)


def drawn(table: ui.Table, width: int, *, terminal: bool = True) -> list[str]:
    """A table's lines on a terminal of N columns."""
    screen = ui.Screen()
    stream = io.StringIO()
    screen.file, screen.width, screen._force_terminal = stream, width, terminal
    screen.show(table)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in stream.getvalue().splitlines()]


def _wide() -> ui.Table:
    table = ui.Table("model", "MACs", "speed", "note", spare=(3,))
    for column in table.columns[1:3]:
        column.justify = "right"
    table.add_row("MLPerf Tiny streaming wake word", "1,234,567,890", "12,345,678", "only where there is room for it")
    return table


@pytest.mark.parametrize("width", [120, 80, 60, 40, 10])
def test_no_figure_is_cut_at_any_width(width: int) -> None:
    lines = drawn(_wide(), width)
    text = "\n".join(lines)
    assert "1,234,567,890" in text and "12,345,678" in text and "…" not in text
    if width >= 60:
        assert max(map(len, lines)) <= width


def test_spare_columns_go_first_and_text_is_broken_rather_than_cut() -> None:
    wide, narrow = " ".join(drawn(_wide(), 120)), " ".join(drawn(_wide(), 50))
    assert "only where there" in wide and "note" in wide
    assert "only" not in narrow and "note" not in narrow
    for part in ("MLPerf", "Tiny", "streaming", "wake", "word"):
        assert part in narrow


def test_a_pipe_gets_every_column_on_one_line() -> None:
    lines = drawn(_wide(), 40, terminal=False)
    assert sum("MLPerf Tiny streaming wake word" in line and "room for it" in line for line in lines) == 1


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("labels", [10, 14])
def test_the_confusion_matrix_keeps_its_last_column(monkeypatch: pytest.MonkeyPatch, width: int, labels: int) -> None:
    from host_tools.report import tables

    names = [f"keyword{i}" for i in range(labels - 2)] + ["unknown", "silence"]
    matrix = [[100 if i == j else 7 for j in range(labels)] for i in range(labels)]
    monkeypatch.setattr(ui.out, "_force_terminal", True)
    monkeypatch.setattr(ui.out, "width", width)
    lines = drawn(tables.confusion(names, matrix), width)
    rows = [line for line in lines if "%" in line]
    assert len(rows) == labels
    assert all(line.split().count("100") == 1 and line.split().count("7") == labels - 1 for line in rows)
    if labels == 10:
        assert max(map(len, lines)) <= width


def test_labels_over_the_confusion_matrix_are_whole_or_visibly_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the last column cannot be taken for the keyword "right"."""
    from host_tools.report import tables

    names = ["yes", "right", "unknown", "silence"]
    matrix = [[5 * (i == j) for j in range(4)] for i in range(4)]
    monkeypatch.setattr(ui.out, "_force_terminal", True)
    for width, expected in ((80, names), (30, ["yes", "ri…", "un…", "si…"])):
        monkeypatch.setattr(ui.out, "width", width)
        assert drawn(tables.confusion(names, matrix), width)[1].split() == [*expected, "recall"]
    monkeypatch.setattr(ui.out, "_force_terminal", False)
    assert drawn(tables.confusion(names, matrix), 30, terminal=False)[1].split() == [*names, "recall"]
