"""Model cards: what was recorded is in them, what was not is said to be missing; and what is recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host_tools.boards import load_board
from host_tools.measure import boards as costs
from host_tools.report import card
from model_pipeline import evaluate as evaluation
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.errors import MissingTool
from model_pipeline.intervals import wilson
from model_pipeline.manifest import load_manifest, record_accuracy
from model_pipeline.progress import ProgressCallback
from model_pipeline.score import by_speaker
from tests.support.listening_models import model_folder, sliding_net
from tests.support.tiny_data import make
from tests.tools.test_cli import kws

LABELS = ["rise", "fall", "unknown", "silence"]
BOARDS: list[dict[str, Any]] = [
    {
        "board": "big",
        "name": "Big",
        "realtime": {
            "load": 0.125,
            "core_hz": 168_000_000,
            "keeps_up": True,
            "inference_instructions": 1_234_567,
            "inference_ms": 10.25,
            "instructions_per_hop": 300_000,
            "cycles_per_instruction": 1.4,
            "note": "instructions measured in QEMU",
        },
        "memory": {"flash": 100_001, "flash_budget": 1, "ram": 40_002, "ram_budget": 1, "stack": 8},
        "why_not": "",
    },
    {"board": "none", "name": "None", "realtime": None, "memory": None, "why_not": "no compiler"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("card") / "model", sliding_net(1, 4), LABELS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data") / "tones")


def test_nothing_measured_is_said_so_everywhere(model: Path) -> None:
    text = card.render(load_manifest(model), [])
    assert text.count("Not measured") == 9
    for command in ("--snr 0", "--gain -20", "--near --record", "--streaming --negative"):
        assert command in text
    assert "%" not in text.replace("95 %", "")  # and no figure is made up


def test_what_is_recorded_is_in_the_card(model: Path, data: Path) -> None:
    result = evaluation.evaluate(model, data, "testing", "aot", snr_db=(20.0, 0.0), gain_db=(-20.0, 6.0), record=True)
    record_accuracy(model, "near", _near(load_manifest(model).detector.model_dump()))
    manifest = load_manifest(model)
    recorded = manifest.accuracy["testing"]
    assert recorded["words"]["rise"]["clips"] == 8 and recorded["correct"] == result.correct
    assert set(manifest.accuracy["noise"]["snr_db"]) == {"20", "0"}
    assert set(manifest.accuracy["level"]["gain_db"]) == {"-20", "6"}
    text = card.render(manifest, BOARDS)
    share = f"{100 * result.correct / result.count:.1f} %"
    assert f"**{share}** of {result.count} testing clips" in text
    low, high = wilson(recorded["words"]["rise"]["correct"], 8)
    assert f"| 8 | {100 * low:.1f} to {100 * high:.1f} % |" in text
    assert all(f"| {db} dB |" in text for db in (20, 0, -20, 6))
    assert "| bright \\| light | 3 of 4 | rise 2, fall 1 |" in text and "1 of 2 near words never fired" in text
    assert "| big | 12.5 % of 168 MHz | 1,234,567 instructions, 10.2 ms | 300,000 | 100,001 B | 40,002 B |" in text
    assert "| none | not measured | not measured | not measured | not built here | not built here |" in text
    assert "other detector settings" not in text and "an hour** (95" not in text
    for line in text.splitlines():  # tables are whole: as many cells as in their heads
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| ") and not line.startswith("| ---"):
            assert line.replace("\\|", "").count("|") >= 3
    assert width
    changed = manifest.model_copy(update={"detector": manifest.detector.model_copy(update={"min_count": 7})})
    assert "figures of `near` were recorded with other detector settings" in card.render(changed, BOARDS)


def test_a_rate_on_other_speech_stands_before_that_on_the_corpus_of_training(model: Path) -> None:
    manifest = load_manifest(model)
    other = {
        "what": "other speech",
        "hours": 3.0,
        "false_accepts": 59,
        "per_hour": 19.667,
        "interval95": [14.97, 25.37],
    }
    speech = {"hours": 0.81, "false_accepts": 0, "per_hour": 0.0, "interval95": [0.0, 4.553]}
    scenes = {"examples": 9, "connected_speech": "data/drink_orders"}
    figures = {"other_speech": other, "streaming": {"speech": speech}}
    text = card.render(
        manifest.model_copy(update={"accuracy": figures, "training_data": {"scenes": scenes}}),
        [],
    )
    first = text.index("**19.7 false accepts an hour** (95 %: 15.0 to 25.4) on 3.0 h of other speech.")
    warning = text.index("also take connected speech (drink_orders in training)")
    assert first < warning < text.index("| 0.81 | 0.00 | 0.00 to 4.55 |")


def test_what_examples_were_made_of_is_in_the_card_with_its_licence(model: Path) -> None:
    manifest = load_manifest(model)
    teacher = {"source": "a large network (BSD)", "validation_accuracy": 0.965}
    scenes = {"examples": 5000, "connected_speech": "../talk", "connected_licence": "CC0", "teacher": teacher}

    def text(**changes: Any) -> str:
        return card.render(manifest.model_copy(update={"training_data": {"scenes": scenes | changes}}), [])

    assert "from 5,000 examples" in text() and "talk (licence: CC0)" in text()
    assert "a large network (BSD), right on 96.5 % of the validation clips" in text()
    del scenes["connected_licence"]  # manifests of before
    assert "talk (licence: not recorded)" in text()
    assert "onnected speech without keywords is" not in text(connected_speech="")
    assert "the teacher" not in text(teacher={})


def _near(detector: dict[str, Any]) -> dict[str, Any]:
    def row(word: str, fired: int, heard: dict[str, int]) -> dict[str, Any]:
        return {"word": word, "takes": 4, "fired": {"count": fired, "total": 4}, "as": heard}

    keyword = {**row("rise", 4, {"rise": 4}), "right": {"count": 4, "total": 4}}
    return {
        "detector": detector,
        "takes": 4,
        "fired": {"count": 3, "total": 8},
        "keywords": [keyword],
        "near": [row("bright | light", 3, {"rise": 2, "fall": 1}), row("cat", 0, {})],
        "same_sound": {},
    }


def test_speakers_are_compared(data: Path) -> None:
    clips = [Clip("a/x", 0, "a", speaker, "testing") for speaker in ("one", "flite-awb", "two") for _ in range(10)]
    clips += [Clip("a/x", 0, "a", "seldom", "testing"), Clip("n", 3, "silence", "noise", "testing", noise=0)]
    right = np.array([True] * 10 + [True] * 5 + [False] * 5 + [False] * 9 + [True] + [False, False])
    found = by_speaker(clips, right)
    assert (found.count, found.several) == (4, 3)
    assert found.median == 0.5 and (found.worst_tenth.correct, found.worst_tenth.clips) == (1, 10)
    assert {name: (g.correct, g.clips) for name, g in found.groups.items()} == {"flite": (5, 10), "people": (11, 21)}
    assert by_speaker([], np.zeros(0, bool)).several == 0


@pytest.mark.parametrize("snr", [-5.0, 0.0, 12.0])
def test_noise_is_added_at_the_snr(snr: float) -> None:
    rng = np.random.default_rng(1)
    clips = (rng.standard_normal((4, 16000)) * [[300], [1000], [2000], [0]]).astype(np.int16)
    noises = [(500 * rng.standard_normal(n)).astype(np.int16) for n in (16000, 50000)]
    noisy = evaluation.add_noise(clips, noises, snr, np.random.default_rng(2))
    added = noisy.astype(float) - clips
    for clip, more in zip(clips[:3].astype(float), added[:3], strict=True):
        assert 10 * np.log10(np.mean(clip**2) / np.mean(more**2)) == pytest.approx(snr, abs=0.1)
    assert np.abs(added[3]).max() < 20  # digital zero stays as good as silent
    assert np.array_equal(noisy, evaluation.add_noise(clips, noises, snr, np.random.default_rng(2)))


def test_clips_are_as_much_louder_and_clipped_like_a_recording() -> None:
    clips = np.array([[100, -1000, 32767, -32768]], np.int16)
    np.testing.assert_array_equal(evaluation.amplify(clips, 0.0), clips)
    np.testing.assert_array_equal(evaluation.amplify(clips, -20.0), [[10, -100, 3277, -3277]])
    np.testing.assert_array_equal(evaluation.amplify(clips, 20.0), [[1000, -10000, 32767, -32768]])


def test_boards_that_cannot_be_built_say_why(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingTool("arm-none-eabi-gcc is not installed")

    monkeypatch.setattr(costs, "build", missing)
    monkeypatch.setattr(costs.realtime, "check", missing)
    rows = costs.on_boards(model)
    assert {"disco_f407vg", "nano33ble"} <= {row.board for row in rows} and "host" not in {r.board for r in rows}
    assert all(r.memory is r.realtime is None and "not installed" in r.why_not for r in rows)


def test_ctrl_c_ends_the_builds_that_are_running(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def build(board: str, *_: object, progress: ProgressCallback, **__: object) -> None:
        if board != last:
            raise MissingTool("nothing to wait for")
        try:
            for _ in range(3000):
                time.sleep(0.01)
                progress(0, 1, "a file")
        except KeyboardInterrupt:
            ended.append(board)
            raise

    def report(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    last = [b for b in costs.board_ids() if load_board(b).kws.clock][2]
    monkeypatch.setattr(costs, "build", build)
    monkeypatch.setattr(costs.realtime, "check", lambda *_, **__: None)
    monkeypatch.setattr(costs.os, "cpu_count", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        costs.on_boards(model, progress=report)
    assert ended == [last]


def test_the_verb_writes_the_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(costs, "on_boards", lambda *_, **__: BOARDS)
    (tmp_path / "model").mkdir()
    for file in ("model.tflite", "model.json"):
        (tmp_path / "model" / file).write_bytes((model / file).read_bytes())
    (tmp_path / "model" / "plan.json").touch()
    code, out, _ = kws("report", "--card", str(tmp_path / "model"), "--out", str(tmp_path / "c.md"), capfd=capfd)
    assert code == 0 and "c.md" in out
    text = (tmp_path / "c.md").read_text()
    assert text.startswith("---\nlicense: ") and "\n---\n# Model card: random\n" in text
    # Without --out it goes to stdout, and nothing is written beside the model.
    before = sorted((tmp_path / "model").iterdir())
    code, out, _ = kws("report", "--card", str(tmp_path / "model"), capfd=capfd)
    assert code == 0 and out == text and sorted((tmp_path / "model").iterdir()) == before
    code, _, err = kws("report", "--card", str(tmp_path), capfd=capfd)
    assert code == 2 and "no model manifest" in err


def test_near_words_need_no_data_and_clips_do(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = kws("evaluate", str(model), capfd=capfd)
    assert code == 2 and "--data" in err
    code, _, err = kws("evaluate", str(model), "--word", "cat", "--data", "x", capfd=capfd)
    assert code == 2 and "--word goes with kws evaluate near" in err


def test_evaluation_clips_keep_their_speakers(data: Path) -> None:
    assert len({c.speaker for c in Dataset.open(data, ["rise", "fall"]).evaluation("testing") if c.noise < 0}) == 8
