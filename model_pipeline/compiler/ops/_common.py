"""What the operators' modules share: reading options, inputs and windows, each checked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model_pipeline.compiler.flatbuffer import Table
from model_pipeline.compiler.ir import DTYPES, Constant, Operator, Tensor, check_quantized
from model_pipeline.compiler.quant import multiplier_of

SAME, VALID = 0, 1
LIMIT = 1 << 15  # of strides, dilations and window sides


def options(operator: Operator, kind: int) -> Table:
    """The operator's options table, which must be of union type ``kind`` (enum BuiltinOptions)."""
    if operator.options is None or operator.options_type != kind:
        raise operator.error("its options are missing or of another operator")
    return operator.options


def arity(operator: Operator, inputs: tuple[int, ...], outputs: int = 1) -> None:
    """Refuses an operator with another number of inputs or outputs."""
    if len(operator.inputs) not in inputs or len(operator.outputs) != outputs:
        found = f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs"
        raise operator.error(f"{found}; {' or '.join(map(str, inputs))} and {outputs} are expected")


def given(operator: Operator, number: int) -> Tensor:
    """Input ``number``, which must not be left out."""
    tensor = operator.inputs[number] if number < len(operator.inputs) else None
    if tensor is None:
        raise operator.error(f"input {number} is missing")
    return tensor


def quantized_pair(operator: Operator) -> tuple[Tensor, Tensor]:
    """Input 0 and output 0, both int8 with one scale."""
    source, target = given(operator, 0), operator.outputs[0]
    check_quantized(source, "input", operator)
    check_quantized(target, "output", operator)
    return source, target


def constant(operator: Operator, number: int, types: tuple[str, ...]) -> np.ndarray:
    """The value of a constant input of one of ``types``."""
    tensor = given(operator, number)
    if tensor.data is None:
        raise operator.error(f"input {number} ({tensor.name!r}) must be a constant")
    if tensor.type not in types:
        raise operator.error(f"input {number} ({tensor.name!r}) is {tensor.type}; known here: {', '.join(types)}")
    return tensor.data


def element_bytes(operator: Operator, tensor: Tensor) -> int:
    """Of a tensor that is only moved: any type of whole bytes."""
    if tensor.type not in DTYPES:
        raise operator.error(f"{tensor.name!r} is {tensor.type}, which the compiler does not know")
    return DTYPES[tensor.type].itemsize


def shape4(operator: Operator, tensor: Tensor, what: str) -> tuple[int, int, int, int]:
    """The shape of an NHWC tensor."""
    if len(tensor.shape) != 4:
        raise operator.error(f"{what} {tensor.name!r} has shape {list(tensor.shape)}; four dimensions are expected")
    return tensor.shape  # type: ignore[return-value]


def expect_shape(operator: Operator, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuses an output whose recorded shape is not the computed one."""
    if tensor.shape != shape:
        raise operator.error(f"output has shape {list(tensor.shape)} where {list(shape)} is computed")


def positive(operator: Operator, value: int, what: str) -> int:
    """A stride, dilation or side of a window."""
    if not 1 <= value <= LIMIT:
        raise operator.error(f"{what} is {value}; 1 to {LIMIT} is possible")
    return value


class Window(NamedTuple):
    """Output length and padding in front along one dimension."""

    out: int
    pad: int


def window(operator: Operator, padding: int, length: int, kernel: int, stride: int, dilation: int = 1) -> Window:
    """How a window slides along one dimension of ``length`` elements (SAME or VALID)."""
    span = (kernel - 1) * dilation + 1
    if padding == SAME:
        out = -(-length // stride)
        return Window(out, max(0, ((out - 1) * stride + span - length)) // 2)
    if padding == VALID:
        if span > length:
            raise operator.error(f"a window of {span} does not fit into {length} elements without padding")
        return Window((length - span) // stride + 1, 0)
    raise operator.error(f"padding {padding} is not known")


def bias_of(operator: Operator, number: int, channels: int) -> np.ndarray | None:
    """The int32 bias [channels], None if it is left out."""
    if number >= len(operator.inputs) or operator.inputs[number] is None:
        return None
    values = constant(operator, number, ("INT32",))
    if values.shape != (channels,):
        raise operator.error(f"bias has shape {list(values.shape)} for {channels} output channels")
    return values


def weights_of(operator: Operator, axis: int) -> np.ndarray:
    """Constant symmetric int8 weights with one scale, or one for each index of ``axis``."""
    values = constant(operator, 1, ("INT8",))
    tensor = given(operator, 1)
    if len(tensor.scales) == 0 or np.any(tensor.zero_points != 0):
        raise operator.error(f"weights {tensor.name!r} must have scales and zero points of 0")
    if len(tensor.scales) > 1 and (tensor.axis != axis or len(tensor.scales) != values.shape[axis]):
        raise operator.error(f"weights {tensor.name!r} must have one scale, or one for each index of dimension {axis}")
    return values


def channel_multipliers(operator: Operator, channels: int) -> tuple[Constant, Constant]:
    """Multiplier and shift of each output channel, from the scales of input, weights and output (in double)."""
    source, weights, target = given(operator, 0), given(operator, 1), operator.outputs[0]
    scales = np.broadcast_to(weights.scales, (channels,)).astype(np.float64)
    pairs = [multiplier_of(operator, float(source.scale) * float(s) / float(target.scale)) for s in scales]
    return multiplier_tables(pairs)


def multiplier_tables(pairs: list[tuple[int, int]]) -> tuple[Constant, Constant]:
    """Constants for a list of (multiplier, shift)."""
    return (
        Constant("multiplier", np.array([m for m, _ in pairs], np.int32), "int32_t"),
        Constant("shift", np.array([s for _, s in pairs], np.int8), "int8_t"),
    )


def check_accumulator(operator: Operator, weights: np.ndarray, bias: np.ndarray | None, zero_point: int) -> None:
    """Proves that no int32 accumulator can overflow. ``weights``: [channels, products]."""
    largest = max(127 - zero_point, 128 + zero_point)
    bound = np.abs(weights.astype(np.int64)).sum(axis=1) * largest
    if bias is not None:
        bound += np.abs(bias.astype(np.int64))
    if bound.size and bound.max() >= 1 << 31:
        raise operator.error(f"the 32-bit sum of output channel {int(bound.argmax())} can overflow")


def bias_param(bias: np.ndarray | None) -> Constant | int:
    """The bias as a parameter of a kernel; 0 is the null pointer."""
    return 0 if bias is None else Constant("bias", bias.astype(np.int32), "int32_t")
