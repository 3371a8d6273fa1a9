"""Runs a firmware image in Renode (1.16 or later, which users install themselves) by the scripts in boards/renode."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from host_tools.boards import ROOT, Board
from host_tools.image.emulator import Emulator
from model_pipeline.errors import DeviceError, KwsError, MissingTool

SCRIPTS = ROOT / "boards" / "renode"
START_TIMEOUT = 120.0  # a busy machine takes half a minute to read a platform
_RUNS = "micro-kws runs"
_ERRORS = re.compile(r"There was an error executing command|^Could not|^No such|\[FATAL\]|\bFatal error")
HINT = "get the portable package from renode.io and put its folder into PATH"


class RenodeEmulator(Emulator):
    """Renode is most often a script that starts the real program, so the whole process group is ended."""

    monitor_port: int = 0

    def monitor(self, line: str, patience: float = 2.0) -> str:
        """Types a command into Renode's monitor and gives what it prints until it is quiet.

        Raises:
            DeviceError: the monitor does not answer.
        """
        printed = b""
        try:
            with socket.create_connection(("127.0.0.1", self.monitor_port), patience) as monitor:
                monitor.settimeout(patience)
                monitor.sendall(line.encode() + b"\n")
                with contextlib.suppress(TimeoutError):
                    while chunk := monitor.recv(4096):
                        printed += chunk
        except OSError as error:
            raise DeviceError(f"renode's monitor: {error.strerror or error}") from error
        return printed.decode("utf-8", "replace")

    def stop(self) -> None:
        """Ends Renode and its children. May be called again."""
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


def command(board: Board, elf: Path, link_port: int, monitor_port: int) -> list[str]:
    """The command line that runs ``elf``; its monitor listens on ``monitor_port``.

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
    line = ["renode", "--disable-gui", "--plain", "--port", str(monitor_port)]
    for step in steps:
        line += ["-e", step]
    return line


def spawn(board: Board, elf: Path) -> RenodeEmulator:
    """Starts Renode and waits until the machine runs.

    Raises:
        MissingTool: there is no renode in PATH.
        DeviceError: it ended, or told of an error in the script.
    """
    if not shutil.which("renode"):
        raise MissingTool("renode is not in PATH", hint=HINT)
    link_port, monitor_port = _free_ports(2)
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the emulator
    line = command(board, elf.resolve(), link_port, monitor_port)
    try:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    except OSError as error:
        log.close()
        raise DeviceError(f"can't start renode: {error.strerror or error}") from error
    emulator = RenodeEmulator(board.id, "renode", f"socket://127.0.0.1:{link_port}", process, log)
    emulator.monitor_port = monitor_port
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


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; Renode has to open them itself."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
