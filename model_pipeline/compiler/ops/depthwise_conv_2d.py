"""DEPTHWISE_CONV_2D: any stride, dilation, padding and depth multiplier; scales a tensor or a channel."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Constant, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range

CODE = 4
RESOLVER = "AddDepthwiseConv2D"


def lower(operator: Operator) -> Call:
    """Weights [1, k_h, k_w, out_c]. The depth multiplier follows from the shapes, as in TFLite Micro."""
    c.arity(operator, (2, 3))
    given = c.options(operator, 2)
    source, target = c.quantized_pair(operator)
    weights = c.weights_of(operator, axis=3)
    batches, in_h, in_w, in_c = c.shape4(operator, source, "input")
    if weights.ndim != 4 or weights.shape[0] != 1:
        raise operator.error(f"weights have shape {list(weights.shape)}; [1, height, width, channels] is expected")
    _, k_h, k_w, out_c = weights.shape
    if out_c % in_c:
        raise operator.error(f"{out_c} output channels are not a multiple of {in_c} input channels")
    stride_w = c.positive(operator, given.integer(1), "stride_w")
    stride_h = c.positive(operator, given.integer(2), "stride_h")
    dilation_w = c.positive(operator, given.integer(5, default=1), "dilation_w")
    dilation_h = c.positive(operator, given.integer(6, default=1), "dilation_h")
    if given.integer(3) != out_c // in_c:
        raise operator.error(f"depth multiplier {given.integer(3)} where the shapes say {out_c // in_c}")
    padding = given.integer(0, "b")
    rows = c.window(operator, padding, in_h, k_h, stride_h, dilation_h)
    columns = c.window(operator, padding, in_w, k_w, stride_w, dilation_w)
    c.expect_shape(operator, target, (batches, rows.out, columns.out, out_c))
    bias = c.bias_of(operator, 2, out_c)
    c.check_accumulator(operator, weights.reshape(-1, out_c).T, bias, source.zero_point)
    low, high = activation_range(operator, given.integer(4, "b"), target)
    multiplier, shift = c.channel_multipliers(operator, out_c)
    return Call(
        operator,
        "kws_nn_depthwise_conv_2d",
        "kws_nn_conv_t",
        {
            "batches": batches, "in_h": in_h, "in_w": in_w, "in_c": in_c,
            "out_h": rows.out, "out_w": columns.out, "out_c": out_c,
            "k_h": k_h, "k_w": k_w, "stride_h": stride_h, "stride_w": stride_w,
            "dilation_h": dilation_h, "dilation_w": dilation_w, "pad_h": rows.pad, "pad_w": columns.pad,
            "groups": in_c,
            "in_zero_point": source.zero_point, "out_zero_point": target.zero_point, "act_min": low, "act_max": high,
            "weights": Constant("weights", weights, "int8_t"),
            "bias": c.bias_param(bias), "multiplier": multiplier, "shift": shift,
        },
        [source],
        [target],
        macs=target.size * k_h * k_w,
    )  # fmt: skip
