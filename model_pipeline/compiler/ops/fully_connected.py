"""FULLY_CONNECTED: scales a tensor or an output channel."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Constant, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import activation_range

CODE = 9
RESOLVER = "AddFullyConnected"


def lower(operator: Operator) -> Call:
    """Weights [out_c, in_c]; the input is taken as rows of in_c values."""
    c.arity(operator, (2, 3))
    given = c.options(operator, 8)
    if given.integer(1, "b") != 0:
        raise operator.error("shuffled weights are not known")
    source, target = c.quantized_pair(operator)
    weights = c.weights_of(operator, axis=0)
    if weights.ndim != 2:
        raise operator.error(f"weights have shape {list(weights.shape)}; two dimensions are expected")
    out_c, in_c = weights.shape
    if source.size % in_c:
        raise operator.error(f"{source.size} input values are not a multiple of {in_c}")
    batches = source.size // in_c
    if target.size != batches * out_c or target.shape[-1:] != (out_c,):
        raise operator.error(f"output has shape {list(target.shape)} where {batches} x {out_c} values are computed")
    bias = c.bias_of(operator, 2, out_c)
    c.check_accumulator(operator, weights, bias, source.zero_point)
    low, high = activation_range(operator, given.integer(0, "b"), target)
    multiplier, shift = c.channel_multipliers(operator, out_c)
    return Call(
        operator,
        "kws_nn_fully_connected",
        "kws_nn_fully_connected_t",
        {
            "batches": batches, "in_c": in_c, "out_c": out_c,
            "in_zero_point": source.zero_point, "out_zero_point": target.zero_point, "act_min": low, "act_max": high,
            "weights": Constant("weights", weights, "int8_t"),
            "bias": c.bias_param(bias), "multiplier": multiplier, "shift": shift,
        },
        [source],
        [target],
        macs=batches * out_c * in_c,
    )  # fmt: skip
