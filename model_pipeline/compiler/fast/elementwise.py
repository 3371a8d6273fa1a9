"""ADD and AVERAGE_POOL_2D."""

from __future__ import annotations

from dataclasses import replace

from model_pipeline.compiler.fast.layer import Goal, numbers
from model_pipeline.compiler.fast.linear_sum import linear_sum
from model_pipeline.compiler.ir import Call


def add(call: Call, goal: Goal) -> Call | None:
    """ADD of two activations of one shape, where one linear function is exact."""
    if call.inputs[0].shape != call.inputs[1].shape or any(t.data is not None for t in call.inputs):
        return None
    found = linear_sum({name: value for name, value in call.params.items() if isinstance(value, int)})
    if found is None:
        return None
    a, b, c = found
    return replace(
        call,
        function="kws_fast_add",
        params_type="kws_fast_add_t",
        params={"size": call.outputs[0].size, "a": a, "b": b, "c": c},
    )


def average_pool(call: Call, goal: Goal) -> Call | None:
    """AVERAGE_POOL_2D without padding whose sums fit 16 bits."""
    channels, k_h, k_w, pad_h, pad_w = numbers(call, "channels", "k_h", "k_w", "pad_h", "pad_w")
    in_h, in_w, out_h, out_w, stride_h, stride_w = numbers(
        call, "in_h", "in_w", "out_h", "out_w", "stride_h", "stride_w"
    )
    inside = (out_h - 1) * stride_h + k_h <= in_h and (out_w - 1) * stride_w + k_w <= in_w
    if channels % 4 or pad_h or pad_w or not inside or k_h * k_w > 255:
        return None
    return replace(call, function="kws_fast_average_pool")
