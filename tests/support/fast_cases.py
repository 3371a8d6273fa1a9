"""Draws tiny models whose one layer is to get a fast kernel: shapes around what the kernels are made for, quantisations
as converters make them (and odd ones), so that each way of requantisation is met."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.support.nn_cases import RUNS, SEEDS, data
from tests.support.tflite_builder import ModelBuilder


class FastCase(NamedTuple):
    """A model, inputs for it (int8 [n, *shape]), and what the kernel's name begins with."""

    tflite: bytes
    inputs: np.ndarray
    shape: tuple[int, ...]
    kernel: str


def _layer(
    draw: st.DrawFn,
    name: str,
    kernel: str,
    shape: tuple[int, ...],
    weights_shape: tuple[int, ...],
    axis: int,
    out_shape: tuple[int, ...],
    options: str,
    **fields: int,
) -> FastCase:
    """A convolution or dense layer with weights of int8's whole range and a scale that uses the output's."""
    rng = np.random.default_rng(draw(SEEDS))
    b = ModelBuilder()
    relu = draw(st.booleans())
    in_zero = draw(st.sampled_from([-128, -128, -3, 17, 127]))
    out_zero = -128 if relu else draw(st.sampled_from([-128, -20, 0, 13, 127]))
    # From hardly moving over converters' usual factors (1/100 to 1/2000) to saturating, and some above 1/2.
    factor = 2.0 ** draw(st.sampled_from([-14.0, -11.0, -9.0, -8.0, -7.0, -5.0, -1.3, 0.7]))
    channels = weights_shape[axis]
    per_channel = draw(st.booleans())
    scales = (0.02 * 2.0 ** rng.uniform(-1, 1, channels if per_channel else 1)).astype(np.float32)
    weights = rng.integers(-128, 128, weights_shape).astype(np.int8)
    bias = rng.integers(-3000, 3001, channels).astype(np.int32)
    source = b.tensor(shape, 0.1, in_zero)
    tensors = [
        b.tensor(weights_shape, scales, 0, weights, axis=axis),
        b.tensor((channels,), (scales * np.float32(0.1)).astype(np.float32), 0, bias),
    ]
    target = b.tensor(out_shape, np.float32(0.1 * 0.02 / factor), out_zero)
    # 3 is RELU6: limits that the fast requantisations do not have.
    activation = draw(st.sampled_from([1, 1, 1, 3])) if relu else 0
    b.op(name, [source, *tensors], [target], options=options, fusedActivationFunction=activation, **fields)
    return FastCase(b.build([source], [target]), data(rng, shape), shape, kernel)


def _sides(draw: st.DrawFn, kernel: int, stride: int, low: int, high: int) -> tuple[int, int, int]:
    """padding (0 SAME, 1 VALID), input side and output side, the latter between ``low`` and ``high``."""
    out = draw(st.integers(low, high))
    if draw(st.booleans()):
        return 0, out * stride - draw(st.integers(0, stride - 1)), out
    return 1, (out - 1) * stride + kernel + draw(st.integers(0, stride - 1)), out


@st.composite
def matrix(draw: st.DrawFn) -> FastCase:
    """Windows that are runs of values: 1x1, a row, or as wide as the input."""
    in_c, out_c = draw(st.integers(1, 70)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from(["1x1", "row", "wide"]))
    if kind == "1x1":
        h, w, kh, kw, sh, sw = draw(st.integers(1, 3)), draw(st.integers(1, 4)), 1, 1, 1, 1
    elif kind == "row":
        h, kh, kw, sh, sw = 1, 1, draw(st.integers(1, 4)), 1, draw(st.integers(1, 3))
        w = kw + draw(st.integers(0, 7))
    else:
        w = kw = draw(st.integers(1, 3))
        kh, sh, sw = draw(st.integers(1, 5)), draw(st.integers(1, 3)), 1
        h = kh + draw(st.integers(0, 7))
    out = ((h - kh) // sh + 1, (w - kw) // sw + 1)
    return _layer(
        draw, "CONV_2D", "kws_fast_matrix", (1, h, w, in_c), (out_c, kh, kw, in_c), 0, (1, *out, out_c),
        "Conv2DOptions", padding=1, strideH=sh, strideW=sw, dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip


@st.composite
def conv(draw: st.DrawFn) -> FastCase:
    """Windows of at least two rows and columns."""
    kh, kw, sh, sw = (draw(st.integers(a, b)) for a, b in ((2, 5), (2, 5), (1, 3), (1, 3)))
    out_h, out_w = draw(st.integers(2, 7)), draw(st.integers(2, 7))
    same = draw(st.booleans())
    h = out_h * sh if same else (out_h - 1) * sh + kh
    w = out_w * sw if same else (out_w - 1) * sw + kw
    in_c, out_c, batches = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 2))
    return _layer(
        draw, "CONV_2D", "kws_fast_conv", (batches, h, w, in_c), (out_c, kh, kw, in_c), 0,
        (batches, out_h, out_w, out_c), "Conv2DOptions", padding=0 if same else 1, strideH=sh, strideW=sw,
        dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip


@st.composite
def one_channel(draw: st.DrawFn) -> FastCase:
    """DEPTHWISE_CONV_2D that is a CONV_2D of one input channel."""
    kh, kw, s = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 2))
    pad, (out_h, out_w) = draw(st.integers(0, 1)), (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    h, w = (out_h * s, out_w * s) if pad == 0 else ((out_h - 1) * s + kh, (out_w - 1) * s + kw)
    out_c = draw(st.integers(1, 9))
    return _layer(
        draw, "DEPTHWISE_CONV_2D", "kws_fast_conv", (1, h, w, 1), (1, kh, kw, out_c), 3, (1, out_h, out_w, out_c),
        "DepthwiseConv2DOptions", padding=pad, strideH=s, strideW=s, depthMultiplier=out_c,
        dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip


def _depthwise(
    draw: st.DrawFn, kernel: str, h: int, w: int, out: tuple[int, int], k: tuple[int, int], c: int, pad: int,
    strides: tuple[int, int], dilations: tuple[int, int] = (1, 1), batches: int = 1,
) -> FastCase:  # fmt: skip
    return _layer(
        draw, "DEPTHWISE_CONV_2D", kernel, (batches, h, w, c), (1, *k, c), 3, (batches, *out, c),
        "DepthwiseConv2DOptions", padding=pad, strideH=strides[0], strideW=strides[1], depthMultiplier=1,
        dilationHFactor=dilations[0], dilationWFactor=dilations[1],
    )  # fmt: skip


@st.composite
def depthwise(draw: st.DrawFn) -> FastCase:
    """Any window; narrow outputs or dilation keep it from the planes."""
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dh, dw = draw(st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2)]))
    sh, sw = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if dh == dw == 1 else (1, 1)
    out_h, out_w = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    pad = draw(st.integers(0, 1))
    h = out_h * sh if pad == 0 else (out_h - 1) * sh + (kh - 1) * dh + 1
    w = out_w * sw if pad == 0 else (out_w - 1) * sw + (kw - 1) * dw + 1
    c, batches = draw(st.integers(4, 13)), draw(st.integers(1, 2))
    return _depthwise(draw, "kws_fast_depthwise_", h, w, (out_h, out_w), (kh, kw), c, pad, (sh, sw), (dh, dw), batches)


@st.composite
def planes(draw: st.DrawFn) -> FastCase:
    """3x3 windows; the rows are many enough to be done in bands."""
    sh, sw = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    low = 4 if sw == 2 else draw(st.sampled_from([5, 6]))
    out_w = draw(st.integers(low, 15))
    if sw == 1 and out_w % 2 == 0:
        out_w = max(out_w, 6)
    out_h, pad, c = draw(st.sampled_from([1, 2, 3, 9, 25])), draw(st.integers(0, 1)), 4 * draw(st.integers(1, 2))
    h = out_h * sh - draw(st.integers(0, sh - 1)) if pad == 0 else (out_h - 1) * sh + 3
    w = out_w * sw - draw(st.integers(0, sw - 1)) if pad == 0 else (out_w - 1) * sw + 3
    return _depthwise(draw, "kws_fast_planes_3x3_", h, w, (out_h, out_w), (3, 3), c, pad, (sh, sw))


@st.composite
def line(draw: st.DrawFn) -> FastCase:
    """A sequence, along either dimension."""
    k, out, c = draw(st.integers(2, 17)), draw(st.integers(6, 26)), 4 * draw(st.integers(1, 2))
    if draw(st.booleans()):
        return _depthwise(draw, "kws_fast_planes_line_", out + k - 1, 1, (out, 1), (k, 1), c, 1, (1, 1))
    return _depthwise(draw, "kws_fast_planes_line_", 1, out + k - 1, (1, out), (1, k), c, 1, (1, 1))


@st.composite
def dense(draw: st.DrawFn) -> FastCase:
    batches, in_c, out_c = draw(st.integers(1, 4)), draw(st.integers(1, 90)), draw(st.integers(1, 9))
    return _layer(
        draw, "FULLY_CONNECTED", "kws_fast_matrix", (batches, in_c), (out_c, in_c), 0, (batches, out_c),
        "FullyConnectedOptions",
    )  # fmt: skip


@st.composite
def add(draw: st.DrawFn) -> FastCase:
    """The input and its own maximum over a window of one, which is a copy with another memory."""
    rng = np.random.default_rng(draw(SEEDS))
    b = ModelBuilder()
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 9)))
    scale, zero = np.float32(0.05), draw(st.sampled_from([-128, -7, 0, 127]))
    source = b.tensor(shape, scale, zero)
    other_scale, other_zero = np.float32(scale * 2.0 ** draw(st.floats(-3, 3))), draw(st.sampled_from([-128, 5]))
    other = b.tensor(shape, other_scale, other_zero)
    b.op("QUANTIZE", [source], [other], "QuantizeOptions")
    target = b.tensor(shape, np.float32(max(scale, other_scale) * 2.0 ** draw(st.floats(-1, 2))), -128)
    b.op("ADD", [source, other], [target], "AddOptions", fusedActivationFunction=1)
    return FastCase(b.build([source], [target]), data(rng, shape), shape, "kws_fast_add")


@st.composite
def average_pool(draw: st.DrawFn) -> FastCase:
    b = ModelBuilder()
    kh, kw, s = draw(st.integers(1, 15)), draw(st.integers(1, 17)), draw(st.integers(1, 3))
    h, w = kh + draw(st.integers(0, 4)), kw + draw(st.integers(0, 4))
    shape = (draw(st.integers(1, 2)), h, w, 4 * draw(st.integers(1, 2)))
    zero = draw(st.sampled_from([-128, 0, 99]))
    source = b.tensor(shape, 0.05, zero)
    target = b.tensor((shape[0], (h - kh) // s + 1, (w - kw) // s + 1, shape[3]), 0.05, zero)
    b.op(
        "AVERAGE_POOL_2D", [source], [target], "Pool2DOptions", padding=1, strideH=s, strideW=s, filterHeight=kh,
        filterWidth=kw, fusedActivationFunction=draw(st.sampled_from([0, 1, 3])),
    )  # fmt: skip
    inputs = data(np.random.default_rng(draw(SEEDS)), shape)
    return FastCase(b.build([source], [target]), inputs, shape, "kws_fast_average_pool")


CASES = {
    "matrix": matrix(),
    "conv": conv(),
    "one_channel": one_channel(),
    "depthwise": depthwise(),
    "planes": planes(),
    "line": line(),
    "dense": dense(),
    "add": add(),
    "average_pool": average_pool(),
}
assert RUNS >= 3
