"""AVERAGE_POOL_2D and MAX_POOL_2D. As in TFLite Micro, no change of scale is made."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range


def _lower(operator: Operator, function: str) -> Call:
    c.arity(operator, (1,))
    given = c.options(operator, 5)
    source, target = c.quantized_pair(operator)
    batches, in_h, in_w, channels = c.shape4(operator, source, "input")
    stride_w = c.positive(operator, given.integer(1), "stride_w")
    stride_h = c.positive(operator, given.integer(2), "stride_h")
    k_w = c.positive(operator, given.integer(3), "filter_width")
    k_h = c.positive(operator, given.integer(4), "filter_height")
    padding = given.integer(0, "b")
    rows = c.window(operator, padding, in_h, k_h, stride_h)
    columns = c.window(operator, padding, in_w, k_w, stride_w)
    c.expect_shape(operator, target, (batches, rows.out, columns.out, channels))
    low, high = activation_range(operator, given.integer(5, "b"), target)
    return Call(
        operator,
        function,
        "kws_nn_pool_t",
        {
            "batches": batches, "in_h": in_h, "in_w": in_w, "channels": channels,
            "out_h": rows.out, "out_w": columns.out, "k_h": k_h, "k_w": k_w,
            "stride_h": stride_h, "stride_w": stride_w, "pad_h": rows.pad, "pad_w": columns.pad,
            "act_min": low, "act_max": high,
        },
        [source],
        [target],
    )  # fmt: skip


def lower_average(operator: Operator) -> Call:
    """The mean over a window."""
    return _lower(operator, "kws_nn_average_pool_2d")


def lower_max(operator: Operator) -> Call:
    """The maximum over a window."""
    return _lower(operator, "kws_nn_max_pool_2d")


OPERATORS = [(1, "AddAveragePool2D", lower_average), (17, "AddMaxPool2D", lower_max)]
