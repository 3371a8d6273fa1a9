"""Runs a firmware image in Renode (1.16 or later, which users install themselves) by the scripts in boards/renode."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from host_tools.boards import ROOT, Board
from host_tools.image.emulator import Emulator, popen
from model_pipeline.errors import DeviceError, KwsError, MissingTool

SCRIPTS = ROOT / "boards" / "renode"
START_TIMEOUT = 120.0  # a busy machine takes half a minute to read a platform
_RUNS = "micro-kws runs"
_ERRORS = re.compile(r"There was an error executing command|^Could not|^No such|\[FATAL\]|\bFatal error")
HINT = "get the portable package from renode.io and put its folder into PATH"


# Renode does not end when its input does, and is most often a script that starts the real program. So this waits beside
# it for a pipe to close that only we hold, which happens however we end, and then ends the whole process group.
_GUARD = """
import os, signal, sys, time
sys.stdin.buffer.read()
for number in (signal.SIGTERM, signal.SIGKILL):
    try:
        os.killpg(int(sys.argv[1]), number)
    except ProcessLookupError:
        break
    time.sleep(3)
"""
_QUIET = 0.3  # seconds without a word of the monitor: it has answered


class RenodeEmulator(Emulator):
    """Renode is most often a script that starts the real program, so the whole process group is ended."""

    def __init__(
        self, board: str, url: str, process: subprocess.Popen[str], log: IO[bytes], guard: subprocess.Popen[bytes]
    ) -> None:
        super().__init__(board, "renode", url, process, log)
        self._log = log
        self._guard = guard

    def monitor(self, line: str, patience: float = 5.0) -> str:
        """Types a command into Renode's monitor and gives what it prints until it is quiet, its log included.

        Args:
            line: the command; a second line would be a second command.
            patience: seconds to wait for the first word, and at most for all.

        Raises:
            DeviceError: the monitor does not answer.
        """
        assert self._process.stdin is not None
        before = os.fstat(self._log.fileno()).st_size
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise DeviceError(f"renode's monitor: {error.strerror or error}") from error
        size, since = before, time.monotonic()
        deadline = since + patience
        while time.monotonic() < deadline:
            time.sleep(0.02)
            now = os.fstat(self._log.fileno()).st_size
            if now != size:
                size, since = now, time.monotonic()
            elif size != before and time.monotonic() - since > _QUIET:
                break
        if size == before:
            raise DeviceError(f"renode's monitor does not answer to {line!r}")
        return os.pread(self._log.fileno(), size - before, before).decode("utf-8", "replace")

    def stop(self) -> None:
        """Ends Renode and its children. May be called again."""
        self._guard.kill()
        self._guard.communicate()  # closes its pipe
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
            if self.wait(patience):
                break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # a child that outlived its parent
        super().stop()


def path(value: Path) -> str:
    """A path as the monitor takes it."""
    text = str(value)
    if any(c in text for c in "\"';`\n"):
        raise KwsError(f"Renode can't take this path: {text}", hint="move the project to a plainer path")
    return "@" + text.replace(" ", "\\ ")


def command(board: Board, elf: Path, link_port: int) -> list[str]:
    """The command line that runs ``elf``. Its monitor is on standard input and output: without ``--console`` it would
    listen on a port of every network, where whoever comes may run programs here.

    Raises:
        KwsError: the board has no script for Renode.
    """
    renode = board.kws.emulators.renode
    if renode is None:
        raise KwsError(f"board {board.id} can't be emulated by renode")
    script = SCRIPTS / renode.script
    if not script.is_file():
        raise KwsError(f"there is no {script}", hint=f"boards/{board.id}.json names it as emulators.renode.script")
    steps = (
        f"$elf={path(elf)}",
        f"$port={link_port}",
        f"include {path(script)}",
        "start",
        f'log "{_RUNS}" 1',
    )  # 1: INFO
    line = ["renode", "--disable-gui", "--plain", "--console"]
    for step in steps:
        line += ["-e", step]
    return line


def spawn(board: Board, elf: Path, tcp_port: int = 0) -> RenodeEmulator:
    """Starts Renode and waits until the machine runs.

    Raises:
        MissingTool: there is no renode in PATH.
        DeviceError: it ended, or told of an error in the script.
    """
    if not shutil.which("renode"):
        raise MissingTool("renode is not in PATH", hint=HINT)
    link_port = tcp_port or _free_port()
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the emulator
    line = command(board, elf.resolve(), link_port)
    process = popen(line, log, stdin=subprocess.PIPE, stdout=log)
    guard = subprocess.Popen(
        [sys.executable, "-c", _GUARD, str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    emulator = RenodeEmulator(board.id, f"socket://127.0.0.1:{link_port}", process, log, guard)
    try:
        _wait_until_it_runs(emulator, log)
    except BaseException:
        emulator.stop()
        raise
    return emulator


def _wait_until_it_runs(emulator: RenodeEmulator, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        emulator.check()
        text = os.pread(log.fileno(), 1 << 20, 0).decode("utf-8", "replace")
        for text_line in text.splitlines():
            if _ERRORS.search(text_line):
                raise DeviceError(f"renode: {text_line.strip()[:200]}", hint="the scripts are for Renode 1.16 or later")
        # Renode repeats the command before it is carried out; the log's own line has a level in brackets.
        if any(_RUNS in text_line and "[INFO]" in text_line for text_line in text.splitlines()):
            return
        time.sleep(0.05)
    raise DeviceError(f"renode did not start the machine within {START_TIMEOUT:.0f} s")


def _free_port() -> int:
    """One that was free a moment ago; Renode has to open it itself, and opens it on all interfaces (1.16 and 1.17)."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
