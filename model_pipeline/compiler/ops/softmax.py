"""SOFTMAX, int8 to int8 or int16, over the last dimension."""

from __future__ import annotations

import math

from model_pipeline.compiler.ir import Call, Operator, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import multiplier_of

CODE = 25
RESOLVER = "AddSoftmax"
INTEGER_BITS = 5  # of the scaled difference to the maximum
MAX_DEPTH = 4095  # so that the sum of exponentials fits into 12 integer bits


def lower(operator: Operator) -> Call:
    """The output's scale and zero point must be those of TFLite Micro: all values from 0 to 1."""
    c.arity(operator, (1,))
    beta = c.options(operator, 9).real(0)
    source, target = c.given(operator, 0), operator.outputs[0]
    wide = target.type == "INT16"
    check_quantized(source, "input", operator)
    check_quantized(target, "output", operator, "INT16" if wide else "INT8")
    c.expect_shape(operator, target, source.shape)
    steps, zero = (65536, -32768) if wide else (256, -128)
    tolerance = 0.001 if wide else 0.0
    if abs(float(target.scale) * steps - 1) > tolerance or target.zero_point != zero:
        raise operator.error(f"output must have scale 1/{steps} and zero point {zero}")
    if not source.shape or source.shape[-1] > MAX_DEPTH:
        raise operator.error(f"input has shape {list(source.shape)}; at most {MAX_DEPTH} classes are known")
    if not (math.isfinite(beta) and beta > 0):
        raise operator.error(f"beta is {beta}")
    real = min(float(beta) * float(source.scale) * (1 << (31 - INTEGER_BITS)), float((1 << 31) - 1))
    if real <= 1:
        raise operator.error("impossible quantisation: the input's scale is too small")
    multiplier, shift = multiplier_of(operator, real)
    radius = ((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) // (1 << shift)
    return Call(
        operator,
        "kws_nn_softmax_int16" if wide else "kws_nn_softmax",
        "kws_nn_softmax_t",
        {
            "rows": source.size // source.shape[-1],
            "depth": source.shape[-1],
            "multiplier": multiplier,
            "left_shift": shift,
            "diff_min": -radius,
        },
        [source],
        [target],
        in_place=[] if wide else [(0, 0)],
    )
