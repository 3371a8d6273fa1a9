"""Runs a firmware image without its board: in QEMU, in Renode, or as a process for board "host"."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from host_tools.boards import Board, board_ids, load_board
from host_tools.image import renode
from host_tools.image.elf import check_image
from host_tools.image.emulator import Emulator, checked, popen
from model_pipeline.errors import DeviceError, KwsError, MissingTool

START_TIMEOUT = 20.0


@contextlib.contextmanager
def start(
    board: str,
    elf: Path | str,
    icount: bool = True,
    *,
    kind: str | None = None,
    pty: bool = False,
    tcp_port: int = 0,
) -> Iterator[Emulator]:
    """Runs ``elf`` and gives an `Emulator`; the child is ended when the block is left, by whatever.

    Args:
        board: id of a file in boards/.
        elf: what `host_tools.image.build.build` made.
        icount: QEMU counts exactly one nanosecond of guest time an instruction, so that ticks are instructions.
        kind: "qemu", "process" or "renode"; None is the board's first.
        pty: (board host) a pseudo-terminal in the place of TCP.
        tcp_port: where the link listens on the loopback interface; 0 is any free one.

    Raises:
        MissingTool: no QEMU, or no Renode.
        KwsError: the board has no emulator, or there is no such ELF.
        DeviceError: the child ended at once, or the port is taken.
    """
    emulator = _spawn(load_board(board), Path(elf), icount, kind, pty, tcp_port)
    try:
        yield emulator
    finally:
        emulator.stop()


def kind_for(board: Board, kind: str | None = None) -> str:
    """The emulator that is asked for, or the board's first.

    Raises:
        KwsError: the board has none, or not this one.
    """
    offered = _offered(board)
    if kind in offered or (kind is None and offered):
        return kind or offered[0]
    others = [name for name in board_ids() if _offered(load_board(name))]
    raise KwsError(
        f"board {board.id} can't be emulated" + (f" by {kind}" if kind else ""),
        hint=f"its emulators: {', '.join(offered)}" if offered else f"boards with an emulator: {', '.join(others)}",
    )


def _offered(board: Board) -> list[str]:
    return [name for name in ("qemu", "process", "renode") if getattr(board.kws.emulators, name) is not None]


def _spawn(board: Board, elf: Path, icount: bool, kind: str | None, pty: bool, tcp_port: int) -> Emulator:
    if not elf.is_file():
        raise KwsError(f"no firmware {elf}", hint=f"kws build --board {board.id}")
    kind = kind_for(board, kind)
    if tcp_port:
        with socket.socket() as probe:
            _bind(probe, tcp_port)  # told now, and by its number
    if kind == "process":
        return _spawn_process(board, elf, pty, tcp_port)
    if pty:
        raise KwsError("a pseudo-terminal is offered for board host only")
    if kind == "renode":
        return renode.spawn(board, elf, tcp_port)
    return _spawn_qemu(board, elf, icount, tcp_port)


def free_port(wanted: int) -> int:
    """``wanted`` if that TCP port is free on the loopback interface, else 0, which is any."""
    with socket.socket() as probe:
        try:
            _bind(probe, wanted)
        except DeviceError:
            return 0
    return wanted


def _bind(one: socket.socket, port: int) -> None:
    """
    Raises:
        DeviceError: the port is taken.
    """
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind(("127.0.0.1", port))
    except OSError as error:
        reason = error.strerror or error
        raise DeviceError(f"TCP port {port} can't be opened: {reason}", hint="--tcp-port 0 takes a free one") from error


def _spawn_qemu(board: Board, elf: Path, icount: bool, tcp_port: int) -> Emulator:
    qemu = board.kws.emulators.qemu
    assert qemu is not None
    program = shutil.which("qemu-system-arm")
    if not program:
        raise MissingTool("qemu-system-arm is not in PATH", hint="apt-get install qemu-system-arm")
    check_image(board, elf, ours=False)  # QEMU itself would look only when a host has connected
    # We listen and hand the socket over: no race for a free port, and a client can connect at once.
    listener = socket.socket()
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the emulator
    try:
        _bind(listener, tcp_port)
        listener.listen(1)
        port = listener.getsockname()[1]
        command = [program, "-M", qemu.machine, "-nodefaults", "-display", "none", "-monitor", "none"]
        command += ["-kernel", str(elf)]
        for _ in range(qemu.serial_index):
            command += ["-serial", "null"]
        # wait=on: the machine starts when the host is there, since bytes sent before are lost. nodelay: QEMU sends
        # byte by byte, and Nagle's algorithm would hold an answer back for 40 ms. mux: its buffer of 32 bytes feeds
        # the UART without a turn of QEMU's main loop for each byte (about 4 times the throughput); it looks for an
        # escape character, so that one is set to a value that no byte has.
        command += ["-chardev", f"socket,id=link,fd={listener.fileno()},server=on,wait=on,nodelay=on,mux=on"]
        command += ["-echr", "256", "-serial", "chardev:link"]
        if icount:
            command += ["-icount", "shift=0"]
        process = popen(command, stderr, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()])
    finally:
        listener.close()
    emulator = Emulator(board.id, "qemu", f"socket://127.0.0.1:{port}", process, stderr)
    # QEMU says that it waits, or ends (a broken ELF is seen before that).
    deadline = time.monotonic() + START_TIMEOUT
    while emulator.running() and time.monotonic() < deadline:
        stderr.seek(0)
        if b"QEMU waiting" in stderr.read():
            break
        time.sleep(0.01)
    return checked(emulator)


def _spawn_process(board: Board, elf: Path, pty: bool, tcp_port: int) -> Emulator:
    stderr = tempfile.TemporaryFile()  # noqa: SIM115
    environ = {k: v for k, v in os.environ.items() if k != "KWS_HOST_INHERIT"}
    command = [str(elf.resolve()), "--port", "pty" if pty else f"tcp:{tcp_port}"]
    process = popen(command, stderr, stdout=subprocess.PIPE, env=environ)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
    line = process.stdout.readline() if ready else ""
    emulator = Emulator(board.id, "process", "", process, stderr)
    found = re.match(r"READY (\S+)", line)
    if found:
        emulator.url = found[1]
        return emulator
    emulator.wait(1)
    checked(emulator)
    emulator.stop()
    raise DeviceError(f"{elf} did not say where it listens", hint="kws build --board host")
