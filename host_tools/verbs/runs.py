"""``kws runs``: what has been run, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.text import to_json

if TYPE_CHECKING:
    from host_tools.records.compare import Comparison, Difference
    from host_tools.records.find import Found

GROUP = typer.Typer(
    name="runs",
    help="Runs, trainings, trials and points: list, show, compare, and hold them against thresholds.",
    no_args_is_help=True,
    epilog="Example: kws runs compare runs/demo runs/hey_robot",
)

Place = Annotated[Path, typer.Argument(help="A run's folder, or a file of `kws runs show --json`.", show_default=False)]


@GROUP.command("list", epilog="Example: kws runs list runs --all")
def list_(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Where to look.", show_default="runs")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what lies within a run: its training, a search's trials.")
    ] = False,
    json: common.Json = False,
) -> None:
    """List the runs below folders, with their main figures."""
    from host_tools.records.find import Found, below

    places = folders or [Path("runs")]
    found = list(below(places, every=every))
    runs = sorted((f for f in found if isinstance(f, Found)), key=lambda f: f.record.made)
    for error in (f for f in found if isinstance(f, KwsError)):
        ui.err.say("[yellow]left out[/]: {}", error)
    if json:
        print(to_json([run.as_json() for run in runs], indent=2))
        return
    if not runs:
        ui.out.say("no runs below {}", ", ".join(map(str, places)))
        return
    _list(runs)


def _list(runs: Sequence[Found]) -> None:
    from model_pipeline.record import shown

    columns = ("accuracy", "false_accepts_per_hour", "flash", "inference_instructions")
    table = ui.Table(
        "run",
        "kind",
        "made",
        "right",
        "false/h",
        "flash",
        "instructions",
        spare=(2, 6, 5, 4),
    )
    for column in table.columns[3:]:
        column.justify = "right"
    for run in runs:
        figures = dict(run.record.figures)
        for name in ("int8_validation_accuracy", "validation_accuracy"):
            if "accuracy" not in figures and name in figures:
                figures["accuracy"] = figures[name]
        cells = [shown(name, figures[name].value) if name in figures else "–" for name in columns]
        kind = run.record.kind + ("" if run.record.whole else ", stopped")
        table.add_row(str(run.place), kind, run.record.made[:16].replace("T", " "), *cells)
    ui.out.show(table)
    ui.out.say("[dim]right: test clips, else validation clips; false/h: of words in noise. kws runs show tells all.[/]")


@GROUP.command(epilog="Example: kws runs show runs/demo --json > demo-record.json")
def show(run: Place, json: common.Json = False) -> None:
    """Show a run's record: what it was made of, and each figure with its interval."""
    from host_tools.records.find import read

    found = read(run)
    ui.emit(found.as_json(), json, lambda _: _show(found))


def _show(found: Found) -> None:
    from model_pipeline.record import FIGURES, interval_shown, shown

    record = found.record
    ui.out.say("[bold]{}[/]: {}{}", record.name, record.kind, "" if record.whole else " (not finished)")
    for title, text in (
        ("folder", str(found.place)), ("part of", record.parent), ("origin", record.origin), ("made", record.made),
        ("kws", record.kws), ("board", record.board),
        ("configuration", record.config_hash[:16]), ("data", record.data_hash[:16]), ("model", record.model_hash[:16]),
    ):  # fmt: skip
        if text:
            ui.out.say("  [dim]{:13}[/] {}", title, text)
    table = ui.Table(
        "figure",
        "value",
        "95 % interval",
        "of",
        "what it is",
        spare=(4, 3),
    )
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in [n for n in FIGURES if n in record.figures]:
        figure = record.figures[name]
        interval = interval_shown(name, figure)
        table.add_row(name, shown(name, figure.value), interval, figure.sample, FIGURES[name].text)
    ui.out.show(table)


@GROUP.command(epilog="Example: kws runs compare runs/demo runs/hey_robot runs/lumos")
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs' folders or files; the first is what the others are held against.", show_default=False
        ),
    ],
    json: common.Json = False,
) -> None:
    """Show what differs between runs: settings, and figures with their intervals."""
    from host_tools.records.compare import compare as compared
    from host_tools.records.find import read

    if len(runs) < 2:
        raise KwsError("one run has nothing to be compared with", hint="kws runs compare runs/a runs/b")
    result = compared([read(run) for run in runs])
    if json:
        print(to_json(result.model_dump(mode="json"), indent=2))
    else:
        _compare(result)


_NARROWEST = 16  # columns of a run in a comparison
_ROWS = 300  # of differences; a configuration of ours has fewer keys


def _compare(result: Comparison) -> None:
    labels = [chr(ord("A") + n) if n < 26 else str(n + 1) for n in range(len(result.places))]
    for label, place, name in zip(labels, result.places, result.names, strict=True):
        ui.out.say("[bold]{}[/]  {}  [dim]{}[/]", label, place, name)
    for place in result.unknown:
        ui.out.say("[yellow]{}[/]: its configuration was not kept, so settings are not compared with it", place)
    _differences("record", labels, result.about)
    _differences("setting", labels, result.settings)
    if not result.settings and not result.unknown:
        ui.out.say("the settings are the same")
    _figures(labels, result)


def _parts(labels: Sequence[str], names: Sequence[str]) -> list[list[int]]:
    """Which runs stand beside each other on this terminal: the first one always, then as many as there is room for."""
    room = ui.out.width if ui.out.is_terminal else 10_000
    first = min(30, max((len(n) for n in names), default=0))
    each = max(1, (room - first) // (_NARROWEST + 2) - 1)
    others = list(range(1, len(labels)))
    return [[0, *others[n : n + each]] for n in range(0, len(others), each)]


def _differences(title: str, labels: Sequence[str], rows: Sequence[Difference]) -> None:
    some = rows[:_ROWS]
    for part in _parts(labels, [row.name for row in some]) if some else []:
        table = ui.Table(title, *(labels[n] for n in part), box=None, pad_edge=False)
        for row in some:
            table.add_row(row.name, *(_value(row.values[n]) for n in part))
        ui.out.show(table)
    if len(rows) > len(some):
        ui.out.say("… and {:,} more; --json tells all", len(rows) - len(some))


def _value(value: object) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else to_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _figures(labels: Sequence[str], result: Comparison) -> None:
    from model_pipeline.record import interval_shown, shown

    colours = {"better": "green", "worse": "red"}
    marks = {"better": " +", "worse": " -"}
    for part in _parts(labels, [row.name for row in result.figures]):
        table = ui.Table("figure", *(labels[n] for n in part), box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in result.figures:
            cells, intervals = [], []
            for n in part:
                figure, verdict = row.values[n], row.verdicts[n] if n else ""
                text = "–" if figure is None else shown(row.name, figure.value) + marks.get(verdict, "  ")
                cells.append(ui.Text(text, colours.get(verdict, "")))
                intervals.append(ui.Text(interval_shown(row.name, figure) + "  " if figure else "", "dim"))
            table.add_row(row.name, *cells)
            if any(text.plain.strip() for text in intervals):
                table.add_row("", *intervals)
        ui.out.show(table)
    ui.out.say("[dim]+ better, - worse than A: outside the 95 % interval, or counted exactly. Small: that interval.[/]")


@GROUP.command(
    epilog="Example: kws runs gate runs/demo --require 'accuracy>=0.9' --require 'flash<=128K' "
    "--against demo-record.json"
)
def gate(
    run: Place,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME>=VALUE'",
            help="A threshold, as 'accuracy>=0.9', 'misses<20%' or 'flash<=128K'; again for more.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another run: no figure may be worse than its 95 % interval.", show_default=False),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(help="With --against: this figure alone; again for more.", show_default="all of both"),
    ] = None,
    slack: Annotated[
        float,
        typer.Option(min=0, max=10, help="With --against: share by which what was counted, as flash is, may be worse."),
    ] = 0.02,
    sure: Annotated[
        bool, typer.Option("--sure", help="Hold the worse end of the interval against thresholds.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Check a run's figures, for CI: exit code 1 when one misses its threshold or is worse than another run's."""
    from host_tools.records import gate as gates
    from host_tools.records.find import read

    if not require and against is None:
        raise KwsError("nothing is asked of the run", hint="--require 'accuracy>=0.9', or --against RUN")
    if figure and against is None:
        raise KwsError("--figure is for --against", hint="--against RUN, or leave it out")
    wanted = [gates.Requirement.parse(text) for text in require or []]
    found = read(run)
    checks = gates.require(found.record, wanted, sure=sure)
    if against is not None:
        checks += gates.against(found.record, read(against).record, figure or [], slack)
    failed = [check for check in checks if not check.holds]
    result = {"run": str(run), "passed": not failed, "checks": [check.model_dump() for check in checks]}

    def human(_: object) -> None:
        for check in checks:
            mark = ui.Text("ok  ", "green") if check.holds else ui.Text("FAIL", "bold red")
            ui.out.say("{} {}; wanted: {}", mark, check.why, check.wanted)

    ui.emit(result, json, human)
    if not found.record.whole:
        raise CheckFailed(f"{run} was stopped before its end", hint="run it again; it goes on where it was")
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(checks)} checks failed: {', '.join(c.figure for c in failed)}")


@GROUP.command(epilog="Example: kws runs figures --json")
def figures(json: common.Json = False) -> None:
    """List the figures that a run may have, by the names that gate takes."""
    from dataclasses import asdict

    from model_pipeline.record import FIGURES

    def human(_: object) -> None:
        table = ui.Table("figure", "better", "what it is", box=None, pad_edge=False)
        for name, meaning in FIGURES.items():
            table.add_row(name, meaning.better or "–", meaning.text)
        ui.out.show(table)

    ui.emit({name: asdict(meaning) for name, meaning in FIGURES.items()}, json, human)
