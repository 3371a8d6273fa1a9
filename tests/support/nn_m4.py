"""Runs compiled plans on the emulated Cortex-M4."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_pipeline.compiler import Program, emit
from model_pipeline.compiler.host import KERNELS, kernel_sources
from model_pipeline.compiler.ir import DTYPES
from tests.support.m4 import M4Result, run_on_m4

MAIN = Path(__file__).with_name("nn_m4_main.c")


class PlansResult(NamedTuple):
    """``outputs[i]``: [runs, output elements]; ``result.per_call(f"m{i}")``: guest instructions of an invoke."""

    outputs: list[np.ndarray]
    result: M4Result


def run_plans_on_m4(
    jobs: Sequence[tuple[Program, np.ndarray]], flags: Sequence[str] = ("-O2",), timeout: float = 120
) -> PlansResult:
    """Builds all plans into one image and runs each on its inputs ([n, …]), from a reset."""
    with tempfile.TemporaryDirectory(prefix="kws-m4-") as name:
        folder = Path(name)
        includes, table, sources, stdin = [], [], [], b""
        for number, (program, inputs) in enumerate(jobs):
            prefix = f"m{number}"
            files = emit(program, prefix)
            (folder / f"{prefix}.h").write_text(files["model_aot.h"])
            (folder / f"{prefix}.c").write_text(files["model_aot.c"])
            upper = prefix.upper()
            includes += [f'#include "{prefix}.h"', f"static _Alignas(8) int8_t {prefix}_arena[{upper}_ARENA_BYTES];"]
            functions = f"{prefix}_input, {prefix}_invoke, {prefix}_reset, {prefix}_output"
            table.append(f'{{{functions}, {program.input.bytes}, {program.output.bytes}, {prefix}_arena, "{prefix}"}},')
            sources.append(folder / f"{prefix}.c")
            stdin += struct.pack("<II", number, len(inputs)) + np.ascontiguousarray(inputs).tobytes()
        lines = [*includes, "static const model_t models[] = {", *table, "};", ""]
        (folder / "nn_m4_models.h").write_text("\n".join(lines))
        # The harness caches by content; the includes are listed, so the generated headers count.
        result = run_on_m4([MAIN, *sources, *kernel_sources()], [folder, *KERNELS], flags, stdin, timeout=timeout)
    outputs, at = [], 0
    for program, inputs in jobs:
        size = len(inputs) * program.output.bytes
        outputs.append(
            np.frombuffer(result.output[at : at + size], DTYPES[program.output.type]).reshape(len(inputs), -1)
        )
        at += size
    assert at == len(result.output)
    return PlansResult(outputs, result)
