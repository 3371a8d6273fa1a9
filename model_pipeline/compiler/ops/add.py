"""ADD of two int8 tensors of up to four dimensions, with broadcasting; either may be a constant."""

from __future__ import annotations

import numpy as np

from model_pipeline.compiler.ir import Call, Operator, Tensor, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range, multiplier_of

CODE = 0
RESOLVER = "AddAdd"
HEADROOM = 20


def lower(operator: Operator) -> Call:
    """Both operands are brought to twice the larger scale with `HEADROOM` more bits, added, and brought to the
    output's scale."""
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
    twice = 2 * float(max(first.scale, second.scale))
    m1, s1 = multiplier_of(operator, float(first.scale) / twice)
    m2, s2 = multiplier_of(operator, float(second.scale) / twice)
    out_m, out_s = multiplier_of(operator, twice / ((1 << HEADROOM) * float(target.scale)))
    if out_s > 0:
        raise operator.error("impossible quantisation: the output's scale is far below the operands'")
    return Call(
        operator,
        "kws_nn_add",
        "kws_nn_add_t",
        {
            "dims": [1] * (4 - len(shape)) + list(shape),
            "stride1": _strides(first, shape), "stride2": _strides(second, shape),
            "zero_point1": first.zero_point, "zero_point2": second.zero_point, "out_zero_point": target.zero_point,
            "act_min": low, "act_max": high,
            "multiplier1": m1, "shift1": s1, "multiplier2": m2, "shift2": s2,
            "out_multiplier": out_m, "out_shift": out_s,
        },
        [first, second],
        [target],
        in_place=[(n, 0) for n, tensor in enumerate((first, second)) if tensor.shape == target.shape],
    )  # fmt: skip


def _strides(tensor: Tensor, shape: tuple[int, ...]) -> list[int]:
    """Element strides in four dimensions, 0 where the tensor is broadcast."""
    strides, step = [0, 0, 0, 0], 1
    for back in range(1, len(tensor.shape) + 1):
        if tensor.shape[-back] != 1:
            strides[4 - back] = step
        step *= tensor.shape[-back]
    return strides
