"""MUL of two int8 tensors."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops._broadcast import operands
from model_pipeline.compiler.quant import multiplier_of

CODE = 18
RESOLVER = "AddMul"


def lower(operator: Operator) -> Call:
    """The product of the centred values, brought to the output's scale."""
    given = operands(operator)
    real = float(given.first.scale) * float(given.second.scale) / float(given.target.scale)
    multiplier, shift = multiplier_of(operator, real)
    return Call(
        operator,
        "kws_nn_mul",
        "kws_nn_mul_t",
        {**given.params, "multiplier": multiplier, "shift": shift},
        [given.first, given.second],
        [given.target],
        in_place=given.in_place,
    )
