"""SPLIT and SPLIT_V along any axis."""

from __future__ import annotations

import itertools
import math

import numpy as np

from model_pipeline.compiler.ir import Call, Constant, Operator, Params, Tensor
from model_pipeline.compiler.ops import _common as c

MAX_PARTS = 1000


def lower_split(operator: Operator) -> Call:
    """Inputs: axis (a constant), tensor. All parts are equal."""
    c.options(operator, 35)
    if len(operator.inputs) != 2:
        raise operator.error(f"{len(operator.inputs)} inputs; 2 are expected")
    source = c.given(operator, 1)
    axis = _axis(operator, 0, source)
    if len({part.shape for part in operator.outputs}) != 1:
        raise operator.error("its parts differ in shape")
    return _lower(operator, source, axis)


def lower_split_v(operator: Operator) -> Call:
    """Inputs: tensor, sizes of the parts (one may be -1), axis; both constants."""
    c.options(operator, 79)
    if len(operator.inputs) != 3:
        raise operator.error(f"{len(operator.inputs)} inputs; 3 are expected")
    source = c.given(operator, 0)
    axis = _axis(operator, 2, source)
    sizes = [int(n) for n in c.constant(operator, 1, ("INT32", "INT64")).reshape(-1)]
    found = [part.shape[axis] if len(part.shape) > axis else 0 for part in operator.outputs]
    if len(sizes) != len(found) or any(s not in (-1, n) for s, n in zip(sizes, found, strict=True)):
        raise operator.error(f"parts of {sizes} where the outputs have {found}")
    return _lower(operator, source, axis)


def _axis(operator: Operator, number: int, source: Tensor) -> int:
    value = c.constant(operator, number, ("INT32",))
    rank = len(source.shape)
    if value.size != 1 or not -rank <= int(value.reshape(-1)[0]) < rank:
        raise operator.error(f"its axis must be one number below {rank}")
    return int(value.reshape(-1)[0]) % rank


def _lower(operator: Operator, source: Tensor, axis: int) -> Call:
    parts = operator.outputs
    if not 1 <= len(parts) <= MAX_PARTS:
        raise operator.error(f"{len(parts)} parts; 1 to {MAX_PARTS} are known")
    for part in parts:
        if part.type != source.type or len(part.shape) != len(source.shape):
            raise operator.error(f"{part.type} {list(part.shape)} is not part of {source.type} {list(source.shape)}")
        if any(n != m for a, (n, m) in enumerate(zip(part.shape, source.shape, strict=True)) if a != axis):
            raise operator.error(f"{list(part.shape)} is not part of {list(source.shape)} along axis {axis}")
    if sum(part.shape[axis] for part in parts) != source.shape[axis]:
        raise operator.error(f"its parts do not add up to {source.shape[axis]} along axis {axis}")
    outer = math.prod(source.shape[:axis])
    c.element_bytes(operator, source)
    if outer == 1 or len(parts) == 1:
        offsets = [0, *itertools.accumulate(part.bytes for part in parts)][:-1]
        return Call(operator, "", "", {}, [source], parts, offsets=offsets)
    sizes = Constant("bytes", np.array([p.bytes // outer for p in parts], np.int32), "int32_t")
    params: Params = {"count": len(parts), "outer": outer, "bytes": sizes}
    return Call(operator, "kws_nn_split", "kws_nn_parts_t", params, [source], parts, many=True)


OPERATORS = [(49, "AddSplit", lower_split), (102, "AddSplitV", lower_split_v)]
