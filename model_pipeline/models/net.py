"""The few layers that models are written in, in the three forms that a network takes on its way to int8.

* ``float``: convolution, batch normalisation, ReLU: what is trained.
* ``folded``: the normalisation is in the convolution's weights and bias: what post-training quantisation converts
  (TensorFlow itself can't run it where a depthwise layer has unequal strides).
* ``qat``: folded, with fake quantisation of weights and activations: what quantisation-aware training goes on with.

A network is a function of a `Net`, so all three are the same by construction, and layers of the same name take each
other's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

Form = Literal["float", "folded", "qat"]
Architecture = Callable[["Net", keras.KerasTensor, int, float], keras.KerasTensor]

BN_EPSILON = 1e-3


@keras.saving.register_keras_serializable("micro_kws")
class FakeQuant(keras.layers.Layer):
    """Rounds activations to 256 steps between a lowest and a highest value, learnt as a moving average of what is
    seen in training (Jacob and others, arXiv:1712.05877); gradients pass straight through."""

    def __init__(
        self, low: float | None = None, high: float | None = None, momentum: float = 0.99, **kw: object
    ) -> None:
        super().__init__(**kw)
        self.fixed_low, self.fixed_high, self.momentum = low, high, momentum

    def build(self, _: object) -> None:
        def value(name: str, start: float) -> keras.Variable:
            return self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(start), trainable=False)

        self.low = value("low", 0.0 if self.fixed_low is None else self.fixed_low)
        self.high = value("high", 1e-3 if self.fixed_high is None else self.fixed_high)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            if self.fixed_low is None:
                seen = tf.minimum(tf.reduce_min(x), 0.0)
                self.low.assign(self.low * self.momentum + seen * (1 - self.momentum))
            if self.fixed_high is None:
                seen = tf.maximum(tf.reduce_max(x), 1e-3)
                self.high.assign(self.high * self.momentum + seen * (1 - self.momentum))
        return tf.quantization.fake_quant_with_min_max_vars(x, self.low.value, self.high.value, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.fixed_low, "high": self.fixed_high, "momentum": self.momentum}


@keras.saving.register_keras_serializable("micro_kws")
class QuantConv(keras.layers.Layer):
    """Unpadded convolution with bias whose weights are fake-quantised to int8, symmetric, a scale a channel."""

    def __init__(self, filters: int, size: tuple[int, int], strides: tuple[int, int], depthwise: bool, **kw: object):
        super().__init__(**kw)
        self.filters, self.size, self.strides, self.depthwise = filters, size, strides, depthwise
        self.exporting = False  # the converter then quantises the weights, to the very same steps

    def build(self, shape: tuple[int | None, ...]) -> None:
        channels = shape[-1]
        # TensorFlow's per-channel fake quantisation works on the last axis, so a depthwise kernel leaves out its last.
        kernel = (*self.size, channels) if self.depthwise else (*self.size, channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=kernel)
        self.bias = self.add_weight(name="bias", shape=(kernel[-1],), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = self.kernel.value
        if not self.exporting:
            axes = list(range(len(kernel.shape) - 1))
            top = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(kernel), axis=axes), 1e-8))
            kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                kernel, -top, top, num_bits=8, narrow_range=True
            )
        kernel = kernel[..., None] if self.depthwise else kernel
        if self.exporting:
            convolve = tf.nn.depthwise_conv2d if self.depthwise else tf.nn.conv2d
            y = convolve(x, kernel, (1, *self.strides, 1), "VALID")
        else:
            y = (_depthwise if self.depthwise else _convolution)(x, kernel, self.strides)
        return tf.nn.bias_add(y, self.bias.value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "size": self.size,
            "strides": self.strides,
            "depthwise": self.depthwise,
        }


@keras.saving.register_keras_serializable("micro_kws")
class Depthwise(keras.layers.DepthwiseConv2D):
    """Keras' layer with `_depthwise` in it."""

    def __init__(self, size: tuple[int, int], steps: tuple[int, int], **kw: object) -> None:
        super().__init__(size, **kw)
        self.steps = steps  # not Keras' strides, which must be equal

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = _depthwise(x, self.kernel.value, self.steps)
        return tf.nn.bias_add(y, self.bias.value) if self.use_bias else y

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        positions = ((n - k) // s + 1 for n, k, s in zip(shape[1:3], self.kernel_size, self.steps, strict=True))
        return (shape[0], *positions, shape[3])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {"size": config.pop("kernel_size"), "steps": self.steps, **config}


def _convolution(x: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """Unpadded convolution for training: as a product of matrices where each position is used once, which is four times
    faster on a CPU than TensorFlow's convolution over all that is left of frequency."""
    time, frequency, channels, filters = kernel.shape
    if time == 1 and frequency == x.shape[2] and tuple(strides) == (1, 1):
        flat = tf.reshape(x, (-1, frequency * channels)) @ tf.reshape(kernel, (frequency * channels, filters))
        return tf.reshape(flat, (-1, x.shape[1], 1, filters))
    return tf.nn.conv2d(x, kernel, (1, *strides, 1), "VALID")


@keras.saving.register_keras_serializable("micro_kws")
class Conv(keras.layers.Conv2D):
    """Keras' layer with `_convolution` in it."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = _convolution(x, self.kernel.value, self.strides)
        return tf.nn.bias_add(y, self.bias.value) if self.use_bias else y


@keras.saving.register_keras_serializable("micro_kws")
class BatchNorm(keras.layers.BatchNormalization):
    """Keras' layer, with TensorFlow's fused operator where one device trains: three times faster on a CPU."""

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.synchronized:
            return super().call(x, training=training)
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        values = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        variance *= 1.0 - 1.0 / values  # the operator's is that of a sample, Keras' is not
        for seen, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            seen.assign(seen * self.momentum + value * (1.0 - self.momentum))
        return y


def _depthwise(x: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """Unpadded depthwise convolution, also with unequal strides, which TensorFlow's own may not have."""
    if strides[0] == strides[1]:
        return tf.nn.depthwise_conv2d(x, kernel, (1, *strides, 1), "VALID")
    if strides[0] != 1:
        return tf.nn.conv2d(x, kernel * tf.eye(kernel.shape[2]), (1, *strides, 1), "VALID")
    # As many neighbours along frequency as it steps over become channels, of which a step is one place; their results
    # are added. On a CPU that takes half the time of an ordinary convolution whose kernel is 0 between channels.
    (time, width, channels, _), step = kernel.shape, strides[1]
    taps = -(-width // step)
    places = (x.shape[2] - width) // step + taps
    missing = max(0, places * step - x.shape[2])
    x = tf.pad(x, ((0, 0), (0, 0), (0, missing), (0, 0)))[:, :, : places * step]
    x = tf.reshape(x, (-1, x.shape[1], places, step * channels))
    kernel = tf.pad(kernel, ((0, 0), (0, taps * step - width), (0, 0), (0, 0)))
    kernel = tf.reshape(kernel, (time, taps, step * channels, 1))
    return tf.add_n(tf.split(tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID"), step, axis=3))


@keras.saving.register_keras_serializable("micro_kws")
class Dropout(keras.layers.Dropout):
    """Dropout whose mask is drawn for the whole batch, of which each replica takes its rows: the same training on
    one device and on several."""

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.rate:
            return x
        context, rows = tf.distribute.get_replica_context(), tf.shape(x)[0]
        shape = [rows * context.num_replicas_in_sync, *x.shape[1:]]
        drawn = tf.random.stateless_uniform(shape, self.seed_generator.next())
        mine = drawn[context.replica_id_in_sync_group * rows :][:rows]
        return tf.where(mine >= self.rate, x / (1.0 - self.rate), 0.0)


class Net:
    """Adds layers to a functional Keras model in one of the three forms, and counts MACs."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.macs = 0
        self.convolutions: list[str] = []
        self._count = 0

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        size: tuple[int, int] = (1, 1),
        strides: tuple[int, int] = (1, 1),
        relu: bool = True,
        normalize: bool = True,
    ) -> keras.KerasTensor:
        """Unpadded convolution, normalisation, ReLU. ``size`` and ``strides`` are (time, frequency)."""
        return self._convolve(x, filters, size, strides, relu, normalize, depthwise=False)

    def depthwise(
        self, x: keras.KerasTensor, size: tuple[int, int], strides: tuple[int, int] = (1, 1), relu: bool = False
    ) -> keras.KerasTensor:
        """Unpadded convolution of each channel by itself, normalisation, ReLU if asked for."""
        return self._convolve(x, x.shape[-1], size, strides, relu, True, depthwise=True)

    def add(self, a: keras.KerasTensor, b: keras.KerasTensor, relu: bool = True) -> keras.KerasTensor:
        """Sum of two tensors of one shape, then ReLU."""
        name = self._name("add")
        y = keras.layers.Add(name=name)([a, b])
        return self._activate(y, relu, name)

    def pool(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Mean over what is left of time and frequency: [1, 1, channels]."""
        _, time, frequency, _ = x.shape
        return keras.layers.AveragePooling2D((time, frequency), strides=1, name=self._name("pool"))(x)

    def dropout(self, x: keras.KerasTensor, rate: float) -> keras.KerasTensor:
        """Dropout while training in float; nothing in the other forms."""
        name = self._name("dropout")
        return Dropout(rate, name=name)(x) if self.form == "float" else x

    def classify(self, x: keras.KerasTensor, labels: int) -> keras.KerasTensor:
        """A 1x1 convolution to logits [labels] (a convolution, so that it has a scale for each label)."""
        y = self.conv(x, labels, relu=False, normalize=False)
        return keras.layers.Reshape((labels,), name=self._name("logits"))(y)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def _activate(self, y: keras.KerasTensor, relu: bool, name: str) -> keras.KerasTensor:
        if relu:
            y = keras.layers.ReLU(name=f"{name}_relu")(y)
        if self.form == "qat":
            y = FakeQuant(low=0.0 if relu else None, name=f"{name}_quant")(y)
        return y

    def _convolve(
        self,
        x: keras.KerasTensor,
        filters: int,
        size: tuple[int, int],
        strides: tuple[int, int],
        relu: bool,
        normalize: bool,
        depthwise: bool,
    ) -> keras.KerasTensor:
        name = self._name("depthwise" if depthwise else "conv")
        self.convolutions.append(name)
        bias = self.form != "float" or not normalize
        if self.form == "qat":
            y = QuantConv(filters, size, strides, depthwise, name=name)(x)
        elif depthwise and self.form == "float":
            y = Depthwise(size, strides, use_bias=bias, name=name)(x)
        elif depthwise:
            y = keras.layers.DepthwiseConv2D(size, strides, use_bias=bias, name=name)(x)
        elif self.form == "float":
            y = Conv(filters, size, strides, use_bias=bias, name=name)(x)
        else:
            y = keras.layers.Conv2D(filters, size, strides, use_bias=bias, name=name)(x)
        positions = y.shape[1] * y.shape[2]
        self.macs += positions * size[0] * size[1] * filters * (1 if depthwise else x.shape[-1])
        if self.form == "float" and normalize:
            y = BatchNorm(momentum=0.9, epsilon=BN_EPSILON, name=f"{name}_bn")(y)
        return self._activate(y, relu, name)


def build(
    architecture: Architecture, form: Form, frames: int, channels: int, labels: int, width: float, top: float
) -> tuple[keras.Model, Net]:
    """The network in one form, batch left open.

    Args:
        top: the highest value of the input (`FrontendConfig.feature_max`).

    Returns:
        The model from float32 [n, frames, channels, 1] to logits [n, labels], and the `Net` with MACs.
    """
    net = Net(form)
    inputs = keras.Input((frames, channels, 1), name="features")
    x = FakeQuant(0.0, top, name="input_quant")(inputs) if form == "qat" else inputs
    outputs = architecture(net, x, labels, width)
    return keras.Model(inputs, outputs, name=architecture.__module__.rpartition(".")[2]), net


def norm_of(model: keras.Model, convolution: str) -> keras.layers.BatchNormalization | None:
    """The batch normalisation behind a convolution of a ``float`` model, None where there is none."""
    names = {layer.name for layer in model.layers}
    return model.get_layer(f"{convolution}_bn") if f"{convolution}_bn" in names else None


def fold(trained: keras.Model, target: keras.Model, net: Net) -> None:
    """Puts a ``float`` model's weights, with the normalisation multiplied in, into a ``folded`` or ``qat`` one."""
    for name in net.convolutions:
        source, layer = trained.get_layer(name), target.get_layer(name)
        kernel: np.ndarray = np.asarray(source.kernel)
        channels = kernel.shape[-2] if "depthwise" in name else kernel.shape[-1]
        bias: np.ndarray = np.asarray(source.bias) if source.use_bias else np.zeros(channels)
        factor: np.ndarray
        if (norm := norm_of(trained, name)) is None:
            factor = np.ones(channels)
        else:
            gamma, beta, mean, variance = (np.asarray(w) for w in norm.get_weights())
            factor = gamma / np.sqrt(variance + BN_EPSILON)
            bias = beta + (bias - mean) * factor
        kernel = kernel * (factor[:, None] if "depthwise" in name else factor)
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
        layer.bias.assign(bias)
