"""Networks: their three forms are one function, and the default keeps its budget."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the training extra is not installed")

import keras
import tensorflow as tf

from model_pipeline.config import ShapeConfig
from model_pipeline.models import ARCHITECTURES, architecture, build, fold
from model_pipeline.models.net import FakeQuant, _depthwise

COARSE = architecture("tcn", ShapeConfig(front=8, body=56, blocks=4, kernel=3, step=2))


def test_the_default_is_one_of_them() -> None:
    assert "ds_tcn" in ARCHITECTURES


@pytest.mark.parametrize("name", [*ARCHITECTURES, "coarse"])
def test_the_forms_agree_and_the_budget_is_kept(name: str) -> None:
    make = ARCHITECTURES.get(name, COARSE)
    keras.utils.set_random_seed(1)  # untrained logits may lie so close that the largest is a matter of rounding
    model, net = build(make, "float", 49, 40, 10, 1.0, 26.0)
    assert net.macs <= 1_200_000
    x = np.random.default_rng(0).uniform(0, 26, (64, 49, 40, 1)).astype(np.float32)
    for _ in range(5):
        model(x, training=True)
    quant, net = build(make, "qat", 49, 40, 10, 1.0, 26.0)
    fold(model, quant, net)
    for layer in quant.layers:
        if isinstance(layer, FakeQuant):
            layer.momentum = 0.0
    quant(x, training=True)
    a, b = model(x).numpy(), quant(x).numpy()
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()
    assert (a.argmax(1) == b.argmax(1)).mean() > 0.8


@pytest.mark.parametrize("name", [*ARCHITECTURES, "coarse"])
def test_they_are_built_for_windows_of_other_sizes(name: str) -> None:
    small = ((15, 8), (24, 40)) if name in ARCHITECTURES else ((23, 8), (24, 40))
    for frames, channels in (*small, (49, 10), (49, 4), (98, 64)):
        model, net = build(ARCHITECTURES.get(name, COARSE), "float", frames, channels, 4, 0.5, 26.0)
        assert model.input_shape[1:3] == (frames, channels) and model.output_shape == (None, 4) and net.macs > 0


@pytest.mark.parametrize("strides", [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize(("width", "taps"), [(5, 5), (8, 1), (9, 3), (10, 4), (20, 5)])
def test_a_depthwise_layer_is_what_its_definition_says(strides: tuple[int, int], width: int, taps: int) -> None:
    rng = np.random.default_rng(width)
    x, kernel = rng.standard_normal((2, 7, width, 3)), rng.standard_normal((3, taps, 3, 1))
    down, along = strides
    rows, columns = (7 - 3) // down + 1, (width - taps) // along + 1
    expected = np.array(
        [
            [
                [
                    np.einsum("ijc,ijc->c", one[t * down : t * down + 3, f * along : f * along + taps], kernel[..., 0])
                    for f in range(columns)
                ]
                for t in range(rows)
            ]
            for one in x
        ]
    )
    given, weights = tf.constant(x, tf.float32), tf.constant(kernel, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch((given, weights))
        found = _depthwise(given, weights, strides)
        total = tf.reduce_sum(found * found)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    to_x, to_kernel = tape.gradient(total, (given, weights))
    # A step along each: what the sum of squares changes by is the gradient's product with it.
    for gradient, direction in ((to_x, x), (to_kernel, kernel)):
        slope = float(np.sum(np.asarray(gradient) * direction))  # the sum of squares grows with the square of either
        assert slope == pytest.approx(2 * float(np.sum(expected**2)), rel=1e-3)
