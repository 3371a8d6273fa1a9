"""A time limit that works while TensorFlow waits in C++ and holds Python's lock, as it does until all workers are
there: another process keeps the time. This file is both halves; the other runs without site packages, for speed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Watchdog:
    """Ends this process by SIGKILL, with a line on stdout or stderr, where a block takes too long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def limit(self, line: str, descriptor: int) -> Iterator[None]:
        """A block that may take ``seconds``; ``line`` is what is said (to 1, stdout, or 2, stderr) if not."""
        if self._process is None:
            command = [sys.executable, "-IS", __file__, str(self.seconds), str(os.getpid())]
            # Its own session: Ctrl-C is not for it. It ends when this process does, since its stdin ends then.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._say(f"{descriptor}{line}")
        try:
            yield
        finally:
            self._say("")

    def _say(self, text: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()


def _watch(seconds: float, process: int) -> None:
    held = b""
    armed = ""
    while True:
        ready, _, _ = select.select([0], [], [], seconds if armed else None)
        if not ready:
            os.write(int(armed[0]), armed[1:].encode() + b"\n")
            os.kill(process, signal.SIGKILL)
            return
        some = os.read(0, 65536)
        if not some:
            return
        *lines, held = (held + some).split(b"\n")
        armed = lines[-1].decode() if lines else armed


if __name__ == "__main__":
    _watch(float(sys.argv[1]), int(sys.argv[2]))
