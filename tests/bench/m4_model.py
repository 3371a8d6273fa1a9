"""Builds a compiled model for the emulated Cortex-M4 and counts its instructions."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.compiler.host import KERNELS, kernel_sources
from model_pipeline.compiler.program import Program
from tests.target.m4 import M4Result, run_on_m4

HERE = Path(__file__).resolve().parent
# From the end of a traced call to the reading of the counter: arguments and the branch. Measured with an empty call.
TRACE_COST = 4


@dataclass(frozen=True)
class ModelRun:
    """Outputs int8 [n, output bytes]; instructions of a mean inference and of each call; all of the run."""

    outputs: np.ndarray
    instructions: float
    calls: list[float]
    m4: M4Result


def run_model(
    program: Program,
    inputs: np.ndarray,
    *,
    trace: bool = False,
    flags: tuple[str, ...] = ("-O2",),
    timeout: float = 120.0,
    stack: int = 4096,
) -> ModelRun:
    """Runs int8 ``inputs`` [n, ...] one after the other on the emulated board.

    Args:
        trace: count each call too (then ``instructions`` includes the counting).
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for file, text in program.emit().items():
            (folder / file).write_text(text, encoding="utf-8")
        if trace:
            flags = (*flags, "-DKWS_BENCH_TRACE", "-DKWS_AOT_TRACE=kws_bench_trace", f"-DKWS_BENCH_CALL={TRACE_COST}")
            rows = "".join(f'  "call {n}",\n' for n in range(len(program.calls)))
            (folder / "bench_names.h").write_text(f"static const char *const names[] = {{\n{rows}}};\n")
        sources = [HERE / "model_main.c", folder / "model_aot.c", *kernel_sources()]
        result = run_on_m4(
            sources,
            includes=[folder, *KERNELS],
            flags=flags,
            input=np.ascontiguousarray(inputs, np.int8).tobytes(),
            timeout=timeout,
            stack=stack,
        )
    outputs = np.frombuffer(result.output, np.int8).reshape(len(inputs), -1)
    calls = [result.per_call(f"call {n}") for n in range(len(program.calls))] if trace else []
    return ModelRun(outputs, result.per_call("invoke"), calls, result)
