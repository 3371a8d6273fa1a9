"""A base for projects: what it learns, what it goes on from, and which words it is told of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.models.base import Linear, path_of
from model_pipeline.training import distill
from model_pipeline.training.pool import Kept, Pool

_SMALL = [f"train.shape.{name}={value}" for name, value in {"front": 4, "body": 6, "blocks": 1, "kernel": 3}.items()]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    """One whose examples are there: the embedding hears how loud the bands are."""

    def made(config: Config, data: Path, trained: Path, keep: Kept, report: object) -> Pool:
        pool, rng = Pool(trained), np.random.default_rng(1)
        parts = rng.uniform(-1, 1, (config.scenes.examples, 3))  # fewer than the network has channels
        loud = parts @ rng.uniform(-1, 1, (3, 40))
        features = np.clip(40 * loud[:, None] + rng.normal(0, 5, (len(loud), 49, 40)), -127, 127).astype(np.int8)
        heard = parts @ rng.standard_normal((3, *keep.shape))
        for name, values in (("features", features), ("heard", heard.astype(np.float16))):
            pool.grow(name, len(values), values.shape[1:], values.dtype)[:] = values
        return pool

    monkeypatch.setattr(distill, "examples", made)
    words = ["yes", "no", "cat", "cat", "dog", "dog"]
    clips = [SimpleNamespace(word=w, label={"yes": 0, "no": 1}.get(w, 2)) for w in words]
    audio = {w: np.full(16000, i, np.int16) for i, w in enumerate(sorted(set(words)))}
    extra = SimpleNamespace(speech=clips, unknown=2, audio=lambda some: np.stack([audio[c.word] for c in some]))
    monkeypatch.setattr(distill, "extra_data", lambda *_: extra)
    values = np.random.default_rng(3).standard_normal((4, distill.speech_embedding.POOLED)).astype(np.float16)
    monkeypatch.setattr(distill.speech_embedding, "pooled", lambda windows: values[windows[:, 0]])
    settings = ['keywords=["yes", "no"]', "scenes.examples=800", "train.epochs=8", "train.batch=10"]
    return with_settings(load_config("base"), [*settings, *_SMALL, "scenes.keywords=0", "scenes.synthetic_keywords=0"])


def test_a_base_goes_on_from_another(tmp_path: Path, config: Config) -> None:
    first = distill.distill(config, tmp_path, tmp_path / "first.npz")
    assert first.examples == 800 and first.unexplained < 0.9
    again = [f"train.base={path_of(str(tmp_path / 'first.npz'))}", "train.epochs=1", "train.learning_rate=1e-6"]
    second = distill.distill(with_settings(config, again), tmp_path, tmp_path / "second.npz")
    assert second.unexplained == pytest.approx(first.unexplained, abs=0.02), "it began where the first one ended"
    with np.load(tmp_path / "first.npz") as a, np.load(tmp_path / "second.npz") as b:
        assert set(a.files) == set(b.files) and a["says/weights"].shape == (6, distill.speech_embedding.POOLED)


def test_the_words_that_a_base_is_told_of_are_those_that_it_may_hear(tmp_path: Path, config: Config) -> None:
    two = distill._vocabulary(config, tmp_path, tmp_path, lambda *_: None)
    assert isinstance(two, Linear) and two.bias.shape == (2,), "cat and dog: no example shall be of a keyword"
    four = with_settings(config, ["scenes.keywords=0.2"])
    found = distill._vocabulary(four, tmp_path, tmp_path, lambda *_: None)
    assert found is not None and found.bias.shape == (4,)
    heard = distill.speech_embedding.pooled(np.array([[0], [1], [2], [3]]))  # cat, dog, no, yes
    assert found(heard).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_how_far_words_are_apart_is_learnt_too(tmp_path: Path, config: Config) -> None:
    """With nothing but the words in the loss, what the embedding says beside them is not learnt."""
    alone = distill.distill(with_settings(config, ["train.teacher_share=1"]), tmp_path, tmp_path / "words.npz")
    squares = distill.distill(with_settings(config, ["train.teacher_share=0"]), tmp_path, tmp_path / "squares.npz")
    assert squares.unexplained < alone.unexplained - 0.1
