"""Models of one operator whose results lie at the boundaries of rounding, where random inputs hardly ever are.

A sum is rounded to the next step at sums that depend on the last bits of a multiplier. Layers get biases at such a
boundary and inputs that scan its neighbourhood. For the others TensorFlow Lite Micro itself is asked between which two
neighbouring scales (in single precision) a result turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.nn_cases import Case
from tests.support.nn_cases_more import lstm_model, svdf_model
from tests.support.tflite_builder import ModelBuilder, Oracle

Rng = np.random.Generator
BYTES = np.arange(-128, 128)
SCAN = 8  # sums on each side of a boundary
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-70000, 70000)}


def _scale(rng: Rng, low: float = -8, high: float = 1) -> np.float32:
    return np.float32(2.0 ** rng.uniform(low, high))


def _at_a_turn(rng: Rng, make: Callable[[np.float32], Case], scale: np.float32) -> Case:
    """``make`` of a scale a little above the given one, whose neighbour gives another result."""

    def result(bits: int) -> np.ndarray:
        case = make(np.int32(bits).view(np.float32))
        return Oracle(case.tflite).run(case.inputs, case.shape)

    low = int(np.float32(scale).view(np.int32))
    high = low + (1 << 17)
    before = result(low)
    while high - low > 1:
        middle = (low + high) // 2
        if np.array_equal(result(middle), before):
            low = middle
        else:
            high = middle
    return make(np.int32(low + int(rng.integers(2))).view(np.float32))


def _all(dtype: str) -> np.ndarray:
    low, high = LIMITS[dtype]
    return np.arange(low, high + 1).astype(dtype)


def _zero_point(rng: Rng, dtype: str = "int8") -> int:
    low, high = LIMITS[dtype]
    return int(rng.integers(low + SCAN, high - SCAN + 1))


def _unary(
    name: str, values: np.ndarray, source: tuple[Any, int], target: tuple[Any, int], made: str = "int8", **kw: Any
) -> Case:
    """A model of one input and output; ``source`` and ``target``: scale and zero point."""
    b = ModelBuilder()
    shape = (1, values.size)
    given = b.tensor(shape, *source, dtype=values.dtype.name)
    out = b.tensor(shape, *target, dtype=made)
    b.op(name, [given], [out], **kw)
    return Case(b.build([given], [out]), values.reshape(1, *shape), shape)


def _layer_tensors(
    rng: Rng, b: ModelBuilder, shape: tuple[int, ...], axis: int, tap: Callable[[int], tuple[int, ...]], source: Any
) -> tuple[list[int], np.float32]:
    """Weights of one 1 each and biases at a step of each channel's output; the tensors and the output's scale."""
    count = shape[axis]
    many = rng.random() < 0.5
    scales = np.array([_scale(rng, -8, -6) for _ in range(count if many else 1)], np.float32)
    # From a shift that keeps all bits of the sum to one where the multiplier's last bits move boundaries by sums.
    out_scale = np.float32(float(source) * float(scales[0]) * 2.0 ** rng.uniform(4, 21))
    weights = np.zeros(shape, np.int8)
    bias = np.zeros(count, np.int64)
    for channel in range(count):
        weights[tap(channel)] = 1
        real = float(source) * float(scales[channel if many else 0]) / float(out_scale)
        bias[channel] = round((int(rng.integers(-120, 120)) + 0.5) / real)
    bias = np.clip(bias, -(1 << 29), 1 << 29).astype(np.int32)
    tensors = [b.tensor(shape, scales, 0, weights, axis=axis)]
    tensors.append(b.tensor((count,), (scales * source).astype(np.float32), 0, bias))
    return tensors, out_scale


def _scan(rng: Rng, zero_point: int, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs around the zero point: all sums near that of zero."""
    values = np.resize(np.arange(-SCAN, SCAN + 1), (17, int(np.prod(shape))))
    values = (values + np.arange(17)[:, None] + SCAN) % 17 - SCAN
    return (values + zero_point).astype(np.int8).reshape(17, *shape)


def fully_connected(rng: Rng) -> Case:
    b = ModelBuilder()
    scale, zero, in_c, out_c = _scale(rng), _zero_point(rng), int(rng.choice([1, 4, 7])), 24
    source = b.tensor((1, in_c), scale, zero)
    others, out_scale = _layer_tensors(rng, b, (out_c, in_c), 0, lambda c: (c, c % in_c), scale)
    target = b.tensor((1, out_c), out_scale, int(rng.integers(-10, 10)))
    b.op("FULLY_CONNECTED", [source, *others], [target], "FullyConnectedOptions", fusedActivationFunction=0)
    return Case(b.build([source], [target]), _scan(rng, zero, (1, in_c)), (1, in_c))


def conv_2d(rng: Rng) -> Case:
    b = ModelBuilder()
    h, w, in_c, kh, kw, out_c = [(1, 3, 4, 1, 1, 16), (4, 6, 1, 3, 3, 16), (6, 4, 3, 3, 4, 9)][int(rng.integers(3))]
    scale, zero = _scale(rng), _zero_point(rng)
    shape = (1, h, w, in_c)
    source = b.tensor(shape, scale, zero)
    others, out_scale = _layer_tensors(rng, b, (out_c, kh, kw, in_c), 0, lambda c: (c, c % kh, c % kw, c % in_c), scale)
    target = b.tensor((1, h - kh + 1, w - kw + 1, out_c), out_scale, int(rng.integers(-10, 10)))
    fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    b.op("CONV_2D", [source, *others], [target], "Conv2DOptions", fusedActivationFunction=0, **fields)
    return Case(b.build([source], [target]), _scan(rng, zero, shape), shape)


def depthwise_conv_2d(rng: Rng) -> Case:
    b = ModelBuilder()
    h, w, count, kh, kw = [(4, 5, 8, 3, 3), (1, 8, 12, 1, 5), (5, 5, 7, 2, 3)][int(rng.integers(3))]
    scale, zero = _scale(rng), _zero_point(rng)
    shape = (1, h, w, count)
    source = b.tensor(shape, scale, zero)
    others, out_scale = _layer_tensors(rng, b, (1, kh, kw, count), 3, lambda c: (0, c % kh, c % kw, c), scale)
    target = b.tensor((1, h - kh + 1, w - kw + 1, count), out_scale, int(rng.integers(-10, 10)))
    fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    b.op(
        "DEPTHWISE_CONV_2D", [source, *others], [target], "DepthwiseConv2DOptions",
        fusedActivationFunction=0, depthMultiplier=1, **fields,
    )  # fmt: skip
    return Case(b.build([source], [target]), _scan(rng, zero, shape), shape)


def _pairs(rng: Rng, name: str, scale: np.float32, out: np.float32) -> Case:
    """Many pairs; the second operand is a constant."""
    shape = (1, 4096)
    left, right = rng.integers(-128, 128, (2, *shape)).astype(np.int8)
    zeros = [_zero_point(rng) for _ in range(3)]
    first = _scale(rng)
    typical = np.float32(first * scale)
    made = np.float32(out * (max(first, typical) if name != "MUL" else first * typical * 64))

    def make(second: np.float32) -> Case:
        b = ModelBuilder()
        source = b.tensor(shape, first, zeros[0])
        other = b.tensor(shape, second, zeros[1], right)
        target = b.tensor(shape, made, zeros[2])
        b.op(name, [source, other], [target], f"{name.title()}Options", fusedActivationFunction=0)
        return Case(b.build([source], [target]), left[None], shape)

    return _at_a_turn(rng, make, typical)


def add(rng: Rng) -> Case:
    return _pairs(rng, "ADD", _scale(rng, -3, 3), _scale(rng, -1, 2))


def sub(rng: Rng) -> Case:
    return _pairs(rng, "SUB", _scale(rng, -3, 3), _scale(rng, -1, 2))


def mul(rng: Rng) -> Case:
    return _pairs(rng, "MUL", _scale(rng, -3, 3), _scale(rng, -2, 2))


def quantize(rng: Rng) -> Case:
    kinds = [
        "int8 int8", "int8 uint8", "uint8 int8", "int8 int16", "int16 int8", "int16 int16", "int8 int32", "int16 int32",
    ]  # fmt: skip
    given, made = kinds[int(rng.integers(len(kinds)))].split()
    out = _scale(rng)
    wide = (made != "int8" and made != "uint8") - (given == "int16")
    target, zero = (out, _zero_point(rng, made)), _zero_point(rng, given)

    def make(scale: np.float32) -> Case:
        return _unary("QUANTIZE", _all(given), (scale, zero), target, made, options="QuantizeOptions")

    return _at_a_turn(rng, make, np.float32(out * 2.0 ** (rng.uniform(-3, 2) + 6 * wide)))


def relu(rng: Rng) -> Case:
    target, zero = (_scale(rng), -128 + int(rng.integers(0, 9))), _zero_point(rng)
    scale = np.float32(target[0] * _scale(rng, -3, 1))
    return _at_a_turn(rng, lambda scale: _unary("RELU", _all("int8"), (scale, zero), target), scale)


def leaky_relu(rng: Rng) -> Case:
    target, zero, alpha = (_scale(rng), _zero_point(rng)), _zero_point(rng), float(np.float32(rng.uniform(-1.5, 1.5)))

    def make(scale: np.float32) -> Case:
        return _unary("LEAKY_RELU", _all("int8"), (scale, zero), target, options="LeakyReluOptions", alpha=alpha)

    return _at_a_turn(rng, make, np.float32(target[0] * _scale(rng, -3, 1)))


def hard_swish(rng: Rng) -> Case:
    target, zero = (_scale(rng, -6, 0), _zero_point(rng)), _zero_point(rng)

    def make(scale: np.float32) -> Case:
        return _unary("HARD_SWISH", _all("int8"), (scale, zero), target, options="HardSwishOptions")

    return _at_a_turn(rng, make, np.float32(target[0] * _scale(rng, -2, 1)))


def mean(rng: Rng) -> Case:
    count, channels = int(rng.choice([3, 4, 7, 49, 125])), 256
    shape = (1, count, 1, channels)
    values = rng.integers(-128, 128, shape).astype(np.int8)
    out, zero = _scale(rng), _zero_point(rng)

    def make(scale: np.float32) -> Case:
        b = ModelBuilder()
        source = b.tensor(shape, scale, zero)
        axes = b.tensor((2,), data=np.array([1, 2], np.int32))
        target = b.tensor((1, channels), out, 0)
        b.op("MEAN", [source, axes], [target], "ReducerOptions", keepDims=False)
        return Case(b.build([source], [target]), values[None], shape)

    return _at_a_turn(rng, make, np.float32(out * _scale(rng, -3, 1)))


def softmax(rng: Rng) -> Case:
    values = np.stack([np.full(256, 127), BYTES], axis=1).astype(np.int8)
    zero, beta = _zero_point(rng), float(np.float32(rng.choice([1.0, 1.0, rng.uniform(0.2, 3)])))

    def make(scale: np.float32) -> Case:
        b = ModelBuilder()
        source, target = b.tensor((256, 2), scale, zero), b.tensor((256, 2), 1 / 256, -128)
        b.op("SOFTMAX", [source], [target], "SoftmaxOptions", beta=beta)
        return Case(b.build([source], [target]), values[None], (256, 2))

    return _at_a_turn(rng, make, _scale(rng, -6, 0))


def softmax16(rng: Rng) -> Case:
    values = np.stack([np.full(256, 127), BYTES], axis=1).astype(np.int8)
    zero = _zero_point(rng)

    def make(scale: np.float32) -> Case:
        b = ModelBuilder()
        source, target = b.tensor((256, 2), scale, zero), b.tensor((256, 2), 1 / 65536, -32768, dtype="int16")
        b.op("SOFTMAX", [source], [target], "SoftmaxOptions", beta=1.0)
        return Case(b.build([source], [target]), values[None], (256, 2))

    return _at_a_turn(rng, make, _scale(rng, -6, 0))


def lstm(rng: Rng) -> Case:
    """What turns first is a gate, the cell or the output, whichever is nearest to a step."""
    seed, clip = int(rng.integers(1 << 30)), float(rng.choice([0.0, 10.0]))
    cell_bits, zeros = int(rng.integers(9, 14)), (_zero_point(rng), _zero_point(rng))
    by_output = bool(rng.integers(2))
    size = (1, 6, 9, 16)

    def make(scale: np.float32) -> Case:
        gates, hidden = (np.float32(2.0**-13), scale) if by_output else (scale, np.float32(1 / 128))
        tflite, shape = lstm_model(np.random.default_rng(seed), size, False, cell_bits, clip, gates, hidden, zeros)
        values = np.random.default_rng(seed).integers(-128, 128, (2, *shape)).astype(np.int8)
        return Case(tflite, values, shape)

    return _at_a_turn(rng, make, _scale(rng, -8, -6) if by_output else _scale(rng, -15, -11))


def svdf(rng: Rng) -> Case:
    seed, wide, by_output = int(rng.integers(1 << 30)), bool(rng.integers(2)), bool(rng.integers(2))
    zeros = (_zero_point(rng), 0 if wide else _zero_point(rng), _zero_point(rng))
    state = float(_scale(rng, -12, -9) if wide else _scale(rng, -3, 0))

    def make(scale: np.float32) -> Case:
        scales = (0.05, state, float(scale)) if by_output else (float(scale), state, 2.0**8.3)
        tflite, shape = svdf_model(np.random.default_rng(seed), (1, 9, 40, 2, 8), wide, scales, zeros)
        values = np.random.default_rng(seed).integers(-128, 128, (20, *shape)).astype(np.int8)
        return Case(tflite, values, shape)

    return _at_a_turn(rng, make, _scale(rng, 6, 10) if by_output else _scale(rng, -6, -4))


def logistic(rng: Rng) -> Case:
    return _unary("LOGISTIC", _all("int8"), (_scale(rng, -8, 0), _zero_point(rng)), (1 / 256, -128))


def tanh(rng: Rng) -> Case:
    return _unary("TANH", _all("int8"), (_scale(rng, -8, 0), _zero_point(rng)), (1 / 128, 0))


def average_pool(rng: Rng) -> Case:
    """Every sum that a window can have, and so every half."""
    b = ModelBuilder()
    count = int(rng.integers(2, 9))
    sums = np.arange(-128 * count, 127 * count + 1)
    sums = sums[: sums.size // 4 * 4]
    parts = [(sums + i) // count for i in range(count)]  # as even as possible; they add up to the sum
    values = np.stack(parts).astype(np.int8).reshape(1, count, sums.size // 4, 4)
    source, target = b.tensor(values.shape, 0.1, 3), b.tensor((1, 1, sums.size // 4, 4), 0.1, 3)
    b.op(
        "AVERAGE_POOL_2D", [source], [target], "Pool2DOptions", padding=1, strideH=count, strideW=1,
        filterHeight=count, filterWidth=1, fusedActivationFunction=0,
    )  # fmt: skip
    return Case(b.build([source], [target]), values[None], values.shape)


def _six(rng: Rng) -> np.float32:
    """A scale that takes 6 to about half a step: the nearest one, and its neighbours."""
    scale = np.float32(6 / (int(rng.integers(10, 120)) + 0.5))
    for _ in range(abs(step := int(rng.integers(-2, 3)))):
        scale = np.nextafter(scale, np.float32(np.sign(step)), dtype=np.float32)
    return scale


def relu6(rng: Rng) -> Case:
    scale, zero = _six(rng), int(rng.integers(-128, -100))
    return _unary("RELU6", _all("int8"), (scale, zero), (scale, zero))


def fused_relu6(rng: Rng) -> Case:
    b = ModelBuilder()
    scale = _six(rng)
    shape = (1, 256)
    other = b.tensor((1, 1), scale, 0, np.zeros((1, 1), np.int8))
    source, target = b.tensor(shape, scale, -128), b.tensor(shape, scale, -128)
    b.op("ADD", [source, other], [target], "AddOptions", fusedActivationFunction=3)
    return Case(b.build([source], [target]), BYTES.astype(np.int8).reshape(1, *shape), shape)


def dequantize(rng: Rng) -> Case:
    given = str(rng.choice(["int8", "uint8", "int16"]))
    b = ModelBuilder()
    values = _all(given).reshape(1, 1, -1)
    shape = values.shape[1:]
    source = b.tensor(shape, _scale(rng), _zero_point(rng, given), dtype=given)
    target = b.tensor(shape, dtype="float32")
    b.op("DEQUANTIZE", [source], [target], "DequantizeOptions")
    return Case(b.build([source], [target]), values, shape)


# Operators whose rounding depends on a multiplier that the compiler computes.
WITH_MULTIPLIER: dict[str, Callable[[Rng], Case]] = {
    "FULLY_CONNECTED": fully_connected,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "ADD": add,
    "SUB": sub,
    "MUL": mul,
    "QUANTIZE": quantize,
    "RELU": relu,
    "LEAKY_RELU": leaky_relu,
    "HARD_SWISH": hard_swish,
    "MEAN": mean,
    "SOFTMAX": softmax,
    "SOFTMAX to int16": softmax16,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm,
    "SVDF": svdf,
}
# Those that round otherwise: tried with every value.
OTHERS: dict[str, Callable[[Rng], Case]] = {
    "LOGISTIC": logistic,
    "TANH": tanh,
    "AVERAGE_POOL_2D": average_pool,
    "RELU6": relu6,
    "ADD with RELU6": fused_relu6,
    "DEQUANTIZE": dequantize,
}
# These only move or choose values.
NOTHING_TO_ROUND = {
    "CONCATENATION", "EXPAND_DIMS", "MAX_POOL_2D", "PACK", "PAD", "RESHAPE", "SHAPE", "SPLIT", "SPLIT_V", "SQUEEZE",
    "STRIDED_SLICE", "TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE",
}  # fmt: skip
