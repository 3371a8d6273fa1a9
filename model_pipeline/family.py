"""Runs a command with all that it starts itself, and ends them all where it is ended by SIGTERM.

    python family.py COMMAND …

A build tool starts another one, and that a compiler; who ends the first leaves the others at work. What descriptors
this process was given (a lock) stay open until the last of them has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

_LONGEST_S = 10.0  # until killed processes are gone
_SUBREAPER = 36  # prctl(2), PR_SET_CHILD_SUBREAPER: those whose parent has ended become ours (Linux)


def main(command: list[str]) -> int:
    """The exit code of ``command``; 128 and the signal's number where it or we were ended by one."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait()
    except SystemExit:
        _kill_all(process.pid)
        raise
    return code if code >= 0 else 128 - code


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _kill_all(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    until = time.monotonic() + _LONGEST_S
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < until:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
