"""LOGISTIC and TANH, int8 to int8."""

from __future__ import annotations

import math
from collections.abc import Callable

from model_pipeline.compiler import fixed_point as fp
from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.ops._table import table_call

INTEGER_BITS = 4  # of the input to the fixed-point function: beyond 2^4 both are flat


def _lower(operator: Operator, function: Callable[[int, int], int], fraction_bits: int, zero_point: int) -> Call:
    c.arity(operator, (1,))
    source, target = c.quantized_pair(operator)
    c.expect_shape(operator, target, source.shape)
    if float(target.scale) != 2.0**-fraction_bits or target.zero_point != zero_point:
        raise operator.error(f"output must have scale 1/{1 << fraction_bits} and zero point {zero_point}")
    fraction, shift = math.frexp(float(source.scale) * (1 << (31 - INTEGER_BITS)))
    if not 0 <= shift <= 30:
        raise operator.error("impossible quantisation: the input's scale is too small or too large")
    multiplier = int(fraction * (1 << 31))  # a float32 has 24 bits: nothing to round
    radius = ((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) // (1 << shift)

    def value(quantized: int) -> int:
        centred = quantized - source.zero_point
        if abs(centred) >= radius:
            return 127 if centred >= radius and centred > -radius else -128
        scaled = fp.requantize(centred, multiplier, shift)
        return fp.round_shift(function(scaled, INTEGER_BITS), 31 - fraction_bits) + zero_point

    return table_call(operator, source, target, value)


def lower_logistic(operator: Operator) -> Call:
    """1 / (1 + e^-x)."""
    return _lower(operator, fp.logistic, 8, -128)


def lower_tanh(operator: Operator) -> Call:
    """The hyperbolic tangent."""
    return _lower(operator, fp.tanh, 7, 0)


OPERATORS = [(14, "AddLogistic", lower_logistic), (28, "AddTanh", lower_tanh)]
