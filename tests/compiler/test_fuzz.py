"""A sample of ``make fuzz``, and that a refused model leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model_pipeline.compiler import emit
from model_pipeline.native import ROOT
from tests.fuzz.check import attempt, case, run, worth_running
from tests.fuzz.mutate import seeds

CASES = 1200
SEED = 7  # not that of `make fuzz`


@pytest.fixture(scope="module")
def bases() -> list[bytes]:
    return seeds(2)


def test_the_seeds_compile(bases):
    programs = [attempt(data, 0) for data in bases]
    assert all(programs) and len(programs) > 30


@pytest.mark.parametrize("part", range(3))
def test_damaged_models_are_refused_in_one_line_or_run_clean(bases, part):
    survivors = {}
    for number in range(part * CASES // 3, (part + 1) * CASES // 3):
        program = attempt(case(bases, number, SEED), number)
        if program is not None and worth_running(program):
            survivors.setdefault(emit(program)["model_aot.c"], program)
    assert survivors  # or nothing was tried but the reader
    run(list(survivors.values())[:6])


def test_mutations_repeat_and_differ(bases):
    made = [case(bases, number, 1) for number in range(60)]
    assert made == [case(bases, number, 1) for number in range(60)]
    assert len(set(made)) > 50


def test_a_refused_model_leaves_no_code(tmp_path: Path, bases):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(bases[0][: len(bases[0]) // 2])
    command = [sys.executable, "-m", "host_tools.cli", "compile", str(broken), "--out", str(tmp_path / "plan")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["broken.tflite"]
