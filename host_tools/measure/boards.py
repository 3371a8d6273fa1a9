"""What a model costs on every board: instructions, share of the time, RAM and flash."""

from __future__ import annotations

import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from host_tools.boards import Board, board_ids, load_board
from host_tools.image import arduino
from host_tools.image.build import BuildResult, build
from host_tools.image.platformio import CoreMissing
from host_tools.measure import realtime
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.strict import Strict


class Memory(Strict):
    """Bytes of an image, and how many there may be; ``not_counted`` is what an image has besides, where it can't be
    built whole."""

    flash: int
    flash_budget: int
    ram: int
    ram_budget: int
    stack: int
    not_counted: str = ""


class BoardCost(Strict):
    """What a model costs on a board; ``realtime`` is None where nothing could be measured, ``memory`` where not
    even our part can be built here, and ``why_not`` says why."""

    board: str
    name: str
    realtime: realtime.Verdict | None
    memory: Memory | None
    why_not: str


def on_boards(model: Path, engine: str = "aot", progress: ProgressCallback | None = None) -> list[BoardCost]:
    """Builds for each board and judges its time by the instructions that QEMU counts.

    Args:
        model: an exported folder (``kws export``).

    Returns:
        The cost on each board.
    """
    report = progress or silent
    boards = [board for board in map(load_board, board_ids()) if board.kws.clock]
    stopped = threading.Event()

    def going_on(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    rows = []
    for board in boards[:1]:  # alone: what it measures of the instructions is kept, and serves the others
        report(0, len(boards), board.id)
        rows.append(_on(board, model, engine, going_on))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # compilers are processes of their own
        try:
            for row in pool.map(lambda board: _on(board, model, engine, going_on), boards[1:]):
                rows.append(row)
                report(len(rows), len(boards), row.board)
        except BaseException:  # Ctrl-C reaches this thread alone
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _on(board: Board, model: Path, engine: str, progress: ProgressCallback) -> BoardCost:
    verdict, memory, why_not = None, None, ""
    with tempfile.TemporaryDirectory(prefix="kws-") as folder:
        elf = None
        try:
            built = build(board.id, model, engine, folder, progress=progress)
            elf = Path(built.elf)
            memory = _memory(built)
        except CoreMissing as error:
            memory, why_not = _of_our_part(board.id, model, engine, error)
        except KwsError as error:
            why_not = str(error)
        try:
            verdict = realtime.check(board.id, model, engine, elf=elf, progress=progress)
        except KwsError as error:
            why_not = why_not or str(error)
    return BoardCost(board=board.id, name=board.name, realtime=verdict, memory=memory, why_not=why_not)


def _memory(built: BuildResult) -> Memory:
    return Memory(
        flash=built.flash_total,
        flash_budget=built.flash_budget,
        ram=built.ram_total,
        ram_budget=built.ram_budget,
        stack=built.ram_stack,
        not_counted=built.missing,
    )


def _of_our_part(board: str, model: Path, engine: str, why: CoreMissing) -> tuple[Memory | None, str]:
    try:
        return _memory(arduino.part(board, model, engine)), ""
    except KwsError:
        return None, str(why)
