"""QUANTIZE between int8, uint8 and int16, and to int32."""

from __future__ import annotations

from model_pipeline.compiler import fixed_point as fp
from model_pipeline.compiler.ir import Call, Operator, Params, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.ops._table import table_call
from model_pipeline.compiler.quant import INT8_MAX, INT8_MIN, multiplier_of

CODE = 114
RESOLVER = "AddQuantize"
KNOWN = {
    ("INT8", "INT8"), ("INT8", "UINT8"), ("UINT8", "INT8"), ("INT8", "INT16"), ("INT16", "INT8"), ("INT16", "INT16"),
    ("INT8", "INT32"), ("INT16", "INT32"),
}  # fmt: skip


def lower(operator: Operator) -> Call:
    """The pairs of types that TFLite Micro knows too."""
    c.arity(operator, (1,))
    source, target = c.given(operator, 0), operator.outputs[0]
    c.expect_shape(operator, target, source.shape)
    if (source.type, target.type) not in KNOWN:
        raise operator.error(f"from {source.type} to {target.type} is not known")
    check_quantized(source, "input", operator, source.type)
    check_quantized(target, "output", operator, target.type)
    multiplier, shift = multiplier_of(operator, float(source.scale) / float(target.scale))
    zero, out_zero = source.zero_point, target.zero_point
    if "UINT8" in (source.type, target.type):
        return table_call(
            operator, source, target, lambda value: fp.requantize(value - zero, multiplier, shift) + out_zero
        )
    params: Params = {
        "size": source.size, "in_zero_point": zero, "out_zero_point": out_zero,
        "multiplier": multiplier, "shift": shift,
    }  # fmt: skip
    if source.type == target.type == "INT8":
        params |= {"act_min": INT8_MIN, "act_max": INT8_MAX}
        return Call(operator, "kws_nn_rescale", "kws_nn_rescale_t", params, [source], [target], in_place=[(0, 0)])
    function = f"kws_nn_quantize_{source.type.lower()}_{target.type.lower()}"
    in_place = [(0, 0)] if source.type == target.type else []
    return Call(operator, function, "kws_nn_quantize_t", params, [source], [target], in_place=in_place)
