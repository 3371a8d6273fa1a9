"""Draws tiny int8 models of one operator each, with random shapes, paddings, quantisations and data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.support.tflite_builder import ModelBuilder


class Case(NamedTuple):
    """A model and inputs for it."""

    tflite: bytes
    inputs: np.ndarray  # int8 [n, *shape without batch…] of the whole input shape
    shape: tuple[int, ...]


SEEDS = st.integers(0, 2**32 - 1)
ZERO_POINTS = st.one_of(st.sampled_from([-128, -1, 0, 127]), st.integers(-128, 127))
SCALES = st.floats(-8, 2).map(lambda e: np.float32(2.0**e))
FUSED = st.sampled_from([0, 0, 1, 2, 3])
RUNS = 4


def data(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs: random, and the two extremes."""
    inputs = rng.integers(-128, 128, (RUNS, *shape)).astype(np.int8)
    inputs[0], inputs[1] = -128, 127
    return inputs


def one_op(
    b: ModelBuilder,
    name: str,
    source: int,
    others: list[int],
    target: int,
    shape: tuple[int, ...],
    seed: int,
    **kw: Any,
) -> Case:
    """Finishes a model of one operator."""
    b.op(name, [source, *others], [target], **kw)
    return Case(b.build([source], [target]), data(np.random.default_rng(seed), shape), shape)


def spatial(draw: st.DrawFn, dilate: bool) -> tuple[int, list[int], list[int], list[int], list[int], list[int]]:
    """padding, input sides, window sides, strides, dilations and output sides that fit together."""
    padding = draw(st.integers(0, 1))
    sides, kernel, strides, dilations, outs = [], [], [], [], []
    for _ in range(2):
        k = draw(st.integers(1, 5))
        stride = draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 3)) if dilate else 1
        span = (k - 1) * dilation + 1
        side = draw(st.integers(span if padding else 1, span + 6))
        outs.append(-(-side // stride) if padding == 0 else (side - span) // stride + 1)
        sides.append(side)
        kernel.append(k)
        strides.append(stride)
        dilations.append(dilation)
    return padding, sides, kernel, strides, dilations, outs


def weights_and_bias(
    draw: st.DrawFn, b: ModelBuilder, shape: tuple[int, ...], axis: int, scale: np.float32, optional: bool = True
) -> tuple[list[int], np.float32, int]:
    """Adds weights and maybe a bias; gives their tensors, a typical weight scale and the products of one sum."""
    rng = np.random.default_rng(draw(SEEDS))
    count = shape[axis]
    per_channel = draw(st.booleans()) and count > 1
    base = draw(SCALES)
    scales = (base * 2.0 ** rng.uniform(-3, 3, count if per_channel else 1)).astype(np.float32)
    weights = rng.integers(-128 if draw(st.booleans()) else -127, 128, shape).astype(np.int8)
    tensors = [b.tensor(shape, scales, 0, weights, axis=axis)]
    products = weights.size // count
    if not optional or draw(st.booleans()):
        size = draw(st.sampled_from([10, 1000, 100000]))
        bias = rng.integers(-size, size + 1, count).astype(np.int32)
        tensors.append(b.tensor((count,), (scales * scale).astype(np.float32), 0, bias))
    else:
        tensors.append(-1)
    return tensors, np.float32(np.median(scales)), products


def target_scale(draw: st.DrawFn, typical: float) -> np.float32:
    """An output scale from saturating to hardly moving, mostly in between."""
    return np.float32(typical * 2.0 ** draw(st.floats(-6, 4)))


@st.composite
def conv_2d(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    padding, (h, w), (kh, kw), (sh, sw), (dh, dw), (oh, ow) = spatial(draw, dilate=True)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    in_c, out_c = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    scale, batches = draw(SCALES), draw(st.sampled_from([1, 1, 2]))
    shape = (batches, h, w, in_c)
    source = b.tensor(shape, scale, draw(ZERO_POINTS))
    others, weight_scale, products = weights_and_bias(draw, b, (out_c, kh, kw, in_c // groups), 0, scale)
    out_scale = target_scale(draw, float(scale * weight_scale) * products**0.5 * 80)
    target = b.tensor((batches, oh, ow, out_c), out_scale, draw(ZERO_POINTS))
    fields = {"padding": padding, "strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw}
    return one_op(
        b, "CONV_2D", source, others, target, shape, draw(SEEDS),
        options="Conv2DOptions", fusedActivationFunction=draw(FUSED), **fields,
    )  # fmt: skip


@st.composite
def depthwise_conv_2d(draw: st.DrawFn) -> Case:
    """Always with a bias: TFLite Micro's interpreter crashes without."""
    b = ModelBuilder()
    padding, (h, w), (kh, kw), (sh, sw), (dh, dw), (oh, ow) = spatial(draw, dilate=True)
    in_c, multiple = draw(st.integers(1, 9)), draw(st.sampled_from([1, 1, 2, 5]))
    scale, batches = draw(SCALES), draw(st.sampled_from([1, 1, 2]))
    shape = (batches, h, w, in_c)
    source = b.tensor(shape, scale, draw(ZERO_POINTS))
    others, weight_scale, products = weights_and_bias(draw, b, (1, kh, kw, in_c * multiple), 3, scale, False)
    out_scale = target_scale(draw, float(scale * weight_scale) * products**0.5 * 80)
    target = b.tensor((batches, oh, ow, in_c * multiple), out_scale, draw(ZERO_POINTS))
    fields = {"padding": padding, "strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw}
    return one_op(
        b, "DEPTHWISE_CONV_2D", source, others, target, shape, draw(SEEDS), options="DepthwiseConv2DOptions",
        fusedActivationFunction=draw(FUSED), depthMultiplier=multiple, **fields,
    )  # fmt: skip


@st.composite
def fully_connected(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    batches, in_c, out_c = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 9))
    scale = draw(SCALES)
    shape = (batches, in_c)
    source = b.tensor(shape, scale, draw(ZERO_POINTS))
    others, weight_scale, products = weights_and_bias(draw, b, (out_c, in_c), 0, scale)
    out_scale = target_scale(draw, float(scale * weight_scale) * products**0.5 * 80)
    target = b.tensor((batches, out_c), out_scale, draw(ZERO_POINTS))
    return one_op(
        b, "FULLY_CONNECTED", source, others, target, shape, draw(SEEDS),
        options="FullyConnectedOptions", fusedActivationFunction=draw(FUSED),
    )  # fmt: skip


@st.composite
def pool_2d(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    padding, (h, w), (kh, kw), (sh, sw), _, (oh, ow) = spatial(draw, dilate=False)
    channels, batches = draw(st.integers(1, 9)), draw(st.sampled_from([1, 1, 2]))
    scale, zero_point, shape = draw(SCALES), draw(ZERO_POINTS), (batches, h, w, channels)
    source = b.tensor(shape, scale, zero_point)
    target = b.tensor((batches, oh, ow, channels), scale, zero_point)
    return one_op(
        b, draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"])), source, [], target, shape, draw(SEEDS),
        options="Pool2DOptions", padding=padding, strideH=sh, strideW=sw, filterHeight=kh, filterWidth=kw,
        fusedActivationFunction=draw(FUSED),
    )  # fmt: skip


@st.composite
def mean(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=rank, max_size=rank)))
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    keep = draw(st.booleans()) or len(axes) == rank
    scale = draw(SCALES)
    source = b.tensor(shape, scale, draw(ZERO_POINTS))
    given = [a - rank if draw(st.booleans()) else a for a in axes]
    axis = b.tensor((len(axes),), data=np.array(given, np.int32))
    out = tuple(1 if a in axes else n for a, n in enumerate(shape) if keep or a not in axes)
    target = b.tensor(out, np.float32(scale * 2.0 ** draw(st.floats(-4, 3))), draw(ZERO_POINTS))
    return one_op(b, "MEAN", source, [axis], target, shape, draw(SEEDS), options="ReducerOptions", keepDims=keep)


def two_operands(draw: st.DrawFn, b: ModelBuilder, source: int, shape: tuple[int, ...], scale: np.float32) -> list[int]:
    """The input and a constant of ``scale``, the constant and the input, or the input twice."""
    kind = draw(st.sampled_from(["after", "before", "twice", "broadcast"]))
    if kind == "twice":
        return [source, source]
    side = tuple(1 if kind == "broadcast" and draw(st.booleans()) else n for n in shape)
    values = np.random.default_rng(draw(SEEDS)).integers(-128, 128, side).astype(np.int8)
    other = b.tensor(side, scale, draw(ZERO_POINTS), values)
    return [other, source] if kind == "before" else [source, other]


@st.composite
def add(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=rank, max_size=rank)))
    scale1 = draw(SCALES)
    scale2 = np.float32(scale1 * 2.0 ** draw(st.floats(-4, 4)))
    source = b.tensor(shape, scale1, draw(ZERO_POINTS))
    operands = two_operands(draw, b, source, shape, scale2)
    out_scale = np.float32(max(scale1, scale2) * 2.0 ** draw(st.floats(-3, 3)))
    target = b.tensor(shape, out_scale, draw(ZERO_POINTS))
    b.op("ADD", operands, [target], "AddOptions", fusedActivationFunction=draw(FUSED))
    return Case(b.build([source], [target]), data(np.random.default_rng(draw(SEEDS)), shape), shape)


@st.composite
def softmax(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    # Beyond 2^2 and a beta of 3 the reference's multiplier would need a shift of 31, which it cannot do: refused.
    scale = np.float32(2.0 ** draw(st.floats(-10, 2)))
    source = b.tensor(shape, scale, draw(ZERO_POINTS))
    target = b.tensor(shape, 1 / 256, -128)
    beta = draw(st.sampled_from([1.0, 1.0, 0.25, 3.0]))
    return one_op(b, "SOFTMAX", source, [], target, shape, draw(SEEDS), options="SoftmaxOptions", beta=beta)


@st.composite
def rescale(draw: st.DrawFn) -> Case:
    """RELU, RELU6 and QUANTIZE."""
    b = ModelBuilder()
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    name = draw(st.sampled_from(["RELU", "RELU6", "QUANTIZE"]))
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source = b.tensor(shape, scale, zero_point)
    if name == "RELU6":
        target = b.tensor(shape, scale, zero_point)
    else:
        target = b.tensor(shape, np.float32(scale * 2.0 ** draw(st.floats(-5, 5))), draw(ZERO_POINTS))
    options = {"options": "QuantizeOptions"} if name == "QUANTIZE" else {}
    return one_op(b, name, source, [], target, shape, draw(SEEDS), **options)


@st.composite
def pad(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=4, max_size=4)))
    pads = np.array([[draw(st.integers(0, 3)) for _ in range(2)] for _ in shape], np.int32)
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source = b.tensor(shape, scale, zero_point)
    side = b.tensor(pads.shape, data=pads)
    target = b.tensor([n + int(p.sum()) for n, p in zip(shape, pads, strict=True)], scale, zero_point)
    return one_op(b, "PAD", source, [side], target, shape, draw(SEEDS), options="PadOptions")


CASES = {
    "conv_2d": conv_2d(),
    "depthwise_conv_2d": depthwise_conv_2d(),
    "fully_connected": fully_connected(),
    "pool_2d": pool_2d(),
    "mean": mean(),
    "add": add(),
    "softmax": softmax(),
    "rescale": rescale(),
    "pad": pad(),
}
