"""The weights that a network begins with: given whole or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import Config, ShapeConfig, TrainConfig, load_config
from model_pipeline.errors import KwsError
from model_pipeline.models import build, network_of, speech_embedding
from model_pipeline.models.base import BASES, Linear, begin_with, path_of, save_body
from model_pipeline.models.tcn import tcn

SMALL = ShapeConfig(front=4, body=6, blocks=1, kernel=3)


def _network(labels: int, shape: ShapeConfig = SMALL):
    return build(tcn(shape), "float", 20, 12, labels, 1.0, 36.0)[0]


def test_a_body_goes_to_a_network_of_other_words(tmp_path: Path) -> None:
    heard, own = _network(9), _network(4)
    x = np.random.default_rng(1).uniform(0, 30, (3, 20, 12, 1)).astype(np.float32)
    save_body(heard, tmp_path / "body.npz")
    kept = [w.numpy() for w in [layer for layer in own.layers if layer.weights][-1].weights]
    begin_with(path_of(str(tmp_path / "body.npz")), own)
    last = [layer for layer in own.layers if layer.weights][-1]
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(kept, last.weights, strict=True))
    for ours, theirs in zip(own.weights, heard.weights, strict=True):
        if ours.path == theirs.path and not ours.path.startswith(last.name):
            assert np.allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-3)
    assert own(x).shape == (3, 4)


def test_a_network_begins_with_its_teachers_head_on_what_its_body_says(tmp_path: Path) -> None:
    heard, own = _network(9), _network(4)
    x = np.random.default_rng(1).uniform(0, 30, (3, 20, 12, 1)).astype(np.float32)
    last = [layer for layer in heard.layers if layer.weights][-1]
    kernel, bias = (np.asarray(w) for w in last.get_weights())
    says = Linear(kernel.reshape(-1, 9), bias)
    rng = np.random.default_rng(2)
    head = Linear(rng.standard_normal((9, 4)).astype(np.float32), rng.standard_normal(4).astype(np.float32))
    save_body(heard, tmp_path / "body.npz", says)
    assert begin_with(tmp_path / "body.npz", own, head)
    assert np.allclose(own(x), head(np.asarray(heard(x))), rtol=2e-2, atol=2e-2)
    # Without a head the last layer keeps its own, and a file that says nothing gives none.
    assert not begin_with(tmp_path / "body.npz", own)
    save_body(heard, tmp_path / "plain.npz")
    assert not begin_with(tmp_path / "plain.npz", own, head)


def test_a_body_of_another_shape_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    save_body(_network(4), tmp_path / "body.npz")
    other = _network(4, SMALL.model_copy(update={"body": 7}))
    before = [w.numpy() for w in other.weights]
    with pytest.raises(KwsError, match="network of another shape"):
        begin_with(tmp_path / "body.npz", other)
    with pytest.raises(KwsError, match="network of another shape"):
        begin_with(tmp_path / "body.npz", _network(4, SMALL.model_copy(update={"blocks": 2})))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, other.weights, strict=True))
    (tmp_path / "none.npz").write_bytes(b"no zip")
    with pytest.raises(KwsError, match="holds no weights"):
        begin_with(tmp_path / "none.npz", other)


def test_a_base_that_is_not_there_is_named() -> None:
    with pytest.raises(KwsError, match="there is no base nothing") as caught:
        path_of("nothing")
    for path in BASES.glob("*.npz"):
        assert path.stem in caught.value.hint and path_of(path.stem) == path


@pytest.mark.parametrize("name", ["heard", "people"])
def test_a_shipped_base_fits_what_projects_train(name: str) -> None:
    config = load_config("demo")
    model, _ = network_of(config, "float", config.frames)
    labels = len(config.keywords) + 2
    values = speech_embedding.POOLED
    rng = np.random.default_rng(3)
    assert begin_with(path_of(name), model, Linear(rng.normal(size=(values, labels)), np.zeros(labels)))
    assert config.train.base == "heard"


def test_a_recipe_without_a_base_is_as_before() -> None:
    assert not {"base", "base_share"} & set(Config().recipe())
    assert Config(train=TrainConfig(base="words")).recipe()["base"] == "words"
