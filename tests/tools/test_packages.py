"""Hints that name the right pip: of the environment that runs, wherever that is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model_pipeline import packages
from model_pipeline.native import ROOT
from model_pipeline.packages import pip_install


def test_a_checkouts_hint_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    assert pip_install("pyocd") == ".venv/bin/python -m pip install pyocd"
    assert pip_install(extra="mic") == ".venv/bin/python -m pip install -e '.[mic]'"


def test_elsewhere_paths_are_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/opt/with space/bin/python")
    assert pip_install("pyocd") == "'/opt/with space/bin/python' -m pip install pyocd"
    assert pip_install(extra="mic").endswith(f"-e '{ROOT}[mic]'")


def test_installed_without_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CHECKOUT", False)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert pip_install(extra="train") == "/usr/bin/python3 -m pip install 'micro-kws[train]'"
    monkeypatch.setattr(sys, "prefix", "/home/anna/.local/share/pipx/venvs/micro-kws")
    assert pip_install(extra="train") == "pipx install --force 'micro-kws[train]'"
    assert pip_install("pyocd") == "pipx inject micro-kws pyocd"
