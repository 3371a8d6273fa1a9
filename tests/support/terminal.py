"""A terminal of a given width for a command, and pictures in text of what it showed there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

SNAPSHOTS = Path(__file__).resolve().parent.parent / "tools" / "snapshots"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


def shown(arguments: list[str], columns: int, rows: int = 24, cwd: Path | None = None) -> str:
    """What ``kws arguments`` prints on stdout where that is a terminal of ``columns``: no colours, no escapes.

    Raises:
        AssertionError: it ends with another code than 0; with what it said.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "FORCE_COLOR")}
    command = [sys.executable, "-m", "host_tools.cli", *arguments]
    with subprocess.Popen(
        command,
        stdout=slave,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env=environment | {"TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(slave)
        parts = []
        try:
            while part := os.read(master, 65536):
                parts.append(part)
        except OSError:  # Linux: the other end is closed
            pass
        finally:
            os.close(master)
        assert process.stderr
        said = process.stderr.read().decode()
    assert process.returncode == 0, (arguments, process.returncode, said)
    lines = _ESCAPE.sub("", b"".join(parts).decode()).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines)


def same_as_snapshot(name: str, text: str) -> None:
    """Holds ``text`` against ``tests/tools/snapshots/name.txt``; with KWS_SNAPSHOTS=write it becomes that.

    Raises:
        AssertionError: they differ, or there is none.
    """
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("KWS_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no snapshot {path.name}: run with KWS_SNAPSHOTS=write and look at it"
    assert text == path.read_text(encoding="utf-8"), (
        "if that is wanted: KWS_SNAPSHOTS=write, and look at the difference"
    )
