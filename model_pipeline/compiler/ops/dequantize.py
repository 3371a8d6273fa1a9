"""DEQUANTIZE of int8, uint8 and int16 to float32."""

from __future__ import annotations

from model_pipeline.compiler.ir import DTYPES, Call, Operator, check_quantized
from model_pipeline.compiler.ops import _common as c

CODE = 6
RESOLVER = "AddDequantize"


def lower(operator: Operator) -> Call:
    """scale * (x - zero point)."""
    c.arity(operator, (1,))
    source, target = c.given(operator, 0), operator.outputs[0]
    if source.type not in ("INT8", "UINT8", "INT16") or target.type != "FLOAT32":
        raise operator.error(f"from {source.type} to {target.type} is not known")
    check_quantized(source, "input", operator, source.type)
    c.expect_shape(operator, target, source.shape)
    return Call(
        operator,
        "kws_nn_dequantize",
        "kws_nn_dequantize_t",
        {
            "size": source.size,
            "in_bytes": DTYPES[source.type].itemsize,
            "is_signed": int(source.type != "UINT8"),
            "zero_point": source.zero_point,
            "scale_bits": int(source.scale.view("u4")),
        },
        [source],
        [target],
    )
