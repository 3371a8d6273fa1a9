"""PAD of up to four dimensions with the output's zero point."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c

CODE = 34
RESOLVER = "AddPad"


def lower(operator: Operator) -> Call:
    """Input 1 is [rank, 2]: how many before and after."""
    c.arity(operator, (2,))
    source, target = c.quantized_pair(operator)
    rank = len(source.shape)
    if not 1 <= rank <= 4:
        raise operator.error(f"input has {rank} dimensions; 1 to 4 are known")
    pads = c.constant(operator, 1, ("INT32", "INT64"))
    if pads.shape != (rank, 2) or (pads < 0).any() or (pads > 1 << 26).any():
        raise operator.error(f"paddings of shape {list(pads.shape)} must be [{rank}, 2] and not negative")
    c.expect_shape(operator, target, tuple(n + int(a) + int(b) for n, (a, b) in zip(source.shape, pads, strict=True)))
    if source.scale != target.scale or source.zero_point != target.zero_point:
        raise operator.error("input and output must have the same scale and zero point")
    front = [0] * (4 - rank)
    return Call(
        operator,
        "kws_nn_pad",
        "kws_nn_pad_t",
        {
            "in_dims": [1] * (4 - rank) + list(source.shape),
            "before": front + [int(v) for v in pads[:, 0]],
            "after": front + [int(v) for v in pads[:, 1]],
            "value": target.zero_point,
        },
        [source],
        [target],
    )
