"""Small samples of ``make fuzz``: damaged files and devices through the command line, and a run that is killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from host_tools.link import stream
from model_pipeline.native import ROOT
from tests.fuzz import kill_targets, kills, lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in Linux's /proc")


@pytest.mark.parametrize("kind", lines.KINDS)
def test_a_damaged_file_or_device_ends_a_command_with_a_code_and_a_line(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ANSWER_S", 4.0)  # what is forked has it too: a device that is mute is given a minute
    for number in range(2):
        assert lines.attempt(kind, f"sample {number}")[1] == ""


def test_what_would_be_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(words: list[str]) -> None:
        raise ValueError("not one of ours")

    monkeypatch.setattr(lines.cli, "main", fails)
    code, wrong = lines.attempt("results", "sample")
    assert code == 99 and "Traceback" in wrong


def test_a_run_that_is_killed_again_and_again_comes_out_right() -> None:
    with kill_targets.target("steps") as target:
        outcome = kills.kills(target, 6)
    assert outcome.killed == 6 and outcome.ended > 0
    assert outcome.wrong == []


def test_kills_of_a_training_step_have_what_they_need() -> None:
    """By a process of its own: TensorFlow is imported there, and what is killed is forked from it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.kills", "quantize", "--kills", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0 wrong" in done.stdout + done.stderr
