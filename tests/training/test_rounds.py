"""A recipe's rounds, all in one training: the first network, hard places that it falls for, and more words at last."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tensorflow")

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.train import train
from model_pipeline.training.pool import Pool
from tests.support import tiny_data

SETTINGS = [
    "name=tiny",
    'keywords=["rise", "fall"]',
    "scenes.examples=400",
    "scenes.teacher=none",
    "train.width=0.5",
    "train.epochs=2",
    "train.batch=20",
    "train.learning_rate=0.01",
    "train.average=0.9",
    "train.balance=0",
    "mine.begin=200",
    "mine.rounds=1",
    "mine.score=0.05",
    "mine.examples=[60]",
    "mine.epochs=[1]",
    "mine.learning_rate=0.003",
    "mine.more.examples=80",
    "mine.more.epochs=1",
    "mine.more.learning_rate=0.002",
    "mine.more.keywords=1",
    "mine.more.unknown=0",
    "mine.more.connected_speech=0",
    "mine.more.silence=0",
    "scenes.joined=0",  # the last round has its share too
]


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Glides in a row, as somebody says them who means nobody: the network must fall for some."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "talk"
    folder.mkdir()
    for name in ("a", "b", "c"):
        joined = np.concatenate([tiny_data.glide(word, rng) for word in ("rise", "flat", "fall", "flat") * 3])
        soundfile.write(folder / f"{name}.wav", joined, 16000, subtype="PCM_16")
    return folder


def recipe(talk: Path, *more: str) -> Config:
    config = with_settings(load_config("demo"), [*SETTINGS, *more])
    corpora = [{"name": "talk", "folder": str(talk), "training": 1.0, "calibration": 0.0, "sure": True}]
    scenes = type(config.scenes).model_validate({**config.scenes.model_dump(), "corpora": corpora})
    return config.model_copy(update={"scenes": scenes})


def epochs(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_rounds_in_one_call(tmp_path: Path, talk: Path) -> None:
    data, out = tiny_data.make(tmp_path / "data"), tmp_path / "train"
    said: list[str] = []
    result = train(recipe(talk), data, out, lambda done, total, text: said.append(text))
    assert [len(epochs(out / name)) for name in ("round0", "round1", ".")] == [2, 1, 1]
    # Each round learns at its own rate, all examples before beside its own.
    assert float(epochs(out)[0]["learning_rate"]) <= 0.002
    sizes = {name: len(Pool(out / name).array("labels")) for name in ("pool", "hard1", "more")}
    assert sizes == {"pool": 400, "hard1": 60, "more": 80}
    hard, more = (Pool(out / name).array("labels") for name in ("hard1", "more"))
    assert set(hard) <= {2, -1} and (hard == 2).any()  # of connected speech: unknown, or a pause in it
    assert set(more) <= {0, 1, -1} and {0, 1} <= set(more)  # keywords alone, as its shares say
    assert result.epochs == 1 and not result.stopped and (out / "model.keras").is_file()
    assert any(text.startswith("round 1, ") for text in said) and any(text.startswith("round 2, ") for text in said)
    made = {name: (out / name / "features.npy").stat().st_mtime_ns for name in ("pool", "hard1", "more")}
    weights = [(out / name / "model.keras").stat().st_mtime_ns for name in ("round0", "round1", ".")]
    again = train(recipe(talk), data, out)  # nothing is left to do
    assert again.model_sha256 == result.model_sha256 and again.resumed_at == 1
    assert made == {name: (out / name / "features.npy").stat().st_mtime_ns for name in made}
    assert weights == [(out / name / "model.keras").stat().st_mtime_ns for name in ("round0", "round1", ".")]


def test_a_network_that_falls_for_nothing_says_so(tmp_path: Path, talk: Path) -> None:
    data = tiny_data.make(tmp_path / "data")
    with pytest.raises(KwsError, match="falls for none"):
        train(recipe(talk, "mine.score=0.999999", "train.epochs=1"), data, tmp_path / "train")
