"""The labs in notebooks/: no result is kept in them, and their code runs as it stands, in a quick form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_pipeline.native import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TOLD = {
    "compression": "distilled-50-ptq   size",
    "multi_gpu": "2 of 2 replicas",
    "federated": "in round 1 these are asked",
}


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_three() -> None:
    assert {path.stem for path in NOTEBOOKS} == TOLD.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_result_is_kept(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    text = cells(path)[0]["source"]
    assert text[0].startswith("# Lab")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the labs run, one after the other: the speech is made once."""
    return tmp_path_factory.mktemp("labs")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng says the labs' words")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lab_runs(path: Path, place: Path) -> None:
    code = "\n\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")
    environment = {**os.environ, "KWS_LAB_QUICK": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert TOLD[path.stem] in done.stdout
