"""SVDF with int8 activations, its state and weights along time of int8 or int16."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Constant, Operator, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import multiplier_of

CODE = 27
RESOLVER = "AddSvdf"
LIMITS = {"INT8": 255, "INT16": 65535}  # of a state's value without its zero point


def lower(operator: Operator) -> Call:
    """Inputs: values [batch, channels], weights of the channels [filters, channels] and along time [filters, memory],
    bias [units] and the state, a variable. As in TFLite Micro, a fused activation is what the output's zero point
    makes of it."""
    c.arity(operator, (5,))
    rank = c.positive(operator, c.options(operator, 6).integer(0), "rank")
    source, target = c.quantized_pair(operator)
    features, weights = c.given(operator, 1), c.given(operator, 2)
    state = c.given(operator, 4)
    if state.type not in LIMITS or weights.type != state.type:
        raise operator.error(f"a state of {state.type} and weights of {weights.type} are not known together")
    if not state.is_variable or state.data is not None:
        raise operator.error(f"its state {state.name!r} must be a variable")
    for tensor, kind in ((features, "INT8"), (weights, weights.type), (state, state.type)):
        check_quantized(tensor, "state" if tensor is state else "weights", operator, kind)
    by_channel, by_time = c.constant(operator, 1, ("INT8",)), c.constant(operator, 2, ("INT8", "INT16"))
    if len(source.shape) != 2 or by_channel.ndim != 2 or by_time.ndim != 2:
        raise operator.error("input and weights of two dimensions are expected")
    batches, in_c = source.shape
    filters, memory = by_time.shape
    if by_channel.shape != (filters, in_c) or filters % rank:
        raise operator.error(f"weights {list(by_channel.shape)} and {list(by_time.shape)} of rank {rank} do not fit")
    units = filters // rank
    c.expect_shape(operator, target, (batches, units))
    if state.size != batches * filters * memory:
        raise operator.error(f"a state of {state.size} values where {batches * filters * memory} are needed")
    if features.zero_point != 0 or weights.zero_point != 0:
        raise operator.error("weights must have zero points of 0")
    bias = c.bias_of(operator, 3, units)
    if bias is None:
        raise operator.error("it has no bias, which TFLite Micro does not know either")
    c.check_accumulator(operator, by_channel, None, source.zero_point)
    # Of what a unit sums up: its filters' products with the state, and the bias.
    largest = abs(by_time.astype("int64")).reshape(units, -1).sum(axis=1) * LIMITS[state.type] + abs(
        bias.astype("int64")
    )
    if largest.max(initial=0) >= 1 << 31:
        raise operator.error(f"the 32-bit sum of unit {int(largest.argmax())} can overflow")
    feature_m, feature_s = multiplier_of(operator, float(source.scale) * float(features.scale) / float(state.scale))
    multiplier, shift = multiplier_of(operator, float(state.scale) * float(weights.scale) / float(target.scale))
    state.keeps = True
    return Call(
        operator,
        "kws_nn_svdf8" if state.type == "INT8" else "kws_nn_svdf16",
        "kws_nn_svdf_t",
        {
            "batches": batches, "in_c": in_c, "units": units, "rank": rank, "memory": memory,
            "in_zero_point": source.zero_point, "state_zero_point": state.zero_point,
            "out_zero_point": target.zero_point,
            "feature_multiplier": feature_m, "feature_shift": feature_s, "multiplier": multiplier, "shift": shift,
            "features": Constant("features", by_channel, "int8_t"),
            "time": Constant("time", by_time, "int8_t" if state.type == "INT8" else "int16_t"),
            "bias": c.bias_param(bias),
        },
        [source, state],
        [target],
        scratch=4 * units,
        macs=batches * filters * (in_c + memory),
    )  # fmt: skip
