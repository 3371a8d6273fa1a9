"""What a killed kws leaves at work: nothing in a folder that the next one takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_pipeline.errors import KwsError
from model_pipeline.files import held
from model_pipeline.native import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="orphans are found by Linux's prctl")
# A tool that starts another one, which is deaf, in its own way, and writes into the folder all the time.
_DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
while True:
    with open(sys.argv[1], "a") as stream: stream.write("x")
    time.sleep(0.005)
"""
_TOOL = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_DEAF!r}, sys.argv[1]])"
_KWS = f"""
import os, sys
from pathlib import Path
from model_pipeline.child import start_family
from model_pipeline.files import held
with held(Path(sys.argv[1])) as lock:
    process = start_family([sys.executable, "-c", {_TOOL!r}, sys.argv[1] + "/written"], lock, dict(os.environ))
    print(process.pid, flush=True)
    if sys.argv[2] == "terminate":
        sys.stdin.readline()
        process.terminate()
        process.wait()
        print("terminated", flush=True)
        sys.stdin.readline()
    process.wait()
"""


def _until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def _start(folder: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _KWS, str(folder), how]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip().isdigit()
    _until((folder / "written").exists)
    return process


def _grows(path: Path) -> bool:
    size = path.stat().st_size
    time.sleep(0.1)
    return path.stat().st_size > size


@linux
def test_a_folder_is_free_when_all_that_a_killed_kws_started_has_ended(tmp_path: Path) -> None:
    process = _start(tmp_path, "kill")
    assert _grows(tmp_path / "written")
    process.kill()
    process.communicate()
    with held(tmp_path):
        assert not _grows(tmp_path / "written")


@linux
def test_what_is_terminated_takes_its_children_along(tmp_path: Path) -> None:
    process = _start(tmp_path, "terminate")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "terminated\n"
    assert not _grows(tmp_path / "written")
    process.communicate("\n")


@linux
@pytest.mark.parametrize(("code", "expected"), [("3", 3), ("'text'", 1), ("0", 0)])
def test_the_exit_code_is_the_commands(code: str, expected: int) -> None:
    family = ROOT / "model_pipeline" / "family.py"
    command = [sys.executable, str(family), sys.executable, "-c", f"import sys; sys.exit({code})"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == expected


@linux
def test_a_command_that_a_signal_ends_is_told_by_the_code() -> None:
    family = ROOT / "model_pipeline" / "family.py"
    command = [sys.executable, str(family), sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert subprocess.run(command, check=False).returncode == 128 + signal.SIGKILL


def test_a_folder_is_held_by_one_at_a_time_and_waited_for(tmp_path: Path) -> None:
    said: list[str] = []

    def progress(done: int, total: int, text: str) -> None:
        said.append(text)
        os.close(first)  # the other one ends

    first = os.open(tmp_path, os.O_RDONLY)
    import fcntl

    fcntl.flock(first, fcntl.LOCK_EX)
    with held(tmp_path, progress):
        assert said == [f"waiting for another kws in {tmp_path}"]
        with pytest.raises(KwsError, match="another kws works in"), held(tmp_path, patience=0.1):
            pass
    with held(tmp_path, patience=0):
        pass
    assert not list(tmp_path.iterdir()), "nothing is left in it"


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="can't write"), held(tmp_path / "none"):
        pass
