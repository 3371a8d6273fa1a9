"""Placement instead of copying: operands of a concatenation are written where they belong in the first place."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Constant, Graph, Params
from model_pipeline.compiler.planner import ALIGNMENT


def join(graph: Graph, calls: list[Call]) -> list[Call]:
    """Concatenations of whole blocks, each computed for this only, are turned into calls that do nothing."""
    fixed = {id(t) for t in graph.inputs}
    computed = {id(t) for c in calls if c.function and c.operator.name != "READ_VARIABLE" for t in c.outputs}
    taken: set[int] = set()
    for call in calls:
        if call.function != "kws_nn_concatenation" or call.params["outer"] != 1:
            continue
        at, offsets = 0, []
        for tensor in call.inputs:
            offsets.append(at)
            at += tensor.bytes
        ids = [id(t) for t in call.inputs]
        if any(offset % ALIGNMENT for offset in offsets) or len(set(ids)) != len(ids):
            continue
        if any(t.data is not None or t.keeps or id(t) in fixed | taken or id(t) not in computed for t in call.inputs):
            continue
        if call.outputs[0].keeps:
            continue
        taken.update(ids)
        computed.discard(id(call.outputs[0]))
        call.function, call.params_type, call.params, call.joins, call.many = "", "", {}, True, False
    return calls


def align(calls: list[Call]) -> list[Call]:
    """Parts that begin between words are copied after all: kernels may load words."""
    return [_copied(c) if not c.function and any(o % ALIGNMENT for o in c.offsets) else c for c in calls]


def _copied(call: Call) -> Call:
    from model_pipeline.compiler.ops.strided_slice import copy_call

    if len(call.outputs) == 1:
        return copy_call(call.operator, call.inputs[0], call.outputs[0], call.offsets[0])
    import numpy as np

    sizes = Constant("bytes", np.array([t.bytes for t in call.outputs], np.int32), "int32_t")
    params: Params = {"count": len(call.outputs), "outer": 1, "bytes": sizes}
    return Call(call.operator, "kws_nn_split", "kws_nn_parts_t", params, call.inputs, call.outputs, many=True)
