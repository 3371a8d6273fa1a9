"""RESHAPE, SQUEEZE and EXPAND_DIMS: the same bytes under another shape, so no code at all."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c


def lower(operator: Operator) -> Call:
    """Only the sizes must agree: the output's recorded shape is what later operators see."""
    c.arity(operator, (1, 2))
    source, target = c.given(operator, 0), operator.outputs[0]
    c.element_bytes(operator, source)
    if source.type != target.type or source.size != target.size:
        raise operator.error(
            f"{source.type} {list(source.shape)} can't become {target.type} {list(target.shape)} by a change of shape"
        )
    return Call(operator, "", "", {}, [source], [target])


OPERATORS = [(22, "AddReshape", lower), (43, "AddSqueeze", lower), (70, "AddExpandDims", lower)]
