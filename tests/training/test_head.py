"""The linear head of the speech embedding: its optimum, and that it teaches what it was shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from model_pipeline.config import ScenesConfig
from model_pipeline.data.dataset import Clip
from model_pipeline.training import head
from model_pipeline.training.pool import NONE, Pool
from model_pipeline.training.sources import labelled


def _clouds(counts: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.standard_normal((len(counts), 6)) * 2
    return (centres[labels] + rng.standard_normal((len(labels), 6)) + 5).astype(np.float32), labels


def test_the_head_is_where_the_gradient_vanishes() -> None:
    x, y = _clouds((40, 60, 30))
    decay = 0.01
    found = head.fit(x, y, 3, decay)
    spread = x.std(axis=0) + 1e-3
    z = (x - x.mean(axis=0)) / spread
    weights = found.weights * spread[:, None]
    share = np.array([1 / 3 / 40, 1 / 3 / 60, 1 / 3 / 30])[y]
    slope = share[:, None] * (softmax(found(x), axis=1) - np.eye(3)[y])
    assert np.abs(z.T @ slope + decay * weights).max() < 2e-3
    assert np.abs(slope.sum(axis=0)).max() < 2e-3


def test_every_label_weighs_the_same() -> None:
    rng = np.random.default_rng(1)
    # Two labels that nothing tells apart: a balanced head says half to each, whatever their numbers.
    x, y = rng.standard_normal((1100, 4)).astype(np.float32), np.repeat([0, 1], (1000, 100))
    assert softmax(head.fit(x, y, 2, 1.0)(x), axis=1)[:, 0].mean() == pytest.approx(0.5, abs=0.02)


def test_more_decay_means_less_certainty_and_the_same_ranks() -> None:
    x, y = _clouds((50, 50, 50))
    loose, tight = (softmax(head.fit(x, y, 3, decay)(x), axis=1) for decay in (1e-4, 1.0))
    assert loose.max(axis=1).mean() > 0.95 and tight.max(axis=1).mean() < 0.6
    assert (tight.argmax(axis=1) == y).mean() > 0.9


def test_a_label_without_examples_is_never_heard() -> None:
    x, y = _clouds((30, 30))
    assert set(head.fit(x, y, 3, 0.01)(x).argmax(axis=1)) == {0, 1}


def test_it_teaches_a_pool_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _clouds((60, 60, 60))
    monkeypatch.setattr(head.speech_embedding, "pooled", lambda windows: x[: len(windows)])
    monkeypatch.setattr(head.speech_embedding, "source", lambda: "an embedding")
    pool, hard = Pool(tmp_path), y.copy()
    hard[::7] = NONE
    pool.note(key="k", made=len(x))
    pool.grow("heard", len(x), (6,), np.float16)[:] = x
    pool.grow("labels", len(x), (), np.int16)[:] = hard
    said: list[str] = []
    config = ScenesConfig(examples=len(x), teacher="embedding_head")
    judged = np.zeros((20, 16000), np.int16), y[:20]
    answer = head.teach(pool, config, 3, judged, lambda done, total, text: said.append(text))
    logits = np.array(pool.array("logits"), np.float32)
    assert (logits.argmax(axis=1) == y).mean() > 0.9  # the examples without a hard label too
    assert np.allclose(answer(np.zeros((5, 16000), np.int16)), logits[:5], atol=0.05)
    state = pool.state()
    assert state["taught"] and state["teacher"]["validation_accuracy"] > 0.9 and said
    assert not (tmp_path / "heard.npy").exists()
    # Called again (for hard places) it is not fitted again, though what it was fitted to is gone.
    again = head.teach(pool, config, 3, judged, lambda done, total, text: None)
    assert np.array_equal(again(np.zeros((5, 16000), np.int16)), answer(np.zeros((5, 16000), np.int16)))


def test_the_recipe_of_other_teachers_knows_no_decay() -> None:
    assert "head_decay" not in ScenesConfig(teacher="speech_embedding").recipe()
    assert ScenesConfig(teacher="embedding_head").recipe()["head_decay"] == 0.01


def test_takes_of_people_are_told_from_synthetic_voices_in_one_folder() -> None:
    said = [
        ("no", "espeak-en-us-Andy", 0),
        ("no", "0badcafe", 0),
        ("maybe", "kokoro-blend3", 1),
        ("maybe", "0badcafe", 1),
    ]
    clips = [Clip(f"{word}/{speaker}_nohash_0.wav", label, word, speaker, "training") for word, speaker, label in said]
    speech = labelled(np.zeros((4, 16000), np.int16), [(False, clip) for clip in clips])
    assert list(speech.synthetic) == [True, False, True, False]
    assert len(set(speech.names)) == 4  # each is drawn by its own number of clips
    assert list(speech.labels) == [0, 0, 1, 1]
    assert list(labelled(np.zeros((1, 16000), np.int16), [(True, clips[1])]).synthetic) == [True]  # of the extra data
