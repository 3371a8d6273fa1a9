"""The kernel of each layer: a fast one where there is one, else the plain one it came with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from model_pipeline.compiler.fast import pack
from model_pipeline.compiler.fast.linear_sum import linear_sum
from model_pipeline.compiler.fast.requantize import Requantization, requantization
from model_pipeline.compiler.ir import Call, Constant

Choice = Callable[[Call], Call | None]


def accelerate(calls: list[Call]) -> list[Call]:
    """Each call, or the fast one that does the same."""
    return [_fast(call) for call in calls]


def _fast(call: Call) -> Call:
    for choice in CHOICES.get(call.function, []):
        chosen = choice(call)
        if chosen is not None:
            return chosen
    return call


def _array(call: Call, name: str) -> np.ndarray:
    value = call.params[name]
    assert isinstance(value, Constant)
    return value.array


def _numbers(call: Call, *names: str) -> list[int]:
    values = [call.params[name] for name in names]
    assert all(isinstance(value, int) for value in values)
    return values  # type: ignore[return-value]


def _folded(call: Call, weights: np.ndarray) -> tuple[np.ndarray, Requantization]:
    """Bias with the input's zero point folded in, int64 [out_c], and the requantisation.

    Args:
        weights: int8 [out_c, k], all weights of a sum; the kernel must see every one of them, padding included.
    """
    in_zero, out_zero, low, high = _numbers(call, "in_zero_point", "out_zero_point", "act_min", "act_max")
    wide = weights.astype(np.int64)
    bias = np.zeros(len(weights), np.int64) if call.params["bias"] == 0 else _array(call, "bias").astype(np.int64)
    bound = np.abs(wide).sum(axis=1) * max(127 - in_zero, 128 + in_zero) + np.abs(bias)
    kind = requantization(_array(call, "multiplier"), _array(call, "shift"), out_zero, low, high, bound)
    return bias - in_zero * wide.sum(axis=1), kind


def _limits(call: Call) -> list[int]:
    return _numbers(call, "out_zero_point", "act_min", "act_max")


def _fits(weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether the doubled sums stay in int32 with the zero point folded in (x in -128..127)."""
    bound = np.abs(weights.astype(np.int64)).sum(axis=1) * 128 + np.abs(bias)
    return bool(bound.max(initial=0) < 1 << 30)


def _matrix_conv(call: Call) -> Call | None:
    """CONV_2D whose windows are runs of consecutive input values at equal steps."""
    p = call.params
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w = _numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w"
    )
    stride_h, stride_w, dilation_h, dilation_w = _numbers(call, "stride_h", "stride_w", "dilation_h", "dilation_w")
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
    weights = _array(call, "weights").reshape(out_c, -1)
    return _matrix_call(call, weights, batches * out_h * out_w, step)


def _matrix_call(call: Call, weights: np.ndarray, positions: int, step: int) -> Call | None:
    bias, kind = _folded(call, weights)
    if not _fits(weights, bias):
        return None
    out_c, k = weights.shape
    order = pack.quad_order(k)
    in_place = [(0, 0)] if step == k == out_c else []
    return Call(
        call.operator,
        f"kws_fast_matrix_{kind.kind}",
        "kws_fast_matrix_t",
        {
            "positions": positions, "k": k, "pairs": len(order), "out_c": out_c, "in_step": step,
            "limits": _limits(call),
            "packed": Constant("packed", pack.matrix(weights, bias, kind.table, order), "int32_t"),
        },
        call.inputs,
        call.outputs,
        scratch=4 * min(positions, 3) * len(order),
        macs=call.macs,
        in_place=in_place,
    )  # fmt: skip


def _fully_connected(call: Call) -> Call | None:
    """FULLY_CONNECTED whose rows, as int16, fit into a little scratch memory."""
    batches, in_c = _numbers(call, "batches", "in_c")
    if in_c > MAX_DENSE:
        return None
    return _matrix_call(call, _array(call, "weights"), batches, in_c)


def _rows_conv(call: Call) -> Call | None:
    """CONV_2D of any window without dilation."""
    if call.params["groups"] != 1:
        return None
    return _rows_call(call, _array(call, "weights").reshape(_numbers(call, "out_c")[0], -1))


def _one_channel_depthwise(call: Call) -> Call | None:
    """DEPTHWISE_CONV_2D of one input channel is a CONV_2D."""
    if call.params["in_c"] != 1:
        return None
    weights = _array(call, "weights")
    return _rows_call(call, weights.reshape(-1, weights.shape[-1]).T)


def _rows_call(call: Call, weights: np.ndarray) -> Call | None:
    """``weights``: int8 [out_c, k_h * k_w * in_c]."""
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, zero = _numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w", "in_zero_point"
    )
    stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w = _numbers(
        call, "stride_h", "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w"
    )
    if (k_h > 1 and dilation_h > 1) or (k_w > 1 and dilation_w > 1):
        return None
    bias, kind = _folded(call, weights)
    if not _fits(weights, bias):
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
    band = 1 if out_w % 3 == 0 or out_w > MAX_BANDED else min(out_h, 3)
    held = (band - 1) * stride_h + k_h
    return Call(
        call.operator,
        f"kws_fast_conv_{kind.kind}",
        "kws_fast_conv_t",
        {
            "matrix.pairs": len(order), "matrix.out_c": out_c, "matrix.limits": _limits(call),
            "matrix.packed": Constant("packed", pack.matrix(weights, bias, kind.table, order), "int32_t"),
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


def _planes(call: Call) -> Call | None:
    """DEPTHWISE_CONV_2D whose windows overlap along a row."""
    p = {name: value for name, value in call.params.items() if isinstance(value, int)}
    if p["in_w"] == p["out_w"] == p["k_w"] == 1:  # a sequence: its time becomes the row
        for name in ("in_{}", "out_{}", "k_{}", "stride_{}", "dilation_{}", "pad_{}"):
            high, wide = name.format("h"), name.format("w")
            p[high], p[wide] = p[wide], p[high]
    in_h, in_w, in_c, out_h, out_w, out_c = (p[n] for n in ("in_h", "in_w", "in_c", "out_h", "out_w", "out_c"))
    k_h, k_w, stride_h, stride_w, pad_h, pad_w = (
        p[n] for n in ("k_h", "k_w", "stride_h", "stride_w", "pad_h", "pad_w")
    )
    zero = p["in_zero_point"]
    dilated = (k_h > 1 and p["dilation_h"] != 1) or (k_w > 1 and p["dilation_w"] != 1)
    if p["batches"] != 1 or in_c != out_c or in_c % 4 or dilated:
        return None
    if (k_h, k_w, stride_w) == (3, 3, 1):
        group = 5 if out_w % 2 else 6
        shape, last = f"3x3_s1_g{group}", out_w - group
    elif (k_h, k_w, stride_w) == (3, 3, 2):
        group = 4
        shape, last = "3x3_s2_g4", out_w - group
    elif in_h == k_h == 1 and k_w >= 2 and stride_w == 1 and not pad_w:
        group = 6
        shape, last = "line_s1_g6", (out_w - 1) // group * group
    else:
        return None
    if out_w < group:
        return None
    steps = -(-k_w // 2) if stride_w == 2 else k_w // 2 + 1
    weights = _array(call, "weights").reshape(-1, out_c).T
    bias, kind = _folded(call, weights)
    if not _fits(weights, bias):
        return None
    # To the end of the last group's last window.
    words = last // 2 + 2 + steps if stride_w == 1 else last + group - 1 + steps
    band = min(out_h, max(1, (PLANE_BYTES // (16 * words) - k_h) // stride_h + 1))
    held = (band - 1) * stride_h + k_h
    return Call(
        call.operator,
        f"kws_fast_planes_{shape}_{kind.kind}",
        "kws_fast_planes_t",
        {
            "in_h": in_h, "in_w": in_w, "channels": in_c, "out_h": out_h, "out_w": out_w,
            "steps": steps, "stride_h": stride_h, "pad_h": pad_h, "pad_w": pad_w,
            "band": band, "words": words, "padding": (zero & 0xFF) * 0x01010101,
            "limits": _limits(call),
            "packed": Constant(
                "packed", pack.planes(weights.reshape(out_c, k_h, k_w), bias, kind.table, stride_w), "int32_t"
            ),
        },
        call.inputs,
        call.outputs,
        scratch=16 * words * held,
        macs=call.macs,
        in_place=[(0, 0)],
    )  # fmt: skip


def _depthwise(call: Call) -> Call | None:
    """DEPTHWISE_CONV_2D without a multiplier, at least four channels."""
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, zero = _numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w", "in_zero_point"
    )
    if in_c != out_c or in_c < 4:
        return None
    weights = _array(call, "weights").reshape(-1, out_c).T
    bias, kind = _folded(call, weights)
    if not _fits(weights, bias):
        return None
    pad = _numbers(call, "pad_h", "pad_w")
    dense = in_c % 4 == 0 and not any(pad) and batches == 1
    return Call(
        call.operator,
        f"kws_fast_depthwise_{kind.kind}",
        "kws_fast_depthwise_t",
        {
            "batches": batches, "in_h": in_h, "in_w": in_w, "channels": in_c, "out_h": out_h, "out_w": out_w,
            "k_h": k_h, "k_w": k_w,
            **{name: call.params[name] for name in WINDOW}, "in_zero_point": zero,
            "limits": _limits(call),
            "packed": Constant("packed", pack.depthwise(weights, bias, kind.table), "int32_t"),
        },
        call.inputs,
        call.outputs,
        scratch=8 * (-(-k_h * k_w // 2)) + in_c,
        macs=call.macs,
        in_place=[(0, 0)] if dense else [],
    )  # fmt: skip


WINDOW = ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w")
MAX_BANDED = 24  # wider rows lose little by a last tile of one or two positions


def _add(call: Call) -> Call | None:
    """ADD without broadcasting."""
    if call.inputs[0].shape != call.inputs[1].shape or any(t.data is not None for t in call.inputs):
        return None
    found = linear_sum({name: value for name, value in call.params.items() if isinstance(value, int)})
    if found is None:
        return None
    return replace(
        call,
        function="kws_fast_add",
        params_type="kws_fast_add_t",
        params={"size": call.outputs[0].size, "a": found[0], "b": found[1], "c": found[2]},
    )


def _average_pool(call: Call) -> Call | None:
    channels, k_h, k_w, pad_h, pad_w = _numbers(call, "channels", "k_h", "k_w", "pad_h", "pad_w")
    in_h, in_w, out_h, out_w, stride_h, stride_w = _numbers(
        call, "in_h", "in_w", "out_h", "out_w", "stride_h", "stride_w"
    )
    inside = (out_h - 1) * stride_h + k_h <= in_h and (out_w - 1) * stride_w + k_w <= in_w
    if channels % 4 or pad_h or pad_w or not inside or k_h * k_w > 255:
        return None
    return replace(call, function="kws_fast_average_pool")


MAX_DENSE = 1024
PLANE_BYTES = 2048  # of scratch, about
CHOICES: dict[str, list[Choice]] = {
    "kws_nn_conv_2d": [_matrix_conv, _rows_conv],
    "kws_nn_depthwise_conv_2d": [_one_channel_depthwise, _planes, _depthwise],
    "kws_nn_fully_connected": [_fully_connected],
    "kws_nn_add": [_add],
    "kws_nn_average_pool_2d": [_average_pool],
}
