"""ADD and SUB of two int8 tensors."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator, Params
from model_pipeline.compiler.ops._broadcast import operands
from model_pipeline.compiler.quant import multiplier_of

HEADROOM = 20


def _lower(operator: Operator, function: str) -> Call:
    """Both operands are brought to twice the larger scale with `HEADROOM` more bits, added or subtracted, and brought
    to the output's scale. The scales' ratios are computed in double."""
    given = operands(operator)
    first, second = float(given.first.scale), float(given.second.scale)
    twice = 2 * max(first, second)
    m1, s1 = multiplier_of(operator, first / twice)
    m2, s2 = multiplier_of(operator, second / twice)
    out_m, out_s = multiplier_of(operator, twice / ((1 << HEADROOM) * float(given.target.scale)))
    if out_s > 0:
        raise operator.error("impossible quantisation: the output's scale is far below the operands'")
    multipliers = {
        "multiplier1": m1, "shift1": s1, "multiplier2": m2, "shift2": s2,
        "out_multiplier": out_m, "out_shift": out_s,
    }  # fmt: skip
    params: Params = {**given.params, **multipliers}
    return Call(
        operator, function, "kws_nn_add_t", params, [given.first, given.second], [given.target], in_place=given.in_place
    )


def lower_add(operator: Operator) -> Call:
    """The sum."""
    return _lower(operator, "kws_nn_add")


def lower_sub(operator: Operator) -> Call:
    """The difference."""
    return _lower(operator, "kws_nn_sub")


OPERATORS = [(0, "AddAdd", lower_add), (41, "AddSub", lower_sub)]
