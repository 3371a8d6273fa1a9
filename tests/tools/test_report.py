"""results.json and report.html."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from host_tools.measure import metrics
from host_tools.report import page as report
from model_pipeline.data.sessions import Event
from model_pipeline.errors import KwsError
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.scoring import match, poisson_rate, summary

LABELS = ["yes", "no", "<b>&", "unknown", "silence"]


def example() -> dict:
    """A run's results, with a label that wants escaping."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(60):
        label = number % 5
        heard = label if rng.random() < 0.85 else int(rng.integers(5))
        rows.append(
            {
                "name": f"{LABELS[label]}/clip{number}.wav",
                "label": label,
                "predicted": heard,
                "output": [0] * 5,
                "frontend_ticks": 1_000_000,
                "frontend_frames": 49,
                "inference_ticks": 7_000_000,
                "detector_ticks": 0,
                "response_ms": float(rng.gamma(4, 20)),
            }
        )
    rows[7] |= {"predicted": None, "output": None, "response_ms": None}
    known = [r for r in rows if r["predicted"] is not None]
    link = {name: 0 for name in ("resent", "naks", "timeouts", "lost", "repeated", "bad")}
    return {
        "name": "a test",
        "created": "2026-11-23 12:00 UTC",
        "where": "an emulated disco_f407vg",
        "labels": LABELS,
        **metrics.classification([r["label"] for r in known], [r["predicted"] for r in known], LABELS),
        "device": {
            "board": "disco_f407vg",
            "engine": "aot",
            "model_hash": "0123456789abcdef",
            "macs": 1_200_000,
            "arena_bytes": 20_000,
            "stack_bytes": 8192,
            "stack_used": 900,
            "window_frames": 49,
            "hop_samples": 320,
            "sample_rate": 16000,
            "firmware": "0.1.0",
            "build": "abc",
        },
        "ticks": {"name": "instructions", "note": "guest instructions", "source": "TIM2", "hz": 84_000_000},
        "cost": {
            "frontend_frame": metrics.spread([20_408.0]),
            "frontend_clip": metrics.spread([1_000_000.0]),
            "inference": metrics.spread([7_000_000.0]),
            "detector": metrics.spread([]),
        },
        "response_ms": {
            "streaming": metrics.spread([30.0, 40.0]),
            "paced": [30.0, 40.0],
            "burst": metrics.spread([r["response_ms"] for r in known]),
        },
        "link": {"lost": 1, "repeated": 0, "host": {"sent": 100, "received": 120, **link}, "device": {}},
        "agreement": {"compared": 59, "equal": 59, "differ": []},
        "host": {"engine": "TensorFlow Lite Micro", "accuracy": metrics.proportion(500, 560), "confusion": []},
        "model": {"architecture": "ds_tcn", "quantization": "qat", "parameters": 9000},
        "training": {"history": [{"epoch": i + 1.0, "validation_accuracy": 1 - 0.5 / (i + 1)} for i in range(12)]},
        "steps": [{"name": "train", "title": "train", "seconds": 93.0, "reused": True}],
        "build": {
            "flash_code": 20_000,
            "flash_constants": 40_000,
            "flash_data": 100,
            "flash_total": 60_100,
            "flash_budget": 524_288,
            "ram_data": 100,
            "ram_bss": 10_000,
            "ram_arena": 20_000,
            "ram_stack": 8_192,
            "ram_total": 38_292,
            "ram_budget": 131_072,
        },
        "clips": rows,
    }


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [v for k, v in values.items() if k in ("src", "href", "xlink:href") and v]
        if tag not in ("meta", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br", "link", "input"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    return report.render(example())


def test_the_page_is_one_well_formed_file(page: str) -> None:
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids), "identifiers of several pictures must not meet"
    assert all(link.startswith("#") for link in parsed.links), "nothing is loaded from elsewhere"
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)
    assert not {"script", "img", "link", "iframe"} & set(parsed.tags)
    assert parsed.tags.count("svg") == 6
    assert "url(http" not in page and "@import" not in page


def test_pictures_follow_the_colours_of_the_page(page: str) -> None:
    """No colour of matplotlib's own is left, or dark mode would show black on black."""
    colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{3,8})", page))
    assert colours == set()
    assert "prefers-color-scheme: dark" in page
    assert page.count("var(--ink)") > 20


def test_the_page_shows_the_numbers(page: str) -> None:
    for text in ("7.00 M", "instructions per inference", "35 ms", "58.7 KB", "37.4 KB", "disco_f407vg", "59 of 59"):
        assert text in page, text
    assert "frames lost" in page
    assert "no answer" in page, "a clip whose answer was lost is listed"


def test_the_page_shows_misses_and_false_accepts_in_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_figures", lambda _: {"confusion": "", "recall": ""})
    events = [Event("yes", 16000, 24000), Event("yes", 64000, 70000), Event("no", 90000, 99000)]
    outcome = match(events, [Detection(25600, 0, 200), Detection(80000, 1, 200)], LABELS, 3600 * 16000)
    noise = {"false_accepts": poisson_rate(0, 0.5)}
    streaming = {"sessions": {"10": summary(outcome, LABELS)}, "noise": noise}
    page = report.render(example() | {"expect": {"streaming": streaming, "near": None, "boards": []}})
    rows = [re.sub(r"<[^>]*>|\s+", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    found = {" ".join(row) for row in rows}
    assert "3 keywords among other words in noise, 10 dB SNR: missed 66.7 % 20.8 % to 93.9 %" in found
    assert "false accepts an hour there 1.0 0.0 to 5.6" in found
    assert "answer after the word's end, median; 95 % within 100 ms 100 ms" in found
    assert "false accepts an hour of noise (0.50 h) 0.0 0.0 to 7.4" in found


def test_labels_are_escaped(page: str) -> None:
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_the_same_results_give_the_same_page(page: str) -> None:
    assert report.render(example()) == page


@pytest.mark.parametrize(
    "missing", ["name", "steps", "training", "build", "host", "model", "agreement", "where", "created"]
)
def test_parts_that_are_not_there_are_left_out(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = example()
    del results[missing]
    monkeypatch.setattr(report, "_figures", lambda _: {"confusion": "", "recall": ""})  # drawing is slow, and not asked
    assert "<main>" in report.render(results)


def test_a_stream_with_no_answers_can_be_drawn() -> None:
    results = example()
    for row in results["clips"]:
        row |= {"predicted": None, "output": None, "response_ms": None}
    results |= metrics.classification([], [], LABELS)
    results["response_ms"] = {"streaming": {"count": 0}, "paced": [], "burst": {"count": 0}}
    results["cost"] = {key: {"count": 0} for key in results["cost"]}
    assert "<main>" in report.render(results)


def test_files_are_written_and_read_again(tmp_path: Path) -> None:
    results = example()
    json_path, html_path = report.write_report(copy.deepcopy(results), tmp_path / "out")
    assert json.loads(json_path.read_text()) == json.loads(json.dumps(results))
    assert report.read_results(tmp_path / "out") == json.loads(json.dumps(results))
    assert html_path.stat().st_size < 400_000
    (tmp_path / "out" / "results.json").write_text("{}")
    with pytest.raises(KwsError, match="no results file"):
        report.read_results(tmp_path / "out")
    (tmp_path / "out" / "results.json").write_text("{")
    with pytest.raises(KwsError, match="can't read"):
        report.read_results(tmp_path / "out")
