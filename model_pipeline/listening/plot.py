"""The detection error trade-off as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path
from model_pipeline.listening.results import DetPoint, Listening
from model_pipeline.text import PICTURES

FORMATS = (".svg", ".png", ".pdf")
_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626")
_TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]


def check_name(path: Path) -> None:
    """
    Raises:
        KwsError: `det_plot` can't write a file of this name.
    """
    if path.suffix.lower() not in FORMATS:
        raise KwsError(f"can't draw {path.name}", hint=f"end it in {', '.join(FORMATS)}")


def det_plot(result: Listening, path: Path) -> None:
    """Draws the ``det`` of `evaluate.evaluate_listening`: misses in per cent over false accepts an hour, a line for
    each SNR, with the detector's own point and its 95 % intervals. A rate of 0 stands at the left edge.

    Raises:
        KwsError: the name ends in none of `FORMATS`, or there is no curve.
    """
    check_name(path)
    if not result.det:
        raise KwsError("there is no curve to draw", hint="give --data, so that there are sessions with keywords")
    import matplotlib.ticker

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**PICTURES, "svg.fonttype": "none", "svg.hashsalt": "det", "font.size": 9}):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.add_subplot()
        hours = max(p.false_accepts.hours for points in result.det.values() for p in points)
        edge = 0.5 / max(hours, 1e-3)  # half of the least rate that can be seen
        top, bottom = edge, 1.0
        for number, (name, points) in enumerate(result.det.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            x = [max(edge, p.false_accepts.per_hour or 0.0) for p in points]
            y = [100 * (p.misses.value or 0.0) for p in points]
            top, bottom = max(top, *x), min([bottom, *(v for v in y if v)])
            axes.plot(x, y, color=colour, label="own recordings" if name == "own" else f"{name} dB SNR", linewidth=1.6)
            own = next((p for p in points if p.offset == 0), None)
            if own:
                _point(axes, own, colour, edge)
        source = "connected speech" if result.speech else "the sessions"
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set(xlim=(edge, top * 1.2), ylim=(max(0.1, bottom / 1.5), 100))
        shown = [tick for tick in _TICKS if tick >= max(0.1, bottom / 1.5)]
        axes.set_yticks(shown, [f"{v:g}" for v in shown])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own writes formulas
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.set_xlabel(f"false accepts an hour of {source} ({hours:.2f} h)")
        axes.set_ylabel("keywords missed, %")
        axes.set_title(f"{result.name}, {result.split} split", loc="left", fontsize=10)
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        with atomic_path(path) as temporary:
            metadata = {"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else None
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150, metadata=metadata)


def _point(axes: Any, point: DetPoint, colour: str, edge: float) -> None:
    rate, misses = point.false_accepts, point.misses
    if misses.value is None or rate.per_hour is None:
        return
    x, y = max(edge, rate.per_hour), 100 * misses.value
    axes.plot([max(edge, rate.low), rate.high], [y, y], color=colour, linewidth=1)
    axes.plot([x, x], [100 * misses.low, 100 * misses.high], color=colour, linewidth=1)
    axes.plot([x], [y], "o", color=colour, markersize=5)
