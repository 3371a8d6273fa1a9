"""Verbs on a terminal of 80 and of 60 columns: nothing is cut, nothing sticks out, and it stays as it was agreed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.listening_models import model_folder, sliding_net
from tests.support.terminal import same_as_snapshot, shown
from tests.support.tiny_data import make
from tests.tools.test_report import example

VERBS = {
    "boards": ["boards"],
    "data-info": ["data", "info", "data"],
    "evaluate-clips": ["evaluate", "clips", "model", "--data", "data", "--engine", "aot"],
    "evaluate-stream": ["evaluate", "stream", "model", "--data", "data"],
    "report": ["report", "run"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a model and a run, always the same."""
    root = tmp_path_factory.mktemp("terminal")
    model_folder(root / "model", sliding_net(1, 4), ["rise", "fall", "unknown", "silence"])
    make(root / "data", speakers=20)
    (root / "run").mkdir()
    (root / "run" / "results.json").write_text(json.dumps(example()))
    return root


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_at_this_width(verb: str, columns: int, place: Path) -> None:
    text = shown(VERBS[verb], columns, cwd=place)
    tables = [line for line in text.split("\n") if "  " in line.strip() or "│" in line]
    assert all(len(line) <= columns for line in tables)
    assert "…" not in text
    if verb != "evaluate-stream":  # how noise is mixed may differ in a last bit from computer to computer
        same_as_snapshot(f"{verb}-{columns}", text)
