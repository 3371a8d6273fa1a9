"""Element-wise operators of two int8 tensors of up to four dimensions, with broadcasting; either may be a constant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model_pipeline.compiler.ir import Operator, Params, Tensor, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range


class Operands(NamedTuple):
    """The tensors, the parameters that all such kernels have, and which operand may be written over."""

    first: Tensor
    second: Tensor
    target: Tensor
    params: Params
    in_place: list[tuple[int, int]]


def operands(operator: Operator) -> Operands:
    """Checks the operator; its fused activation is field 0 of its options."""
    c.arity(operator, (2,))
    first, second, target = c.given(operator, 0), c.given(operator, 1), operator.outputs[0]
    for tensor in (first, second, target):
        check_quantized(tensor, "operand" if tensor is not target else "output", operator)
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError as error:
        raise operator.error(f"shapes {list(first.shape)} and {list(second.shape)} do not broadcast") from error
    if len(shape) > 4:
        raise operator.error(f"operands have {len(shape)} dimensions; at most 4 are known")
    c.expect_shape(operator, target, shape)
    activation = operator.options.integer(0, "b") if operator.options is not None else 0
    low, high = activation_range(operator, activation, target)
    params: Params = {
        "dims": [1] * (4 - len(shape)) + list(shape),
        "stride1": _strides(first), "stride2": _strides(second),
        "zero_point1": first.zero_point, "zero_point2": second.zero_point, "out_zero_point": target.zero_point,
        "act_min": low, "act_max": high,
    }  # fmt: skip
    in_place = [(n, 0) for n, tensor in enumerate((first, second)) if tensor.shape == target.shape]
    return Operands(first, second, target, params, in_place)


def _strides(tensor: Tensor) -> list[int]:
    """Element strides in four dimensions, 0 where the tensor is broadcast."""
    strides, step = [0, 0, 0, 0], 1
    for back in range(1, len(tensor.shape) + 1):
        if tensor.shape[-back] != 1:
            strides[4 - back] = step
        step *= tensor.shape[-back]
    return strides
