"""CONV_2D and FULLY_CONNECTED as matrix products, and DEPTHWISE_CONV_2D of a single channel."""

from __future__ import annotations

import numpy as np

from model_pipeline.compiler.fast import pack
from model_pipeline.compiler.fast.layer import Goal, Sums, array, limits, numbers, sums
from model_pipeline.compiler.fast.requantize import times_256
from model_pipeline.compiler.ir import Call, Constant

MAX_DENSE = 1024  # values of a row: four bytes of scratch for each two of them
MAX_BANDED = 24  # wider rows lose little by a last tile of one or two positions


def runs(call: Call, goal: Goal) -> Call | None:
    """CONV_2D whose windows are runs of consecutive input values at equal steps."""
    p = call.params
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w = numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w"
    )
    stride_h, stride_w, dilation_h, dilation_w = numbers(call, "stride_h", "stride_w", "dilation_h", "dilation_w")
    if p["groups"] != 1 or p["pad_h"] or p["pad_w"] or (out_h - 1) * stride_h + (k_h - 1) * dilation_h >= in_h:
        return None
    # Windows as wide as the input are one run; narrower ones only if they are one row high.
    if k_h > 1 and (k_w != in_w or dilation_h > 1):
        return None
    if (k_w > 1 and dilation_w > 1) or (out_w - 1) * stride_w + (k_w - 1) * dilation_w >= in_w:
        return None
    if out_w == 1 and (batches == 1 or out_h * stride_h == in_h):
        step = stride_h * in_w * in_c
    elif (out_h == 1 and batches == 1) or (out_w * stride_w == in_w and stride_h == 1):
        step = stride_w * in_c
    else:
        return None
    return _matrix(call, array(call, "weights").reshape(out_c, -1), batches * out_h * out_w, step, goal)


def fully_connected(call: Call, goal: Goal) -> Call | None:
    """FULLY_CONNECTED whose rows, as int16, fit into a little scratch memory."""
    batches, in_c = numbers(call, "batches", "in_c")
    if in_c > MAX_DENSE:
        return None
    return _matrix(call, array(call, "weights"), batches, in_c, goal)


def _matrix(call: Call, weights: np.ndarray, positions: int, step: int, goal: Goal) -> Call | None:
    layer = sums(call, weights)
    if layer is None:
        return None
    out_c, k = weights.shape
    order = pack.quad_order(k)
    suffix, packed, order = _packed(call, layer, order, goal)
    return Call(
        call.operator,
        f"kws_fast_matrix{suffix}",
        "kws_fast_matrix_t",
        {
            "positions": positions, "k": k, "pairs": len(order), "out_c": out_c, "in_step": step,
            "limits": limits(call), "packed": packed,
        },
        call.inputs,
        call.outputs,
        scratch=4 * min(positions, 3) * len(order),
        macs=call.macs,
        in_place=[(0, 0)] if k <= step and out_c <= step else [],
    )  # fmt: skip


def _packed(call: Call, layer: Sums, order: np.ndarray, goal: Goal) -> tuple[str, Constant, np.ndarray]:
    """End of the kernel's name, constants, and the order with the padding that the format needs."""
    kind = layer.requantization.kind
    if goal == "size":
        odd = times_256(layer.requantization, numbers(call, "out_zero_point")[0], layer.bound)
        if odd is not None:
            table = layer.requantization.table.copy()
            table[1::2] = odd[1::2]
            # Three positions take two pairs before the loop and at least two in it.
            longer = np.concatenate([order, np.full((max(0, 4 - len(order)), 2), -1)])
            values = pack.matrix8(layer.weights, layer.bias, table, longer)
            if values is not None:
                return f"8_{kind}", Constant("packed", values, "int32_t"), longer
    values = pack.matrix16(layer.weights, layer.bias, layer.requantization.table, order)
    return f"16_{kind}", Constant("packed", values, "int32_t"), order


def windows(call: Call, goal: Goal) -> Call | None:
    """CONV_2D of any window without dilation."""
    if call.params["groups"] != 1:
        return None
    return _rows(call, array(call, "weights").reshape(numbers(call, "out_c")[0], -1), goal)


def one_channel_depthwise(call: Call, goal: Goal) -> Call | None:
    """DEPTHWISE_CONV_2D of one input channel is a CONV_2D."""
    if call.params["in_c"] != 1:
        return None
    weights = array(call, "weights")
    return _rows(call, weights.reshape(-1, weights.shape[-1]).T, goal)


def _rows(call: Call, weights: np.ndarray, goal: Goal) -> Call | None:
    """``weights``: int8 [out_c, k_h * k_w * in_c]."""
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, zero = numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w", "in_zero_point"
    )
    stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w = numbers(
        call, "stride_h", "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w"
    )
    if (k_h > 1 and dilation_h > 1) or (k_w > 1 and dilation_w > 1):
        return None
    layer = sums(call, weights)
    if layer is None:
        return None
    run = k_w * in_c
    run_words = -(-run // 2)
    # The last window of a row ends here, in values from the row's start; so does the last padded pair.
    row = max(pad_w + in_w, (out_w - 1) * stride_w + k_w) * in_c
    row = max(row, (out_w - 1) * stride_w * in_c + 2 * run_words)
    row += row & 1
    rows = np.full((k_h, 2 * run_words), -1)
    rows[:, :run] = np.arange(k_h * run).reshape(k_h, run)
    order = rows.reshape(-1, 2)
    if len(order) % 2:
        order = np.concatenate([order, [[-1, -1]]])
    suffix, packed, order = _packed(call, layer, order, goal)
    band = 1 if out_w % 3 == 0 or out_w > MAX_BANDED else min(out_h, 3)
    held = (band - 1) * stride_h + k_h
    return Call(
        call.operator,
        f"kws_fast_conv{suffix}",
        "kws_fast_conv_t",
        {
            "matrix.pairs": len(order), "matrix.out_c": out_c, "matrix.limits": limits(call),
            "matrix.packed": packed,
            "batches": batches, "in_h": in_h, "in_line": in_w * in_c, "out_h": out_h, "out_w": out_w,
            "k_h": k_h, "stride_h": stride_h, "pad_h": pad_h, "band": band,
            "row": row, "row_pad": pad_w * in_c, "run_words": run_words, "step": stride_w * in_c,
            "in_zero_point": zero,
        },
        call.inputs,
        call.outputs,
        scratch=12 * len(order) + 2 * row * held,
        macs=call.macs,
    )  # fmt: skip
