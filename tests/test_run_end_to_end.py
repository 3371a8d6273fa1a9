"""The whole loop once: words to speech, to a model, to firmware in QEMU, streamed to and measured; then again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
name = "loop"
keywords = ["yes", "stop"]
[synth]
clips_per_keyword = 30
unknown_clips = 40
engines = ["espeak-ng"]
[train]
epochs = 2
quantization = "ptq"
[measure]
clips = 8
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng not in PATH: run `make setup`"),
]


def _kws(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("tflite_micro")
    (folder / "loop.toml").write_text(CONFIG)
    return subprocess.run(
        [sys.executable, "-m", "host_tools.cli", "run", "--config", "loop.toml", "--json", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.qemu
def test_the_main_job_then_again_then_with_another_word(tmp_path: Path) -> None:
    first = _kws(tmp_path)
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    run = tmp_path / "runs" / "loop"
    results = json.loads((run / "results.json").read_text())
    assert "</html>" in (run / "report.html").read_text()
    assert [o["reused"] for o in result["outcomes"]] == [False] * 8
    assert results["labels"] == ["yes", "stop", "unknown", "silence"]
    assert results["accuracy"]["total"] == len(results["clips"]) == 8
    assert results["agreement"] == {"compared": 8, "equal": 8, "differ": []}
    assert results["link"]["lost"] == results["link"]["repeated"] == 0
    assert results["ticks"]["name"] == "instructions"
    assert results["cost"]["inference"]["mean"] > results["device"]["macs"]
    assert results["cost"]["frontend_frame"]["count"] == 8
    assert results["response_ms"]["streaming"]["count"] > 0
    assert 0 < results["build"]["flash_total"] < results["build"]["flash_budget"]
    assert 0 < results["build"]["ram_total"] <= results["build"]["ram_budget"]

    again = _kws(tmp_path)
    assert again.returncode == 0, again.stderr
    assert [o["reused"] for o in json.loads(again.stdout)["outcomes"]] == [True] * 8

    # More clips to stream: the model and the firmware stay as they are.
    more = _kws(tmp_path, "--clips", "9")
    assert more.returncode == 0, more.stderr
    redone = [o["name"] for o in json.loads(more.stdout)["outcomes"] if not o["reused"]]
    assert redone == ["measure", "report"]


def test_ctrl_c_in_training_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "loop.toml").write_text(CONFIG.replace("epochs = 2", "epochs = 500"))
    process = subprocess.Popen(
        [sys.executable, "-m", "host_tools.cli", "run", "--config", "loop.toml", "--board", "host"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    state = tmp_path / "runs" / "loop" / "state.json"
    deadline = time.monotonic() + 180
    while not (tmp_path / "runs" / "loop" / "train" / "log.csv").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().endswith("stopped")
    left = json.loads(state.read_text())
    assert list(left["steps"]) == ["synth"]
    assert list(left["begun"]) == ["train"]
    assert not [p.name for p in (tmp_path / "runs" / "loop").iterdir() if p.suffix in (".part", ".old")]
    # No child is left behind.
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if children.exists():
        assert str(process.pid) not in children.read_text().split()
