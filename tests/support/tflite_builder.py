"""Builds small int8 .tflite files for tests without TensorFlow, and runs them in TFLite Micro (the oracle)."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest

schema = pytest.importorskip(
    "tflite_micro.tensorflow.lite.micro.python.schema_py_generated",
    reason="tflite_micro, the oracle, is not installed",
    exc_type=ImportError,
)
TYPES = {"int8": 9, "int32": 2, "int64": 4, "float32": 0, "uint8": 3, "int16": 7}


class ModelBuilder:
    """One subgraph; tensors are known by their index."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "test"
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: tuple[int, ...] | list[int],
        scale: float | np.ndarray | None = None,
        zero_point: int = 0,
        data: np.ndarray | None = None,
        *,
        axis: int = 0,
        dtype: str = "int8",
        name: str = "",
    ) -> int:
        """Adds a tensor; ``data`` makes it a constant (and gives its type)."""
        tensor = schema.TensorT()
        tensor.shape = [int(n) for n in shape]
        tensor.type = TYPES[dtype if data is None else data.dtype.name]
        tensor.name = name or f"t{len(self.graph.tensors)}"
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: str = "", **fields: Any) -> None:
        """Adds an operator; ``options`` names the options table (``Conv2DOptions``), ``fields`` fill it."""
        code = getattr(schema.BuiltinOperator, name)
        codes = [c.builtinCode for c in self.model.operatorCodes]
        if code not in codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = 1
            self.model.operatorCodes.append(entry)
            codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = codes.index(code)
        operator.inputs = list(inputs)
        operator.outputs = list(outputs)
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, options + "T")()
            for key, value in fields.items():
                assert hasattr(operator.builtinOptions, key), key
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)

    def build(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class Oracle:
    """TensorFlow Lite Micro on the host."""

    def __init__(self, tflite: bytes, *, all_tensors: bool = False) -> None:
        from tflite_micro.python.tflite_micro import runtime

        config = runtime.InterpreterConfig.kPreserveAllTensors if all_tensors else None
        arguments = {"intrepreter_config": config} if config else {}
        self.interpreter = runtime.Interpreter.from_bytes(tflite, arena_size=1 << 22, **arguments)

    def run(self, inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """int8 [n, input bytes] to int8 [n, output bytes]."""
        results = []
        for values in inputs:
            self.interpreter.set_input(values.reshape(shape), 0)
            self.interpreter.invoke()
            results.append(np.array(self.interpreter.get_output(0)).reshape(-1))
        return np.stack(results)

    def tensor(self, index: int) -> np.ndarray:
        """One tensor's value after the last run (needs ``all_tensors``)."""
        return self.interpreter.GetTensor(index, 0)["tensor_data"]


def random_weights(
    rng: np.random.Generator, shape: tuple[int, ...], channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int8 weights, a scale for each channel, and an int32 bias of the size of a few products."""
    weights = rng.integers(-127, 128, shape, dtype=np.int64).astype(np.int8)
    scales = (0.01 * 2.0 ** rng.uniform(-2, 2, channels)).astype(np.float32)
    return weights, scales, rng.integers(-20000, 20000, channels).astype(np.int32)


def _convolve(values: np.ndarray, weights: np.ndarray, stride: int, depthwise: bool) -> np.ndarray:
    """float [n, h, w, c] without padding; weights as in the file."""
    k_h, k_w = weights.shape[1:3]
    windows = np.lib.stride_tricks.sliding_window_view(values, (k_h, k_w), axis=(1, 2))[:, ::stride, ::stride]
    if depthwise:
        return np.einsum("nyxcij,ijc->nyxc", windows, weights[0], optimize=True)
    return np.einsum("nyxcij,oijc->nyxo", windows, weights, optimize=True)


def ds_cnn(seed: int = 1, *, channels: int = 32, blocks: int = 3, labels: int = 10) -> bytes:
    """A depthwise-separable network like the default model: input [1, 49, 40, 1], unpadded along time, random
    weights. Scales and biases are calibrated on a few inputs, so that no layer saturates or dies."""
    rng = np.random.default_rng(seed)
    b = ModelBuilder()
    scale = np.float32(26 / 255)
    current = first = b.tensor((1, 49, 40, 1), scale, -128, name="features")
    values = (lively_inputs(rng, 12, (1, 49, 40, 1)).astype(np.float64) + 128) * scale

    def layer(kind: str, weights_shape: tuple[int, ...], stride: int = 1, **fields: int) -> None:
        nonlocal scale, current, values
        depthwise = kind == "DEPTHWISE_CONV_2D"
        axis = 3 if depthwise else 0
        weights = rng.integers(-127, 128, weights_shape).astype(np.int8)
        sums = _convolve(values, weights.astype(np.float64), stride, depthwise)
        # Every channel gets a spread of about one and is positive about as often as not.
        scales = (1 / (sums.std(axis=(0, 1, 2)) + 1e-9)).astype(np.float32)
        bias = (-sums.mean(axis=(0, 1, 2)) / scale).round().astype(np.int32)
        values = np.maximum((sums + bias * np.float64(scale)) * scales, 0)
        w = b.tensor(weights_shape, scales, 0, weights, axis=axis)
        bias_tensor = b.tensor(bias.shape, scales * scale, 0, bias)
        scale = np.float32(np.quantile(values, 0.999) / 255)
        out = b.tensor((1, *values.shape[1:]), scale, -128, name=f"{kind}{len(b.graph.operators)}")
        options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        fields |= {"padding": 1, "strideH": stride, "strideW": stride, "dilationWFactor": 1, "dilationHFactor": 1}
        b.op(kind, [current, w, bias_tensor], [out], options, fusedActivationFunction=1, **fields)
        current = out

    layer("CONV_2D", (channels, 10, 4, 1), stride=2)
    for _ in range(blocks):
        layer("DEPTHWISE_CONV_2D", (1, 3, 3, channels), depthMultiplier=1)
        layer("CONV_2D", (channels, 1, 1, channels))
    values = values.mean(axis=(1, 2))
    axes = b.tensor((2,), data=np.array([1, 2], np.int32))
    scale = np.float32(np.quantile(values, 0.999) / 255)
    mean = b.tensor((1, channels), scale, -128, name="mean")
    b.op("MEAN", [current, axes], [mean], "ReducerOptions", keepDims=False)
    weights = rng.integers(-127, 128, (labels, channels)).astype(np.int8)
    sums = values @ weights.T.astype(np.float64)
    scales = np.float32(3 / sums.std(axis=0).mean())  # logits of a few units
    bias = (-sums.mean(axis=0) / scale).round().astype(np.int32)
    w = b.tensor((labels, channels), scales, 0, weights)
    bias_tensor = b.tensor((labels,), scales * scale, 0, bias)
    logits = b.tensor((1, labels), np.float32(0.1), 3, name="logits")
    b.op("FULLY_CONNECTED", [mean, w, bias_tensor], [logits], "FullyConnectedOptions")
    out = b.tensor((1, labels), 1 / 256, -128, name="posteriors")
    b.op("SOFTMAX", [logits], [out], "SoftmaxOptions", beta=1.0)
    return b.build([first], [out])


def lively_inputs(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """int8 [count, *shape]: noise and patches, of another height and grain in each input, so that outputs differ."""
    rows, columns = shape[1], shape[2]
    inputs = []
    for grain in rng.integers(1, 12, count):
        patches = rng.normal(0, 1, (-(-rows // grain), -(-columns // grain)))
        patches = np.repeat(np.repeat(patches, grain, axis=0), grain, axis=1)[:rows, :columns]
        noise = rng.normal(0, 1, (rows, columns)) * rng.choice([0, 3, 30])
        inputs.append(patches * rng.uniform(2, 100) + noise + rng.uniform(-100, 60))
    return np.clip(np.array(inputs), -128, 127).astype(np.int8).reshape(count, *shape[1:])
