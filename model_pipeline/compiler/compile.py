"""From the bytes of a .tflite to a compiled plan."""

from __future__ import annotations

import hashlib
from typing import get_args

import numpy as np

from model_pipeline.compiler.fast import accelerate
from model_pipeline.compiler.ir import Call, Operator, Tensor, constant_bytes
from model_pipeline.compiler.ops import check, lower
from model_pipeline.compiler.passes.edges import trim
from model_pipeline.compiler.passes.fold import fold, fold_shapes
from model_pipeline.compiler.passes.join import align, join
from model_pipeline.compiler.passes.place import place
from model_pipeline.compiler.passes.prune import prune
from model_pipeline.compiler.passes.rings import make_rings
from model_pipeline.compiler.passes.variables import bind_variables
from model_pipeline.compiler.planner import MAX_ARENA, plan
from model_pipeline.compiler.program import Program
from model_pipeline.compiler.reader import read_model
from model_pipeline.compiler.streaming import stream
from model_pipeline.config import Packing
from model_pipeline.errors import KwsError


# Scales far apart give infinities, which quant.quantize_multiplier refuses; NumPy need not warn of them too.
@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def compile_model(
    tflite: bytes, packing: Packing = "speed", *, max_constants: int = 0, hop: int = 0, frames: int | None = None
) -> Program:
    """Compiles an int8 model.

    Args:
        packing: ``speed`` takes a kernel made for the DSP extension (and as right without it) where there is one,
            ``size`` the same with constants that take less flash, ``portable`` the plain ones for all layers.
        max_constants: bytes; where ``speed`` takes more, only some layers are packed for speed. 0: no limit.
        hop: 0 for a plan of the whole window; else a streaming plan that takes this many new feature frames a call.
        frames: feature frames of the window, for a streaming plan of a model whose input does not show them.

    Raises:
        KwsError: corrupt, or an operator, type or shape that the compiler does not know (named, with its place); or
            more constants than ``max_constants``.
    """
    graphs = read_model(tflite)
    graph = graphs[0]
    moved = trim(graph)
    for tensors, what in ((graph.inputs, "input"), (graph.outputs, "output")):
        if not tensors:
            raise KwsError(f"the model has no {what}")
        for tensor in tensors:
            _check_edge(tensor, what)
    operators = prune(graph)
    for operator in operators:
        check(operator)
    operators = fold_shapes(operators)
    steps: list[Operator | Call] = []
    streaming = None
    if hop:
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            found = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
            raise KwsError(f"the model has {found}; a streaming plan needs one of each")
        graph, steps, streaming = stream(graph, operators, hop, frames)
    else:
        steps += bind_variables(graphs, operators)
    calls = fold([step if isinstance(step, Call) else lower(step) for step in steps])
    calls = align(join(graph, make_rings(graph, calls)))
    computed = {id(t) for call in calls for t in call.outputs}
    read = {id(t) for call in calls for t in call.inputs}
    if not all(id(t) in computed for t in graph.outputs) or not any(id(t) in read for t in graph.inputs):
        raise KwsError("nothing in this model depends on its input")
    if packing != "portable":
        calls = accelerate(calls, packing, max_constants)
    if max_constants and (size := constant_bytes(calls)) > max_constants:
        raise KwsError(
            f"the model's constants take {size:,} bytes, {max_constants:,} are allowed",
            hint="a smaller model, or another --max-constants (compile.max_constants of the configuration)",
        )
    placement = place(graph, calls)
    layout = plan(placement.memories)
    if layout.arena_bytes > MAX_ARENA:
        raise KwsError(f"the model needs {layout.arena_bytes} bytes of RAM for activations; at most {MAX_ARENA}")
    return Program(graph, calls, placement, layout, hashlib.sha256(tflite).hexdigest()[:16], streaming, moved)


def _check_edge(tensor: Tensor, what: str) -> None:
    """An input or output is of integers with one scale; float32 is left where a DEQUANTIZE is all of the model."""
    known = {"input": ("INT8", "UINT8", "INT16"), "output": ("INT8", "UINT8", "INT16", "INT32", "FLOAT32")}[what]
    if tensor.type not in known or (tensor.type != "FLOAT32" and len(tensor.scales) != 1):
        raise KwsError(
            f"the model's {what} {tensor.name!r} is {tensor.type}; an int8 {what} with one scale is needed",
            hint="convert with inference_input_type and inference_output_type int8",
        )
    if tensor.data is not None:
        raise KwsError(f"the model's {what} {tensor.name!r} is a constant")


def constants_by_packing(tflite: bytes, hop: int = 0, frames: int | None = None) -> dict[Packing, int]:
    """Bytes of constants of the same plan with each packing."""
    return {name: compile_model(tflite, name, hop=hop, frames=frames).constant_bytes for name in get_args(Packing)}
