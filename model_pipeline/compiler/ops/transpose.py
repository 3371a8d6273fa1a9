"""TRANSPOSE: any order of up to five dimensions (more where neighbours stay together)."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.ops.strided_slice import walk

CODE = 39
RESOLVER = "AddTranspose"


def lower(operator: Operator) -> Call:
    """Input 1 is the order: output dimension i is input dimension order[i]. Moving only dimensions of length 1 needs
    no code."""
    c.arity(operator, (2,))
    source, target = c.given(operator, 0), operator.outputs[0]
    order = [int(v) for v in c.constant(operator, 1, ("INT32",)).reshape(-1)]
    rank = len(source.shape)
    order = [a + rank if a < 0 else a for a in order]
    if sorted(order) != list(range(rank)):
        raise operator.error(f"order {order} is none of {rank} dimensions")
    if source.type != target.type:
        raise operator.error(f"{source.type} can't become {target.type}")
    c.expect_shape(operator, target, tuple(source.shape[a] for a in order))
    steps = [c.element_bytes(operator, source)] * rank
    for axis in reversed(range(rank - 1)):
        steps[axis] = steps[axis + 1] * source.shape[axis + 1]
    return walk(operator, source, target, [source.shape[a] for a in order], [steps[a] for a in order], 0)
