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
    for text, times in (("response, microphone's pace", paced), ("response, sent at full speed", burst)):
        if times.count:
            table.add_row(
                text,
                f"median {times.p50:.1f} ms, 95 % {times.p95:.1f} ms, most {times.max:.1f} ms ({times.count} clips)",
            )
    for row in report.memory(values.build):
        parts = ", ".join(f"{name} {size:,}" for name, size in row.parts)
        table.add_row(row.name, f"{row.used:,} of {row.limit:,} B  ({parts})")
    link = values.link
    colour = "red" if link.lost or link.repeated else "green"
    table.add_row("frames", Text(f"{link.lost} lost, {link.repeated} repeated", colour))
    ui.out.show(table)
    ui.out.say("[dim]{}: {}[/]", unit, values.ticks.note)
    if values.expect:
        from host_tools.report import expect

        expect.show(values)


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    """Rows are what was said, columns what was heard."""
    table = Table(
        title="said (rows), heard (columns)", title_style="dim", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("", style="dim", no_wrap=True)
    # As much of each label as its column has room for; the share of right ones stays whatever the width.
    room = (ui.out.width - max(map(len, labels), default=0) - 7) // max(1, len(labels)) - 1
    widest = max((len(str(count)) for row in matrix for count in row), default=1)
    for label in labels:
        table.add_column(label[: max(widest, min(5, room))], justify="right", no_wrap=True)
    table.add_column("right", justify="right", style="dim")
    for number, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        cells = []
        for column, count in enumerate(row):
            style = "bold green" if column == number else "red"
            cells.append(Text(str(count), style) if count else Text("·", "dim"))
        total = sum(row)
        table.add_row(label, *cells, f"{100 * row[number] / total:.0f} %" if total else "–")
    return table


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
