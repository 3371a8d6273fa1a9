"""results.json and report.html."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from host_tools.measure import metrics
from host_tools.report import page as report
from host_tools.report.results import Expectation, Results, read_results
from model_pipeline.data.audio import write_wav
from model_pipeline.data.sessions import Event
from model_pipeline.errors import KwsError
from model_pipeline.intervals import Rate, Share
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.results import CorpusFigures, DetPoint, FreeFigures, Heard, Near, NearWord
from model_pipeline.listening.scoring import match, summary
from model_pipeline.manifest import DetectorDefaults

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
        **metrics.classification([r["label"] for r in known], [r["predicted"] for r in known], LABELS).model_dump(),
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
            **dict.fromkeys(("model", "model_name", "model_hash", "elf", "sha256"), "x"),
            "board": "disco_f407vg",
            "engine": "aot",
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


DETECTOR = DetectorDefaults(window=4, min_count=2, refractory_samples=8000, thresholds=[128] * 5, stride_hops=5)


def free(count: int, hours: float) -> FreeFigures:
    """False accepts where no keyword is said."""
    return FreeFigures(hours=hours, false_accepts=Rate.of(count, hours), words={}, places=[])


def stream(**changes: Any) -> Heard:
    """An hour of words in noise: two of three missed, one false accept; half an hour of noise."""
    events = [Event("yes", 16000, 24000), Event("yes", 64000, 70000), Event("no", 90000, 99000)]
    outcome = match(events, [Detection(25600, 0, 200), Detection(80000, 1, 200)], LABELS, 3600 * 16000)
    values = {"sessions": {"10": summary(outcome, LABELS)}, "speech": None, "noise": free(0, 0.5)}
    return Heard(**values | {"split": "testing", "detector": DETECTOR} | changes)


def expecting(heard: Heard | None, near: Near | None = None) -> Results:
    """The example, of which somebody knows what to expect of it."""
    expected = Expectation(streaming=heard, near=near, boards=[])
    return Results.of(example() | {"expect": expected.model_dump(mode="json")})


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.comments: list[str] = []

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(values)
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
    return report.render(Results.of(example()))


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
    page = report.render(expecting(stream()))
    rows = [re.sub(r"<[^>]*>|\s+", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    found = {" ".join(row) for row in rows}
    assert "3 keywords among other words in noise, 10 dB SNR: missed 66.7 % 20.8 % to 93.9 %" in found
    assert "false accepts an hour there 1.0 0.0 to 5.6" in found
    assert "answer after the word's end, median; 95 % within 100 ms 100 ms" in found
    assert "false accepts an hour of noise (0.50 h) 0.0 0.0 to 7.4" in found
    assert "of noise" not in report.render(expecting(stream(noise=None))), "data without noise have no such figure"


def test_the_trade_off_is_a_curve_with_the_detectors_own_point() -> None:
    points = [
        DetPoint(offset=o, misses=Share.of(m, 100), false_accepts=Rate.of(f, 2.0))
        for o, m, f in ((-40, 10, 60), (0, 30, 6), (40, 70, 0))
    ]
    speech = free(6, 2.0)
    corpora = [CorpusFigures(name="<b>talk", **dict(speech))]
    page = report.render(expecting(stream(speech=speech, corpora=corpora, det={"10": points})))
    assert "false accepts an hour of speech (2.00 h)" in page and "the detector" in page and "&lt;b&gt;talk" in page
    curve = page[page.index('aria-label="Words missed over false accepts an hour"') :]
    assert re.search(r'id="tradeoff-line2d', curve)
    without = report.render(expecting(stream()))
    assert "Words missed over false accepts" not in without


def test_what_a_user_will_notice_stands_first() -> None:
    tiles = report.tiles(expecting(stream()))
    assert [text for _, text, _ in tiles[:4]] == [
        "of words missed in noise at 10 dB SNR",
        "false accepts an hour",
        "from a word's end to its answer",
        "of test clips right on the device",
    ]
    assert [value for value, _, _ in tiles[:3]] == ["66.7 %", "1.0", "100 ms"]
    assert "among words in noise, 1.00 h" in tiles[1][2]


def test_false_accepts_of_speech_go_before_those_of_a_stress_test() -> None:
    tiles = report.felt(expecting(stream(speech=free(6, 3.0))))
    assert tiles[1][0] == "2.0" and tiles[1][2].startswith("of speech, 3.00 h")
    assert report.felt(Results.of(example())) == [], "a measurement of clips alone has no such figure"


def test_a_second_of_sound_counts_its_inferences() -> None:
    results = example()
    results["device"] |= {"hop_samples": 320, "default_stride": 5}
    assert report.second(Results.of(results)) == [("front end", 1_000_000.0), ("10 inferences", 70_000_000.0)]


def test_keywords_and_near_words_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_figures", lambda _: {"confusion": "", "recall": ""})
    few, fired = Share.of(14, 16), Share.of(4, 4)
    near = Near(
        model="0123456789abcdef",
        name="a test",
        detector=DETECTOR,
        takes=4,
        keywords=[NearWord(word="yes", takes=16, fired=Share.of(15, 16), right=few, heard={"yes": 14, "no": 1})],
        near=[NearWord(word="[[w|'E|f|t]]", takes=4, fired=fired, heard={"yes": 4})],
        same_sound={},
        fired=fired,
    )
    page = report.render(expecting(None, near))
    rows = [" ".join(re.sub(r"<[^>]*>|\s+", " ", r).split()) for r in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    assert "yes 14 of 16 no 1" in rows
    assert "&#34;weft&#34; 4 of 4 yes 4" in rows
    assert rows.index("keyword, by held-out synthetic voices heard as another") < rows.index("yes 14 of 16 no 1")
    assert '<td class="n good">14 of 16' in page and '<td class="n bad">4 of 4' in page


def test_wrong_clips_can_be_played_and_nothing_outside_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_figures", lambda _: {"confusion": "", "recall": ""})
    results = example()
    wrong = [row for row in results["clips"] if row["predicted"] != row["label"]]
    (tmp_path / "data").mkdir()
    write_wav(tmp_path / "secret.wav", np.ones(16000, np.int16))
    write_wav(tmp_path / "data" / "a.wav", np.arange(16000, dtype=np.int16))
    wrong[0]["name"], wrong[1]["name"], wrong[2]["name"] = "a.wav", "../secret.wav", "gone.wav"
    page = report.render(Results.of(results | {"data_folder": str(tmp_path / "data")}))
    sounds = re.findall(r'<audio [^>]*src="data:audio/flac;base64,([^"]+)"', page)
    assert page.count("<audio") == len(sounds) == 1
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])), dtype="int16")
    assert rate == 16000 and np.array_equal(samples, np.arange(16000))


def test_labels_are_escaped(page: str) -> None:
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'--></svg></style></title>{{7*7}}${x}$"
_LONE = "\u202e\x1b[31m\x00"


def _injected(value: Any, key: str = "") -> Any:
    """Every text of some results replaced by a hostile one, labels by what a label may be."""
    if isinstance(value, dict):
        return {name: _injected(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_injected(item, key) for item in value]
    return HOSTILE + _LONE if isinstance(value, str) else value


def test_no_text_of_a_file_becomes_markup_wherever_it_stands() -> None:
    """The page, read as a browser does, has the very elements and addresses of harmless results."""
    hostile = _injected(example()) | {"labels": [f"{i}<script>alert(1)</script>--><i>" for i in range(5)]}
    hostile["ticks"]["name"] = "instructions"
    pages, text = [], ""
    for results in (example(), hostile):
        page, text = _Page(), report.render(Results.of(results))
        page.feed(text)
        pages.append(page)
        assert not [name for name in page.attributes if name.startswith("on")]
        assert "script" not in page.tags and not page.comments
        assert all(link.startswith(("#", "data:audio/flac;base64,")) for link in page.links)
    assert pages[0].tags == pages[1].tags
    assert "7*7" in text and "49}}" not in text  # no template either
    assert not set("\u202e\x1b\x00") & set(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", ["a\x00", "b", "c", "d", "e"]),
        ("labels", ["a" * 5000, "b", "c", "d", "e"]),
        ("labels", ["\u202eab", "b", "c", "d", "e"]),
        ("labels", [f"w{i}" for i in range(33)]),
        ("recall", [{"label": "x", "correct": 1, "total": 2, "value": 0.5, "low": 0.1, "high": 0.9}] * 100_000),
        ("confusion", [[0]] * 100_000),
    ],
)
def test_results_have_labels_as_a_model_has(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "results.json").write_text(json.dumps(example() | {key: value}))
    with pytest.raises(KwsError, match=f"is not a results file of kws: {key}"):
        read_results(tmp_path)


def test_the_same_results_give_the_same_page(page: str) -> None:
    assert report.render(Results.of(example())) == page


@pytest.mark.parametrize(
    "missing", ["name", "steps", "training", "build", "host", "model", "agreement", "where", "created"]
)
def test_parts_that_are_not_there_are_left_out(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = example()
    del results[missing]
    monkeypatch.setattr(report, "_figures", lambda _: {"confusion": "", "recall": ""})  # drawing is slow, and not asked
    assert "<main>" in report.render(Results.of(results))


def test_a_stream_with_no_answers_can_be_drawn() -> None:
    results = example()
    for row in results["clips"]:
        row |= {"predicted": None, "output": None, "response_ms": None}
    results |= metrics.classification([], [], LABELS).model_dump()
    results["response_ms"] = {"streaming": {"count": 0}, "paced": [], "burst": {"count": 0}}
    results["cost"] = {key: {"count": 0} for key in results["cost"]}
    assert "<main>" in report.render(Results.of(results))


def test_files_are_written_and_read_again(tmp_path: Path) -> None:
    results = example()
    results["of_another_version"] = {"kept": [1, 2.5]}
    json_path, html_path = report.write_report(Results.of(results), tmp_path / "out")
    assert json.loads(json_path.read_text()) == json.loads(json.dumps(results))
    before = json_path.read_bytes()
    report.write_report(read_results(tmp_path / "out"), tmp_path / "out")
    assert json_path.read_bytes() == before, "what is not shown stays, in its order"
    assert html_path.stat().st_size < 400_000
    (tmp_path / "out" / "results.json").write_text("{}")
    with pytest.raises(KwsError, match="is not a results file"):
        read_results(tmp_path / "out")
    (tmp_path / "out" / "results.json").write_text("{")
    with pytest.raises(KwsError, match=r"results\.json is broken"):
        read_results(tmp_path / "out")


@pytest.mark.parametrize(
    ("place", "value"),
    [(("link", "lost"), "many"), (("accuracy", "total"), None), (("clips", 0, "label"), "yes"), (("format",), 2)],
)
def test_results_that_are_not_as_they_should_be_are_named(tmp_path: Path, place: tuple, value: object) -> None:
    results = copy.deepcopy(example())
    part: Any = results
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(KwsError, match=rf"is not a results file of kws: {place[0]}"):
        read_results(tmp_path)


def test_what_fewer_near_words_cost_is_told() -> None:
    costs = [
        {"near": near, "errors": errors, "false_accepts_per_hour": 4.0, "threshold": 90}
        for near, errors in ((0.2, 90.0), (0.1, 210.0))
    ]
    expected = {"said": 200, "errors": 90.0, "false_accepts_per_hour": 1.0, "near_costs": costs}
    results = example() | {"model": {"accuracy": {"calibration": {"wish": {"rate": 1.0}, "expected": expected}}}}
    assert report.near_costs(Results.of(results)) == [(0.2, 0.45, 4.0), (0.1, 1.0, 4.0)]
    assert report.near_costs(Results.of(example())) == []


@pytest.mark.parametrize(
    ("became", "missed", "words"),
    [
        (1.0, 20.0, None),
        (16.0, 150.0, "at the wanted 1 75% of the words would be missed"),
        (8.0, None, "no thresholds"),
    ],
)
def test_a_detector_for_another_rate_than_the_wanted_says_so(
    became: float, missed: float | None, words: str | None
) -> None:
    expected = {"said": 200, "errors": 90.0, "errors_at_wish": missed, "false_accepts_per_hour": became}
    calibration = {"wish": {"rate": 1.0}, "expected": expected}
    found = report.relaxed(Results.of(example() | {"model": {"accuracy": {"calibration": calibration}}}))
    assert (found is None) if words is None else (found is not None and words in found and f"for {became:g} " in found)
    assert report.relaxed(Results.of(example())) is None
    del expected["said"]  # of a version that did not keep it
    assert report.relaxed(Results.of(example() | {"model": {"accuracy": {"calibration": calibration}}})) is None
