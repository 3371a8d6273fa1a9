"""The pool that keeps examples: made in any steps the same, and learnt from only when it is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import (
    AugmentConfig,
    Config,
    FrontendConfig,
    ScenesConfig,
    ShapeConfig,
    TrainConfig,
)
from model_pipeline.errors import KwsError
from model_pipeline.features import clip_features, quantize
from model_pipeline.manifest import input_scale
from model_pipeline.training.clips import Speech
from model_pipeline.training.pool import Examples, Pool, PoolStream, corrected, mixed, trusted
from model_pipeline.training.scenes import BRIEF, NONE, Scenes, Sounds, Surroundings
from tests.support.glides import UNKNOWN, glides, scenes


@pytest.fixture(scope="module")
def speech() -> Speech:
    return glides()


def make(pool: Pool, speech: Speech, count: int = 1200, key: str = "k", fail_at: int = 0) -> None:
    def report(done: int, total: int, text: str) -> None:
        if fail_at and text == "making examples" and done >= fail_at:
            raise KeyboardInterrupt

    pool.make(Examples(key, lambda: scenes(speech), FrontendConfig(), 1), count, report)


def test_a_pool_that_was_interrupted_goes_on_to_the_same_examples(tmp_path: Path, speech: Speech) -> None:
    whole, broken = Pool(tmp_path / "whole"), Pool(tmp_path / "broken")
    make(whole, speech)
    with pytest.raises(KeyboardInterrupt):
        make(broken, speech, fail_at=1)
    assert 0 < broken.state()["made"] < 1200
    make(broken, speech)
    for name in ("features", "labels", "sure"):
        np.testing.assert_array_equal(whole.array(name), broken.array(name))
    before = (whole.folder / "features.npy").stat().st_mtime_ns
    make(whole, speech)  # nothing to do
    assert (whole.folder / "features.npy").stat().st_mtime_ns == before
    make(whole, speech, count=500, key="other")
    assert len(whole.array("labels")) == 500


def test_an_unfinished_pool_is_not_learnt_from(tmp_path: Path, speech: Speech) -> None:
    """Its arrays have their full length from the start: what is not made yet would be learnt as the first word."""
    whole, broken = Pool(tmp_path / "whole"), Pool(tmp_path / "broken")
    make(whole, speech)
    with pytest.raises(KeyboardInterrupt):
        make(broken, speech, fail_at=1)
    made, config = broken.state()["made"], Config()
    assert made < 1200 == len(broken.array("labels"))
    for pools in ([broken], [whole, broken]):
        with pytest.raises(KwsError, match=f"broken is not finished: {made:,} of 1,200") as refused:
            PoolStream(pools, config)
        assert refused.value.hint
    with pytest.raises(KwsError, match=f"of {made + 1:,} examples"):
        PoolStream([broken, whole], config, made + 1)
    # What is wanted of it has been made.
    assert PoolStream([broken, whole], config, made).clips == made + 1200
    make(broken, speech)
    assert PoolStream([whole, broken], config).clips == 2400


def test_a_pool_grows_to_what_it_would_be_at_once(tmp_path: Path, speech: Speech) -> None:
    whole, grown = Pool(tmp_path / "whole"), Pool(tmp_path / "grown")
    make(whole, speech, count=1200)
    make(grown, speech, count=700)
    make(grown, speech, count=1200)
    for name in ("features", "labels", "sure"):
        np.testing.assert_array_equal(whole.array(name), grown.array(name))


def test_labels_that_the_teacher_does_not_believe_are_not_learnt() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.02, 0.98], [0.02, 0.98], [0.5, 0.5]]))
    labels = np.array([0, 0, 1, NONE])
    assert trusted(labels, logits, 0.05).tolist() == [0, NONE, 1, NONE]
    assert trusted(labels, logits, 0.0).tolist() == labels.tolist()
    assert trusted(labels, logits, 0.05, np.array([False, True, False, True])).tolist() == [0, 0, 1, NONE]


def test_a_teacher_is_overruled_where_no_keyword_can_be() -> None:
    logits = np.array([[9.0, 1.0, 2.0, 3.0], [9.0, 1.0, 2.0, 3.0], [-8.0, -4.0, 5.0, 0.0]], np.float32)
    found = corrected(logits, np.array([True, False, True]))
    assert found[1].tolist() == logits[1].tolist()  # it may be right
    assert found[2].tolist() == logits[2].tolist()  # it is
    assert found[0, 2:].tolist() == [2.0, 3.0] and np.all(found[0, :2] <= 3.0 - 5.0)


def test_mixup_mixes_features_and_answers_alike() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1], 200)
    x = np.where(labels[:, None, None] == 0, np.int8(-100), np.int8(100)) * np.ones((1, 3, 2), np.int8)
    logits = np.where(np.eye(2)[labels] == 1, 0.0, -20.0).astype(np.float32)
    features, kept, told = mixed((x, labels, logits), rng, AugmentConfig(mixup=0.5))
    share = (features[:, 0, 0].astype(float) + 100) / 200  # of label 1
    np.testing.assert_allclose(np.exp(told)[:, 1], share, atol=0.004)
    assert 0.2 < np.mean((share > 0.02) & (share < 0.98)) < 0.6
    own = np.where(labels == 1, share, 1 - share)
    assert own.min() >= 0.49 and np.all((kept == labels) | (kept == NONE))
    assert np.all(kept[own < 0.79] == NONE) and np.all(kept[own > 0.81] != NONE)
    same = mixed((x, labels, logits[:, :0]), rng, AugmentConfig(mixup=0.5))  # no teacher
    assert same[0] is x and mixed((x, labels, logits), rng, AugmentConfig())[0] is x


def test_quantisation_leans_to_the_labels_shares() -> None:
    pytest.importorskip("tensorflow")
    from model_pipeline.models import architecture, build
    from model_pipeline.quantize import _lean

    # Not "folded", which TensorFlow itself can't run.
    model, net = build(architecture("tcn", ShapeConfig(front=4, body=8)), "float", 49, 40, 4, 1.0, 26.0)
    x = np.random.default_rng(1).uniform(0, 26, (3, 49, 40, 1)).astype(np.float32)
    before = model(x).numpy()
    shares = np.array([0.0, -1.0, 2.0, 0.5], np.float32)
    _lean(model, net, shares)
    np.testing.assert_allclose(model(x).numpy() - before, np.tile(shares, (3, 1)), atol=1e-4)


def test_a_pools_features_are_the_front_ends(tmp_path: Path, speech: Speech) -> None:
    pool, frontend = Pool(tmp_path), FrontendConfig()
    make(pool, speech, count=20)
    maker = scenes(speech)
    rng = np.random.default_rng([1, 0])
    audio, starts, labels, _ = maker.make(maker.plan(20, rng), rng)
    np.testing.assert_array_equal(pool.array("labels"), labels)
    for features, scene, start in zip(pool.array("features"), audio, starts, strict=True):
        whole = quantize(clip_features(frontend, scene[None, start:]), input_scale(frontend))[0]
        np.testing.assert_array_equal(features, whole[-49:])


def test_a_front_end_that_forgets_is_given_no_past_and_makes_the_same_of_it(tmp_path: Path, speech: Speech) -> None:
    frontend = FrontendConfig(noise_reduction=False, pcan=False, feature_max=36)
    assert not frontend.settles and FrontendConfig().settles and FrontendConfig(pcan=False).settles
    noise = [Sounds([np.arange(-16000, 16000, dtype=np.int16)])]
    maker = Scenes(speech, UNKNOWN, Surroundings(noise), ScenesConfig(), context=BRIEF)
    pool = Pool(tmp_path)
    pool.make(Examples("k", lambda: maker, frontend, 1), 40, lambda done, total, text: None)
    rng = np.random.default_rng([1, 0])
    audio, starts, labels, _ = maker.make(maker.plan(40, rng), rng)
    assert audio.shape == (40, BRIEF + 16000) and set(starts) == {0, BRIEF}
    np.testing.assert_array_equal(pool.array("labels"), labels)
    for start in (0, 320, BRIEF):  # wherever it begins
        whole = quantize(clip_features(frontend, np.ascontiguousarray(audio[:, start:])), input_scale(frontend))
        np.testing.assert_array_equal(pool.array("features"), whole[:, -49:])


def test_epochs_are_shuffled_and_repeat(tmp_path: Path, speech: Speech) -> None:
    pool = Pool(tmp_path)
    make(pool, speech)
    stream = PoolStream([pool], Config(train=TrainConfig(batch=50), augment=AugmentConfig(spec_augment=False)))
    first, second = (list(batches) for batches in stream.epochs(0, 2))
    again = list(next(stream.epochs(1, 2)))
    labelled = int(np.sum(pool.array("labels") != NONE))
    assert len(first) == labelled // 50 and all(np.all(y != NONE) and told.shape == (50, 0) for _, y, told in first)
    assert any(np.any(a[1] != b[1]) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(second, again, strict=True))


def test_a_heads_answers_get_the_shares_that_balance_takes_out_again(tmp_path: Path, speech: Speech) -> None:
    pool = Pool(tmp_path)
    make(pool, speech)
    logits = pool.grow("logits", len(pool.array("labels")), (4,), np.float16)
    logits[:] = 0.0
    logits.flush()
    pool.note(taught=True)
    plain = AugmentConfig(spec_augment=False)
    for balance in (0.0, 1.0):
        train, scenes = TrainConfig(batch=50, balance=balance), ScenesConfig(teacher="embedding_head")
        stream = PoolStream([pool], Config(keywords=["rise", "fall"], train=train, scenes=scenes, augment=plain))
        told = np.concatenate([batch[2] for batch in next(stream.epochs(0, 1))])
        wanted = balance * np.log(np.maximum(stream.prior(4), 1e-4))
        # Where a keyword can't be it is far below; else all of them are as the head said, and the shares.
        assert np.any(np.all(np.isclose(told, wanted, atol=1e-5), axis=1))
        assert np.allclose(told[:, 2:], wanted[2:], atol=1e-5)
