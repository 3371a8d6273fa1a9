"""What to expect of a model (`host_tools.run.expect`), for people."""

from __future__ import annotations

from host_tools import ui
from host_tools.measure.boards import BoardCost
from host_tools.report import listening
from host_tools.report.page import relaxed
from host_tools.report.results import Results
from host_tools.ui import Table
from model_pipeline.intervals import Share


def show(results: Results) -> None:
    """Prints it, with the accuracy of each word on the clips that training has not seen."""
    host, expected = results.host, results.expected
    if not host or not expected:
        return
    what = "voices that training has not heard" if results.synthetic else "speakers that training has not heard"
    ui.out.say("\n[bold]What to expect[/], by {}", what)
    table = Table(box=None, pad_edge=False)
    for title in ("word", "right", "of", "95 % interval"):
        table.add_column(title, justify="left" if title == "word" else "right")
    for i, (label, row) in enumerate(zip(results.labels, host.confusion, strict=True)):
        found = Share.of(row[i], sum(row))
        if found.total:
            table.add_row(label, found.percent, str(found.total), found.interval)
    ui.out.show(table)
    groups = host.speakers.groups
    for name, group in groups.items() if len(groups) > 1 else ():
        text = "recordings of people" if name == "people" else f"voices of {name}"
        found = Share.of(group.correct, group.clips)
        ui.out.say("  {}: {} of {} ({})", text, found.percent, found.total, found.interval)
    if (chosen := relaxed(results)) is not None:
        ui.out.say("[yellow]the detector[/]: {}", chosen)
    if expected.streaming:
        listening.figures(expected.streaming, words=False)
    if expected.rows:
        listening.rows(expected.rows)
    if expected.near:
        listening.near(expected.near, shown=10)
    calibration = results.model.accuracy.calibration if results.model else None
    if calibration and (costs := calibration.expected.near_costs):
        told = listening.near_costs(costs, calibration.expected.said or 0)
        ui.out.say("what fewer cost (detector.near_rate), by the voices that the detector was chosen by: {}", told)
    boards(expected.boards)
    if results.synthetic and "people" not in groups:
        ui.out.say(
            "[yellow]All of this is synthetic speech[/]: it shows that the words can be told apart and what they cost, "
            "not how well people will be understood. Record some (kws record) to know that."
        )


def boards(rows: list[BoardCost]) -> None:
    """A line a board."""
    table = Table(box=None, pad_edge=False)
    for title in ("board", "time", "inference", "flash", "RAM"):
        table.add_column(title, justify="left" if title == "board" else "right")
    missing = [row for row in rows if row.why_not]
    for row in rows:
        verdict, memory = row.realtime, row.memory
        cells = ["–"] * 4
        if verdict:
            cells[0] = f"{100 * verdict.load:.1f} %" + ("" if verdict.keeps_up else " (too slow)")
            cells[1] = f"{verdict.inference_ms:.1f} ms"
        if memory:
            more = " and more" if memory.not_counted else ""
            cells[2:] = (f"{memory.flash / 1024:.1f} KB{more}", f"{memory.ram / 1024:.1f} KB{more}")
        table.add_row(row.board, *cells)
    ui.out.show(table)
    ratio = next((row.realtime.cycles_per_instruction for row in rows if row.realtime), None)
    if ratio:
        note = next(row.realtime.note for row in rows if row.realtime)
        ui.out.say("[dim]time: {}, at {:g} cycles an instruction (assumed)[/]", note, ratio)
    for row in missing:
        ui.out.say("[dim]{}: {}[/]", row.board, row.why_not)
