"""Runs a command, and ends all that came of it, in whatever session or group, when the command ends, at SIGTERM, or
when who started this ends, even by SIGKILL. Linux.

    python -m tests.support.guarded [--alone SECONDS] COMMAND …

With ``--alone`` it is a fault, exit code 142, if something that came of the command still runs so long after its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
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


def _alone(seconds: float) -> bool:
    """Whether all that came of this process ends within ``seconds``."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not (left := below(os.getpid())):
            return True
        if time.monotonic() > until:
            for pid in left:
                with contextlib.suppress(OSError):
                    said = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    print(f"still running: {pid} {said[:200]}", file=sys.stderr)
            return False
        time.sleep(0.1)


def main(command: list[str]) -> int:
    """The command's exit code; 143 where it was ended."""
    alone = None
    if command[0] == "--alone":
        alone, command = float(command[1]), command[2:]
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.getppid() != parent:  # who started this has ended meanwhile
        return 143
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait()
        return code if alone is None or _alone(alone) else 142
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
