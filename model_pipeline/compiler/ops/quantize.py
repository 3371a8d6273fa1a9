"""QUANTIZE from int8 to int8: a change of scale."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import INT8_MAX, INT8_MIN, multiplier_of

CODE = 114
RESOLVER = "AddQuantize"


def lower(operator: Operator) -> Call:
    """Other types are refused."""
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
            "multiplier": multiplier, "shift": shift, "act_min": INT8_MIN, "act_max": INT8_MAX,
        },
        [source],
        [target],
        in_place=[(0, 0)],
    )  # fmt: skip
