"""A streaming plan gives, once it has seen a window, what the window's model gives, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model_pipeline.compiler import HostPrograms, Program, compile_model, load_host
from model_pipeline.compiler.reader import read_model
from model_pipeline.errors import KwsError
from model_pipeline.native import FIRMWARE
from tests.support.tflite_builder import ModelBuilder, Oracle, ds_cnn


class Case(NamedTuple):
    """A model, feature frames of its window, bytes of one, and a hop."""

    tflite: bytes
    frames: int
    frame_bytes: int
    hop: int

    def __repr__(self) -> str:
        layers = [f"{op.name} {op.outputs[0].shape}" for op in read_model(self.tflite)[0].operators]
        return f"<hop {self.hop} of {self.frames} frames of {self.frame_bytes}: {', '.join(layers)}>"


DEFAULT = FIRMWARE / "model" / "model.tflite"


class Net(ModelBuilder):
    """A chain of layers with random weights, time along dimension 1 (or 2 where dimension 1 is 1)."""

    def __init__(self, seed: int, frames: int, width: int, channels: int, *, time_is_width: bool = False) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.time = 2 if time_is_width else 1
        self.shape = (1, 1, frames, channels) if time_is_width else (1, frames, width, channels)
        self.scale, self.zero = np.float32(0.05), -3
        self.first = self.at = self.tensor(self.shape, self.scale, self.zero)

    @property
    def frames(self) -> int:
        return self.shape[self.time]

    def _to(self, shape: tuple[int, ...], scale: float, zero: int | None = None) -> int:
        self.shape, self.scale = shape, np.float32(scale)
        self.zero = int(self.rng.integers(-128, 128)) if zero is None else zero
        self.at = self.tensor(shape, self.scale, self.zero)
        return self.at

    def conv(self, kind: str, out: int, k: tuple[int, int], stride: tuple[int, int], dilation: int, same: bool) -> None:
        """``k`` and ``stride``: along time, along the other dimension."""
        source, shape = self.at, list(self.shape)
        depthwise = kind == "DEPTHWISE_CONV_2D"
        k = (k[0], 1) if self.time == 2 else k
        other = 3 - self.time
        for axis, window, step, d in ((self.time, k[0], stride[0], dilation), (other, k[1], stride[1], 1)):
            shape[axis] = -(-shape[axis] // step) if same else (shape[axis] - (window - 1) * d - 1) // step + 1
        channels = shape[3]
        shape[3] = channels * out if depthwise else out
        k_h, k_w = k if self.time == 1 else k[::-1]
        s_h, s_w = stride if self.time == 1 else stride[::-1]
        d_h, d_w = (dilation, 1) if self.time == 1 else (1, dilation)
        size = (1, k_h, k_w, shape[3]) if depthwise else (shape[3], k_h, k_w, channels)
        scale = 0.01
        w = self.tensor(size, scale, 0, self.rng.integers(-127, 128, size).astype(np.int8), axis=3 if depthwise else 0)
        bias = self.rng.integers(-2000, 2000, shape[3]).astype(np.int32)
        b = self.tensor((shape[3],), float(self.scale) * scale, 0, bias)
        products = k_h * k_w * (1 if depthwise else channels)
        typical = float(self.scale) * scale * products**0.5 * 60
        fields = {"padding": 0 if same else 1, "strideH": s_h, "strideW": s_w}
        fields |= {"dilationHFactor": d_h, "dilationWFactor": d_w}
        if depthwise:
            fields["depthMultiplier"] = out
        options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        act = int(self.rng.integers(0, 2))
        self.op(kind, [source, w, b], [self._to(tuple(shape), typical)], options, fusedActivationFunction=act, **fields)

    def pool(self, kind: str, k: tuple[int, int], stride: int) -> None:
        source, shape = self.at, list(self.shape)
        k = (k[0], 1) if self.time == 2 else k
        shape[self.time] = (shape[self.time] - k[0]) // stride + 1
        shape[3 - self.time] = shape[3 - self.time] - k[1] + 1
        h, w = k if self.time == 1 else k[::-1]
        s_h, s_w = (stride, 1) if self.time == 1 else (1, stride)
        target = self._to(tuple(shape), self.scale, self.zero)
        fields = {"padding": 1, "strideH": s_h, "strideW": s_w, "filterHeight": h, "filterWidth": w}
        self.op(kind, [source], [target], "Pool2DOptions", **fields)

    def residual(self) -> None:
        before, scale = self.at, self.scale
        self.conv("CONV_2D", self.shape[3], (1, 1), (1, 1), 1, False)
        branch = self.at
        self.op("ADD", [before, branch], [self._to(self.shape, float(scale + self.scale))], "AddOptions")

    def pad(self, rows: int) -> None:
        """In front of the window, as a causal convolution does."""
        pads = np.zeros((4, 2), np.int32)
        pads[self.time, 0] = rows
        source, shape = self.at, list(self.shape)
        shape[self.time] += rows
        amount = self.tensor((4, 2), data=pads)
        self.op("PAD", [source, amount], [self._to(tuple(shape), self.scale, self.zero)], "PadOptions")

    def last(self) -> None:
        """Only the newest row, by a convolution with weights of zero for all others."""
        k, channels = self.frames, self.shape[3]
        size = (channels, k, 1, channels) if self.time == 1 else (channels, 1, k, channels)
        weights = np.zeros(size, np.int8)
        newest = weights[:, -1, 0] if self.time == 1 else weights[:, 0, -1]
        newest[:] = self.rng.integers(-127, 128, (channels, channels))
        w = self.tensor(size, 0.01, 0, weights)
        source, shape = self.at, list(self.shape)
        shape[self.time] = 1
        target = self._to(tuple(shape), float(self.scale))
        fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        self.op("CONV_2D", [source, w, -1], [target], "Conv2DOptions", **fields)

    def mean(self, axes: list[int]) -> None:
        source = self.at
        shape = tuple(1 if a in axes else n for a, n in enumerate(self.shape))
        which = self.tensor((len(axes),), data=np.array(axes, np.int32))
        self.op("MEAN", [source, which], [self._to(shape, float(self.scale) / 2)], "ReducerOptions", keepDims=True)

    def constants(self, *values: list[int]) -> list[int]:
        return [self.tensor((len(v),), data=np.array(v, np.int32)) for v in values]

    def crop(self, first: int, last: int, step: int = 1) -> None:
        """Rows ``first`` to ``last - 1``."""
        begin, end, steps = [0] * 4, list(self.shape), [1] * 4
        begin[self.time], end[self.time], steps[self.time] = first, last, step
        source, shape = self.at, list(self.shape)
        shape[self.time] = -(-(last - first) // step)
        bounds = self.constants(begin, end, steps)
        target = self._to(tuple(shape), self.scale, self.zero)
        self.op("STRIDED_SLICE", [source, *bounds], [target], "StridedSliceOptions")

    def cropped_residual(self, k: int) -> None:
        """As in unpadded networks: the skip loses the rows that the convolution needs as context."""
        before = (self.at, self.shape, self.scale, self.zero)
        self.conv("CONV_2D", self.shape[3], (k, 1), (1, 1), 1, False)
        branch, length, scale = self.at, self.frames, self.scale
        self.at, self.shape, self.scale, self.zero = before
        self.crop(k - 1, k - 1 + length)
        skip = self.at
        self.op("ADD", [skip, branch], [self._to(self.shape, float(scale + self.scale))], "AddOptions")

    def split_and_join(self) -> None:
        """Halves of the channels, one of them through a LOGISTIC-like change of scale, swapped."""
        source, shape, scale, zero = self.at, (*self.shape[:3], self.shape[3] // 2), self.scale, self.zero
        axis = self.tensor((), data=np.array(3, np.int32))
        halves = [self.tensor(shape, scale, zero) for _ in range(2)]
        self.op("SPLIT", [axis, source], halves, "SplitOptions", numSplits=2)
        changed = self.tensor(shape, scale, zero)
        self.op("RELU", [halves[0]], [changed])
        target = self._to((*shape[:3], 2 * shape[3]), scale, zero)
        self.op("CONCATENATION", [halves[1], changed], [target], "ConcatenationOptions", axis=3)

    def weigh(self) -> None:
        """MUL by a constant of a row's shape, then LOGISTIC."""
        source, shape = self.at, tuple(1 if a == self.time else n for a, n in enumerate(self.shape))
        factor = self.tensor(shape, 0.02, 0, self.rng.integers(-128, 128, shape).astype(np.int8))
        product = self._to(self.shape, float(self.scale))
        self.op("MUL", [source, factor], [product], "MulOptions")
        self.op("LOGISTIC", [product], [self._to(self.shape, 1 / 256, -128)])

    def turn(self) -> None:
        """TRANSPOSE of a row."""
        source, order = self.at, [0, 1, 3, 2] if self.time == 1 else [1, 0, 2, 3]
        by = self.constants(order)
        target = self._to(tuple(self.shape[a] for a in order), self.scale, self.zero)
        self.op("TRANSPOSE", [source, *by], [target], "TransposeOptions")

    def dense_of_rows(self, out: int) -> None:
        """FULLY_CONNECTED over the channels, then SOFTMAX."""
        source, channels = self.at, self.shape[3]
        w = self.tensor((out, channels), 0.01, 0, self.rng.integers(-127, 128, (out, channels)).astype(np.int8))
        target = self._to((*self.shape[:3], out), float(self.scale) * 0.01 * channels**0.5 * 60)
        self.op("FULLY_CONNECTED", [source, w, -1], [target], "FullyConnectedOptions", keepNumDims=True)
        self.op("SOFTMAX", [target], [self._to(self.shape, 1 / 256, -128)], "SoftmaxOptions", beta=1.0)

    def flatten_and_dense(self) -> None:
        source, size = self.at, int(np.prod(self.shape))
        flat = self._to((1, size), self.scale, self.zero)
        self.op("RESHAPE", [source], [flat], "ReshapeOptions")
        w = self.tensor((3, size), 0.01, 0, self.rng.integers(-127, 128, (3, size)).astype(np.int8))
        target = self._to((1, 3), float(self.scale) * 0.01 * size**0.5 * 60)
        self.op("FULLY_CONNECTED", [flat, w, -1], [target], "FullyConnectedOptions")

    def merge_channels(self) -> None:
        """[1, T, W, C] as [1, T, 1, W * C]."""
        source, shape = self.at, (1, self.shape[1], 1, self.shape[2] * self.shape[3])
        self.op("RESHAPE", [source], [self._to(shape, self.scale, self.zero)], "ReshapeOptions")

    def done(self) -> bytes:
        return self.build([self.first], [self.at])


@st.composite
def nets(draw: st.DrawFn) -> Case:
    frames = draw(st.integers(8, 26))
    width, channels = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    net = Net(draw(st.integers(0, 2**32 - 1)), frames, width, channels, time_is_width=draw(st.booleans()))
    frame_bytes = int(np.prod(net.shape)) // frames
    kinds = ["conv", "conv", "depthwise", "pool", "residual", "causal", "same", "merge", "mean of a row"]
    kinds += ["crop", "cropped residual", "split", "weigh", "turn", "dense"]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        k = draw(st.integers(1, 4))
        other = draw(st.integers(1, min(2, net.shape[3 - net.time])))
        dilation = draw(st.sampled_from([1, 1, 2]))
        stride = (draw(st.sampled_from([1, 1, 1, 2])), 1)
        dilation = 1 if stride[0] > 1 else dilation
        if (k - 1) * dilation + 1 > net.frames:
            continue
        if kind in ("conv", "same"):
            net.conv("CONV_2D", draw(st.integers(1, 6)), (k, other), stride, dilation, kind == "same")
        elif kind == "depthwise":
            net.conv("DEPTHWISE_CONV_2D", 1, (k, other), stride, dilation, False)
        elif kind == "pool":
            net.pool(draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"])), (k, other), stride[0])
        elif kind == "residual":
            net.residual()
        elif kind == "causal":
            net.pad((k - 1) * dilation)
            net.conv("CONV_2D", net.shape[3], (k, 1), (1, 1), dilation, False)
        elif kind == "merge" and net.time == 1:
            net.merge_channels()
        elif kind == "mean of a row":
            net.mean([3 - net.time])
        elif kind == "crop":
            first = draw(st.integers(0, net.frames - 1))
            net.crop(first, draw(st.integers(first + 1, net.frames)), draw(st.integers(1, 2)))
        elif kind == "cropped residual":
            net.cropped_residual(k)
        elif kind == "split" and net.shape[3] % 2 == 0:
            net.split_and_join()
        elif kind == "weigh":
            net.weigh()
        elif kind == "turn":
            net.turn()
        elif kind == "dense":
            net.dense_of_rows(draw(st.integers(1, 5)))
    end = draw(st.sampled_from(["mean", "dense", "last", "rows"]))
    if end == "mean":
        net.mean([1, 2])
    elif end == "dense":
        net.flatten_and_dense()
    elif end == "last" or net.at == net.first:
        net.last()
    return Case(net.done(), frames, frame_bytes, draw(st.integers(1, frames - 1)))


def windows_of(frames: np.ndarray, window: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """[calls, hop * bytes] for the plan, and [calls after warm-up, window * bytes] for the model."""
    calls = len(frames) // hop
    ends = [e for e in range(hop, calls * hop + 1, hop) if e >= window]
    return frames[: calls * hop].reshape(calls, -1), np.stack([frames[e - window : e].reshape(-1) for e in ends])


def sound(seed: int, count: int, frame_bytes: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (count, frame_bytes)).astype(np.int8)


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(nets(), min_size=6, max_size=12), st.integers(0, 1000))
def test_random_models_stream_as_tflite_micro_sees_their_windows(cases, seed):
    plans = HostPrograms([compile_model(tflite, hop=hop) for tflite, _, _, hop in cases], sanitize=True)
    for (tflite, frames, frame_bytes, hop), plan in zip(cases, plans.programs, strict=True):
        values = sound(seed, frames + 6 * hop, frame_bytes)
        steps, windows = windows_of(values, frames, hop)
        shape = compile_model(tflite).input.shape
        expected = Oracle(tflite).run(windows, shape)
        assert np.array_equal(plan.run(steps)[-len(windows) :], expected)


def check_plan(tflite: bytes, hop: int, frame_bytes: int, window: int, inputs: np.ndarray | None = None) -> Program:
    program = compile_model(tflite, hop=hop)
    assert program.streaming is not None and program.streaming.warm_up == -(-window // hop)
    values = sound(1, window + 8 * hop, frame_bytes) if inputs is None else inputs
    steps, windows = windows_of(values, window, hop)
    got = load_host(program).run(steps)[-len(windows) :]
    assert np.array_equal(got, load_host(compile_model(tflite)).run(windows))
    return program


@pytest.mark.parametrize("hop", [1, 2, 7])
def test_the_shipped_model_streams(hop):
    program = check_plan(DEFAULT.read_bytes(), hop, 40, 49)
    window = compile_model(DEFAULT.read_bytes())
    assert not program.streaming.obstacles
    assert program.macs <= hop * window.macs / 10
    assert program.arena_bytes < window.arena_bytes


def test_a_first_stride_decides_which_hops_stream():
    """The network's first convolution steps by two frames."""
    tflite = ds_cnn(3, channels=8, blocks=2)
    [even] = check_plan(tflite, 2, 40, 49).streaming.obstacles
    assert even.operator.name == "MEAN"  # of 16 x 15 values: it must see all of them
    [odd] = check_plan(tflite, 1, 40, 49).streaming.obstacles
    assert odd.operator.index == 0 and "a hop of 2 would do" in odd.reason


def test_the_streaming_wake_word_of_mlperf_streams(shared_data: Path):
    tflite = (shared_data / "mlperf_tiny" / "str_ww_ref.tflite").read_bytes()
    program = check_plan(tflite, 1, 40, 30)
    assert not program.streaming.obstacles
    assert program.macs < compile_model(tflite).macs / 10


def test_a_layer_that_pads_in_time_is_named_and_what_comes_before_it_streams():
    net = Net(1, 20, 4, 3)
    net.conv("CONV_2D", 4, (3, 2), (1, 1), 1, False)
    net.conv("CONV_2D", 4, (3, 1), (1, 1), 1, True)
    net.mean([1, 2])
    program = check_plan(net.done(), 1, 12, 20)
    first, second, third = program.streaming.layers
    assert (first.computed, first.rows, first.reason) == (1, 18, "")
    assert second.computed == second.rows == 0 and "pads 1 rows before and 1 behind" in second.reason
    assert third.reason == ""  # everything after the obstacle is new at each hop anyway
    assert [c.operator.name for c in program.calls][:3] == ["RING", "CONV_2D", "RING"]


def test_causal_convolutions_stream_if_nothing_looks_at_their_padding():
    def model(end: str) -> bytes:
        net = Net(2, 20, 1, 4)
        for _ in range(2):
            net.pad(2)
            net.conv("CONV_2D", 4, (3, 1), (1, 1), 1, False)
        net.last() if end == "last" else net.mean([1, 2])
        return net.done()

    # The convolution over all rows reads the padded ones, whatever its weights are.
    for end, reader in (("last", "CONV_2D"), ("mean", "MEAN")):
        streaming = check_plan(model(end), 1, 4, 20).streaming
        reasons = [layer.reason for layer in streaming.layers]
        assert f"in front of the window's, and operator 4 ({reader}) looks at them" in reasons[2]
        assert reasons[0] == "pads 2 rows in front of the window's, and operator 2 (PAD) looks at them"


def test_causal_convolutions_stream_to_a_reader_of_the_newest_rows():
    net = Net(2, 20, 1, 4)
    net.pad(2)
    net.conv("CONV_2D", 4, (3, 1), (1, 1), 1, False)
    net.pool("MAX_POOL_2D", (3, 1), 1)  # rows that touch padding are there, but nothing asks for them
    target = net.tensor((1, 1, 1, 4), net.scale, net.zero)
    bounds = [net.tensor((4,), data=np.array(v, np.int32)) for v in ([0, 17, 0, 0], [1, 18, 1, 4], [1, 1, 1, 1])]
    net.op("STRIDED_SLICE", [net.at, *bounds], [target], "StridedSliceOptions")
    net.at = target
    streaming = check_plan(net.done(), 1, 4, 20).streaming
    assert not streaming.obstacles and [layer.computed for layer in streaming.layers] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("hop", "frames", "message"),
    [(49, None, "1 to 48 is possible"), (-1, None, "1 to 48"), (1, 48, "is not made of 48 frames")],
)
def test_an_impossible_hop_is_refused(hop, frames, message):
    with pytest.raises(KwsError, match=message):
        compile_model(DEFAULT.read_bytes(), hop=hop, frames=frames)


def test_a_flat_input_needs_its_number_of_frames():
    net = Net(4, 10, 3, 2)
    net.flatten_and_dense()
    tflite = net.done()
    b = ModelBuilder()
    first = b.tensor((1, 60), 0.1, 0)
    image = b.tensor((1, 10, 3, 2), 0.1, 0)
    out = b.tensor((1, 10, 3, 2), 0.1, 0)
    b.op("RESHAPE", [first], [image], "ReshapeOptions")
    b.op("RELU", [image], [out])
    flat = b.build([first], [out])
    with pytest.raises(KwsError, match="does not say how many frames"):
        compile_model(flat, hop=1)
    program = compile_model(flat, hop=1, frames=10)
    values = sound(5, 14, 6)
    steps, windows = windows_of(values, 10, 1)
    assert np.array_equal(load_host(program).run(steps)[-len(windows) :], np.maximum(windows, 0))
    assert compile_model(tflite, hop=1).streaming.obstacles[0].operator.name == "RESHAPE"


def test_a_reset_forgets_the_past():
    program = load_host(compile_model(DEFAULT.read_bytes(), hop=7))
    values = sound(6, 49, 40).reshape(7, -1)
    first = program.run(values)
    assert not np.array_equal(program.run(values)[:-1], first[:-1])  # the past counts until the window is full
    program.reset()
    assert np.array_equal(program.run(values), first)
