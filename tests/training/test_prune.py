"""Structured pruning against the parent whose removed channels are silenced."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the training extra is not installed")

import keras

from model_pipeline.config import ShapeConfig
from model_pipeline.errors import KwsError
from model_pipeline.models import build, fold
from model_pipeline.models.net import norm_of
from model_pipeline.models.tcn import tcn
from model_pipeline.training.prune import channel_groups, importance, prune

FRAMES, CHANNELS, LABELS = 19, 20, 5
PARENT = ShapeConfig(front=8, body=16, blocks=2, kernel=5)


def network(shape: ShapeConfig, form: str = "float") -> tuple[keras.Model, object]:
    return build(tcn(shape), form, FRAMES, CHANNELS, LABELS, 1.0, 26.0)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def parent() -> keras.Model:
    """With normalisations as after a training, different in every channel."""
    keras.utils.set_random_seed(3)
    model, _ = network(PARENT)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = layer.gamma.shape[0]
            ranges = ((0.2, 2.0), (-0.5, 0.5), (-0.5, 0.5), (0.3, 3.0))  # gamma, beta, mean, variance
            layer.set_weights([rng.uniform(low, high, count) for low, high in ranges])
    return model


def silenced(parent: keras.Model, kept: dict[str, np.ndarray]) -> keras.Model:
    """``parent`` with gamma and beta of all channels that were not kept at zero."""
    model = keras.models.clone_model(parent)
    model.set_weights(parent.get_weights())
    for name, (_, group) in channel_groups(model).items():
        norm = norm_of(model, name)
        if norm is not None:
            mask = np.zeros(norm.gamma.shape[0])
            mask[kept[group]] = 1
            norm.gamma.assign(norm.gamma * mask)
            norm.beta.assign(norm.beta * mask)
    return model


def features(count: int = 20) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 26, (count, FRAMES, CHANNELS, 1)).astype(np.float32)


def test_an_addition_ties_the_channels_of_the_whole_body(parent: keras.Model) -> None:
    groups = channel_groups(parent)
    assert groups["conv_1"] == ("features", "conv_1") and groups["depthwise_2"] == ("conv_1", "conv_1")
    assert {name for name, (_, out) in groups.items() if out == groups["conv_3"][1]} == {
        "conv_3", "depthwise_4", "conv_5", "depthwise_7", "conv_8"
    }  # fmt: skip
    assert [len(v) for v in importance(parent).values()] == [8, 16, 5]


@pytest.mark.parametrize(("front", "body"), [(8, 12), (4, 16), (4, 4), (8, 16)])
def test_pruned_equals_the_parent_with_those_channels_silenced(parent: keras.Model, front: int, body: int) -> None:
    target, _ = network(PARENT.model_copy(update={"front": front, "body": body}))
    kept = prune(parent, target)
    assert [len(v) for v in kept.values()] == [front, body, LABELS]
    expected = np.asarray(silenced(parent, kept)(features(), training=False))
    assert np.allclose(np.asarray(target(features(), training=False)), expected, rtol=1e-4, atol=1e-4)
    changed = not np.array_equal(expected, np.asarray(parent(features(), training=False)))
    assert changed == ((front, body) != (8, 16))


def test_the_least_important_channels_go(parent: keras.Model) -> None:
    model = keras.models.clone_model(parent)
    model.set_weights(parent.get_weights())
    for name, (_, group) in channel_groups(model).items():
        if group == "conv_3":
            norm = norm_of(model, name)
            norm.gamma.assign(np.where(np.arange(16) % 4 == 1, 1e-4, norm.gamma))
    target, _ = network(PARENT.model_copy(update={"body": 12}))
    assert prune(model, target)["conv_3"].tolist() == [i for i in range(16) if i % 4 != 1]


def test_a_pruned_network_compiles_and_costs_less(parent: keras.Model) -> None:
    from model_pipeline.compiler import compile_model, load_host
    from model_pipeline.quantize import convert

    def compiled(model: keras.Model, shape: ShapeConfig) -> tuple[object, np.ndarray]:
        folded, net = network(shape, "folded")
        fold(model, folded, net)  # type: ignore[arg-type]
        program = compile_model(convert(folded, lambda: ([row[None]] for row in features(8))))
        x = np.clip(np.rint(features(6) / 26 * 255) - 128, -128, 127).astype(np.int8)
        return program, load_host(program).run(x).argmax(1)

    small = PARENT.model_copy(update={"front": 4, "body": 8})
    target, _ = network(small)
    prune(parent, target)
    before, _ = compiled(parent, PARENT)
    after, answers = compiled(target, small)
    assert after.macs < before.macs and after.constant_bytes < before.constant_bytes
    assert (answers == np.asarray(target(features(6), training=False)).argmax(1)).mean() >= 0.8


def test_only_a_narrower_network_of_the_same_layers_takes_weights(parent: keras.Model) -> None:
    with pytest.raises(KwsError, match="other layers"):
        prune(parent, network(PARENT.model_copy(update={"blocks": 1}))[0])
    with pytest.raises(KwsError, match="can't make 20"):
        prune(parent, network(PARENT.model_copy(update={"body": 20}))[0])
    with pytest.raises(KwsError, match="only channels"):
        prune(parent, network(PARENT.model_copy(update={"kernel": 3}))[0])


def test_a_window_that_is_too_short_is_refused() -> None:
    with pytest.raises(KwsError, match="6 blocks over 5 steps need 29 frames; the window has 19"):
        network(PARENT.model_copy(update={"blocks": 6}))
