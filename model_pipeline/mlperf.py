"""MLPerf Tiny's models: a ``.tflite`` without a manifest becomes the folder that firmware/mlperf is built with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from model_pipeline.compiler import Program, compile_model, emit
from model_pipeline.config import CompileConfig
from model_pipeline.errors import KwsError
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.files import kernels_hash, stamp_kernels
from model_pipeline.folders import atomic_dir
from model_pipeline.native import FIRMWARE

KIND = "kws build --app mlperf"
MAX_INPUT_BYTES = 96 * 96 * 3  # the benchmark's largest, which its reference has room for
MAX_OUTPUTS = 64


def compiled(tflite: bytes, choice: CompileConfig | None = None) -> Program:
    """The plan of a model that takes the runner's bytes as they are and answers with one value a class.

    Raises:
        KwsError: it can't be compiled, or is not such a model.
    """
    program = compile_model(tflite, **(choice or CompileConfig()).model_dump())
    if not program.single:
        ends = f"{len(program.graph.inputs)} inputs and {len(program.graph.outputs)} outputs"
        raise KwsError(f"the model has {ends}; the runner knows one of each", hint="kws compile makes C of it")
    if program.step_frames:
        raise KwsError("the model keeps state from one inference to the next", hint="kws import takes such a model")
    for what, tensor, most in (("input", program.input, MAX_INPUT_BYTES), ("output", program.output, MAX_OUTPUTS)):
        if tensor.type not in ("INT8", "UINT8"):
            raise KwsError(
                f"the model's {what} is {tensor.type}; the runner's inputs are bytes",
                hint="convert with inference_input_type and inference_output_type int8",
            )
        if tensor.bytes > most:
            raise KwsError(f"the model's {what} has {tensor.bytes} values, more than {most}", hint="a smaller model")
    return program


def write_plan(
    tflite: bytes, out: Path, name: str, choice: CompileConfig | None = None, sources: Sequence[Path] = ()
) -> Exported:
    """Writes the folder ``out``, whole or not at all: ``model_aot.c``, ``model_aot.h`` and ``plan.json``, in which what
    is of a front end is 0.

    Args:
        name: the model's, for people.
        sources: files that must not lie in ``out``.

    Raises:
        KwsError: not a model for the benchmark, or ``out`` can't be written.
    """
    program = compiled(tflite, choice)
    stamp_kernels(FIRMWARE)
    plan = Exported(
        name=name,
        model_sha256=hashlib.sha256(tflite).hexdigest(),
        sample_rate=0,
        window_samples=0,
        hop_samples=0,
        fft_size=0,
        channels=0,
        stride_hops=0,
        step_frames=0,
        macs=program.macs,
        arena_bytes=program.arena_bytes,
        constant_bytes=program.constant_bytes,
        kernels=kernels_hash(FIRMWARE),
        tflm_arena_bytes=0,
    )
    with atomic_dir(out, KIND, sources=sources) as folder:
        for name, text in {**emit(program), PLAN_FILE: json.dumps(plan.to_json(), indent=2) + "\n"}.items():
            (folder / name).write_text(text, encoding="utf-8")
    return plan
