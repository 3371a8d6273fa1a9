"""CONCATENATION along any axis, PACK along a new one. As in TFLite Micro, no change of scale is made."""

from __future__ import annotations

import math

import numpy as np

from model_pipeline.compiler.ir import Call, Constant, Operator, Params, Tensor
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import ACTIVATIONS

MAX_OPERANDS = 10  # TFLite Micro's limit


def lower(operator: Operator) -> Call:
    """Any number of operands of one type and rank."""
    if not 1 <= len(operator.inputs) <= MAX_OPERANDS or len(operator.outputs) != 1:
        raise operator.error(f"{len(operator.inputs)} operands; 1 to {MAX_OPERANDS} are known")
    options = c.options(operator, 10)
    sources, target = [c.given(operator, n) for n in range(len(operator.inputs))], operator.outputs[0]
    if activation := options.integer(1, "b"):
        name = ACTIVATIONS.get(activation, str(activation))
        raise operator.error(f"fused activation {name} is not known to the compiler")
    rank = len(target.shape)
    axis = options.integer(0, "i")
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank:
        raise operator.error(f"axis {options.integer(0, 'i')} of {rank} dimensions")
    for source in sources:
        others = source.shape[:axis] + source.shape[axis + 1 :]
        if source.type != target.type or others != target.shape[:axis] + target.shape[axis + 1 :]:
            raise operator.error(f"{source.type} {list(source.shape)} is not in {target.type} {list(target.shape)}")
    if sum(source.shape[axis] for source in sources) != target.shape[axis]:
        raise operator.error(f"the operands do not add up to {target.shape[axis]} along axis {axis}")
    return joined(operator, sources, target, math.prod(target.shape[:axis]))


def lower_pack(operator: Operator) -> Call:
    """Tensors of one shape along a new dimension."""
    if not 1 <= len(operator.inputs) <= MAX_OPERANDS or len(operator.outputs) != 1:
        raise operator.error(f"{len(operator.inputs)} operands; 1 to {MAX_OPERANDS} are known")
    options = c.options(operator, 59)
    sources, target = [c.given(operator, n) for n in range(len(operator.inputs))], operator.outputs[0]
    rank = len(sources[0].shape) + 1
    axis = options.integer(1, "i")
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank or options.integer(0, "i") != len(sources):
        raise operator.error(f"axis {options.integer(1, 'i')} of {rank} dimensions, {options.integer(0, 'i')} values")
    for source in sources:
        if source.type != target.type or source.shape != sources[0].shape:
            raise operator.error(f"{source.type} {list(source.shape)} is not in {target.type} {list(target.shape)}")
    c.expect_shape(operator, target, (*sources[0].shape[:axis], len(sources), *sources[0].shape[axis:]))
    return joined(operator, sources, target, math.prod(target.shape[:axis]))


def joined(operator: Operator, sources: list[Tensor], target: Tensor, outer: int) -> Call:
    """``outer`` times a part of each source."""
    c.element_bytes(operator, target)
    if len(sources) == 1:
        return Call(operator, "", "", {}, sources, [target])
    sizes = Constant("bytes", np.array([s.bytes // outer for s in sources], np.int32), "int32_t")
    params: Params = {"count": len(sources), "outer": outer, "bytes": sizes}
    return Call(operator, "kws_nn_concatenation", "kws_nn_parts_t", params, sources, [target], many=True)


OPERATORS = [(2, "AddConcatenation", lower), (83, "AddPack", lower_pack)]
