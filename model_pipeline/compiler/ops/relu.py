"""RELU and RELU6 as operators of their own."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import INT8_MAX, INT8_MIN, multiplier_of, quantized_value


def lower_relu(operator: Operator) -> Call:
    """max(x, 0), with a change of scale."""
    c.arity(operator, (1,))
    source, target = c.quantized_pair(operator)
    c.expect_shape(operator, target, source.shape)
    multiplier, shift = multiplier_of(operator, float(source.scale) / float(target.scale))
    return Call(
        operator,
        "kws_nn_rescale",
        "kws_nn_rescale_t",
        {
            "size": source.size, "in_zero_point": source.zero_point, "out_zero_point": target.zero_point,
            "multiplier": multiplier, "shift": shift,
            "act_min": max(INT8_MIN, target.zero_point), "act_max": INT8_MAX,
        },
        [source],
        [target],
        in_place=[(0, 0)],
    )  # fmt: skip


def lower_relu6(operator: Operator) -> Call:
    """min(max(x, 0), 6) without a change of scale: TFLite Micro takes the input's for both."""
    c.arity(operator, (1,))
    source, target = c.quantized_pair(operator)
    c.expect_shape(operator, target, source.shape)
    six = quantized_value(operator, 6.0, source)
    return Call(
        operator,
        "kws_nn_clamp",
        "kws_nn_clamp_t",
        {"size": source.size, "act_min": source.zero_point, "act_max": min(INT8_MAX, six)},
        [source],
        [target],
        in_place=[(0, 0)],
    )


OPERATORS = [(19, "AddRelu", lower_relu), (21, "AddRelu6", lower_relu6)]
