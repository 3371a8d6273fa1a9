"""Figures of streaming evaluation and calibration for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from host_tools import ui


def evaluation(result: dict[str, Any]) -> None:
    """Prints what `model_pipeline.listening.evaluate.evaluate_streaming` gave."""
    ui.out.print(
        f"[bold]{ui.plain(result['name'])}[/] (model {result['model']}), a result every {result['stride_ms']} ms"
    )
    _detector(result["detector"], result["labels"], result["stride_ms"] / result["detector"]["stride_hops"])
    figures(result)


def figures(result: dict[str, Any], *, words: bool = True) -> None:
    """Sessions, speech and noise of `model_pipeline.listening.evaluate.judge`, with each word's if ``words``."""
    for name, values in result["sessions"].items():
        _session("own recordings" if name == "own" else f"sessions at {name} dB SNR", values)
        if words:
            _words(values)
    for name in ("speech", "noise"):
        if result[name]:
            rate = result[name]["false_accepts"]
            fired = [f"{word} {r['count']}" for word, r in result[name]["words"].items() if r["count"]]
            what = "connected speech" if name == "speech" else "noise"
            ui.out.print(
                f"[bold]{what}[/]: {rate['count']} false accepts in {rate['hours']:.2f} h = {_rate(rate)}"
                + (f"; {', '.join(fired)}" if fired else "")
            )


def near(result: dict[str, Any], shown: int = 40) -> None:
    """Prints what `model_pipeline.listening.near.evaluate_near` gave, at most ``shown`` near words."""
    right = ", ".join(f"{row['word']} {_share(row['right'])}" for row in result["keywords"])
    takes = result["keywords"][0]["takes"]
    ui.out.print(f"[bold]keywords heard by the detector[/], {takes} takes each by held-out voices: {right}")
    ui.out.print(
        f"[bold]near words[/]: {_share(result['fired'])} of {result['fired']['total']} fired a keyword; "
        "a word, how often anything fired, and what"
    )
    fired = [row for row in result["near"] if row["fired"]["count"]]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for row in fired[:shown]:
        heard = ", ".join(f"{word} {count}" for word, count in row["as"].items())
        table.add_row(ui.plain(row["word"]), f"{row['fired']['count']} of {row['fired']['total']}", heard)
    ui.out.print(table)
    if len(fired) > shown:
        ui.out.print(f"… and {len(fired) - shown} more")
    silent = [row["word"] for row in result["near"] if row["takes"] and not row["fired"]["count"]]
    if silent:
        ui.out.print(f"never fired: {ui.plain(', '.join(silent))}", soft_wrap=True)
    if result["same_sound"]:
        pairs = ", ".join(f"{word} ({keyword})" for word, keyword in result["same_sound"].items())
        ui.out.print(f"left out, they sound the same as a keyword: {pairs}")


def calibration(result: dict[str, Any]) -> None:
    """Prints what `model_pipeline.listening.calibrate.calibrate` gave."""
    wish = result["wish"]
    ui.out.print(
        f"[bold]{ui.plain(result['name'])}[/] (model {result['model']}): "
        f"at most {wish['rate']:g} false accepts an hour, answers within {wish['response_ms']:g} ms"
    )
    _detector(result["detector"], result["labels"], result["hop_ms"])
    expected = result["expected"]
    ui.out.print(
        f"{expected['errors']:.0f} errors (missed, late or wrong) in the sessions it was chosen on; expected: at most "
        f"{expected['false_accepts_per_hour']:g} false accepts an hour, for which {expected['asked_there']:.2g} were "
        "asked for where it was chosen"
    )
    ui.out.print("[dim]on what it was chosen on:[/]")
    figures(result["calibration"])
    if result["measured"]:
        ui.out.print("[dim]on recordings that it was not chosen on:[/]")
        figures(result["measured"])


def _detector(detector: dict[str, Any], labels: list[str], hop_ms: float) -> None:
    smoothing = detector["window"] * detector["stride_hops"] * hop_ms
    levels = ", ".join(f"{w} {t}" for w, t in zip(labels, detector["thresholds"], strict=True) if t)
    ui.out.print(
        f"detector: a result every {detector['stride_hops'] * hop_ms:g} ms, mean of {detector['window']} "
        f"({smoothing:g} ms), {detector['min_count']} in a row, {detector['refractory_samples'] / 16:g} ms refractory; "
        f"thresholds of 256: {levels}"
    )


def _session(title: str, values: dict[str, Any]) -> None:
    misses, response = values["misses"], values["response_ms"]
    rate = values["false_accepts"]
    causes = ", ".join(f"{n} at {cause}" for cause, n in values["false_by_cause"].items())
    ui.out.print(
        f"[bold]{title}[/], {values['hours']:.2f} h: {_share(misses)} of {misses['total']} keywords missed, "
        f"{rate['count']} false accepts ({_rate(rate)})" + (f": {causes}" if causes else "")
    )
    if response["count"]:
        ui.out.print(
            f"  answer {response['median']:.0f} ms after the word's end (median; 95 %: {response['p95']:.0f} ms; "
            f"{_share(response['over_400_ms'])} take over 400 ms)"
        )


def _words(values: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "said", "missed", "95 % interval", "false", "median", "95 % within"):
        table.add_column(column, justify="left" if not column else "right")
    for word, row in values["words"].items():
        missed, answer = row["misses"], row["response_ms"]
        table.add_row(
            word,
            str(missed["total"]),
            "–" if missed["value"] is None else f"{100 * missed['value']:.1f} %",
            f"{100 * missed['low']:.1f} to {100 * missed['high']:.1f} %",
            str(row["false_accepts"]["count"]),
            f"{answer['median']:.0f} ms" if answer["count"] else "–",
            f"{answer['p95']:.0f} ms" if answer["count"] else "–",
        )
    ui.out.print(table)
    taken = [f"{row['said']} as {row['heard']} {row['count']}" for row in values["false_at_words"][:6]]
    if taken:
        ui.out.print(f"  taken for a keyword: {', '.join(taken)}")


def _share(values: dict[str, Any]) -> str:
    if values["value"] is None:
        return "–"
    return f"{100 * values['value']:.1f} % ({100 * values['low']:.1f} to {100 * values['high']:.1f})"


def _rate(values: dict[str, Any]) -> str:
    if values["per_hour"] is None:
        return "no audio"
    return f"{values['per_hour']:.2f} an hour (95 %: {values['low']:.2f} to {values['high']:.2f})"
