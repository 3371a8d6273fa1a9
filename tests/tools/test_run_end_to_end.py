"""The whole loop once: words to speech, to a model, to firmware in QEMU, streamed to and measured; then again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host_tools.report import card
from host_tools.run.job import steps
from host_tools.run.steps import Run, write_config
from host_tools.words import project
from model_pipeline.config import DataConfig, load_config, with_settings
from model_pipeline.data.audio import write_wav
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import word_span
from model_pipeline.errors import KwsError
from model_pipeline.evaluate import evaluate
from model_pipeline.manifest import load_manifest
from model_pipeline.native import ROOT

CONFIG = """
name = "demo"
keywords = ["yes", "stop"]
[synth]
clips_per_keyword = 24
unknown_clips = 24
engines = ["espeak-ng"]
[train]
epochs = 2
architecture = "tcn"
shape = {front = 8, body = 32, blocks = 1, kernel = 3}
[quantize]
method = "ptq"
[measure]
clips = 5
near_takes = 1
session_keywords = 4
"""


def _command(folder: Path, epochs: int, *arguments: str) -> list[str]:
    (folder / "loop.toml").write_text(CONFIG.replace("epochs = 2", f"epochs = {epochs}"))
    return [sys.executable, "-m", "host_tools.cli", "run", "--config", "loop.toml", "--json", *arguments]


def _run(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        _command(folder, 2, *arguments), cwd=folder, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _follow_the_readme(folder: Path) -> None:
    """Pastes README's "Step by step" into a shell, in a folder whose runs/demo is a small one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Step by step")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2 and blocks[0].count("\nkws ") >= 8
    environment = folder / ".venv" / "bin"
    environment.mkdir(parents=True)
    # `. .venv/bin/activate` finds the kws that is tested.
    (environment / "activate").write_text('PATH="$PWD/.venv/bin:$PATH"\n')
    (environment / "kws").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m host_tools.cli "$@"\n')
    (environment / "kws").chmod(0o755)
    first = next((folder / "runs" / "demo" / "data" / "yes").glob("*.wav"))
    shutil.copy(first, folder / "recording.wav")
    script = "set -e\n" + blocks[0] + blocks[1]
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for said in ("clips", "flash", "openocd", "10 clips", "instructions", "report.html"):
        assert said in done.stdout + done.stderr, said
    assert (folder / "build" / "demo" / "firmware.elf").is_file()


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng not in PATH: run `make setup`")
def test_the_main_job_then_again_then_more_then_stopped(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    result = _run(tmp_path)
    run = tmp_path / "runs" / "demo"
    results = json.loads((run / "results.json").read_text())
    assert "</html>" in (run / "report.html").read_text()
    assert [o["reused"] for o in result["outcomes"]] == [False] * 9
    assert results["labels"] == ["yes", "stop", "unknown", "silence"]
    assert results["accuracy"]["total"] == len(results["clips"]) == 5
    assert results["agreement"] == {"compared": 5, "equal": 5, "differ": []}
    assert results["link"]["lost"] == results["link"]["repeated"] == 0
    assert results["ticks"]["name"] == "instructions"
    assert results["cost"]["inference"]["mean"] > results["device"]["macs"]
    assert results["cost"]["frontend_frame"]["count"] == 5
    assert results["cost"]["detector"]["count"] > 0
    assert results["response_ms"]["streaming"]["count"] > 0
    assert 0 < results["build"]["flash_total"] < results["build"]["flash_budget"]
    assert 0 < results["build"]["ram_total"] <= results["build"]["ram_budget"]

    near = results["expect"]["near"]
    assert [row["word"] for row in near["keywords"]] == ["yes", "stop"] and len(near["near"]) > 20
    streaming = results["expect"]["streaming"]
    assert streaming["sessions"]["10"]["keywords"] == 4 and streaming["noise"]["false_accepts"]["hours"] > 0.1
    costs = {row["board"]: row for row in results["expect"]["boards"]}
    assert costs["disco_f407vg"]["memory"]["flash"] == results["build"]["flash_total"]
    assert costs["nucleo_l4r5zi"]["realtime"]["load"] > costs["disco_f407vg"]["realtime"]["load"] > 0

    text = card.card(run)
    assert "# Model card: demo" in text and "| stop |" in text
    assert f"| nucleo_l4r5zi | {100 * costs['nucleo_l4r5zi']['realtime']['load']:.1f} % of 120 MHz |" in text
    assert "| 10 dB | 4 |" in text

    _follow_the_readme(tmp_path)

    again = _run(tmp_path)
    assert [o["reused"] for o in again["outcomes"]] == [True] * 9

    # More clips to stream: the model and the firmware stay as they are.
    more = _run(tmp_path, "--clips", "6")
    assert [o["name"] for o in more["outcomes"] if not o["reused"]] == ["measure", "report"]

    # A longer training, stopped by Ctrl-C: what is finished stays, what was begun is known, nothing half is left.
    log = run / "train" / "log.csv"
    log.unlink()
    process = subprocess.Popen(
        _command(tmp_path, 500), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 180
    while not log.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert err.strip().endswith("stopped")
    state = json.loads((run / "state.json").read_text())
    assert "train" not in state["steps"] and "synth" in state["steps"]
    assert list(state["begun"]) == ["train"]
    assert not [p.name for p in run.rglob("*") if p.name.startswith(".") and ".part" in p.name]


def test_a_project_in_german_runs_from_words_to_a_checked_model(tmp_path: Path) -> None:
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    project.create(["licht_an", "halt"], tmp_path / "mein", said=project.Said("de"))
    # Much less of everything; the teacher and the base stay where they are installed.
    less = [
        *("synth.clips_per_keyword=12", "synth.unknown_clips=30", "talk.sentences=12", "scenes.examples=500"),
        *("train.epochs=1", "measure.session_keywords=4"),
    ]
    config, folder = with_settings(load_config(tmp_path / "mein"), less), tmp_path / "run"
    with Run(folder) as run:
        write_config(config, folder / "config.toml")
        todo = steps(config, folder, clips=4, done=[])
        run.execute(todo[: [step.name for step in todo].index("check") + 1])
    assert load_manifest(folder / "model").labels == ["licht_an", "halt", "unknown", "silence"]
    made = json.loads((folder / "data" / "dataset.json").read_text())
    assert made["settings"]["language"] == "de" and set(made["engines"]) == {"espeak-ng"}
    spoken = {path.name.split("_nohash_")[0] for path in (folder / "data" / "halt").glob("*.wav")}
    assert spoken and all(speaker.startswith("espeak-de-") for speaker in spoken)
    assert (folder / "check" / "check.json").is_file()


@pytest.mark.slow
@pytest.mark.qemu
def test_a_phrase_of_more_than_a_second_runs_from_words_to_firmware(tmp_path: Path) -> None:
    """All that a run is made of keeps to the window that fits the phrase."""
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    pytest.importorskip("tflite_micro")
    made = project.create(["okay_computer", "stop"], tmp_path / "phrase")
    assert made.clip_ms == 1500
    take = tmp_path / "phrase" / "recordings" / "okay_computer" / "0badcafe_nohash_0.wav"
    write_wav(take, np.round(np.random.default_rng(1).normal(0, 900, 24000)).astype(np.int16))
    # The detector by hand: what listens to streams knows the window from the manifest alone.
    less = [
        *("synth.clips_per_keyword=24", "synth.unknown_clips=40", "talk.sentences=6", "scenes.examples=300"),
        *('synth.engines=["espeak-ng"]', "train.epochs=1", "detector.rate=0", "detector.look=0"),
    ]
    config, folder = with_settings(load_config(tmp_path / "phrase"), less), tmp_path / "run"
    with Run(folder) as run:
        write_config(config, folder / "config.toml")
        todo = steps(config, folder, clips=4, done=[])
        run.execute([step for step in todo if step.name not in ("check", "expect", "report")])
    described = json.loads((folder / "data" / "dataset.json").read_text())
    assert described["clip_ms"] == 1500 and described["recordings"]["clips"] != {}
    clips = Dataset.open(folder / "data", config.keywords).audio(
        [clip for clip in Dataset.open(folder / "data", config.keywords).speech if clip.word == "okay_computer"]
    )
    longest = max(last - first for first, last in map(word_span, clips))
    assert clips.shape[1] == 24000 and longest > 16000  # said as it is, not faster until it fits into a second
    with pytest.raises(KwsError, match="are 1500 ms long, and the network's window is 1000 ms"):
        Dataset.open(folder / "data", config.keywords, DataConfig())
    manifest = load_manifest(folder / "model")
    assert (manifest.clip_ms, manifest.window_frames) == (1500, 74)
    assert "#define KWS_WINDOW_FRAMES 74\n" in (folder / "firmware_model" / "model_config.h").read_text()
    results = json.loads((folder / "measure" / "measure.json").read_text())
    # The emulated board's answers are the host's, value by value, and the host's C is TensorFlow Lite Micro's.
    assert results["agreement"] == {"compared": 4, "equal": 4, "differ": []}
    tflm, aot = (evaluate(folder / "model", folder / "data", "testing", engine) for engine in ("tflm", "aot"))
    assert tflm.clips == aot.clips and tflm.count > 8 and tflm.model == manifest.model_hash
