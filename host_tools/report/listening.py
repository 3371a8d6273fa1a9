"""Figures of long audio and of calibration for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from host_tools import ui
from host_tools.ui import Table
from model_pipeline.intervals import Rate, Share
from model_pipeline.listening.results import (
    Calibration,
    CorpusFigures,
    FreeFigures,
    Judged,
    Listening,
    Near,
    NearCost,
    SessionFigures,
)
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.rate import ms_of

if TYPE_CHECKING:
    from model_pipeline.listening.look import Learnt

_LISTED = 24  # words that never fired
_AROUND = 12  # places that are shown of a corpus


def evaluation(result: Listening) -> None:
    """Prints what `model_pipeline.listening.evaluate.evaluate_listening` gave."""
    ui.out.say("[bold]{}[/] (model {}), a result every {} ms", result.name, result.model, result.stride_ms)
    detector = result.detector
    _detector(detector, result.labels, result.stride_ms / detector.stride_hops)
    figures(result)


def figures(result: Judged, *, words: bool = True) -> None:
    """Sessions, speech and noise of `model_pipeline.listening.evaluate.judge`, with each word's if ``words``."""
    for name, values in result.sessions.items():
        _session("own recordings" if name == "own" else f"sessions at {name} dB SNR", values)
        if words:
            _words(values)
    if result.corpora:
        _corpora(result)
    if result.noise:
        rate, fired = result.noise.false_accepts, _fired(result.noise)
        ui.out.say(
            "[bold]noise[/]: {} false accepts in {:.2f} h = {}{}",
            rate.count,
            rate.hours,
            _rate(rate),
            f"; {fired}" if fired else "",
        )


def _corpora(result: Judged) -> None:
    """False accepts by corpus and of all together, and what fired with the words around it."""
    table = ui.Table(title="false accepts on connected speech", title_justify="left", box=None, pad_edge=False)
    for column in ("corpus", "hours", "false", "an hour", "95 %", "heard by"):
        name = column == "corpus"  # the only one that may be broken
        table.add_column(
            column, justify="left" if name or column == "heard by" else "right", no_wrap=not name, overflow="fold"
        )
    rows: list[tuple[str, FreeFigures, str]] = [(row.name, row, _used(row)) for row in result.corpora]
    if len(rows) > 1 and result.speech:
        rows.append(("all", result.speech, ""))
    for label, row, used in rows:
        rate = row.false_accepts
        interval = f"{rate.low:.1f} to {rate.high or 0:.1f}"
        table.add_row(label, f"{rate.hours:.2f}", str(rate.count), f"{rate.per_hour or 0:.1f}", interval, used)
    ui.out.show(table)
    for corpus in result.corpora:
        if fired := _fired(corpus):
            ui.out.say("  {} fired {}", corpus.name, fired)
        if corpus.aside:
            ui.out.say("    {} recordings that say a keyword were set apart", corpus.aside)
        around = [f"{place.label}: … {place.words} …" for place in corpus.places if place.words]
        if around:
            more = f"; and {len(around) - _AROUND} more" if len(around) > _AROUND else ""
            ui.out.say("    at {}{}", "; ".join(around[:_AROUND]), more)


def rows(row: CorpusFigures) -> None:
    """Prints what fired where near words are said in a row."""
    rate, fired = row.false_accepts, _fired(row)
    ui.out.say(
        "[bold]{}[/], two fifths of them near a keyword: {} false accepts in {:.2f} h{}",
        row.name,
        rate.count,
        rate.hours,
        f"; {fired}" if fired else "",
    )


def _fired(values: FreeFigures) -> str:
    return ", ".join(f"{word} {rate.count}" for word, rate in values.words.items() if rate.count)


def _used(row: CorpusFigures) -> str:
    if not row.used:
        return "" if row.used is None else "no one"
    return " + ".join(row.used) + ("" if row.whole else " (others of it)")


def near(result: Near, shown: int = 40) -> None:
    """Prints what `model_pipeline.listening.near.evaluate_near` gave, at most ``shown`` near words."""
    from model_pipeline.data.near import spelling

    right = ", ".join(f"{row.word} {_share(row.right)}" for row in result.keywords if row.right)
    least, most = (f(row.takes for row in result.keywords) for f in (min, max))
    takes = f"{most}" if least == most else f"{least} to {most}"
    ui.out.say("[bold]keywords heard by the detector[/], {} takes each by held-out voices: {}", takes, right)
    ui.out.say(
        "[bold]near words[/]: {} of {} fired a keyword; a word, how often anything fired, and what",
        _share(result.fired),
        result.fired.total,
    )
    fired = [row for row in result.near if row.fired.count]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for row in fired[:shown]:
        heard = ", ".join(f"{word} {count}" for word, count in row.heard.items())
        table.add_row(spelling(row.word), f"{row.fired.count} of {row.fired.total}", heard)
    ui.out.show(table)
    if len(fired) > shown:
        ui.out.say("… and {} more", len(fired) - shown)
    silent = [spelling(row.word) for row in result.near if row.takes and not row.fired.count]
    if silent:
        more = f" and {len(silent) - _LISTED} more" if len(silent) > _LISTED else ""
        ui.out.say("never fired: {}{}", ", ".join(silent[:_LISTED]), more)
    if result.same_sound:
        pairs = ", ".join(f"{word} ({keyword})" for word, keyword in result.same_sound.items())
        ui.out.say("left out, they sound the same as a keyword: {}", pairs)


def calibration(result: Calibration) -> None:
    """Prints what `model_pipeline.listening.calibrate.calibrate` gave."""
    wish = result.wish
    ui.out.say(
        "[bold]{}[/] (model {}): at most {:g} false accepts an hour, answers within {:g} ms",
        result.name,
        result.model,
        wish.rate,
        wish.response_ms,
    )
    _detector(result.detector, result.labels, result.hop_ms)
    expected = result.expected
    ui.out.say(
        "Chosen so that speech it has not heard gives at most [bold]{:g}[/] false accepts an hour. Since speech "
        "differs, it was allowed {:.2g} an hour on the recordings below; of their keywords {:.0f} are missed, "
        "answered late, or taken for another.",
        expected.false_accepts_per_hour,
        expected.asked_there,
        expected.errors,
    )
    if expected.near:
        ui.out.say("near words, said alone: {} of {} fire", _share(expected.near), expected.near.total)
        if costs := near_costs(expected.near_costs, expected.said):
            ui.out.say("what fewer of them cost, with one threshold for all words: {}", costs)
    if expected.left_out:
        apart = (f"{r.name} {r.false_accepts:.0f} in {r.hours:.2f} h" for r in expected.left_out)
        ui.out.say("false accepts on what is left out, of a detector chosen on all the others: {}", ", ".join(apart))
    if expected.least_shown and wish.rate < expected.least_shown:
        ui.out.say(
            "[yellow]so few recordings can't show less than {:.2g} an hour:[/] below it the figure is carried on from "
            "higher rates",
            expected.least_shown,
        )
    ui.out.say("[dim]on what it was chosen on:[/]")
    figures(result.calibration)
    if result.measured:
        ui.out.say("[dim]on recordings that it was not chosen on:[/]")
        figures(result.measured)


def near_costs(costs: Sequence[NearCost], said: int) -> str:
    """What fewer near words cost of ``said`` keywords, in words; "" for nothing to tell."""
    return "; ".join(f"{c.near:.0%} near words, {c.wrong(said):.0%} of keywords wrong" for c in costs)


def second_look(result: Learnt) -> None:
    """Prints what `model_pipeline.listening.look.look` gave."""
    ui.out.say(
        "[bold]{}[/] (model {}): {:,} words and {:,} results that are none, of {:.1f} h ({})",
        result.name,
        result.model,
        result.words,
        result.rows,
        result.hours,
        ", ".join(result.corpora),
    )
    ui.out.say("a second look of {:,} MACs a result and {:,} bytes of constants", result.macs, result.constant_bytes)


def _detector(detector: DetectorDefaults, labels: list[str], hop_ms: float) -> None:
    smoothing = detector.window * detector.stride_hops * hop_ms
    levels = ", ".join(f"{w} {t}" for w, t in zip(labels, detector.thresholds, strict=True) if t)
    ui.out.say(
        "detector: a result every {:g} ms, mean of {} ({:g} ms), {} in a row, {:g} ms refractory; "
        "thresholds of 256: {}",
        detector.stride_hops * hop_ms,
        detector.window,
        smoothing,
        detector.min_count,
        ms_of(detector.refractory_samples),
        levels,
    )


def _session(title: str, values: SessionFigures) -> None:
    misses, response, rate = values.misses, values.response_ms, values.false_accepts
    causes = ", ".join(f"{n} at {cause}" for cause, n in values.false_by_cause.items())
    ui.out.say(
        "[bold]{}[/], {:.2f} h: {} of {} keywords missed, {} false accepts ({}){}",
        title,
        values.hours,
        _share(misses),
        misses.total,
        rate.count,
        _rate(rate),
        f": {causes}" if causes else "",
    )
    if response.over_400_ms:
        ui.out.say(
            "  answer {:.0f} ms after the word's end (median; 95 %: {:.0f} ms; {} take over 400 ms)",
            response.median,
            response.p95,
            _share(response.over_400_ms),
        )


def _words(values: SessionFigures) -> None:
    table = Table(box=None, pad_edge=False, spare=(3, 5))
    for column in ("", "said", "missed", "95 % interval", "false", "median", "95 % within"):
        table.add_column(column, justify="left" if not column else "right")
    for word, row in values.words.items():
        missed, answer = row.misses, row.response_ms
        table.add_row(
            word,
            str(missed.total),
            missed.percent,
            f"{100 * missed.low:.1f} to {100 * missed.high:.1f} %",
            str(row.false_accepts.count),
            f"{answer.median:.0f} ms" if answer.count else "–",
            f"{answer.p95:.0f} ms" if answer.count else "–",
        )
    ui.out.show(table)
    taken = [f"{row.said} as {row.heard} {row.count}" for row in values.false_at_words[:6]]
    if taken:
        ui.out.say("  taken for a keyword: {}", ", ".join(taken))


def _share(found: Share) -> str:
    if found.value is None:
        return "–"
    return f"{found.percent} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _rate(found: Rate) -> str:
    return "no audio" if found.per_hour is None else found.described
