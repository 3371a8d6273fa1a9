"""What Edge Impulse says that a model costs, beside what we count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from host_tools.boards import board_ids, load_board
from host_tools.edgeimpulse.api import Client
from host_tools.edgeimpulse.replies import Estimates, Memory
from host_tools.measure import layers
from host_tools.measure.realtime import CYCLES_PER_INSTRUCTION
from model_pipeline.compiler import compile_model
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.text import shown

_ENGINES = {"tflite": "TensorFlow Lite", "eon": "EON", "eonRamOptimized": "EON, less RAM"}


class Row(BaseModel):
    """A line of the comparison; None where nothing is known. ``source``: whose figure. Memory in bytes."""

    model_config = ConfigDict(frozen=True)
    source: str
    where: str
    engine: str
    ms: float | None
    ram: int | None
    flash: int | None
    note: str = ""


class Comparison(BaseModel):
    """``instructions``: of one inference on QEMU's Cortex-M4, by our kernels, None where that could not be counted."""

    model_config = ConfigDict(frozen=True)
    model: str
    model_hash: str
    macs: int
    instructions: float | None
    why_not: str
    rows: list[Row]


def compare(
    client: Client,
    model: Path,
    tflite: bytes,
    progress: ProgressCallback | None = None,
    *,
    device: str = "",
    replace: bool = False,
    timeout: float = 1800.0,
) -> Comparison:
    """Brings a model to the project, where it is the "own model" then, and has it estimated; counts it here.

    Args:
        device: estimate for this one too, by Edge Impulse's name (cortex-m4f-80mhz).
        replace: also where another model was brought before.

    Raises:
        KwsError: key, server or link fail; the compiler refuses the model; another model is there.
    """
    report = progress or silent
    program = compile_model(tflite)
    name = f"kws-{program.model_hash}.tflite"
    project = client.project()
    there, estimates = client.own_model(project.id)
    if there and there != name and not replace:
        raise KwsError(
            f"the project has another model of its own ({shown(there, 60)}), which would be replaced",
            hint="--replace, or the key of another project",
        )
    if there != name or estimates is None or device:
        job = client.bring(project.id, name, tflite, device)
        client.finish(project.id, job, report, "reading the model", timeout)
        client.finish(project.id, client.estimate(project.id), report, "estimating", timeout)
        _, estimates = client.own_model(project.id)
        if estimates is None:
            raise KwsError("Edge Impulse gives no estimates of the model", hint="run again later", exit_code=4)
    ours, instructions, why_not = _ours(tflite, report)
    return Comparison(
        model=str(model),
        model_hash=program.model_hash,
        macs=program.macs,
        instructions=instructions,
        why_not=why_not,
        rows=[*theirs(estimates), *ours],
    )


def theirs(estimates: Estimates) -> list[Row]:
    """Edge Impulse's figures."""
    rows = []
    table = estimates.table
    for kind in (table.low_end, table.high_end, table.accelerated):
        if kind is not None:
            note = "" if kind.supported else f"not supported: {shown(kind.why_not or 'no reason given', 100)}"
            rows += _rows(shown(kind.description, 60), kind.ms, kind.memory, note)
    one = estimates.int8 or estimates.float32
    if one is not None and one.device:
        rows += _rows(shown(one.device, 60), one.ms, one.memory, shown(one.why_not or "", 100))
    return rows


def _rows(where: str, ms: float | None, memory: Mapping[str, Memory | None] | None, note: str) -> list[Row]:
    known = {name: size for name, size in (memory or {}).items() if size is not None and name in _ENGINES}
    if not known:
        return [Row(source="Edge Impulse", where=where, engine="", ms=ms, ram=None, flash=None, note=note)]
    return [
        # The time is given once for all engines.
        Row(source="Edge Impulse", where=where, engine=_ENGINES[name], ms=ms, ram=size.ram, flash=size.rom, note=note)
        for name, size in known.items()
    ]


def _ours(tflite: bytes, report: ProgressCallback) -> tuple[list[Row], float | None, str]:
    program = compile_model(tflite)
    try:
        cost = layers.measure(program, layers.load_inputs(None, program, 1), calls=False, progress=report)
    except KwsError as error:
        return [], None, str(error)
    clocks: dict[float, list[str]] = {}
    for board in map(load_board, board_ids()):
        if board.kws.clock:
            clocks.setdefault(board.kws.clock.core_hz, []).append(board.id)
    rows = [
        Row(
            source="kws",
            where=f"Cortex-M4 {hz / 1e6:g} MHz ({', '.join(boards)})",
            engine="compiled plan",
            ms=round(1000 * cost.total * CYCLES_PER_INSTRUCTION / hz, 2),
            ram=cost.ram + cost.stack,
            flash=cost.flash,
        )
        for hz, boards in sorted(clocks.items())
    ]
    return rows, cost.total, ""
