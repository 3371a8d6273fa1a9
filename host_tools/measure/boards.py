"""What a model costs on every board: instructions, share of the time, RAM and flash."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from host_tools.boards import board_ids, load_board
from host_tools.image.build import build
from host_tools.measure import realtime
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback, silent


def on_boards(model: Path, engine: str = "aot", progress: ProgressCallback | None = None) -> list[dict[str, Any]]:
    """Builds for each board and judges its time by the instructions that QEMU counts.

    Args:
        model: an exported folder (``kws export``).

    Returns:
        For each board: ``board``, ``name``; ``realtime`` (`realtime.Verdict`), None where nothing could be measured;
        ``memory`` (``flash``, ``flash_budget``, ``ram``, ``ram_budget``, ``stack``, bytes), None where it can't be
        built here; ``why_not``, the reason of what is None.
    """
    report = progress or silent
    boards = [board for board in map(load_board, board_ids()) if board.kws.clock]
    rows = []
    for number, board in enumerate(boards):
        report(number, len(boards), board.id)
        row: dict[str, Any] = {"board": board.id, "name": board.name, "realtime": None, "memory": None, "why_not": ""}
        with tempfile.TemporaryDirectory(prefix="kws-") as folder:
            elf = None
            try:
                built = build(board.id, model, engine, folder)
                elf = Path(built.elf)
                row["memory"] = {
                    "flash": built.flash_total,
                    "flash_budget": built.flash_budget,
                    "ram": built.ram_total,
                    "ram_budget": built.ram_budget,
                    "stack": built.ram_stack,
                }
            except KwsError as error:
                row["why_not"] = str(error)
            try:
                row["realtime"] = realtime.as_dict(realtime.check(board.id, model, engine, elf=elf))
            except KwsError as error:
                row["why_not"] = row["why_not"] or str(error)
        rows.append(row)
    report(len(boards), len(boards), "")
    return rows
