"""The learning curve of takes: it rises where words need more of them, and says when they are enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import Config
from model_pipeline.data.audio import write_wav
from model_pipeline.errors import KwsError
from model_pipeline.models import speech_embedding
from model_pipeline.training import curve


def _takes(count: int, apart: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Three words, ``count`` takes of each: values around the words' means, which are so far ``apart``."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), count)
    means = apart * rng.standard_normal((3, 40))
    return (means[labels] + rng.standard_normal((len(labels), 40))).astype(np.float32), labels


def test_words_that_lie_far_apart_need_few_takes_and_others_many() -> None:
    speakers = ["anna"] * 60
    easy = curve.folds(*_takes(20, 3.0), speakers, 0.01)
    hard = curve.folds(*_takes(20, 0.35), speakers, 0.01)
    assert easy[0] == hard[0] == [1, 2, 4, 8, 16] and not easy[2]
    assert easy[1].shape == (5, 5) and easy[1].mean() > 0.97
    rise = hard[1].mean(axis=0)
    assert rise[0] < 0.75 and rise[-1] > rise[0] + 0.1


def test_a_fold_is_whole_speakers_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = _takes(10, 2.0)
    speakers = [f"s{i % 10 // 2}" for i in range(30)]
    fits = []
    monkeypatch.setattr(curve, "fit", lambda x, y, n, d: fits.append(x) or (lambda z: np.zeros((len(z), n))))
    takes, shares, by_speaker = curve.folds(values, labels, speakers, 0.01)
    assert by_speaker and takes == [1, 2, 4, 8] and shares.shape == (5, 4)
    # Of four takes a word in training none is by the fold's speaker: two of ten are held out each time.
    assert max(len(x) for x in fits) == 3 * 8


def test_takes_in_a_folder_become_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_embedding, "pooled", lambda audio: audio[:, :24].astype(np.float16))
    rng = np.random.default_rng(4)
    for word, at in (("yes", 3000), ("no", -3000), ("seldom", 0)):
        (tmp_path / word).mkdir()
        for number in range(3 if word == "seldom" else 10):
            clip = rng.integers(at - 500, at + 500, 16000).astype(np.int16)
            write_wav(tmp_path / word / f"anna_nohash_{number}.wav", clip)
    found = curve.curve(Config(), tmp_path)
    assert found.words == {"no": 10, "yes": 10} and found.takes == [1, 2, 4, 8]
    assert found.right[-1] == 1.0 and found.enough and not found.by_speaker
    with pytest.raises(KwsError, match="two words"):
        curve.curve(Config(keywords=["yes"]), tmp_path / "yes")
