"""LEAKY_RELU, int8 to int8."""

from __future__ import annotations

import math

from model_pipeline.compiler import fixed_point as fp
from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.ops._table import table_call
from model_pipeline.compiler.quant import multiplier_of

CODE = 98
RESOLVER = "AddLeakyRelu"


def lower(operator: Operator) -> Call:
    """x, or alpha * x below zero. The multipliers are made from ratios in double."""
    c.arity(operator, (1,))
    alpha = c.options(operator, 75).real(0)
    source, target = c.quantized_pair(operator)
    c.expect_shape(operator, target, source.shape)
    if not math.isfinite(alpha):
        raise operator.error(f"alpha is {alpha}")
    identity = multiplier_of(operator, float(source.scale) / float(target.scale))
    slope = float(source.scale) * alpha / float(target.scale)
    multiplier, shift = multiplier_of(operator, abs(slope))
    leaky = (multiplier if slope >= 0 else -multiplier), shift

    def value(quantized: int) -> int:
        centred = quantized - source.zero_point
        return fp.wrap(fp.requantize(centred, *(identity if centred >= 0 else leaky)) + target.zero_point)

    return table_call(operator, source, target, value)
