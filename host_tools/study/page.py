"""The study as a page with four pictures, and each picture as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from host_tools.report import pictures
from host_tools.report.page import TEMPLATES
from host_tools.study.points import WAYS, Way
from host_tools.study.results import ACCURACY, COSTS, Compression, Studied
from model_pipeline.files import write_text
from model_pipeline.record import FIGURES, interval_shown, shown

PAGE = "study.html"
PICTURES = "front-*.svg"
_AXES = {
    "flash": ("flash of the whole image, KB", 1 / 1024),
    "ram": ("RAM of the whole image, KB", 1 / 1024),
    "instructions_per_second": ("million instructions a second of sound", 1e-6),
    "speech_false_accepts_per_hour": ("false accepts an hour of connected speech", 1.0),
}
_COLOURS: dict[Way, str] = {
    "base": pictures.INK,
    "narrow": pictures.SECOND,
    "pruned": pictures.ACCENT,
    "distilled": pictures.THIRD,
}
COLUMNS = (ACCURACY, "misses", *COSTS, "inference_instructions", "model_bytes", "parameters")


def write(study: Compression, out: Path) -> None:
    """Writes ``study.html`` and ``front-<cost>.svg`` into ``out``, each whole or not at all. The caller has
    claimed it."""
    drawn = {cost: picture(study.points, cost) for cost in COSTS if any(cost in p.figures for p in study.points)}
    for cost, svg in drawn.items():
        write_text(out / PICTURES.replace("*", cost.replace("_", "-")), pictures.standalone(svg))
    write_text(out / PAGE, _render(study, list(drawn.values())))


def picture(points: Sequence[Studied], cost: str) -> str:
    """Accuracy against one cost as an inline SVG: the front is a stair, its points are named."""
    label, scale = _AXES[cost]

    def draw(axes: Axes) -> None:
        def place(row: Studied) -> tuple[float, float]:
            return row.figures[cost].value * scale, 100 * row.figures[ACCURACY].value

        known = [row for row in points if cost in row.figures and ACCURACY in row.figures]
        for way, colour in _COLOURS.items():
            for aware in (False, True):
                some = [r for r in known if r.point.network.way == way and (r.point.quantization == "qat") == aware]
                for packing, marker in (("speed", "o"), ("size", "s")):
                    mine = [place(r) for r in some if r.point.packing == packing]
                    if mine:
                        x, y = zip(*mine, strict=True)
                        face = colour if aware else "none"
                        axes.scatter(x, y, s=26, marker=marker, facecolors=face, edgecolors=colour, zorder=3)
        for way, colour in _COLOURS.items():
            if any(r.point.network.way == way for r in known):
                axes.scatter([], [], s=26, color=colour, label=way)
        best = sorted({place(r): r for r in known if cost in r.fronts}.items())
        if best:
            axes.step(
                [at[0] for at, _ in best], [at[1] for at, _ in best], where="post", color=pictures.BAD, linewidth=1.2
            )
        for at, row in best:
            axes.annotate(
                row.point.network.name,
                at,
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=pictures.INK,
            )
        axes.set(xlabel=label, ylabel="right on validation clips, int8, %")
        axes.margins(x=0.12, y=0.12)
        axes.grid(color=pictures.LINE, linewidth=0.6)
        if known:
            axes.legend(loc="best", labelcolor=pictures.INK, fontsize=8)

    alt = f"Accuracy of {len(points)} points against {label}, with the front"
    return pictures.picture(f"front-{cost.replace('_', '-')}", alt, (4.6, 3.6), draw)


def cell(row: Studied, figure: str) -> str:
    """A figure for people, a dash where it was not measured."""
    return shown(figure, row.figures[figure].value) if figure in row.figures else "–"


def _render(study: Compression, drawn: Sequence[str]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )

    def interval(row: Studied, figure: str) -> str:
        return interval_shown(figure, row.figures[figure]) if figure in row.figures else ""

    return environment.get_template("study.html.j2").render(
        study=study,
        pictures=drawn,
        style=pictures.style(),
        columns=[(name, FIGURES[name].text) for name in COLUMNS],
        costs=COSTS,
        ways=WAYS,
        cell=cell,
        interval=interval,
    )
