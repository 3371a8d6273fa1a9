"""What `pip install micro-kws` gives: a wheel that works in an empty folder, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_pipeline.native import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the sdist, as a release is, so that a file missing there is missing here."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is this environment's, which holds no other copy of it
    there (a path in a .pth file does not bring that folder's own .pth files)."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return folder / "bin" / "python"


def _kws(python: Path, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(where / "home"), "XDG_CACHE_HOME": str(where / "cache")}
    command = [str(python), "-P", "-c", "from host_tools.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=where, env=environ, capture_output=True, text=True, check=False)


def test_it_holds_what_a_checkout_has(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("not a git checkout: there is no list of its files")
    missing = [
        f for f in files if f.startswith(("firmware/", "boards/")) and f"model_pipeline/project/{f}" not in names
    ]
    missing += [f for f in files if f.startswith(("host_tools/", "model_pipeline/")) and f not in names]
    assert [name for name in missing if not name.endswith((".gitignore", "setup.sh"))] == []
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_it_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    version = _kws(installed, tmp_path, "version", "--json")
    assert version.returncode == 0, version.stderr
    facts = json.loads(version.stdout)
    assert Path(facts["firmware"]).parts[-3:] == ("model_pipeline", "project", "firmware")
    assert str(ROOT) not in facts["firmware"]
    built = _kws(installed, tmp_path, "build", "--board", "host", "--json")
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "build" / "host" / "firmware.elf").is_file(), "in the current folder"
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.01, 3 * 16000), 16000)
    heard = _kws(installed, tmp_path, "stream", "--board", "host", "--wav", "a.wav", "--json")
    assert heard.returncode == 0, heard.stderr
    assert (
        json.loads(heard.stdout.splitlines()[-1] if heard.stdout.startswith('{"') else heard.stdout)["link"]["lost"]
        == 0
    )
    made = _kws(installed, tmp_path, "new", "hey_robot")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "hey_robot" / "kws.toml").is_file()
    model = next(path for path in facts["models"] if path.endswith("/model"))
    compiled = _kws(installed, tmp_path, "compile", f"{model}/model.tflite", "--out", "plan")
    assert compiled.returncode == 0, compiled.stderr
    assert (tmp_path / "plan" / "model_aot.c").is_file()


@pytest.mark.qemu
def test_it_builds_for_a_board_and_says_how_it_would_be_flashed(installed: Path, tmp_path: Path) -> None:
    built = _kws(installed, tmp_path, "build", "--board", "disco_f407vg")
    assert built.returncode == 0, built.stderr
    elf = tmp_path / "build" / "disco_f407vg" / "firmware.elf"
    flashed = _kws(installed, tmp_path, "flash", "--board", "disco_f407vg", "--elf", str(elf), "--dry-run")
    assert flashed.returncode == 0, flashed.stderr
