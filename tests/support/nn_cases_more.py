"""More random models for the kernels' tests: element-wise functions, changes of type, and what only moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support.nn_cases import FUSED, RUNS, SCALES, SEEDS, ZERO_POINTS, Case, data, one_op, two_operands
from tests.support.tflite_builder import ModelBuilder, schema

TYPES = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16}


def shapes(low: int = 1, high: int = 4, side: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, side), min_size=low, max_size=high).map(tuple)


def typed(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Inputs of any integer type: random, and the two extremes."""
    limits = np.iinfo(TYPES[dtype])
    inputs = rng.integers(limits.min, limits.max + 1, (RUNS, *shape)).astype(TYPES[dtype])
    inputs[0], inputs[1] = limits.min, limits.max
    return inputs


@st.composite
def pairwise(draw: st.DrawFn) -> Case:
    """SUB and MUL of `two_operands`."""
    b = ModelBuilder()
    shape = draw(shapes())
    name = draw(st.sampled_from(["SUB", "MUL"]))
    scale1 = draw(SCALES)
    scale2 = np.float32(scale1 * 2.0 ** draw(st.floats(-4, 4)))
    source = b.tensor(shape, scale1, draw(ZERO_POINTS))
    operands = two_operands(draw, b, source, shape, scale2)
    typical = max(scale1, scale2) if name == "SUB" else scale1 * scale2 * 64
    target = b.tensor(shape, np.float32(typical * 2.0 ** draw(st.floats(-3, 3))), draw(ZERO_POINTS))
    b.op(name, operands, [target], "SubOptions" if name == "SUB" else "MulOptions", fusedActivationFunction=draw(FUSED))
    return Case(b.build([source], [target]), data(np.random.default_rng(draw(SEEDS)), shape), shape)


ALL_BYTES = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 256)


@st.composite
def function(draw: st.DrawFn) -> Case:
    """LOGISTIC, TANH, LEAKY_RELU and HARD_SWISH, at all 256 inputs."""
    b = ModelBuilder()
    name = draw(st.sampled_from(["LOGISTIC", "TANH", "LEAKY_RELU", "HARD_SWISH"]))
    scale = np.float32(2.0 ** draw(st.floats(-14, 1)))
    source = b.tensor((1, 256), scale, draw(ZERO_POINTS))
    options: dict[str, Any] = {}
    if name == "LOGISTIC":
        target = b.tensor((1, 256), 1 / 256, -128)
    elif name == "TANH":
        target = b.tensor((1, 256), 1 / 128, 0)
    else:
        target = b.tensor((1, 256), np.float32(scale * 2.0 ** draw(st.floats(-5, 5))), draw(ZERO_POINTS))
        options = {"options": "HardSwishOptions"}
        if name == "LEAKY_RELU":
            options = {"options": "LeakyReluOptions", "alpha": draw(st.floats(-1.5, 1.5, width=32))}
    b.op(name, [source], [target], **options)
    return Case(b.build([source], [target]), ALL_BYTES, (1, 256))


@st.composite
def change_of_type(draw: st.DrawFn) -> Case:
    """QUANTIZE between integers and DEQUANTIZE."""
    b = ModelBuilder()
    shape = draw(shapes())
    pairs = ["int8 int8", "int8 uint8", "uint8 int8", "int8 int16", "int16 int8", "int16 int16"]
    given, made = draw(st.sampled_from([*pairs, "int8 float32", "uint8 float32", "int16 float32"])).split()
    scale = draw(SCALES)

    def zero_point(dtype: str) -> int:
        limits = np.iinfo(TYPES[dtype])
        return draw(st.one_of(st.just(0), st.integers(int(limits.min), int(limits.max))))

    source = b.tensor(shape, scale, zero_point(given), dtype=given)
    inputs = typed(np.random.default_rng(draw(SEEDS)), shape, given)
    if made == "float32":
        target = b.tensor(shape, dtype=made)
        b.op("DEQUANTIZE", [source], [target], "DequantizeOptions")
    else:
        wider = {"int8": 0, "uint8": 0, "int16": 8}
        ratio = 2.0 ** (wider[given] - wider[made] + draw(st.floats(-4, 4)))
        same = draw(st.booleans()) and given == made
        target = b.tensor(shape, np.float32(scale * (1 if same else ratio)), zero_point(made), dtype=made)
        b.op("QUANTIZE", [source], [target], "QuantizeOptions")
    return Case(b.build([source], [target]), inputs, shape)


@st.composite
def strided_slice(draw: st.DrawFn) -> Case:
    """Every kind of begin and end, on either side of the tensor, and all masks that TFLite Micro knows."""
    b = ModelBuilder()
    shape = draw(shapes(1, 4, 7))
    begin, end, stride, out = [], [], [], []
    masks = {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 0}
    for axis, length in enumerate(shape):
        if draw(st.integers(0, 5)) == 0:
            first = draw(st.integers(-length, length - 1))
            masks["shrinkAxisMask"] |= 1 << axis
            begin, end, stride = [*begin, first], [*end, first + 1], [*stride, 1]
            continue
        step = draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2]))
        low, high = draw(st.integers(-length - 1, length + 1)), draw(st.integers(-length - 1, length + 1))
        free_low, free_high = draw(st.booleans()), draw(st.booleans())
        count = len(range(*slice(None if free_low else low, None if free_high else high, step).indices(length)))
        if count == 0:
            free_low = free_high = True
            count = len(range(0, length, abs(step)))
        masks["beginMask"] |= free_low << axis
        masks["endMask"] |= free_high << axis
        begin, end, stride, out = [*begin, low], [*end, high], [*stride, step], [*out, count]
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source = b.tensor(shape, scale, zero_point)
    others = [b.tensor((len(shape),), data=np.array(v, np.int32)) for v in (begin, end, stride)]
    target = b.tensor(out, scale, zero_point)
    return one_op(
        b, "STRIDED_SLICE", source, others, target, shape, draw(SEEDS), options="StridedSliceOptions",
        ellipsisMask=0, newAxisMask=0, **masks,
    )  # fmt: skip


@st.composite
def transpose(draw: st.DrawFn) -> Case:
    b = ModelBuilder()
    shape = draw(shapes(1, 5, 5))
    order = draw(st.permutations(range(len(shape))))
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source = b.tensor(shape, scale, zero_point)
    side = b.tensor((len(shape),), data=np.array(order, np.int32))
    target = b.tensor([shape[a] for a in order], scale, zero_point)
    return one_op(b, "TRANSPOSE", source, [side], target, shape, draw(SEEDS), options="TransposeOptions")


@st.composite
def split_and_join(draw: st.DrawFn) -> Case:
    """SPLIT or SPLIT_V, some parts changed, shapes changed and back, and CONCATENATION in another order, maybe with a
    constant and with the input itself."""
    b = ModelBuilder()
    axis, before, after = 0, draw(shapes(0, 2, 4)), draw(shapes(0, 2, 5))
    axis, rank = len(before), len(before) + 1 + len(after)
    equal = draw(st.booleans())
    count = draw(st.integers(1, 4))
    sizes = [draw(st.integers(1, 4))] * count if equal else [draw(st.integers(1, 5)) for _ in range(count)]
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)

    def sized(n: int) -> tuple[int, ...]:
        return (*before, n, *after)

    source = b.tensor(sized(sum(sizes)), scale, zero_point)
    parts = [b.tensor(sized(n), scale, zero_point) for n in sizes]
    given = b.tensor((), data=np.array(axis - rank if draw(st.booleans()) else axis, np.int32))
    if equal:
        b.op("SPLIT", [given, source], parts, "SplitOptions", numSplits=count)
    else:
        which = b.tensor((count,), data=np.array(sizes, np.int32))
        b.op("SPLIT_V", [source, which, given], parts, "SplitVOptions", numSplits=count)
    joined, total = [], 0
    for part, n in draw(st.permutations(list(zip(parts, sizes, strict=True)))):
        kind = draw(st.sampled_from(["as it is", "relu", "around"]))
        if kind == "relu":
            changed = b.tensor(sized(n), scale, zero_point)
            b.op("RELU", [part], [changed])
            part = changed
        elif kind == "around":
            size = int(np.prod(sized(n)))
            flat, back = b.tensor((1, size), scale, zero_point), b.tensor(sized(n), scale, zero_point)
            b.op("RESHAPE", [part], [flat], "ReshapeOptions")
            b.op("RESHAPE", [flat], [back], "ReshapeOptions")
            part = back
        joined.append(part)
        total += n
    if draw(st.booleans()):
        joined.insert(draw(st.integers(0, len(joined))), source)
        total += sum(sizes)
    if draw(st.booleans()):
        values = np.random.default_rng(draw(SEEDS)).integers(-128, 128, sized(2)).astype(np.int8)
        joined.append(b.tensor(sized(2), scale, zero_point, values))
        total += 2
    target = b.tensor(sized(total), scale, zero_point)
    place = axis - rank if draw(st.booleans()) else axis
    b.op("CONCATENATION", joined, [target], "ConcatenationOptions", axis=place, fusedActivationFunction=0)
    shape = sized(sum(sizes))
    return Case(b.build([source], [target]), data(np.random.default_rng(draw(SEEDS)), shape), shape)


@st.composite
def squeeze(draw: st.DrawFn) -> Case:
    """SQUEEZE and EXPAND_DIMS around a RELU."""
    b = ModelBuilder()
    shape = draw(shapes(1, 3))
    axis = draw(st.integers(0, len(shape)))
    more = (*shape[:axis], 1, *shape[axis:])
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source, wide, changed, target = (b.tensor(s, scale, zero_point) for s in (shape, more, more, shape))
    b.op("EXPAND_DIMS", [source, b.tensor((), data=np.array(axis, np.int32))], [wide], "ExpandDimsOptions")
    b.op("RELU", [wide], [changed])
    b.op("SQUEEZE", [changed], [target], "SqueezeOptions", squeezeDims=[axis])
    return Case(b.build([source], [target]), data(np.random.default_rng(draw(SEEDS)), shape), shape)


class StatefulBuilder(ModelBuilder):
    """A model with resource variables."""

    def __init__(self) -> None:
        super().__init__()
        self.initial: dict[str, np.ndarray] = {}
        self.quantization: dict[str, tuple[np.float32, int]] = {}

    def variable(self, name: str, scale: np.float32, zero_point: int, initial: np.ndarray | None = None) -> int:
        """The handle; without an initial value TFLite Micro's default counts."""
        handle = self.tensor((), dtype="int32")
        self.graph.tensors[handle].type = schema.TensorType.RESOURCE
        self.op("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName=name)
        if initial is not None:
            self.initial[name] = initial
        self.quantization[name] = scale, zero_point
        return handle

    def build(self, inputs: list[int], outputs: list[int]) -> bytes:
        if self.initial:
            main = self.graph
            self.op("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
            main.operators.insert(0, main.operators.pop())
            self.graph = schema.SubGraphT()
            self.graph.name, self.graph.tensors, self.graph.operators = "init", [], []
            self.graph.inputs, self.graph.outputs = [], []
            self.model.subgraphs.append(self.graph)
            for name, values in self.initial.items():
                handle = self.tensor((), dtype="int32")
                self.graph.tensors[handle].type = schema.TensorType.RESOURCE
                self.op("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName=name)
                constant = self.tensor(values.shape, *self.quantization[name], values)
                self.op("ASSIGN_VARIABLE", [handle, constant], [], "AssignVariableOptions")
            self.graph = main
        return super().build(inputs, outputs)


@st.composite
def variables(draw: st.DrawFn) -> Case:
    """One or two variables in a row: the newest rows, read by a slice or a split of channels; now and then read twice,
    or assigned something else, so that no ring is possible. Ten steps."""
    b = StatefulBuilder()
    rng = np.random.default_rng(draw(SEEDS))
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    rows, channels = draw(st.integers(1, 3)), draw(st.sampled_from([2, 3, 4, 8]))
    shape = (1, rows, 1, channels)
    source = current = b.tensor(shape, scale, zero_point)
    for number in range(draw(st.integers(1, 2))):
        rows, channels = (b.graph.tensors[current].shape[a] for a in (1, 3))
        held = draw(st.integers(1, 6))
        kind = draw(st.sampled_from(["random", "even", "none"]))
        initial = rng.integers(-128, 128, (1, held, 1, channels)).astype(np.int8)
        if kind == "even":
            initial[:] = zero_point
        name = f"state{number}"
        handle = b.variable(name, scale, zero_point, None if kind == "none" else initial)
        old = b.tensor((1, held, 1, channels), scale, zero_point)
        joined = b.tensor((1, held + rows, 1, channels), scale, zero_point)
        kept = b.tensor((1, held, 1, channels), scale, zero_point)
        b.op("READ_VARIABLE", [handle], [old], "ReadVariableOptions")
        newest_first = draw(st.integers(0, 4)) == 0  # the other way round: no ring
        order = [current, old] if newest_first else [old, current]
        b.op("CONCATENATION", order, [joined], "ConcatenationOptions", axis=1, fusedActivationFunction=0)
        first = 0 if newest_first else rows
        _slice(b, joined, kept, [0, first, 0, 0], [1, first + held, 1, channels])
        if draw(st.integers(0, 3)) == 0:
            changed = b.tensor((1, held, 1, channels), scale, zero_point)
            b.op("RELU", [kept], [changed])
            kept = changed
        b.op("ASSIGN_VARIABLE", [handle, kept], [], "AssignVariableOptions")
        current = joined
        use = draw(st.sampled_from(["all", "slice", "split", "again"]))
        if use == "slice":
            current = b.tensor((1, held, 1, channels), scale, zero_point)
            _slice(b, joined, current, [0, rows, 0, 0], [1, rows + held, 1, channels])
        elif use == "split":
            left = draw(st.integers(1, channels - 1))
            sizes = b.tensor((2,), data=np.array([left, channels - left], np.int32))
            axis = b.tensor((), data=np.array(3, np.int32))
            parts = [b.tensor((1, held + rows, 1, n), scale, zero_point) for n in (left, channels - left)]
            b.op("SPLIT_V", [joined, sizes, axis], parts, "SplitVOptions", numSplits=2)
            shorter = draw(st.integers(0, held))  # rows that the first part's reader leaves out
            part = b.tensor((1, held + rows - shorter, 1, left), scale, zero_point)
            _slice(b, parts[0], part, [0, shorter, 0, 0], [1, held + rows, 1, left])
            flat = [b.tensor((1, (held + rows - s) * n), scale, zero_point)
                    for s, n in ((shorter, left), (0, channels - left))]  # fmt: skip
            for one, line in zip([part, parts[1]], flat, strict=True):
                b.op("RESHAPE", [one], [line], "ReshapeOptions")
            size = sum(b.graph.tensors[t].shape[1] for t in flat)
            line = b.tensor((1, size), scale, zero_point)
            b.op("CONCATENATION", flat, [line], "ConcatenationOptions", axis=1, fusedActivationFunction=0)
            current = b.tensor((1, size, 1, 1), scale, zero_point)
            b.op("RESHAPE", [line], [current], "ReshapeOptions")
            break
        elif use == "again":
            late = b.tensor((1, held, 1, channels), scale, zero_point)
            b.op("READ_VARIABLE", [handle], [late], "ReadVariableOptions")
            both = b.tensor((1, 2 * held + rows, 1, channels), scale, zero_point)
            b.op("CONCATENATION", [joined, late], [both], "ConcatenationOptions", axis=1, fusedActivationFunction=0)
            current = both
    inputs = rng.integers(-128, 128, (10, *shape)).astype(np.int8)
    return Case(b.build([source], [current]), inputs, shape)


def _slice(b: ModelBuilder, source: int, target: int, begin: list[int], end: list[int]) -> None:
    others = [b.tensor((4,), data=np.array(v, np.int32)) for v in (begin, end, [1, 1, 1, 1])]
    b.op("STRIDED_SLICE", [source, *others], [target], "StridedSliceOptions")


def variable(b: ModelBuilder, shape: tuple[int, ...], scale: np.float32, zero_point: int, dtype: str = "int8") -> int:
    """A tensor that keeps its value between invokes."""
    tensor = b.tensor(shape, scale, zero_point, dtype=dtype)
    b.graph.tensors[tensor].isVariable = True
    return tensor


def lstm_model(
    rng: np.random.Generator, size: tuple[int, int, int, int], time_major: bool, cell_bits: int, clip: float,
    sum_scale: np.float32, hidden_scale: np.float32, zero_points: tuple[int, int],
) -> tuple[bytes, tuple[int, ...]]:  # fmt: skip
    """UNIDIRECTIONAL_SEQUENCE_LSTM; ``size``: batches, steps, channels, units. ``sum_scale``: about what one product
    of an input and a weight is worth."""
    batches, steps, in_c, units = size
    b = ModelBuilder()
    shape = (steps, batches, in_c) if time_major else (batches, steps, in_c)
    source = b.tensor(shape, np.float32(0.05), zero_points[0])
    inputs = [source]
    for width, given in ((in_c, 0.05), (units, float(hidden_scale))):
        for _ in range(4):
            scale = np.float32(float(sum_scale) / given * 2.0 ** rng.uniform(-1, 1))
            inputs.append(b.tensor((units, width), scale, 0, rng.integers(-127, 128, (units, width)).astype(np.int8)))
    inputs += [-1, -1, -1]
    for gate in range(4):
        scale = np.float32(0.05) * b.graph.tensors[inputs[1 + gate]].quantization.scale[0]
        bias = rng.integers(-9000, 9001, units).astype(np.int32)
        inputs.append(b.tensor((units,), np.float32(scale), 0, bias))
    inputs += [-1, -1]
    inputs.append(variable(b, (batches, units), hidden_scale, zero_points[1]))
    inputs.append(variable(b, (batches, units), np.float32(2.0**-cell_bits), 0, "int16"))
    inputs += [-1, -1, -1, -1]
    target = b.tensor((*shape[:2], units), hidden_scale, zero_points[1])
    b.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [target], "UnidirectionalSequenceLSTMOptions",
        fusedActivationFunction=4, cellClip=clip, timeMajor=time_major,
    )  # fmt: skip
    return b.build([source], [target]), shape


@st.composite
def lstm(draw: st.DrawFn) -> Case:
    """From cells that hardly move to saturated ones, over several invokes."""
    rng = np.random.default_rng(draw(SEEDS))
    size = (draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 13)), draw(st.integers(1, 7)))
    tflite, shape = lstm_model(
        rng, size, draw(st.booleans()), draw(st.integers(8, 15)), draw(st.sampled_from([0.0, 10.0, 0.3])),
        np.float32(2.0 ** draw(st.floats(-16, -10))), np.float32(2.0 ** draw(st.floats(-9, -6))),
        (draw(ZERO_POINTS), draw(ZERO_POINTS)),
    )  # fmt: skip
    return Case(tflite, data(rng, shape), shape)


def svdf_model(
    rng: np.random.Generator, size: tuple[int, int, int, int, int], wide: bool, scales: tuple[float, float, float],
    zero_points: tuple[int, int, int], bias_size: int = 3000,
) -> tuple[bytes, tuple[int, ...]]:  # fmt: skip
    """SVDF; ``size``: batches, channels, units, rank, memory; ``scales`` of input, state and output."""
    batches, in_c, units, rank, memory = size
    b = ModelBuilder()
    kind, limit = (np.int16, 300) if wide else (np.int8, 128)
    filters = units * rank
    source = b.tensor((batches, in_c), np.float32(scales[0]), zero_points[0])
    features = b.tensor((filters, in_c), 0.01, 0, rng.integers(-127, 128, (filters, in_c)).astype(np.int8))
    time_scale = np.float32(1e-5 / scales[1]) if scales[1] > 1e-3 else np.float32(0.01)
    time = b.tensor((filters, memory), time_scale, 0, rng.integers(-limit, limit, (filters, memory)).astype(kind))
    bias_scale = np.float32(np.float32(scales[1]) * time_scale)
    bias = b.tensor((units,), bias_scale, 0, rng.integers(-bias_size, bias_size + 1, units).astype(np.int32))
    state = variable(b, (batches, filters * memory), np.float32(scales[1]), zero_points[1], kind.__name__)
    out_scale = np.float32(float(bias_scale) * scales[2])
    target = b.tensor((batches, units), out_scale, zero_points[2])
    b.op("SVDF", [source, features, time, bias, state], [target], "SVDFOptions", rank=rank, fusedActivationFunction=1)
    return b.build([source], [target]), (batches, in_c)


@st.composite
def svdf(draw: st.DrawFn) -> Case:
    """Its state of 8 or 16 bits, over several invokes."""
    rng = np.random.default_rng(draw(SEEDS))
    wide = draw(st.booleans())
    size = (
        draw(st.integers(1, 2)), draw(st.integers(1, 13)), draw(st.integers(1, 6)), draw(st.integers(1, 3)),
        draw(st.integers(1, 9)),
    )  # fmt: skip
    scales = (0.05, 2.0 ** draw(st.floats(-12, -9) if wide else st.floats(-5, 0)), 2.0 ** draw(st.floats(4, 14)))
    zero_points = (draw(ZERO_POINTS), 0 if wide else draw(ZERO_POINTS), draw(ZERO_POINTS))
    tflite, shape = svdf_model(rng, size, wide, scales, zero_points)
    return Case(tflite, rng.integers(-128, 128, (9, *shape)).astype(np.int8), shape)


@st.composite
def wide_result(draw: st.DrawFn) -> Case:
    """SOFTMAX to int16 and QUANTIZE to int32."""
    b = ModelBuilder()
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 9)))
    rng = np.random.default_rng(draw(SEEDS))
    given = draw(st.sampled_from(["softmax", "int8", "int16"]))
    if given == "softmax":
        source = b.tensor(shape, np.float32(2.0 ** draw(st.floats(-8, 2))), draw(ZERO_POINTS))
        target = b.tensor(shape, 1 / 65536, -32768, dtype="int16")
        b.op("SOFTMAX", [source], [target], "SoftmaxOptions", beta=draw(st.sampled_from([1.0, 0.25])))
        return Case(b.build([source], [target]), data(rng, shape), shape)
    scale = draw(SCALES)
    source = b.tensor(shape, scale, draw(ZERO_POINTS), dtype=given)
    out_scale = np.float32(scale * 2.0 ** draw(st.floats(-12, 4)))
    target = b.tensor(shape, out_scale, draw(st.integers(-70000, 70000)), dtype="int32")
    b.op("QUANTIZE", [source], [target], "QuantizeOptions")
    return Case(b.build([source], [target]), typed(rng, shape, given), shape)


@st.composite
def pack(draw: st.DrawFn) -> Case:
    """The input and constants along a new dimension."""
    b = ModelBuilder()
    shape = draw(shapes(1, 3, 4))
    scale, zero_point = draw(SCALES), draw(ZERO_POINTS)
    source = b.tensor(shape, scale, zero_point)
    rng = np.random.default_rng(draw(SEEDS))
    operands = [source]
    for _ in range(draw(st.integers(0, 3))):
        operands.append(b.tensor(shape, scale, zero_point, rng.integers(-128, 128, shape).astype(np.int8)))
    operands = draw(st.permutations(operands))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    at = axis % (len(shape) + 1)
    target = b.tensor((*shape[:at], len(operands), *shape[at:]), scale, zero_point)
    b.op("PACK", operands, [target], "PackOptions", axis=axis, valuesCount=len(operands))
    return Case(b.build([source], [target]), data(rng, shape), shape)


MORE_CASES = {
    "pairwise": pairwise(),
    "function": function(),
    "change_of_type": change_of_type(),
    "strided_slice": strided_slice(),
    "transpose": transpose(),
    "split_and_join": split_and_join(),
    "squeeze": squeeze(),
    "variables": variables(),
    "lstm": lstm(),
    "svdf": svdf(),
    "wide_result": wide_result(),
    "pack": pack(),
}
