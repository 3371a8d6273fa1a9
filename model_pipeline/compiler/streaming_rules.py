"""How each operator moves along time: which rows of its inputs a row of its output is computed from.

A *row* is everything that a tensor holds for one instant. Operators that are not named here, and those that mix all
instants, are `Whole`: they are computed anew over the whole window at every hop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from model_pipeline.compiler.ir import Operator, Tensor
from model_pipeline.compiler.ops import lower


@dataclass(frozen=True)
class Rows:
    """An activation of the window's model seen as ``total`` rows along dimension ``axis``.

    At each hop the last ``new`` of them are computed; the others are those of the hop before, moved up. The first
    ``clean`` rows hold padding, which does not move with the sound. ``unit``: elements of the dimension in a row.
    """

    axis: int
    total: int
    new: int
    clean: int = 0
    unit: int = 1


@dataclass(frozen=True)
class Slide:
    """Row j of the output needs the input's rows ``j * stride + offset`` to that ``+ span - 1``."""

    total: int
    axis: int
    stride: int = 1
    span: int = 1
    offset: int = 0
    unit: int = 1
    view: bool = False  # the needed rows are the result: nothing is computed
    adapt: Callable[[Operator, int], Operator] | None = None  # constants for this many input rows


@dataclass(frozen=True)
class Whole:
    """Can't be computed row by row, because it …"""

    reason: str


Rule = Callable[[Operator, Rows], "Slide | Whole"]
ANOTHER = "gives a tensor whose first dimension is not time"


def rule(operator: Operator, inputs: dict[int, Rows]) -> Slide | Whole:
    """What an operator does along time.

    Args:
        inputs: the rows of those inputs (by number) that stream.
    """
    found = RULES.get(operator.name)
    if found is None:
        return Whole("is of a kind that the compiler knows no streaming form of")
    first = next(iter(inputs.values()))
    for number, tensor in enumerate(operator.inputs):
        if tensor is None or tensor.data is not None:
            continue
        if number not in inputs:
            return Whole("has an operand that is new at every hop")
        if replace(inputs[number], clean=0) != replace(first, clean=0):
            return Whole("joins tensors that move at different paces")
    if first.unit > 1 and operator.name not in FLAT:
        return Whole("takes all frames as one dimension")
    return found(operator, first)


def time_axis(shape: tuple[int, ...]) -> int:
    """The first dimension that is not 1 (the rows of a tensor must follow each other in memory)."""
    return next((axis for axis, length in enumerate(shape) if length > 1), len(shape) - 1)


def local(operator: Operator, rows: Rows) -> Slide | Whole:
    """Every instant by itself."""
    target = operator.outputs[0].shape
    axis = time_axis(target)
    if not target or target[axis] != rows.total * rows.unit:
        return Whole(ANOTHER)
    return Slide(rows.total, axis, unit=rows.unit)


def _elementwise(operator: Operator, rows: Rows) -> Slide | Whole:
    """Two operands; a constant one must be the same for all instants."""
    target = operator.outputs[0].shape
    axis = time_axis(target)
    for tensor in operator.inputs:
        if tensor is not None and tensor.data is not None:
            back = axis - len(target) + len(tensor.shape)
            if back >= 0 and tensor.shape[back] != 1:
                return Whole("has a constant that differs from row to row")
    return local(operator, rows)


def _window(operator: Operator, rows: Rows) -> Slide | Whole:
    """Convolutions and pools, NHWC."""
    if rows.axis == 0:
        return local(operator, rows)
    if rows.axis == 3:
        return Whole("has time in its channels")
    p = lower(operator).params
    side = "h" if rows.axis == 1 else "w"
    window, stride, pad, out = (p[f"{name}_{side}"] for name in ("k", "stride", "pad", "out"))
    dilation = p.get(f"dilation_{side}", 1)
    assert isinstance(window, int) and isinstance(stride, int) and isinstance(pad, int)
    assert isinstance(out, int) and isinstance(dilation, int)
    span = (window - 1) * dilation + 1
    behind = (out - 1) * stride + span - pad - rows.total
    if pad > 0 or behind > 0:
        return Whole(f"pads {pad} rows before and {max(0, behind)} behind the window's (SAME)")
    return Slide(out, rows.axis, stride, span)


def _fully_connected(operator: Operator, rows: Rows) -> Slide | Whole:
    source = operator.inputs[0]
    weights = operator.inputs[1]
    assert source is not None
    if weights is None or len(weights.shape) != 2 or rows.axis == len(source.shape) - 1:
        return Whole("sums over all of time")
    if source.size // rows.total % weights.shape[1]:
        return Whole("takes values of several rows together")
    return local(operator, rows)


def _softmax(operator: Operator, rows: Rows) -> Slide | Whole:
    source = operator.inputs[0]
    assert source is not None
    return Whole("is taken over time") if rows.axis == len(source.shape) - 1 else local(operator, rows)


def _mean(operator: Operator, rows: Rows) -> Slide | Whole:
    source, axes = operator.inputs[0], operator.inputs[1]
    assert source is not None
    if axes is None or axes.data is None:
        return Whole("has axes that are not constant")
    if rows.axis in {int(a) % max(1, len(source.shape)) for a in axes.data.reshape(-1)}:
        return Whole("is the mean over all of time")
    return local(operator, rows)


def _reshape(operator: Operator, rows: Rows) -> Slide | Whole:
    source, target = operator.inputs[0], operator.outputs[0]
    assert source is not None
    axis = time_axis(target.shape)
    if not target.shape or target.shape[axis] != rows.total or source.size != target.size:
        return Whole("folds time into another dimension")
    return Slide(rows.total, axis)


def _transpose(operator: Operator, rows: Rows) -> Slide | Whole:
    order = operator.inputs[1]
    if order is None or order.data is None or rows.axis not in (places := [int(v) for v in order.data.reshape(-1)]):
        return Whole("has an order that is not constant")
    if time_axis(operator.outputs[0].shape) != places.index(rows.axis):
        return Whole("turns time away from the first dimension")
    return local(operator, rows)


def _concatenation(operator: Operator, rows: Rows) -> Slide | Whole:
    axis = operator.options.integer(0) if operator.options is not None else 0
    source = operator.inputs[0]
    assert source is not None
    if axis % max(1, len(source.shape)) == rows.axis:
        return Whole("joins tensors along time")
    if any(t is not None and t.data is not None for t in operator.inputs):
        return Whole("joins a constant")
    return local(operator, rows)


def _split(axis_input: int, value_input: int) -> Rule:
    def check(operator: Operator, rows: Rows) -> Slide | Whole:
        axis, value = operator.inputs[axis_input], operator.inputs[value_input]
        if axis is None or axis.data is None or value is None:
            return Whole("has an axis that is not constant")
        if int(axis.data.reshape(-1)[0]) % max(1, len(value.shape)) == rows.axis:
            return Whole("splits time")
        return local(operator, rows)

    return check


def _pad(operator: Operator, rows: Rows) -> Slide | Whole:
    pads = operator.inputs[1]
    source = operator.inputs[0]
    assert source is not None
    if pads is None or pads.data is None or pads.data.shape != (len(source.shape), 2):
        return Whole("has paddings that are not constant")
    before, behind = (int(v) for v in pads.data[rows.axis])
    if behind:
        return Whole(f"pads {behind} rows behind the window's")
    if any(pads.data[axis].any() for axis in range(rows.axis)):
        return Whole(ANOTHER)

    def adapt(changed: Operator, count: int) -> Operator:
        values = np.array(pads.data)
        values[rows.axis] = 0
        return with_constant(changed, 1, values)

    only = not np.delete(pads.data, rows.axis, axis=0).any()
    return Slide(rows.total + before, rows.axis, offset=-before, view=only, adapt=adapt)


def _strided_slice(operator: Operator, rows: Rows) -> Slide | Whole:
    source, target = operator.inputs[0], operator.outputs[0]
    assert source is not None
    bounds = operator.inputs[1:4]
    rank = len(source.shape)
    if operator.options is None or any(t is None or t.data is None or t.data.shape != (rank,) for t in bounds):
        return Whole("has bounds that are not constant")
    begin, end, step = (np.array(t.data, np.int64) for t in bounds if t is not None and t.data is not None)
    masks = [operator.options.integer(field) for field in range(5)]
    if masks[2] or masks[3]:
        return Whole("has bounds with an ellipsis or a new dimension")
    axis = rows.axis
    stride = int(step[axis])
    if stride < 1:
        return Whole("runs backwards in time")

    def bound(value: int) -> int:
        return min(max(value + rows.total if value < 0 else value, 0), rows.total)

    first = 0 if masks[0] >> axis & 1 else bound(int(begin[axis]))
    last = rows.total if masks[1] >> axis & 1 else bound(int(end[axis]))
    if masks[4] >> axis & 1:
        last = first + 1
    total = -(-(last - first) // stride)
    if total < 1:
        return Whole("takes nothing")
    if total > 1 and time_axis(target.shape) >= len(target.shape):
        return Whole(ANOTHER)

    def adapt(changed: Operator, count: int) -> Operator:
        begin[axis], end[axis] = 0, count
        return with_constant(with_constant(changed, 1, begin.astype(np.int32)), 2, end.astype(np.int32))

    out_axis = time_axis(target.shape) if total > 1 else axis
    if total > 1 and target.shape[out_axis] != total:
        return Whole(ANOTHER)
    return Slide(total, out_axis, stride, offset=first, adapt=adapt)


def with_constant(operator: Operator, number: int, values: np.ndarray) -> Operator:
    """The operator with other values in a constant input."""
    tensor = operator.inputs[number]
    assert tensor is not None and tensor.data is not None
    changed: Tensor = replace(tensor, data=values.astype(tensor.data.dtype), shape=values.shape)
    return replace(operator, inputs=[changed if n == number else t for n, t in enumerate(operator.inputs)])


FLAT = {"RESHAPE", "QUANTIZE", "RELU", "RELU6", "LOGISTIC", "TANH", "LEAKY_RELU", "HARD_SWISH"}
RULES: dict[str, Rule] = {
    **dict.fromkeys(["CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"], _window),
    **dict.fromkeys(["ADD", "SUB", "MUL"], _elementwise),
    **dict.fromkeys(["RESHAPE", "SQUEEZE", "EXPAND_DIMS"], _reshape),
    **dict.fromkeys(["QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"], local),
    **dict.fromkeys(["LOGISTIC", "TANH", "HARD_SWISH"], local),
    "FULLY_CONNECTED": _fully_connected,
    "SOFTMAX": _softmax,
    "MEAN": _mean,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenation,
    "SPLIT": _split(0, 1),
    "SPLIT_V": _split(2, 0),
    "PAD": _pad,
    "STRIDED_SLICE": _strided_slice,
}
