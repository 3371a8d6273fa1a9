"""``results.json`` with every number, and ``report.html``: one file that shows them."""

from __future__ import annotations

import base64
import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from host_tools.image.build import BuildResult
from host_tools.measure.results import Memory
from host_tools.report.results import Epoch, Results, read_results
from model_pipeline.data.audio import SAMPLE_RATE, read_clip
from model_pipeline.data.dataset import fitting_clip_ms
from model_pipeline.data.near import spelling
from model_pipeline.errors import KwsError
from model_pipeline.files import damaged, write_json, write_text
from model_pipeline.folders import claim_dir
from model_pipeline.manifest import keywords_of
from model_pipeline.rate import samples_of
from model_pipeline.text import shown

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def write_report(results: Results, out: Path) -> tuple[Path, Path]:
    """Writes ``results.json`` and ``report.html`` into ``out``; each whole or not at all. Parts that are missing are
    left out of the page.

    Returns:
        The two paths.

    Raises:
        KwsError: files of these names are there that are not a report of ours.
    """
    out = Path(out)
    claim_dir(out, "kws report", ("results.json", "report.html"), ours=_ours)
    html = render(results)
    write_json(out / "results.json", results.to_json())
    write_text(out / "report.html", html)
    return out / "results.json", out / "report.html"


def of_a_file(run: Path) -> contextlib.AbstractContextManager[None]:
    """For what is done with results that were read: what is missing in them is one line (KwsError)."""
    import jinja2

    return damaged(f"the results in {run}", "kws run again, or kws stream --out DIR", (jinja2.TemplateError,))


def _ours(folder: Path) -> bool:
    """A report of before there were marks, or results without their page."""
    try:
        read_results(folder)
    except KwsError:
        return False
    return True


def render(results: Results) -> str:
    """The page. Imports matplotlib, which takes a second."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    environment.filters["count"] = lambda value: "–" if value is None else f"{value:,.0f}"
    environment.filters["rate"] = lambda value: "–" if value is None else f"{value:.1f}"
    environment.filters["seconds"] = _seconds
    environment.filters["spelling"] = spelling
    environment.filters["kb"] = lambda value: "–" if value is None else f"{value / 1024:.1f} KB"
    return environment.get_template("report.html.j2").render(
        r=results,
        figures=_figures(results),
        tiles=tiles(results),
        relaxed=relaxed(results),
        near_costs=near_costs(results),
        memory=memory(results.build),
        worst=_worst(results),
        keywords=keywords_of(results.labels),
    )


def _visible(value: object) -> object:
    """A text of a file as the page may hold it: no character that turns a line round, or that HTML has none of."""
    return shown(value) if type(value) is str else value  # Markup is ours


@dataclass(frozen=True)
class WrongClip:
    """A clip that was heard wrong; ``sound``: a data URL, or empty."""

    name: str
    sound: str
    said: str
    heard: str


def memory(build: BuildResult | None) -> list[Memory]:
    """Flash and RAM. Empty without the build of a board (a process of this computer has no budget)."""
    if build is None:
        return []
    flash = [
        ("code", build.flash_code), ("constants", build.flash_constants), ("initial values", build.flash_data)
    ]  # fmt: skip
    ram = [
        ("arena", build.ram_arena), ("stack", build.ram_stack), ("other variables", build.ram_bss),
        ("initialised", build.ram_data),
    ]  # fmt: skip
    rows = (
        ("Flash", build.flash_total, build.flash_budget, flash),
        ("RAM", build.ram_total, build.ram_budget, ram),
    )
    return [
        Memory(name=name, used=used, limit=limit, parts=[part for part in parts if part[1]])
        for name, used, limit, parts in rows
        if limit
    ]


def felt(results: Results) -> list[tuple[str, str, str]]:
    """What somebody who speaks to the device will notice: words missed, false accepts, how soon it answers; each as
    value, what it is, and a small line below. Empty without a stream test."""
    stream = results.heard
    if not stream or not stream.sessions:
        return []
    snr, session = next(iter(stream.sessions.items()))
    misses, times = session.misses, session.response_ms
    where = "own recordings" if snr == "own" else f"noise at {snr} dB SNR"
    found = []
    if misses.value is not None:
        found.append((misses.percent, f"of words missed in {where}", f"95 %: {misses.interval}"))
    rate, kind = session.false_accepts, "among words in noise"
    if stream.speech:
        rate, kind = stream.speech.false_accepts, "of speech"
    if rate.per_hour is not None:
        below = f"{kind}, {rate.hours:.2f} h; 95 %: {rate.low:.1f} to {rate.high:.1f}"
        found.append((f"{rate.per_hour:.1f}", "false accepts an hour", below))
    if times.count:
        found.append((f"{times.median:.0f} ms", "from a word's end to its answer", f"95 %: {times.p95:.0f} ms"))
    return found


def relaxed(results: Results) -> str | None:
    """A sentence, where the detector could not be chosen for the wanted rate; None where it was."""
    calibration = results.model.accuracy.calibration if results.model else None
    if calibration is None or calibration.expected.said is None:  # of a run before this was kept
        return None
    wanted, expected = calibration.wish.rate, calibration.expected
    became, missed = expected.false_accepts_per_hour, expected.errors_at_wish
    if became <= wanted:
        return None
    why = (
        "no thresholds reach it"
        if missed is None
        else f"{min(1.0, missed / calibration.expected.said):.0%} of the words would be missed, late or wrong"
    )
    return (
        f"chosen for {became:g} false accepts an hour, as at the wanted {wanted:g} {why}. Recordings of connected "
        f"speech ([[scenes.corpora]]) and of these words make it better"
    )


def near_costs(results: Results) -> list[tuple[float, float, float]]:
    """What fewer near words cost where the detector was chosen: the share that fires, the share of keywords that are
    then missed, late or wrong, and false accepts an hour. Empty of a run before this was kept."""
    calibration = results.model.accuracy.calibration if results.model else None
    if calibration is None or not (said := calibration.expected.said):
        return []
    return [(c.near, c.wrong(said), c.false_accepts_per_hour) for c in calibration.expected.near_costs]


def tiles(results: Results) -> list[tuple[str, str, str]]:
    """The numbers at the top: value, what it is, and a small line below."""
    accuracy, unit = results.accuracy, results.ticks.name
    found = felt(results)
    found += [
        (
            "–" if accuracy.value is None else f"{100 * accuracy.value:.1f} %",
            "of test clips right on the device",
            f"{accuracy.correct} of {accuracy.total}; 95 %: {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %",
        )
    ]
    for spread, what in ((results.cost.inference, "inference"), (results.cost.frontend_frame, "front-end frame")):
        if spread.mean is not None:
            found.append((_big(spread.mean), f"{unit} per {what}", f"{spread.mean:,.0f}"))
    paced, burst = results.response_ms.streaming, results.response_ms.burst
    for times, what in ((paced, "response, at a microphone's pace"), (burst, "response, sent at full speed")):
        if times.count:
            found.append((f"{times.p50:.0f} ms", what, f"median; 95 %: {times.p95:.0f}, most {times.max:.0f} ms"))
            break
    for row in memory(results.build):
        found.append((f"{row.used / 1024:.1f} KB", row.name, f"of {row.limit / 1024:.0f} KB allowed"))
    if agreement := results.agreement:
        found.append((f"{agreement.equal} of {agreement.compared}", "clips equal on host and device", "value by value"))
    found.append((str(results.link.lost), "frames lost", f"{results.link.repeated} repeated"))
    return found


def _figures(results: Results) -> dict[str, str]:
    from host_tools.report import pictures

    found = {"confusion": pictures.confusion(results), "recall": pictures.recall(results)}
    history: list[Epoch] = results.training.history if results.training else []
    if len(history) > 1:
        found["training"] = pictures.training(history)
    parts = second(results)
    if parts:
        found["cost"] = pictures.cost(parts, results.ticks.name)
    stream = results.heard
    curve = next(iter(stream.det.values()), []) if stream and stream.det else []
    if stream and len(curve) > 1:
        found["tradeoff"] = pictures.tradeoff(curve, "speech" if stream.speech else "words in noise")
    burst = [row.response_ms for row in results.clips if row.response_ms is not None]
    groups = [("sent at full speed", burst), ("at a microphone's pace", results.response_ms.paced)]
    if any(values for _, values in groups):
        found["response"] = pictures.response(groups)
    rows = [row for row in memory(results.build) if row.parts]
    if rows:
        found["memory"] = pictures.memory(rows)
    return found


def second(results: Results) -> list[tuple[str, float]]:
    """What each part costs in a second of sound: the front end, its inferences, the detector as often."""
    cost, device = results.cost, results.device
    hop = device.hop_samples * (device.default_stride or 1)
    often = device.sample_rate / hop if hop and device.sample_rate else 1.0
    return [
        (name, spread.mean * times)
        for name, spread, times in (
            ("front end", cost.frontend_clip, 1.0),
            (f"{often:.3g} inferences", cost.inference, often),
            ("detector", cost.detector, often),
        )
        if spread.mean is not None
    ]


def _worst(results: Results) -> list[WrongClip]:
    """The clips that were heard wrong, for listening to; at most 20."""
    labels = results.labels
    wrong = [row for row in results.clips if row.predicted != row.label]
    return [
        WrongClip(
            name=row.name,
            sound=_sound(results.data_folder, row.name),
            said=labels[row.label],
            heard="no answer" if row.predicted is None else labels[row.predicted],
        )
        for row in wrong[:20]
    ]


def _sound(folder: str, name: str) -> str:
    """A clip of the data folder as FLAC in a data URL; empty where it is no longer there."""
    if not folder:
        return ""
    path = (Path(folder) / name).resolve()
    if not path.is_relative_to(Path(folder).resolve()) or not path.is_file():
        return ""
    import soundfile

    stream = io.BytesIO()
    try:
        length = samples_of(fitting_clip_ms(Path(folder), None))
        soundfile.write(stream, read_clip(path, length), SAMPLE_RATE, format="FLAC")
    except KwsError:
        return ""  # the report is of the measurement; a clip that can't be read any more is only not played
    return f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 90 else f"{int(value) // 60} min {int(value) % 60} s"


def _big(value: float) -> str:
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {letter}" if value < 100 * limit else f"{value / limit:.0f} {letter}"
    return f"{value:.0f}"
