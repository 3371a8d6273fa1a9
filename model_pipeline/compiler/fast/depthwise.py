"""DEPTHWISE_CONV_2D: by planes where windows overlap along a row, else tap by tap."""

from __future__ import annotations

from model_pipeline.compiler.fast import pack
from model_pipeline.compiler.fast.layer import Goal, array, limits, numbers, sums
from model_pipeline.compiler.ir import Call, Constant

PLANE_BYTES = 2048  # of scratch for the planes, about
WINDOW = ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_h", "pad_w")


def planes(call: Call, goal: Goal) -> Call | None:
    """Windows of 3x3 or of four to six columns, and sequences."""
    p = {name: value for name, value in call.params.items() if isinstance(value, int)}
    if p["in_w"] == p["out_w"] == p["k_w"] == 1:  # a sequence: its time becomes the row
        for name in ("in_{}", "out_{}", "k_{}", "stride_{}", "dilation_{}", "pad_{}"):
            high, wide = name.format("h"), name.format("w")
            p[high], p[wide] = p[wide], p[high]
    in_h, in_w, in_c, out_h, out_w, out_c = (p[n] for n in ("in_h", "in_w", "in_c", "out_h", "out_w", "out_c"))
    k_h, k_w, stride_h, stride_w, pad_h, pad_w = (
        p[n] for n in ("k_h", "k_w", "stride_h", "stride_w", "pad_h", "pad_w")
    )
    dilated = (k_h > 1 and p["dilation_h"] != 1) or (k_w > 1 and p["dilation_w"] != 1)
    if p["batches"] != 1 or in_c != out_c or in_c % 4 or dilated:
        return None
    if in_h == k_h == 1 and k_w >= 2 and stride_w == 1 and not pad_w:
        group = 6
        shape, last = "line_s1_g6", (out_w - 1) // group * group
    elif (k_h, k_w, stride_w) == (3, 3, 1):
        group = 5 if out_w % 2 else 6
        shape, last = f"3x3_s1_g{group}", out_w - group
    elif (k_h, k_w, stride_w) == (3, 3, 2):
        group = 4
        shape, last = "3x3_s2_g4", out_w - group
    elif k_w in (4, 5) and stride_w == 1 and out_w % 2:
        group = 5
        shape, last = "x5_s1_g5", out_w - group
    elif k_w in (5, 6) and stride_w == 2:
        group = 4
        shape, last = "x5_s2_g4", out_w - group
    else:
        return None
    if out_w < group:
        return None
    steps = -(-k_w // 2) if stride_w == 2 else k_w // 2 + 1
    # To the end of the last group's last window.
    words = last // 2 + 2 + steps if stride_w == 1 else last + group - 1 + steps
    columns = 1 if out_w == group else -(-(out_w - group) // (group & ~1)) + 1
    if taps_are_cheaper((out_h, out_w), (in_h, words), (k_h, k_w, steps), columns, in_c):
        return None
    layer = sums(call, array(call, "weights").reshape(-1, out_c).T)
    if layer is None:
        return None
    band = min(out_h, max(1, (PLANE_BYTES // (16 * words) - k_h) // stride_h + 1))
    band = -(-out_h // -(-out_h // band))  # as many bands, of more even size
    held = (band - 1) * stride_h + k_h
    packed = pack.planes(layer.weights, layer.bias, layer.requantization.table)
    return Call(
        call.operator,
        f"kws_fast_planes_{shape}_{layer.requantization.kind}",
        "kws_fast_planes_t",
        {
            "in_h": in_h, "in_w": in_w, "channels": in_c, "out_h": out_h, "out_w": out_w,
            "k_h": k_h, "k_w": k_w, "stride_h": stride_h, "pad_h": pad_h, "pad_w": pad_w,
            "band": band, "words": words, "padding": (p["in_zero_point"] & 0xFF) * 0x01010101,
            "limits": limits(call), "packed": Constant("packed", packed, "int32_t"),
        },
        call.inputs,
        call.outputs,
        scratch=16 * words * held + 16 * (k_h * steps * (3 - stride_w) + 4),
        macs=call.macs,
        in_place=[(0, 0)] if out_h * out_w <= in_h * in_w else [],
    )  # fmt: skip


def taps_are_cheaper(
    out: tuple[int, int], plane: tuple[int, int], window: tuple[int, int, int], groups: int, channels: int
) -> bool:
    """Compares rough counts of instructions a channel, taken from QEMU.

    Args:
        out: output rows and columns.
        plane: input rows and words of a row.
        window: rows, columns, and words of a row of weights.
        groups: of outputs in a row.
    """
    k_h, k_w, steps = window
    fill = 5.5 * plane[0] * plane[1] + 9 * k_h * k_w + 40
    by_planes = out[0] * groups * (50 + 9 * k_h * steps) + fill
    pairs = -(-k_h * k_w // 2)
    by_taps = out[0] * out[1] * (4.25 * pairs + 8 + (11 * k_h * k_w + 50) / channels)
    return by_taps < by_planes


def taps(call: Call, goal: Goal) -> Call | None:
    """Any window without a multiplier, at least four channels."""
    batches, in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, zero = numbers(
        call, "batches", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "k_h", "k_w", "in_zero_point"
    )
    if in_c != out_c or in_c < 4:
        return None
    layer = sums(call, array(call, "weights").reshape(-1, out_c).T)
    if layer is None:
        return None
    # An output then never lies behind an input that is still to be read.
    dense = in_c % 4 == 0 and not any(numbers(call, "pad_h", "pad_w")) and batches == 1
    packed = pack.depthwise(layer.weights, layer.bias, layer.requantization.table)
    return Call(
        call.operator,
        f"kws_fast_depthwise_{layer.requantization.kind}",
        "kws_fast_depthwise_t",
        {
            "batches": batches, "in_h": in_h, "in_w": in_w, "channels": in_c, "out_h": out_h, "out_w": out_w,
            "k_h": k_h, "k_w": k_w, **{name: call.params[name] for name in WINDOW}, "in_zero_point": zero,
            "limits": limits(call), "packed": Constant("packed", packed, "int32_t"),
        },
        call.inputs,
        call.outputs,
        scratch=8 * (-(-k_h * k_w // 2)) + in_c,
        macs=call.macs,
        in_place=[(0, 0)] if dense else [],
    )  # fmt: skip
