"""What is started under guard ends with who started it, in whatever session it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_pipeline.native import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="by Linux's prctl")
# A sleeper in a session of its own, whose parent has ended.
SLEEPER = (
    "import os, subprocess; p = subprocess.Popen(['sleep', '600'], start_new_session=True); print(p.pid, flush=True)"
)
STAYS = f"{SLEEPER}; import time; time.sleep(600)"


def _gone(pid: int) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("end", ["command", "terminated", "starter killed"])
def test_all_that_came_of_it_ends(end: str) -> None:
    guard = [
        sys.executable,
        "-m",
        "tests.support.guarded",
        sys.executable,
        "-c",
        SLEEPER if end == "command" else STAYS,
    ]
    starter = [sys.executable, "-c", f"import subprocess; subprocess.run({guard!r})"]
    process = subprocess.Popen(
        starter if end == "starter killed" else guard, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout
    sleeper = int(process.stdout.readline())
    if end == "terminated":
        process.terminate()
    if end == "starter killed":
        os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert _gone(sleeper)


@pytest.mark.parametrize("command, code", [(SLEEPER, 142), ("import sys; sys.exit(3)", 3)])
def test_what_still_runs_after_the_commands_end_is_a_fault(command: str, code: int) -> None:
    guard = [sys.executable, "-m", "tests.support.guarded", "--alone", "0.5", sys.executable, "-c", command]
    done = subprocess.run(guard, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == code
    assert ("sleep 600" in done.stderr) == (code == 142)
    if code == 142:
        assert _gone(int(done.stdout))
