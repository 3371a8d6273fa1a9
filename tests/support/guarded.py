"""Runs a command, and ends all that came of it, in whatever session or group, when the command ends, at SIGTERM, or
when who started this ends, even by SIGKILL. Linux.

    python -m tests.support.guarded COMMAND …
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

_DEATH_SIGNAL, _SUBREAPER = 1, 36  # prctl(2); with the second, those whose parent has ended become ours


def below(root: int) -> list[int]:
    """The processes that come of ``root``, itself left out."""
    parents = dict[int, int]()
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
    found, new = list[int](), [root]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def main(command: list[str]) -> int:
    """The command's exit code; 143 where it was ended."""
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.getppid() != parent:  # who started this has ended meanwhile
        return 143
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while left := below(os.getpid()):
            for child in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, 0)[0]:
                    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
