"""The MLPerf Tiny models that are not in ../shared: small Keras definitions with random weights, converted to int8.

As a script (it needs TensorFlow): ``python mlperf_tiny.py FOLDER``. `model` runs it once and keeps the files.
Architectures: github.com/mlcommons/tiny, benchmark/training; C. Banbury et al., "MLPerf Tiny Benchmark" (2021).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NAMES = ("resnet8", "mobilenet_vww", "autoencoder")
SHAPES = {"resnet8": (1, 32, 32, 3), "mobilenet_vww": (1, 96, 96, 3), "autoencoder": (1, 640)}


def model(name: str) -> bytes:
    """The .tflite of one of `NAMES`; made at the first call on a machine, which takes a minute."""
    from model_pipeline import native

    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = native.cache_dir() / "test-models" / version
    path = folder / f"{name}.tflite"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes makes them
        if path.exists():
            return path.read_bytes()
        done = subprocess.run(
            [sys.executable, __file__, str(folder)], capture_output=True, text=True, timeout=500, check=False
        )
        if done.returncode and "No module named 'tensorflow'" in done.stderr:
            pytest.skip("TensorFlow is not installed")
        assert done.returncode == 0, done.stderr[-2000:]
    return path.read_bytes()


def _resnet8(layers: Any, normal: Any) -> tuple[Any, Any]:
    """Image classification: three stacks of two 3x3 convolutions with a residual sum."""
    first = layers.Input((32, 32, 3), batch_size=1)
    x = normal(layers.Conv2D(16, 3, padding="same")(first))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = normal(layers.Conv2D(filters, 3, strides=stride, padding="same")(x))
        y = normal(layers.Conv2D(filters, 3, padding="same")(y), relu=False)
        if stride == 2:
            x = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return first, layers.Softmax()(layers.Dense(10)(x))


def _mobilenet_vww(layers: Any, normal: Any) -> tuple[Any, Any]:
    """Visual wake words: MobileNet v1 with a width of 0.25."""
    first = layers.Input((96, 96, 3), batch_size=1)
    x = normal(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(first))
    widths = [16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]
    for number, width in enumerate(widths):
        stride = 2 if number in (1, 3, 5, 11) else 1
        x = normal(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        x = normal(layers.Conv2D(width, 1, use_bias=False)(x))
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return first, layers.Softmax()(layers.Dense(2)(x))


def _autoencoder(layers: Any, normal: Any) -> tuple[Any, Any]:
    """Anomaly detection: dense layers around a bottleneck of 8."""
    first = x = layers.Input((640,), batch_size=1)
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = normal(layers.Dense(units)(x))
    return first, layers.Dense(640)(x)


def _convert(name: str, target: Path) -> None:
    import tensorflow as tf
    from tensorflow.keras import layers

    tf.keras.utils.set_random_seed(NAMES.index(name))
    rng = np.random.default_rng(NAMES.index(name))

    def normal(x: Any, relu: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.0, gamma_initializer=tf.keras.initializers.RandomUniform(0.5, 1.5))(x)
        return layers.ReLU()(x) if relu else x

    first, last = {"resnet8": _resnet8, "mobilenet_vww": _mobilenet_vww, "autoencoder": _autoencoder}[name](
        layers, normal
    )
    network = tf.keras.Model(first, last)
    samples = [sample(rng, SHAPES[name]).astype(np.float32) / 128 for _ in range(8)]
    # One step with momentum 0 gives every layer a spread of about one.
    network(np.concatenate(samples), training=True)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([s] for s in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    temporary = target.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(converter.convert())
    os.replace(temporary, target)


def sample(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """int8: waves along every dimension, of another scale in each sample, and noise."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    phase = sum(g * rng.uniform(-1, 1) / rng.choice([1, 4, 10]) for g in grid) + rng.uniform(0, 6)
    values = np.sin(phase) * rng.uniform(10, 110) + rng.normal(0, rng.choice([1, 10, 30]), shape)
    return np.clip(values + rng.uniform(-40, 40), -128, 127).astype(np.int8)


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for each in NAMES:
        _convert(each, Path(sys.argv[1]) / f"{each}.tflite")
