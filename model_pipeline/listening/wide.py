"""One plan for many windows: a model whose every layer slides along time computes each column only once.

A model with unpadded convolutions along time gives, on an input that is ``n - 1`` frames longer, the results of ``n``
windows one hop apart: the same integer sums, so the same bits. Only the shapes of the graph change. With strides along
time, whose product is ``step``, the windows are ``step`` hops apart, and the plan runs once for each phase.
This is what makes an hour of audio a matter of seconds on the host, for every hop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from model_pipeline.compiler.ir import Graph, Operator, Tensor
from model_pipeline.compiler.ops import lower
from model_pipeline.compiler.passes.fold import fold
from model_pipeline.compiler.passes.place import place
from model_pipeline.compiler.passes.prune import prune
from model_pipeline.compiler.planner import plan
from model_pipeline.compiler.program import Program
from model_pipeline.compiler.reader import read_model

_VALID = 1  # enum Padding
_STRIDE_H = 2  # field of Conv2DOptions, DepthwiseConv2DOptions and Pool2DOptions
_FILTER_H = 4  # of Pool2DOptions
_DILATION_H = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6}
_KERNEL_AXIS = 1  # [out_c, k_h, k_w, in_c] and [1, k_h, k_w, out_c]
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_SLIDING = (*_DILATION_H, *_POOLS)
_EACH = ("SOFTMAX", "QUANTIZE", "RELU", "RELU6")  # value by value, or along the last dimension alone
_RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


class NotWide(Exception):
    """This model can't be run so; the text says why."""


@dataclass(frozen=True)
class Wide:
    """A program of input [1, frames + step * (windows - 1), …] and output [windows, labels], ``step`` hops apart."""

    program: Program
    step: int
    windows: int

    @property
    def hops(self) -> int:
        """Windows one hop apart that all phases together give."""
        return self.step * self.windows


def widen(tflite: bytes, frames: int, hops: int) -> Wide:
    """The plan that gives, over its phases, the outputs of the windows of about ``hops`` hops in a row (rounded down to
    a multiple of its step, but one window at least).

    Args:
        tflite: a model that `compile_model` takes, with ``frames`` in dimension 1 of its input.

    Raises:
        NotWide: an operator pads along time, mixes all of it, or is not known here.
    """
    graph = read_model(tflite)[0]
    operators = prune(graph)
    pace = _paces(graph, operators)
    step = max(pace.values())
    windows = max(1, hops // step)
    more = {tensor: (windows - 1) * step // frames_a_column for tensor, frames_a_column in pace.items()}
    length: dict[int, int] = {}  # id of a tensor: its columns along time for one window
    source = graph.inputs[0]
    if len(source.shape) < 3 or source.shape[:2] != (1, frames):
        raise NotWide(f"its input has shape {list(source.shape)}")
    length[id(source)] = frames
    _lengthen(source, 1, more[id(source)])
    for operator in operators:
        _widen(operator, length, more, windows)
    target = graph.outputs[0]
    if length.get(id(target)) != 1 or target.size != windows * target.shape[-1]:
        raise NotWide(f"its output of shape {list(target.shape)} is not a row for each window")
    return Wide(_program(graph, operators, tflite), step, windows)


def _paces(graph: Graph, operators: list[Operator]) -> dict[int, int]:
    """Frames from one column of a tensor to its next, by the tensor's id."""
    pace = {id(graph.inputs[0]): 1}
    for operator in operators:
        given: Any = operator.options
        moving = [t for t in operator.inputs if t is not None and id(t) in pace]
        strided = operator.name in _SLIDING
        for target in operator.outputs if moving else ():
            # A stride does no harm where a window gives one column.
            stride = given.integer(_STRIDE_H) if strided and target.shape[1] != 1 else 1
            pace[id(target)] = pace[id(moving[0])] * stride
    return pace


def _widen(operator: Operator, length: dict[int, int], more: dict[int, int], windows: int) -> None:
    moving = [t for t in operator.inputs if t is not None and id(t) in length]
    if not moving:
        raise NotWide(f"{operator.place} does not depend on the input")
    source, target = moving[0], operator.outputs[0]
    columns = length[id(source)]
    given: Any = operator.options
    if operator.name in _SLIDING:
        if operator.name in _POOLS:
            side, dilation = given.integer(_FILTER_H), 1
        else:
            weights = operator.inputs[1]
            assert weights is not None
            side, dilation = weights.shape[_KERNEL_AXIS], given.integer(_DILATION_H[operator.name], default=1)
        span, stride = (side - 1) * dilation + 1, given.integer(_STRIDE_H)
        out = (columns - span) // stride + 1
        if target.shape[1] != out or (given.integer(0, "b") != _VALID and side != 1):
            raise NotWide(f"{operator.place} pads along time")
        if stride != 1 and out == 1:
            operator.options = _Unstrided(given)  # type: ignore[assignment]
        _lengthen(target, 1, more[id(target)])
        length[id(target)] = out
    elif operator.name == "ADD":
        others = [t for t in operator.inputs if t is not None and t is not source]
        same = all(length.get(id(t)) == columns or (t.data is not None and _still(t)) for t in others)
        if not same or len(target.shape) < 3 or target.shape[1] != columns:
            raise NotWide(f"{operator.place} adds what moves differently")
        _lengthen(target, 1, more[id(target)])
        length[id(target)] = columns
    elif operator.name in _EACH:
        target.shape = source.shape
        length[id(target)] = columns
    elif operator.name in _RESHAPES:
        if len(target.shape) >= 3 and target.shape[:2] == (1, columns):
            _lengthen(target, 1, more[id(target)])
        elif columns == 1 and target.shape[0] == 1:
            _lengthen(target, 0, windows - 1)  # a row for each window
        else:
            raise NotWide(f"{operator.place} mixes time with something else")
        length[id(target)] = columns
    elif operator.name == "FULLY_CONNECTED" and columns == 1 and len(target.shape) == 2 and source.size % windows == 0:
        _lengthen(target, 0, windows - 1)
        length[id(target)] = 1
    else:
        raise NotWide(f"{operator.place} is not known to slide along time")


def _lengthen(tensor: Tensor, axis: int, more: int) -> None:
    shape = list(tensor.shape)
    shape[axis] += more
    tensor.shape = tuple(shape)


def _still(tensor: Tensor) -> bool:
    """Whether a constant is the same for all times (where it is broadcast, or one column)."""
    return len(tensor.shape) < 3 or tensor.shape[-3] == 1


def _program(graph: Graph, operators: list[Operator], tflite: bytes) -> Program:
    calls = fold([lower(operator) for operator in operators])
    placement = place(graph, calls)
    return Program(graph, calls, placement, plan(placement.memories), hashlib.sha256(tflite).hexdigest()[:16])


class _Unstrided:
    """The options of a pooling or convolution over all of the window, with stride 1 along time."""

    def __init__(self, options: Any) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)

    def integer(self, field: int, kind: str = "i", default: int = 0) -> int:
        """As `Table.integer`."""
        return 1 if field == _STRIDE_H else self._options.integer(field, kind, default)
