"""HARD_SWISH, int8 to int8: x * relu6(x + 3) / 6, in 16-bit fixed point as in reference/hard_swish.h."""

from __future__ import annotations

from model_pipeline.compiler import fixed_point as fp
from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.ops._table import table_call
from model_pipeline.compiler.quant import multiplier_of

CODE = 117
RESOLVER = "AddHardSwish"


def lower(operator: Operator) -> Call:
    """The input has 7 more bits inside; the "relu-ish" factor has the scale 3 / 2^15."""
    c.arity(operator, (1,))
    source, target = c.quantized_pair(operator)
    c.expect_shape(operator, target, source.shape)
    fine = float(source.scale) / 128
    out_multiplier, out_exponent = _multiplier16(operator, fine / float(target.scale))
    relu_multiplier, relu_exponent = _multiplier16(operator, fine / (3 / 32768))
    if out_exponent > 0:
        raise operator.error("impossible quantisation: the output's scale is far below the input's")

    def value(quantized: int) -> int:
        x = (quantized - source.zero_point) * 128
        factor = x
        if relu_exponent > 0:
            factor = fp.saturate(factor << (relu_exponent - 1), 16)
        factor = fp.mul_high(factor, relu_multiplier, 16)
        if relu_exponent > 0:
            factor = fp.saturate(factor << 1, 16)
        elif relu_exponent < 0:
            factor = fp.round_shift(factor, -relu_exponent)
        factor = (factor + (1 << 15)) >> 1
        product = _mul_high_truncated(factor, fp.mul_high(x, out_multiplier, 16))
        return fp.round_shift(product, -out_exponent) + target.zero_point

    return table_call(operator, source, target, value)


def _multiplier16(operator: Operator, real: float) -> tuple[int, int]:
    multiplier, exponent = multiplier_of(operator, real)
    return ((1 << 15) - 1 if multiplier >= (1 << 31) - (1 << 15) else (multiplier + (1 << 15)) >> 16), exponent


def _mul_high_truncated(a: int, b: int) -> int:
    """a * b / 2^15, towards zero (SaturatingDoublingHighMul)."""
    product = a * b
    return fp.saturate(abs(product) >> 15 if product >= 0 else -(abs(product) >> 15), 16)
