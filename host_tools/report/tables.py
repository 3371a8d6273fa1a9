"""Results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from host_tools import ui
from host_tools.link.events import Result
from host_tools.report import page as report
from host_tools.ui import Table, Text
from model_pipeline.config import SILENCE, UNKNOWN
from model_pipeline.rate import SAMPLE_RATE


def results(values: dict[str, Any]) -> None:
    """Prints a measurement: what a user will notice, then clips, confusion matrix, costs, memory, link."""
    for value, text, below in report.felt(values):
        ui.out.say("[bold]{}[/] {}  [dim]{}[/]", value, text, below)
    if values["clips"]:
        ui.out.show(confusion(values["labels"], values["confusion"]))
        said = zip(values["labels"], values["confusion"], strict=True)
        ui.some_words([word for word, row in said if not sum(row) and word not in (UNKNOWN, SILENCE)])
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    accuracy = values["accuracy"]
    if accuracy["total"]:
        table.add_row(
            "clips right on the device",
            ui.styled(
                "[bold]{:.1f} %[/]  {} of {}, 95 % interval {:.1f} to {:.1f} %",
                100 * accuracy["value"],
                accuracy["correct"],
                accuracy["total"],
                100 * accuracy["low"],
                100 * accuracy["high"],
            ),
        )
    host = values.get("host")
    if host:
        table.add_row(
            "clips right on this computer",
            f"{100 * host['accuracy']['value']:.1f} %  {host['accuracy']['correct']} of {host['accuracy']['total']} "
            f"(all test clips, in {host['engine']})",
        )
    agreement = values.get("agreement")
    if agreement:
        table.add_row(
            "host and device agree", f"on {agreement['equal']} of {agreement['compared']} clips, value by value"
        )
    unit = values["ticks"]["name"]
    for text, key in (
        ("front end, a frame", "frontend_frame"),
        ("inference", "inference"),
        ("detector, a result", "detector"),
    ):
        cost = values["cost"].get(key, {"count": 0})
        if cost["count"]:
            table.add_row(text, f"{cost['mean']:,.0f} {unit}  (most {cost['max']:,.0f})")
    for text, key in (("response, microphone's pace", "streaming"), ("response, sent at full speed", "burst")):
        times = values["response_ms"].get(key, {"count": 0})
        if times["count"]:
            table.add_row(
                text,
                f"median {times['p50']:.1f} ms, 95 % {times['p95']:.1f} ms, most {times['max']:.1f} ms "
                f"({times['count']} clips)",
            )
    for row in report.memory(values):
        parts = ", ".join(f"{name} {size:,}" for name, size in row.parts)
        table.add_row(row.name, f"{row.used:,} of {row.limit:,} B  ({parts})")
    link = values["link"]
    colour = "red" if link["lost"] or link["repeated"] else "green"
    table.add_row("frames", Text(f"{link['lost']} lost, {link['repeated']} repeated", colour))
    ui.out.show(table)
    ui.out.say("[dim]{}: {}[/]", unit, values["ticks"]["note"])
    if values.get("expect"):
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
