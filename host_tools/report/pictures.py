"""The report's pictures: matplotlib SVGs whose colours are CSS variables, so that one file suits light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter

from host_tools.measure.results import Classes, Memory
from host_tools.report.results import Epoch
from model_pipeline.listening.results import DetPoint
from model_pipeline.text import PICTURES, shown

TEMPLATE = Path(__file__).resolve().parents[1] / "templates" / "report.html.j2"
# Placeholders that matplotlib takes for colours; in the SVG they become the page's variables.
_VARIABLES = {
    "#010203": "var(--ink)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--accent)",
    "#010207": "var(--second)",
    "#010208": "var(--third)",
    "#010209": "var(--track)",
    "#01020a": "var(--bad)",
    "#01020b": "var(--card)",
}
INK, MUTED, LINE, ACCENT, SECOND, THIRD, TRACK, BAD, CARD = _VARIABLES
WIDTH = 3.6  # inches: type of 9.5 points is then of 11 pixels on a phone of 390
_STYLE: Any = {
    **PICTURES,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


def picture(name: str, alt: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """An inline SVG of ``size`` inches; ``alt`` is read out where it can't be seen."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    # XML has none of the first, and the others turn a line round.
    svg = re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]",
        "\ufffd",
        svg,
    )
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Identifiers live in one page: matplotlib calls the groups of every figure alike.
    svg = re.sub(r'(<g id=")', rf"\g<1>{name}-", svg)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    assert box, "matplotlib writes a viewBox"
    label = shown(alt).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {box[0]} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{label}">{rest}'


def standalone(svg: str) -> str:
    """A `picture` as a file of its own, in the report's colours on white."""
    colours = dict(reversed(re.findall(r"--(\w+): (#\w+);", TEMPLATE.read_text(encoding="utf-8"))))
    variables = " ".join(f"--{name}: {colour};" for name, colour in colours.items())
    head, rest = svg.split(">", 1)
    style = f"<style>svg {{ {variables} background: #fff; }}</style>"
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def style() -> str:
    """The report's style sheet, for other pages."""
    text = TEMPLATE.read_text(encoding="utf-8")
    return text[text.index("<style>") + len("<style>") : text.index("</style>")]


def confusion(results: Classes) -> str:
    """Rows: what was said. A cell's shade is its share of the row; its number is clips."""
    labels = results.labels
    matrix = np.asarray(results.confusion)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    n = len(labels)

    def draw(axes: Axes) -> None:
        for row in range(n):
            for column in range(n):
                colour = ACCENT if row == column else BAD
                if matrix[row, column]:
                    alpha = 0.12 + 0.7 * float(share[row, column])
                    axes.add_patch(_cell(column, row, colour, alpha))
                    axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8.5, color=INK)
                else:
                    axes.add_patch(_cell(column, row, TRACK, 1.0))
        axes.set(xlim=(-0.55, n - 0.45), ylim=(n - 0.45, -0.55), xlabel="heard", ylabel="said")
        axes.set_xticks(range(n), labels, rotation=55, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_aspect("equal")

    size = min(4.4, 2.0 + 0.22 * n)
    return picture("confusion", f"Confusion matrix of {matrix.sum()} clips", (size, size), draw)


def recall(results: Classes) -> str:
    """Per word: share of its clips that were heard right, with the 95 % interval."""
    rows = [row for row in results.recall if row.total]

    def draw(axes: Axes) -> None:
        places = list(range(len(rows)))
        values = np.array([100 * (row.value or 0.0) for row in rows])
        axes.barh(places, [100] * len(rows), height=0.62, color=TRACK)
        axes.barh(places, values, height=0.62, color=ACCENT, alpha=0.85)
        for place, row in zip(places, rows, strict=True):
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=INK, linewidth=1.1)
            axes.text(103, place, f"{row.correct}/{row.total}", va="center", fontsize=8.5, color=MUTED)
        axes.set_yticks(places, [row.label for row in rows])
        axes.set(xlim=(0, 117), ylim=(len(rows) - 0.4, -0.6), xlabel="heard right, %; line: 95 % interval")
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)

    return picture("recall", "Recall of each word", (WIDTH, 0.9 + 0.25 * len(rows)), draw)


def training(history: Sequence[Epoch]) -> str:
    """Validation accuracy over epochs."""

    def draw(axes: Axes) -> None:
        epochs = [row.epoch for row in history]
        values = [100 * row.validation_accuracy for row in history]
        axes.plot(epochs, values, color=ACCENT)
        best = int(np.argmax(values))
        axes.plot(epochs[best], values[best], "o", color=ACCENT)
        axes.annotate(
            f"{values[best]:.1f} %", (epochs[best], values[best]), (0, -14), textcoords="offset points", ha="center"
        )
        axes.set(xlabel="epoch", ylabel="right on validation clips, %")
        axes.set_ylim(top=100.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=LINE, linewidth=0.6)

    return picture("training", "Accuracy on validation clips by epoch", (WIDTH, 2.5), draw)


def cost(parts: Sequence[tuple[str, float]], unit: str) -> str:
    """What one second of speech costs, part by part."""

    def draw(axes: Axes) -> None:
        places = list(range(len(parts)))
        values = [value for _, value in parts]
        axes.barh(places, values, height=0.6, color=[ACCENT, SECOND, THIRD][: len(parts)], alpha=0.9)
        top = max(values) or 1
        for place, value in zip(places, values, strict=True):
            axes.text(value + top * 0.015, place, f"{value:,.0f}", va="center", fontsize=8.5, color=INK)
        axes.set_yticks(places, [name for name, _ in parts])
        axes.set(xlim=(0, top * 1.28), ylim=(len(parts) - 0.4, -0.6), xlabel=unit)
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)

    return picture("cost", f"Cost of each part in {unit}", (WIDTH, 0.8 + 0.4 * len(parts)), draw)


def response(groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Histograms of milliseconds on one scale."""
    groups = [(name, values) for name, values in groups if values]

    def draw(axes: Axes) -> None:
        everything = np.concatenate([np.asarray(values, float) for _, values in groups])
        edges = np.linspace(0, max(1.0, float(everything.max()) * 1.02), 31)
        for (name, values), colour in zip(groups, (ACCENT, SECOND), strict=False):
            axes.hist(values, bins=edges.tolist(), color=colour, alpha=0.75, label=f"{name} ({len(values)})")
        axes.set(xlabel="milliseconds from the last sample to the answer", ylabel="clips")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), labelcolor=INK)  # above the bars, never over them

    return picture("response", "Histogram of response times", (WIDTH, 2.4 + 0.2 * len(groups)), draw)


def tradeoff(points: Sequence[DetPoint], source: str) -> str:
    """Misses over false accepts an hour as all thresholds move together; the detector's own point has its 95 %
    intervals."""
    hours = max(point.false_accepts.hours for point in points)
    edge = 0.5 / max(hours, 1e-3)  # half of the least rate that can be seen: where none fired

    def draw(axes: Axes) -> None:
        rates = [max(edge, point.false_accepts.per_hour or 0.0) for point in points]
        axes.plot(rates, [100 * (point.misses.value or 0.0) for point in points], color=ACCENT)
        for point, rate in zip(points, rates, strict=True):
            missed, false = point.misses, point.false_accepts
            if point.offset or missed.value is None:
                continue
            y = 100 * missed.value
            axes.plot([max(edge, false.low), max(edge, false.high or 0.0)], [y, y], color=SECOND)
            axes.plot([rate, rate], [100 * missed.low, 100 * missed.high], color=SECOND)
            axes.plot([rate], [y], "o", color=SECOND, label="the detector")
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), labelcolor=INK)
        axes.set_xscale("log")
        axes.set(xlim=(edge, max(2 * edge, *rates) * 1.2), ylim=(0, 100))
        axes.set(xlabel=f"false accepts an hour of {source} ({hours:.2f} h)", ylabel="words missed, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own writes formulas
        axes.xaxis.set_minor_formatter(NullFormatter())

    return picture("tradeoff", "Words missed over false accepts an hour", (WIDTH, 2.8), draw)


def memory(rows: Sequence[Memory]) -> str:
    """Stacked bars of used bytes, a memory each."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            limit = row.limit
            axes.barh(place, 100, height=0.42, color=TRACK)
            left = 0.0
            for (_, size), colour in zip(row.parts, (ACCENT, SECOND, THIRD, MUTED), strict=False):
                axes.barh(place, 100 * size / limit, left=left, height=0.42, color=colour, alpha=0.9)
                left += 100 * size / limit
            text = f"{row.name}: {row.used / 1024:.1f} of {limit / 1024:.0f} KB"
            axes.text(0, place - 0.34, text, fontsize=9, color=INK)
        axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.65))
        axes.set_axis_off()

    return picture("memory", "Memory used and there", (WIDTH, 0.2 + 0.65 * len(rows)), draw)


def _cell(column: int, row: int, colour: str, alpha: float) -> Rectangle:
    return Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, facecolor=colour, alpha=alpha, edgecolor="none")


def short(value: float) -> str:
    """A round number with a letter for its thousands."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g} {letter}"
    return f"{value:g}"
