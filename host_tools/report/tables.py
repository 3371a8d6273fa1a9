"""Results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from host_tools import ui
from host_tools.link.events import Result
from host_tools.report import page as report
from host_tools.report.results import Results
from host_tools.ui import Table, Text
from model_pipeline.config import SILENCE, UNKNOWN
from model_pipeline.rate import SAMPLE_RATE


def results(values: Results) -> None:
    """Prints a measurement: what a user will notice, then clips, confusion matrix, costs, memory, link."""
    for value, text, below in report.felt(values):
        ui.out.say("[bold]{}[/] {}  [dim]{}[/]", value, text, below)
    if values.clips:
        ui.out.show(confusion(values.labels, values.confusion))
        said = zip(values.labels, values.confusion, strict=True)
        ui.some_words([word for word, row in said if not sum(row) and word not in (UNKNOWN, SILENCE)])
        ui.out.say("")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    accuracy = values.accuracy
    if accuracy.value is not None:
        table.add_row(
            "clips right on the device",
            ui.styled(
                "[bold]{:.1f} %[/]  {} of {}, 95 % interval {:.1f} to {:.1f} %",
                100 * accuracy.value,
                accuracy.correct,
                accuracy.total,
                100 * accuracy.low,
                100 * accuracy.high,
            ),
        )
    if values.host:
        right = values.host.accuracy
        table.add_row(
            "clips right on this computer",
            f"{right.share.percent}  {right.correct} of {right.total} (all test clips, in {values.host.engine})",
        )
    if agreement := values.agreement:
        table.add_row("host and device agree", f"on {agreement.equal} of {agreement.compared} clips, value by value")
    unit, cost = values.ticks.name, values.cost
    for text, ticks in (
        ("front end, a frame", cost.frontend_frame),
        ("inference", cost.inference),
        ("detector, a result", cost.detector),
    ):
        if ticks.count:
            table.add_row(text, f"{ticks.mean:,.0f} {unit}  (most {ticks.max:,.0f})")
    paced, burst = values.response_ms.streaming, values.response_ms.burst
    responses = False
    for text, times in (("response, microphone's pace", paced), ("response, sent at full speed", burst)):
        if times.count:
            table.add_row(
                text,
                f"median {times.p50:.1f} ms, 95 % {times.p95:.1f} ms, most {times.max:.1f} ms ({times.count} clips)",
            )
            responses = True
    for row in report.memory(values.build):
        parts = ", ".join(f"{name} {size:,}" for name, size in row.parts)
        table.add_row(row.name, f"{row.used:,} of {row.limit:,} B  ({parts})")
    link = values.link
    colour = "red" if link.lost or link.repeated else "green"
    table.add_row("frames", Text(f"{link.lost} lost, {link.repeated} repeated", colour))
    ui.out.show(table)
    ui.out.say("[dim]{}: {}[/]", unit, values.ticks.note)
    if responses:
        ui.out.say(
            "[dim]response: from a clip's last sample to its answer. At a microphone's pace, as in use, some clips are "
            "sent a second time; at full speed the device first works through what has come ahead of it.[/]"
        )
    if values.expect:
        from host_tools.report import expect

        expect.show(values)


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    """Rows are what was said, columns what was heard."""
    table = Table(
        title="said (rows), heard (columns)", title_style="dim", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("", style="dim", no_wrap=True)
    for label in _headers(labels, max((len(str(count)) for row in matrix for count in row), default=1)):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("recall", justify="right", style="dim")
    for number, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        cells = []
        for column, count in enumerate(row):
            style = "bold green" if column == number else "red"
            cells.append(Text(str(count), style) if count else Text("·", "dim"))
        total = sum(row)
        table.add_row(label, *cells, f"{100 * row[number] / total:.0f} %" if total else "–")
    return table


def _headers(labels: Sequence[str], least: int) -> list[str]:
    """The labels whole, or where the terminal has no room for that, as much of each as its column may be wide, with an
    ellipsis; the recall stays whatever the width. ``least``: characters of the widest count."""
    row = ui.out.width - max(map(ui.cell_len, labels), default=0) - len(" recall")
    if not ui.out.is_terminal or sum(max(least, ui.cell_len(label)) + 1 for label in labels) <= row:
        return list(labels)
    room = max(least, min(5, row // max(1, len(labels)) - 1))
    return [label if ui.cell_len(label) <= room else ui.set_cell_size(label, room - 1) + "…" for label in labels]


def posteriors(labels: Sequence[str], result: Result) -> Table:
    """A bar a label, for a live display."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in zip(labels, result.output, strict=False):
        score = (value + 128) / 256
        filled = round(score * 30)
        bar = ui.styled("[cyan]{}[/][dim]{}[/]", "█" * filled, "·" * (30 - filled))
        table.add_row(label, bar, f"{score:.2f}")
    table.caption = f"{result.position / SAMPLE_RATE:.2f} s"
    return table
