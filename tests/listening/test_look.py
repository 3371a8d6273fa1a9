"""Learning the second look: from results alone, and the whole verb on a small model."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.data.audio import write_wav
from model_pipeline.data.connected import noise
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.noise import VOICES
from model_pipeline.data.sessions import Event, Plan
from model_pipeline.errors import KwsError
from model_pipeline.listening.look import (
    LookShape,
    _answer,
    _best,
    _mean,
    _Members,
    in_noise,
    learn,
    look,
    rows,
)
from model_pipeline.listening.material import Material
from model_pipeline.listening.recogniser import Recogniser, Track
from model_pipeline.manifest import DetectorDefaults, load_manifest
from tests.support import tiny_data
from tests.support.listening_models import model_folder, sliding_net, speech_like

LABELS = ["yes", "no", "unknown", "silence"]
HOP, FIRST = 320, 15840  # 20 ms; the first window of a second
SHAPE = LookShape(stride_hops=4, steps=12, hidden=6, window=2, members=1, passes=20, decay=1e-2)


def recording(rng: np.random.Generator, count: int, *, alone: bool) -> tuple[Track, list[Event]]:
    """Every two seconds a word: a posterior that rises for 0.4 s; around it silence and a low level, or (not alone)
    other words and a level as of the word."""
    n = 100 * count + 60
    outputs = np.zeros((n, 4)) + ([2, 2, 2, 249] if alone else [2, 2, 249, 2])
    levels = np.full(n, 40.0 if alone else 120.0)
    events = []
    for i in range(count):
        at, word = 60 + 100 * i, int(rng.integers(2))
        outputs[at : at + 20] = [2, 2, 40, 2]
        outputs[at : at + 20, word] = 200 + rng.integers(0, 40)
        levels[at - 10 : at + 10] = 120
        end = FIRST + (at + 4) * HOP
        events.append(Event(LABELS[word], end - 8000, end, f"word{i}"))
    outputs += rng.integers(-2, 3, outputs.shape)
    levels = (levels + rng.integers(-8, 9, n)).clip(0, 255).astype(np.uint8)
    track = Track((outputs.clip(0, 255) - 128).astype(np.int8), FIRST, HOP, 1, FIRST + n * HOP, None, levels)
    return track, events


@pytest.mark.parametrize("shape", [LookShape(steps=2), LookShape(stride_hops=1001)])
def test_a_shape_that_there_is_none_of_is_refused_before_anything_is_heard(shape: LookShape, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="at least 3 results, of every 1000 hops"):
        look(tmp_path / "none", Material(tmp_path), shape)


@pytest.mark.parametrize("members", [1, 3])
def test_words_that_are_said_for_themselves_fire_and_the_same_amid_speech_do_not(members: int) -> None:
    rng, shape = np.random.default_rng(1), replace(SHAPE, members=members)
    said, events = recording(rng, 80, alone=True)
    amid, _ = recording(rng, 80, alone=False)
    look, words, never = learn([rows(said, events, LABELS, SHAPE), rows(amid, [], LABELS, SHAPE)], shape)
    assert words == 80 and never > 200
    detector = DetectorDefaults(
        window=2, min_count=1, refractory_samples=8000, thresholds=[128, 128, 0, 0], stride_hops=4
    )

    def fired(alone: bool, second: bool) -> list[int]:
        track, truth = recording(np.random.default_rng(2), 40, alone=alone)
        seen = Track(**{**vars(track), "look": look if second else None})
        found = seen.detect(detector)
        for hit in found if alone else []:
            nearest = min(truth, key=lambda event: abs(event.end - hit.position))
            assert LABELS[hit.label] == nearest.word and hit.position - nearest.end <= 0.4 * 16000
        return [hit.position for hit in found]

    assert len(fired(True, second=True)) >= 38
    assert len(fired(False, second=True)) <= 2
    assert len(fired(False, second=False)) == 40  # by posteriors alone they are the same


def test_members_side_by_side_learn_by_the_slopes_of_their_own_losses() -> None:
    """And the network of them all answers the mean of what they answer."""
    rng, sizes = np.random.default_rng(6), (2, 1, 3)
    of = np.repeat(np.eye(3), sizes, axis=0)
    values = [rng.standard_normal(shape) for shape in ((4, 6), (6,), (6,), (3,))]
    x, target, each = rng.standard_normal((20, 4)), np.arange(20) % 2, rng.uniform(0, 1, (20, 3))

    def loss() -> float:
        answers = _Members(values, of).answers(x)[1]
        return float((each * np.logaddexp(0, np.where(target == 1, -1, 1)[:, None] * answers)).sum())

    for value, slope in zip(values, _Members(values, of).gradients(x, target, each), strict=True):
        for at in np.ndindex(value.shape):
            value[at] += 1e-5
            above = loss()
            value[at] -= 2e-5
            assert slope[at] == pytest.approx((above - loss()) / 2e-5, rel=1e-4, abs=1e-7)
            value[at] += 1e-5
    members = _Members(values, of)
    np.testing.assert_allclose(_answer(_mean(members), x), members.answers(x)[1].mean(axis=1), atol=1e-6)


def test_each_word_has_one_best_row() -> None:
    answers, group = np.array([1.0, 5, 2, 3, 9, 4]), np.array([0, 0, 2, 1, 2, 1])
    assert _best(answers, group).tolist() == [1, 5, 4]


def test_the_same_seed_learns_the_same():
    track, events = recording(np.random.default_rng(3), 20, alone=True)
    other, _ = recording(np.random.default_rng(4), 20, alone=False)
    parts = [rows(track, events, LABELS, SHAPE), rows(other, [], LABELS, SHAPE)]
    assert learn(parts, SHAPE)[0] == learn(parts, SHAPE)[0]


def test_rows_are_what_the_firmware_sees():
    """The newest first, silence and the first level before the beginning; rows of a word too late are left out."""
    track, events = recording(np.random.default_rng(5), 2, alone=True)
    shape = LookShape(stride_hops=4, steps=32, window=2)
    found = rows(track, events, LABELS, shape)
    assert found.x.shape[1:] == (32, 5) and found.x.dtype == np.int8
    assert set(found.word) <= {-1, 0, 1} and {0, 1} <= set(found.word)
    first = found.x[0]
    assert (first[20:, 2] == 125).all()  # of silence: what was not heard yet
    assert first[:, 4].max() == 0


def test_without_words_there_is_nothing_to_learn():
    other, _ = recording(np.random.default_rng(4), 5, alone=False)
    with pytest.raises(KwsError):
        learn([rows(other, [], LABELS, SHAPE)], SHAPE)


def test_noise_is_added_at_most_as_loud_as_the_speech():
    rng = np.random.default_rng(1)
    speech = (rng.standard_normal(50 * 16000) * 2000).astype(np.int16)
    noise = (rng.standard_normal(5 * 16000) * 300).astype(np.int16)
    mixed = in_noise(speech, [noise], 3)
    added = (mixed.astype(float) - speech)[: 20 * 16000]
    ratio = 10 * np.log10(np.mean(speech.astype(float) ** 2) / np.mean(added**2))
    assert len(mixed) == len(speech) and -0.5 < ratio < 25.5
    assert (in_noise(speech, [noise], 3) == mixed).all()


def test_words_of_synthetic_voices_are_learnt_beside_those_of_people(tmp_path: Path) -> None:
    corpora = [{"name": "talk", "kind": "speech", "training": 1.0, "calibration": 0.0}]
    model = model_folder(
        tmp_path / "model", sliding_net(), ["rise", "fall", "flat", "unknown", "silence"],
        training_data={"scenes": {"corpora": corpora}},
    )  # fmt: skip
    data = tiny_data.make(tmp_path / "data", speakers=10)
    extra = tiny_data.make(tmp_path / "extra", speakers=5)
    (tmp_path / "talk").mkdir()
    write_wav(tmp_path / "talk" / "a.wav", speech_like(np.random.default_rng(1), 20))
    shutil.copytree(model, tmp_path / "second")
    shape, plan = LookShape(steps=8, hidden=2, members=1, passes=2), Plan(seed=1)
    alone = look(model, Material(data, [tmp_path / "talk"], plan), shape)
    both = look(tmp_path / "second", Material(data, [tmp_path / "talk"], plan), shape, extra=extra)
    # A network of random weights takes some of them for what they are, of both folders.
    assert 0 < alone.words < both.words and alone.hours < both.hours
    made = load_manifest(tmp_path / "second").look
    assert made and made.made["words"] == both.words and made.made["synthetic"] is True
    assert load_manifest(model).look.made["synthetic"] is False


def _to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keywords: Sequence[str] = ("rise", "fall", "flat")
) -> tuple[Path, Material, list[tuple[Track, bool]]]:
    """A model, what is looked at (20 s of a corpus too), and the tracks heard so far: is a word in it?"""
    module = importlib.import_module("model_pipeline.listening.look")
    seen: list[tuple[Track, bool]] = []

    def spy(track: Track, events: list[Event], labels: list[str], shape: LookShape) -> object:
        seen.append((track, bool(events)))
        return rows(track, events, labels, shape)

    monkeypatch.setattr(module, "rows", spy)
    corpora = [{"name": "talk", "kind": "speech", "training": 1.0, "calibration": 0.0}]
    model = model_folder(
        tmp_path / "model", sliding_net(labels=len(keywords) + 2), [*keywords, "unknown", "silence"],
        training_data={"scenes": {"corpora": corpora}},
    )  # fmt: skip
    data = tiny_data.make(tmp_path / "data", speakers=10)
    (tmp_path / "talk").mkdir()
    write_wav(tmp_path / "talk" / "a.wav", speech_like(np.random.default_rng(1), 20))
    return model, Material(data, [tmp_path / "talk"], Plan(seed=1)), seen


def test_noise_alone_is_learnt_as_what_is_never_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of the data's training part, and none that detectors are chosen by."""
    model, material, tracks = _to_be_looked_at(tmp_path, monkeypatch)
    look(model, material, LookShape(steps=8, hidden=2, members=1, passes=2))
    seen = [(track.samples, said) for track, said in tracks]
    dataset = Dataset.open(material.data, ["rise", "fall", "flat"])
    for seed in (2, 3, 4, 5):
        assert (len(noise(dataset, "training", seed=seed).samples), False) in seen
    free = [samples for samples, said in seen if not said]
    assert sum(samples > 600_000 for samples in free) == 4  # the corpus, as it is and faster, is 20 s


def test_voices_that_say_other_words_at_once_are_heard_where_training_heard_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, material, tracks = _to_be_looked_at(tmp_path, monkeypatch, ["rise", "fall"])
    look(model, material, LookShape(steps=8, hidden=2, members=1, passes=2, babble=True))
    free = [track.seconds for track, said in tracks if not said]
    assert free.count(2 * 60 * len(VOICES)) == 1  # without it none is as long: the test before


def test_it_learns_from_levels_as_the_device_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over as many frames as there are between its results, whatever the detector before had."""
    model, material, tracks = _to_be_looked_at(tmp_path, monkeypatch)
    before = load_manifest(model).detector.stride_hops
    shape = LookShape(stride_hops=before + 1, steps=8, hidden=2, members=1, passes=2)
    look(model, material, shape)
    # Noise by formula is the same at every call.
    samples = noise(Dataset.open(material.data, ["rise", "fall", "flat"]), "training", seed=2).samples
    again = Recogniser(model).track(samples, shape.stride_hops)
    heard = next(track for track, _ in tracks if track.samples == len(samples))
    assert again.look and again.look.frames == shape.stride_hops
    assert again.levels is not None and (heard.levels == again.levels).all() and heard.look is None
