"""STRIDED_SLICE of up to five dimensions, and what else is a walk through memory in steps."""

from __future__ import annotations

from model_pipeline.compiler.ir import DTYPES, Call, Operator, Params, Tensor
from model_pipeline.compiler.ops import _common as c

CODE = 45
RESOLVER = "AddStridedSlice"
MAX_RANK = 5


def lower(operator: Operator) -> Call:
    """Inputs: tensor, begin, end, strides (constants). Slices without gaps are parts of the input's memory."""
    c.arity(operator, (4,))
    options = c.options(operator, 32)
    source, target = c.given(operator, 0), operator.outputs[0]
    rank = len(source.shape)
    if not 1 <= rank <= MAX_RANK:
        raise operator.error(f"input has {rank} dimensions; 1 to {MAX_RANK} are known")
    begin, end, strides = (c.constant(operator, n, ("INT32",)).reshape(-1) for n in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) == rank:
        raise operator.error(f"begin, end and strides must have {rank} values each")
    if options.integer(2) or options.integer(3) or options.integer(5, "B"):
        raise operator.error("ellipsis, new axes and relative ends are not known")
    begin_mask, end_mask, shrink_mask = options.integer(0), options.integer(1), options.integer(4)
    shape, kept, steps, start = [], [], [], 0
    step = c.element_bytes(operator, source)
    dense = [0] * rank
    for axis in reversed(range(rank)):
        dense[axis] = step
        step *= source.shape[axis]
    for axis, length in enumerate(source.shape):
        stride = int(strides[axis])
        if stride == 0:
            raise operator.error("a stride of 0")
        if shrink_mask >> axis & 1:
            first = int(begin[axis]) + (length if begin[axis] < 0 else 0)
            if not 0 <= first < length or stride != 1:
                raise operator.error(f"index {int(begin[axis])} lies outside dimension {axis}")
            indices = range(first, first + 1)
        else:
            low = None if begin_mask >> axis & 1 else int(begin[axis])
            high = None if end_mask >> axis & 1 else int(end[axis])
            indices = range(*slice(low, high, stride).indices(length))
            kept.append(len(indices))
        if not indices:
            raise operator.error(f"nothing is left of dimension {axis}")
        shape.append(len(indices))
        steps.append(stride * dense[axis])
        start += indices[0] * dense[axis]
    c.expect_shape(operator, target, tuple(kept))
    if source.type != target.type:
        raise operator.error(f"{source.type} can't become {target.type}")
    return walk(operator, source, target, shape, steps, start)


def walk(operator: Operator, source: Tensor, target: Tensor, shape: list[int], steps: list[int], start: int) -> Call:
    """The call for an output whose elements, in order, are those of a walk through the input.

    Args:
        shape, steps: elements and bytes from one to the next of each dimension, outermost first.
        start: the first byte.
    """
    run = DTYPES[source.type].itemsize
    merged: list[tuple[int, int]] = []
    for count, step in zip(reversed(shape), reversed(steps), strict=True):
        if count == 1:
            continue
        if not merged and step == run:
            run *= count
        elif merged and step == merged[0][0] * merged[0][1]:
            merged[0] = merged[0][0] * count, merged[0][1]
        else:
            merged.insert(0, (count, step))
    if not merged:
        return Call(operator, "", "", {}, [source], [target], offsets=[start])
    if len(merged) > MAX_RANK:
        raise operator.error(f"it walks along {len(merged)} dimensions; at most {MAX_RANK} are known")
    merged = [(1, 0)] * (MAX_RANK - len(merged)) + merged
    params: Params = {"count": [n for n, _ in merged], "step": [s for _, s in merged], "run": run, "start": start}
    return Call(operator, "kws_nn_strided_copy", "kws_nn_strided_copy_t", params, [source], [target])


def copy_call(operator: Operator, source: Tensor, target: Tensor, start: int = 0) -> Call:
    """Copies the output's bytes from the input's, from byte ``start`` on."""
    params: Params = {"count": [1] * MAX_RANK, "step": [0] * MAX_RANK, "run": target.bytes, "start": start}
    return Call(operator, "kws_nn_strided_copy", "kws_nn_strided_copy_t", params, [source], [target])
