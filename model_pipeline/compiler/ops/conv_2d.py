"""CONV_2D: any stride, dilation, padding and group count; scales a tensor or a channel."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Constant, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range

CODE = 3
RESOLVER = "AddConv2D"


def lower(operator: Operator) -> Call:
    """Weights [out_c, k_h, k_w, in_c / groups]."""
    c.arity(operator, (2, 3))
    given = c.options(operator, 1)
    source, target = c.quantized_pair(operator)
    weights = c.weights_of(operator, axis=0)
    batches, in_h, in_w, in_c = c.shape4(operator, source, "input")
    if weights.ndim != 4:
        raise operator.error(f"weights have shape {list(weights.shape)}; four dimensions are expected")
    out_c, k_h, k_w, depth = weights.shape
    if in_c % depth or out_c % (in_c // depth):
        raise operator.error(f"{depth} weights a tap and {out_c} filters do not divide {in_c} input channels")
    stride_w = c.positive(operator, given.integer(1), "stride_w")
    stride_h = c.positive(operator, given.integer(2), "stride_h")
    dilation_w = c.positive(operator, given.integer(4, default=1), "dilation_w")
    dilation_h = c.positive(operator, given.integer(5, default=1), "dilation_h")
    padding = given.integer(0, "b")
    rows = c.window(operator, padding, in_h, k_h, stride_h, dilation_h)
    columns = c.window(operator, padding, in_w, k_w, stride_w, dilation_w)
    c.expect_shape(operator, target, (batches, rows.out, columns.out, out_c))
    bias = c.bias_of(operator, 2, out_c)
    c.check_accumulator(operator, weights.reshape(out_c, -1), bias, source.zero_point)
    low, high = activation_range(operator, given.integer(3, "b"), target)
    multiplier, shift = c.channel_multipliers(operator, out_c)
    return Call(
        operator,
        "kws_nn_conv_2d",
        "kws_nn_conv_t",
        {
            "batches": batches, "in_h": in_h, "in_w": in_w, "in_c": in_c,
            "out_h": rows.out, "out_w": columns.out, "out_c": out_c,
            "k_h": k_h, "k_w": k_w, "stride_h": stride_h, "stride_w": stride_w,
            "dilation_h": dilation_h, "dilation_w": dilation_w, "pad_h": rows.pad, "pad_w": columns.pad,
            "groups": in_c // depth,
            "in_zero_point": source.zero_point, "out_zero_point": target.zero_point, "act_min": low, "act_max": high,
            "weights": Constant("weights", weights, "int8_t"),
            "bias": c.bias_param(bias), "multiplier": multiplier, "shift": shift,
        },
        [source],
        [target],
        macs=target.size * k_h * k_w * depth,
    )  # fmt: skip
