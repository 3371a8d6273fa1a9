"""Random networks for tests of streaming evaluation, and tracks with chosen posteriors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_pipeline.config import DetectorConfig, FrontendConfig
from model_pipeline.listening.recogniser import Track
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, save_manifest
from tests.support.tflite_builder import ModelBuilder, lively_inputs

FRAMES, CHANNELS = 49, 40


def sliding_net(
    seed: int = 1, labels: int = 5, channels: int = 8, *, time_stride: int = 1, three: bool = False, dense: bool = False
) -> bytes:
    """A residual network like the default model, all of it unpadded along time: convolution, depthwise layers,
    ADD, mean over time by AVERAGE_POOL_2D, a head and SOFTMAX; random weights, scaled so that outputs differ.

    Args:
        time_stride: of the first layer.
        three: the input is [1, frames, channels] and is reshaped first.
        dense: FULLY_CONNECTED as the head, in the place of a 1x1 convolution.
    """
    rng = np.random.default_rng(seed)
    b = ModelBuilder()
    scale = np.float32(26 / 255)
    values = (lively_inputs(rng, 10, (1, FRAMES, CHANNELS, 1)).astype(np.float64) + 128) * scale
    if three:
        source = b.tensor((1, FRAMES, CHANNELS), scale, -128, name="features")
        current = b.tensor((1, FRAMES, CHANNELS, 1), scale, -128, name="image")
        b.op("RESHAPE", [source, b.tensor((4,), data=np.array([1, FRAMES, CHANNELS, 1], np.int32))], [current])
    else:
        source = current = b.tensor((1, FRAMES, CHANNELS, 1), scale, -128, name="features")

    def layer(shape: tuple[int, ...], strides: tuple[int, int], *, depthwise: bool = False, relu: bool = True) -> None:
        nonlocal current, scale, values
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        windows = np.lib.stride_tricks.sliding_window_view(values, shape[1:3], axis=(1, 2))
        windows = windows[:, :: strides[0], :: strides[1]]
        rule = "nyxcij,ijc->nyxc" if depthwise else "nyxcij,oijc->nyxo"
        sums = np.einsum(rule, windows, (weights[0] if depthwise else weights).astype(np.float64), optimize=True)
        scales = (1 / (sums.std(axis=(0, 1, 2)) + 1e-9)).astype(np.float32)
        bias = (-sums.mean(axis=(0, 1, 2)) / scale).round().astype(np.int32)
        values = (sums + bias * np.float64(scale)) * scales
        w = b.tensor(shape, scales, 0, weights, axis=3 if depthwise else 0)
        offset = b.tensor(bias.shape, scales * scale, 0, bias)
        zero = -128
        if relu:
            values = np.maximum(values, 0)
            scale = np.float32(np.quantile(values, 0.999) / 255)
        else:
            scale, zero = np.float32(np.quantile(np.abs(values), 0.999) / 127), 0
        out = b.tensor((1, *values.shape[1:]), scale, zero, name=f"layer{len(b.graph.operators)}")
        fields = {"padding": 1, "strideH": strides[0], "strideW": strides[1]}
        fields |= {"dilationWFactor": 1, "dilationHFactor": 1, "fusedActivationFunction": int(relu)}
        if depthwise:
            fields["depthMultiplier"] = 1
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        b.op(name, [current, w, offset], [out], "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", **fields)
        current = out

    layer((channels, 3, 5, 1), (time_stride, 4))
    layer((1, 1, values.shape[2], channels), (1, 1), depthwise=True)
    for _ in range(2):
        layer((1, 9, 1, channels), (1, 1), depthwise=True)
        before, kept, kept_scale = current, values, scale
        layer((channels, 1, 1, channels), (1, 1), relu=False)
        values = np.maximum(values + kept, 0)
        scale = np.float32(np.quantile(values, 0.999) / 255)
        total = b.tensor((1, *values.shape[1:]), scale, -128, name=f"sum{len(b.graph.operators)}")
        b.op("ADD", [before, current], [total], "AddOptions", fusedActivationFunction=1)
        current = total
        assert kept_scale > 0
    rows = values.shape[1]
    pooled = b.tensor((1, 1, 1, channels), scale, -128, name="mean")
    b.op(
        "AVERAGE_POOL_2D", [current], [pooled], "Pool2DOptions",
        padding=1, strideH=rows, strideW=1, filterHeight=rows, filterWidth=1,
    )  # fmt: skip
    values = values.mean(axis=(1, 2))
    weights = rng.integers(-127, 128, (labels, channels)).astype(np.int8)
    sums = values @ weights.T.astype(np.float64)
    head = np.float32(3 / sums.std(axis=0).mean())
    bias = b.tensor((labels,), head * scale, 0, (-sums.mean(axis=0) / scale).round().astype(np.int32))
    if dense:
        w = b.tensor((labels, channels), head, 0, weights)
        flat = b.tensor((1, labels), np.float32(0.1), 3, name="logits")
        b.op("FULLY_CONNECTED", [pooled, w, bias], [flat], "FullyConnectedOptions")
    else:
        w = b.tensor((labels, 1, 1, channels), head, 0, weights[:, None, None])
        logits = b.tensor((1, 1, 1, labels), np.float32(0.1), 3, name="logits")
        fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationWFactor": 1, "dilationHFactor": 1}
        b.op("CONV_2D", [pooled, w, bias], [logits], "Conv2DOptions", **fields)
        flat = b.tensor((1, labels), np.float32(0.1), 3, name="flat")
        b.op("RESHAPE", [logits, b.tensor((2,), data=np.array([1, labels], np.int32))], [flat])
    out = b.tensor((1, labels), 1 / 256, -128, name="posteriors")
    b.op("SOFTMAX", [flat], [out], "SoftmaxOptions", beta=1.0)
    return b.build([source], [out])


def model_folder(folder: Path, tflite: bytes, labels: Sequence[str], **changes: object) -> Path:
    """``model.tflite`` and ``model.json`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(tflite)
    values = {
        "name": "random",
        "model_sha256": hashlib.sha256(tflite).hexdigest(),
        "labels": list(labels),
        "frontend": FrontendConfig(),
        "window_frames": FRAMES,
        "input": Quantization(scale=float(np.float32(26 / 255)), zero_point=-128, shape=[1, FRAMES, CHANNELS, 1]),
        "output": Quantization(scale=1 / 256, zero_point=-128, shape=[1, len(labels)]),
        "detector": detector_defaults(DetectorConfig(threshold=0.3, window_ms=200), len(labels), 20),
        **changes,
    }
    save_manifest(Manifest(**values), folder / "model.json")
    return folder


def track_of(posteriors: np.ndarray, stride_hops: int = 5, samples: int | None = None) -> Track:
    """A track of the default front end whose rows are ``posteriors`` [n, labels], 0 to 255."""
    first, step = 480 + (FRAMES - 1) * 320, stride_hops * 320
    end = first + step * len(posteriors) if samples is None else samples
    return Track((posteriors.astype(int) - 128).astype(np.int8), first, step, stride_hops, end)


def speech_like(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """int16: noise and tones of changing loudness, so that features move."""
    count = int(seconds * 16000)
    time, knots = np.arange(count), np.arange(0, count + 4000, 4000)
    envelope = np.interp(time, knots, 10 ** rng.uniform(0.5, 4, len(knots)))
    pitch = np.interp(time, knots, rng.uniform(100, 3000, len(knots)))
    sound = np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.3 * rng.standard_normal(count)
    return np.clip(envelope * sound, -32768, 32767).astype(np.int16)
