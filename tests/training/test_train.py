"""From a data folder to an int8 model, with a network small enough to train in seconds."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from host_tools.records import find
from model_pipeline import record
from model_pipeline.child import run_step
from model_pipeline.config import AugmentConfig, Config, FrontendConfig, TrainConfig, load_config, with_settings
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import KwsError
from model_pipeline.evaluate import evaluate, runner
from model_pipeline.features import model_input
from model_pipeline.files import held
from model_pipeline.manifest import input_scale, load_manifest, step_db
from model_pipeline.native import ROOT
from model_pipeline.outcomes import Quantized, Trained
from model_pipeline.training import clips
from model_pipeline.training.augment import (
    Noise,
    augment_audio,
    recolour,
    silence_audio,
    spec_augment,
    warp,
)
from model_pipeline.training.clips import FeatureStream, Speech
from tests.support import tiny_data

SETTINGS = [
    "name=tiny",
    'keywords=["rise", "fall"]',
    "train.architecture=tcn",
    "train.shape={front=8, body=32, blocks=1, kernel=3}",
    "train.epochs=8",
    "train.batch=20",
    "train.learning_rate=0.01",
    "train.average=0.9",
    "quantize.qat_epochs=2",
    "augment.noise_probability=0.2",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="module")
def config() -> Config:
    return with_settings(load_config("plain"), SETTINGS)


@pytest.fixture(scope="module")
def arguments(data: Path) -> list[str]:
    return ["--config", "plain", *(f"--set={s}" for s in SETTINGS), "--data", str(data)]


@pytest.fixture(scope="module")
def trained(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "train"
    run_step("model_pipeline.train", [*arguments, "--out", str(out)], Trained)
    return out


@pytest.fixture(scope="module")
def model(arguments: list[str], trained: Path) -> Path:
    out = trained.parent / "model"
    run_step("model_pipeline.quantize", [*arguments, "--trained", str(trained), "--out", str(out)], Quantized)
    return out


def test_training_learns_and_writes_what_it_did(trained: Path) -> None:
    summary = json.loads((trained / "train.json").read_text())
    assert summary["validation_accuracy"] >= 0.8
    assert summary["epochs"] == 8 and not summary["stopped"] and summary["macs"] > 0
    lines = (trained / "log.csv").read_text().splitlines()
    assert len(lines) == 9 and float(lines[-1].split(",")[1]) < float(lines[1].split(",")[1])
    log = list(csv.DictReader(lines))
    least = min(reversed(log), key=lambda row: float(row["validation_loss"]))
    assert summary["best_epoch"] == int(least["epoch"])
    assert summary["validation_accuracy"] == pytest.approx(float(least["validation_accuracy"]), abs=1e-5)
    assert summary["validation_loss"] == pytest.approx(float(least["validation_loss"]), abs=1e-5)
    assert [path.name for path in trained.glob(".*")] == [".kws-made.json"]
    kept = find.read(trained).record  # for `kws runs`
    assert (kept.kind, kept.whole, kept.config["train"]["epochs"]) == ("training", True, 8)
    assert kept.figures["validation_accuracy"].value == summary["validation_accuracy"]
    assert kept.data_hash == summary["data_hash"] and kept.config_hash == record.hash_of(kept.config)


def test_a_model_has_a_record(model: Path) -> None:
    kept, manifest = find.read(model).record, load_manifest(model)
    assert (kept.kind, kept.model_hash, kept.origin) == ("model", manifest.model_hash, manifest.quantization)
    assert kept.figures["int8_validation_accuracy"].value == manifest.accuracy["validation"]["accuracy"]


def test_manifest_agrees_with_the_model(model: Path, config: Config, data: Path) -> None:
    manifest = load_manifest(model)  # checks the hash too
    assert manifest.labels == ["rise", "fall", "unknown", "silence"]
    assert manifest.input.zero_point == -128 and manifest.output.zero_point == -128
    assert manifest.input.scale == pytest.approx(input_scale(config.frontend), rel=1e-5)
    assert manifest.output.scale == 1 / 256
    assert manifest.input.shape == [1, 49, 40, 1] and manifest.window_frames == 49
    assert manifest.training_data["hash"] == Dataset.open(data, config.keywords).content_hash()
    assert manifest.quantization in ("ptq", "qat")
    assert set(manifest.accuracy["validation_by_quantization"]) == {"ptq", "qat"}
    best = max(manifest.accuracy["validation_by_quantization"].values())
    assert manifest.accuracy["validation"]["accuracy"] == best >= 0.8


def test_only_operators_that_the_compiler_knows(model: Path) -> None:
    from model_pipeline.compiler import compile_model, load_host

    tflite = (model / "model.tflite").read_bytes()
    x = np.random.default_rng(0).integers(-128, 128, (20, 49 * 40), np.int8)
    program = compile_model(tflite)
    assert (np.asarray(load_host(program).run(x)).reshape(20, -1) == runner(tflite)(x)).all()


def test_evaluate_is_tflite_micro_on_the_clips(model: Path, data: Path) -> None:
    from tflite_micro import runtime

    result = evaluate(model, data, record=True)
    interpreter = runtime.Interpreter.from_bytes((model / "model.tflite").read_bytes())
    dataset = Dataset.open(data, ["rise", "fall"])
    clips = dataset.evaluation("testing")
    assert result.count == len(clips) and [c.name for c in result.clips] == [c.name for c in clips]
    right = 0
    for clip, row in zip(clips, result.clips, strict=True):
        x = model_input(dataset.audio([clip]), load_manifest(model).frontend, 49)
        interpreter.set_input(x.reshape(1, 49, 40, 1), 0)
        interpreter.invoke()
        output = interpreter.get_output(0).reshape(-1)
        assert output.tolist() == row.output
        right += int(output.argmax()) == clip.label
    assert right == result.correct == sum(result.confusion[i][i] for i in range(4))
    assert result.accuracy >= 0.75
    assert load_manifest(model).accuracy["testing"]["correct"] == right
    assert evaluate(model, data, engine="aot").clips == result.clips


def test_a_model_of_other_words_is_refused(model: Path, trained: Path, tmp_path: Path, config: Config) -> None:
    other = tiny_data.make(tmp_path / "other", speakers=5, words=("rise", "flat"))
    from model_pipeline.quantize import quantize

    # Some of the words are judged on these; none are not.
    assert evaluate(model, other).absent == ("fall",)
    flat = tiny_data.make(tmp_path / "flat", speakers=5, words=("flat",))
    with pytest.raises(KwsError, match="no clips of rise, fall"):
        evaluate(model, flat)
    with pytest.raises(KwsError, match="was trained for"):
        quantize(with_settings(config, ['keywords=["flat"]']), trained, flat, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_the_best(arguments: list[str], tmp_path: Path) -> None:
    """What a kill does, and how a training goes on after it, is in test_training.py."""
    out = tmp_path / "train"
    command = [sys.executable, "-m", "model_pipeline.train", *arguments, "--out", str(out), "--set=train.epochs=400"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = out / "log.csv"
    deadline = time.monotonic() + 240
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 3):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    rows = list(csv.DictReader(log.read_text().splitlines()))
    summary = json.loads((out / "train.json").read_text())
    assert summary["stopped"] and 3 <= summary["epochs"] == len(rows) < 400 and (out / "model.keras").exists()
    least = min(reversed(rows), key=lambda row: float(row["validation_loss"]))
    assert summary["best_epoch"] == int(least["epoch"])


def test_training_waits_for_what_a_killed_call_left_at_work_in_its_folder(
    config: Config, data: Path, trained: Path, tmp_path: Path
) -> None:
    from model_pipeline.train import train

    out = tmp_path / "train"
    shutil.copytree(trained, out)
    said: list[str] = []
    with contextlib.ExitStack() as other:
        other.enter_context(held(out))

        def progress(done: int, total: int, text: str) -> None:
            said.append(text)
            other.close()  # the killed call's training has ended

        train(config, data, out, progress)
    assert said[0] == f"waiting for another kws in {out}"
    assert json.loads((out / "train.json").read_text())["resumed_at"] == 8


def test_a_childs_error_comes_back_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="no data folder"):
        arguments = ["--config", "plain", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "o")]
        run_step("model_pipeline.train", arguments, Trained)


# --- augmentation


def _audio(count: int = 6) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.stack([(20000 * tiny_data.glide("rise", rng)).astype(np.int16) for _ in range(count)])


def test_augmentation_off_changes_nothing() -> None:
    config = AugmentConfig(speed_percent=0, shift_ms=0, gain_db=0, noise_probability=0)
    assert (augment_audio(_audio(), Noise([]), config, np.random.default_rng(0)) == _audio()).all()


def test_speed_and_shift_are_linear_interpolation() -> None:
    config = AugmentConfig(speed_percent=20, shift_ms=300, gain_db=6, noise_probability=0)
    audio = _audio(20)
    out = augment_audio(audio, Noise([]), config, np.random.default_rng(9)).astype(float)
    rng = np.random.default_rng(9)
    speed = 10 ** (rng.uniform(-1, 1, 20) * np.log10(1.2))
    shift, gain = rng.uniform(-1, 1, 20) * 4800, 10 ** (rng.uniform(-1, 1, 20) * 6 / 20)
    k = np.arange(16000)
    for i in range(20):
        padded = np.pad(audio[i].astype(float), 1)
        where = (k - 8000) * speed[i] + 8000 - shift[i]
        expected = gain[i] * np.interp(where, np.arange(-1, 16001), padded, left=0, right=0)
        assert np.abs(out[i] - np.clip(expected, -32768, 32767)).max() < 8  # float32 against float64


def test_shift_moves_the_clip() -> None:
    config = AugmentConfig(speed_percent=0, shift_ms=100, gain_db=0, noise_probability=0)
    audio = np.zeros((50, 16000), np.int16)
    audio[:, 8000] = 10000
    moved = augment_audio(audio, Noise([]), config, np.random.default_rng(0)).astype(int).argmax(1) - 8000
    assert np.abs(moved).max() <= 1601 and np.ptp(moved) > 1600


def test_noise_has_the_wanted_level() -> None:
    config = AugmentConfig(speed_percent=0, shift_ms=0, gain_db=0, noise_probability=1, noise_snr_db=(10, 10))
    audio = _audio()
    noise = np.random.default_rng(1).normal(0, 300, 40000).astype(np.int16)
    added = augment_audio(audio, Noise([noise]), config, np.random.default_rng(0)).astype(float) - audio
    snr = 10 * np.log10(np.mean(audio.astype(float) ** 2, 1) / np.mean(added**2, 1))
    assert np.abs(snr - 10).max() < 0.3


def test_silence_is_of_many_levels() -> None:
    noise = np.random.default_rng(1).normal(0, 1000, 40000).astype(np.int16)
    level = np.sqrt(np.mean(silence_audio(Noise([noise]), 300, np.random.default_rng(0)).astype(float) ** 2, 1))
    assert (level == 0).any() and level[level > 0].min() < 20 and level.max() > 1200


def test_spec_augment_masks_at_most_what_it_says() -> None:
    x = np.zeros((200, 49, 40), np.int8)
    spec_augment(x, np.random.default_rng(0), 8, 6, 2)
    assert set(np.unique(x)) == {-128, 0}
    masked_frames = (x == -128).all(2).sum(1)
    assert masked_frames.max() <= 16 and masked_frames.max() > 8
    assert (x == -128).all(1).sum(1).max() <= 12


def test_fused_normalisation_is_keras_own() -> None:
    import keras
    import tensorflow as tf

    from model_pipeline.models.net import BatchNorm

    x = tf.random.stateless_normal((6, 5, 3, 4), (1, 2)) * 3 + 1
    ours, theirs = BatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


def test_balance_takes_the_labels_shares_out_of_what_is_learnt() -> None:
    import keras

    from model_pipeline.training.trainer import Method, Trainer

    share = np.array([0.1, 0.1, 0.8])

    def said(balance: np.ndarray | None) -> np.ndarray:
        # One bias for each label, and an input that tells nothing: what is learnt is the labels' shares alone.
        inputs = keras.Input((2, 2, 1))
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
        trainer = Trainer(model, 1.0, Method(0.05, balance=balance))
        for _ in range(150):
            trainer.step(np.full((10, 2, 2), -128, np.int8), np.repeat([0, 1, 2], [1, 1, 8]))
        logits = trainer.logits(np.full((1, 2, 2), -128, np.int8))[0]
        return np.exp(logits) / np.exp(logits).sum()

    np.testing.assert_allclose(said(None), share, atol=0.02)
    np.testing.assert_allclose(said(np.log(share).astype(np.float32)), np.full(3, 1 / 3), atol=0.02)


def test_of_what_a_network_began_with_a_share_stays_in_what_is_kept() -> None:
    import keras

    from model_pipeline.training.trainer import Method, Trainer

    inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    trainer = Trainer(model, 1.0, Method(0.05, stays=0.25))
    begun = model.get_weights()
    for _ in range(5):
        trainer.step(np.arange(8, dtype=np.int8).reshape(2, 2, 2), np.array([0, 2]))
    learnt = model.get_weights()
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(begun, learnt, strict=True))
    with trainer.averaged():
        for weight, a, b in zip(model.get_weights(), begun, learnt, strict=True):
            np.testing.assert_allclose(weight, 0.25 * a + 0.75 * b, atol=1e-6)
    for weight, value in zip(model.get_weights(), learnt, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_teacher_of_the_same_method_has_no_shares_in_its_answers() -> None:
    import keras

    from model_pipeline.training.trainer import Method, Teaching, Trainer

    def network(bias: list[float]) -> keras.Model:
        inputs = keras.Input((2, 2, 1))
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
        model.layers[-1].set_weights([np.zeros((4, 3)), np.array(bias)])
        return model

    answers = [1.0, 0.0, -1.0]
    balance = np.log([0.1, 0.1, 0.8]).astype(np.float32)
    teaching = Teaching(share=1.0, network=network(answers))
    trainer = Trainer(network([0.0, 0.0, 0.0]), 1.0, Method(0.05, balance=balance), teaching)
    for _ in range(150):
        trainer.step(np.full((10, 2, 2), -128, np.int8), np.repeat([0, 1, 2], [1, 1, 8]))
    said = np.exp(trainer.logits(np.full((1, 2, 2), -128, np.int8))[0])
    np.testing.assert_allclose(said / said.sum(), np.exp(answers) / np.exp(answers).sum(), atol=0.02)


def test_warp_moves_values_and_makes_none_up() -> None:
    rng = np.random.default_rng(0)
    x = rng.permuted(np.tile(np.arange(1, 9, dtype=np.int8), (20, 6, 5)), axis=2)
    np.testing.assert_array_equal(warp(x, rng, 0, 0, 0), x)
    # One frame and one channel of each are set: they are moved by no more than was asked for, and not blurred.
    x[:] = -128
    x[:, 3] = 5
    at = np.argwhere(warp(x, rng, 0, 2, 0) == 5)
    assert set(at[:, 1]) == {1, 2, 3, 4, 5}
    x[:] = -128
    x[:, :, 20] = 7
    moved = warp(x, rng, 0, 0, 1.4)
    assert set(np.unique(moved)) == {-128, 7} and set(np.argwhere(moved == 7)[:, 2]) == {19, 20, 21}
    whole = np.tile(np.arange(49, dtype=np.int8)[:, None], (50, 1, 4))
    steps = np.diff(warp(whole, rng, 10, 0, 0)[:, :, 0].astype(int), axis=1)
    assert steps.min() == 0 and steps.max() == 2  # some slower, some faster


PLAIN = FrontendConfig(noise_reduction=False, pcan=False, feature_max=36)


def test_recolour_is_what_a_gain_is_to_the_front_end() -> None:
    loud = np.random.default_rng(0).normal(0, 500, (30, 16000))
    x = model_input(loud.astype(np.int16), PLAIN, 49)
    for db in (-20.0, -6.0):
        soft = model_input(np.rint(loud * 10 ** (db / 20)).astype(np.int16), PLAIN, 49).astype(int)
        assert (soft - x).mean() * step_db(PLAIN) == pytest.approx(db, abs=0.1)
        # The level that is drawn is one of an example, within its bounds.
        moved = recolour(x, np.random.default_rng(1), -db, 0, step_db(PLAIN)).astype(int) - x
        assert (moved == moved[:, :1, :1]).all()
        assert -db - 4 < np.abs(moved).max() * step_db(PLAIN) < -db + 0.3


def test_recolour_draws_smooth_responses_and_leaves_nothing_nothing() -> None:
    x = np.zeros((2000, 3, 40), np.int8)
    x[:, 1] = -128
    heard = recolour(x, np.random.default_rng(0), 0, 4, 0.5).astype(int)
    assert (heard[:, 1] == -128).all() and (heard[:, 0] == heard[:, 2]).all()
    db = 0.5 * heard[:, 0]
    assert db.std() == pytest.approx(4, rel=0.05)
    assert np.abs(np.diff(db)).mean() < 0.2 * np.abs(db - db.mean(1, keepdims=True)).mean()  # neighbours hear alike
    # Loud values end at the top instead of coming round.
    assert (recolour(np.full((50, 1, 40), 120, np.int8), np.random.default_rng(0), 40, 0, 0.5) > 0).all()


def test_level_and_colour_need_plain_features() -> None:
    settings = ["augment.level_db=6"]
    with pytest.raises(KwsError, match="noise_reduction"):
        with_settings(load_config("plain"), settings)
    assert with_settings(load_config("default"), settings).augment.level_db == 6


def _stream(workers: int) -> FeatureStream:
    words = np.repeat([0, 1, 2], 20)
    speech = Speech(np.concatenate([_audio(30), _audio(30)]), words, words, np.zeros(60, bool))
    noise = [np.random.default_rng(1).normal(0, 300, 40000).astype(np.int16)]
    config = Config(keywords=["rise", "fall"], train=TrainConfig(batch=16))
    return FeatureStream(speech, noise, config, (30, 10), workers)


def test_batches_are_the_same_for_any_number_of_threads_and_after_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_CHUNK", 7)
    one = [list(epoch) for epoch in _stream(1).epochs(0, 3)]
    four = [list(epoch) for epoch in _stream(4).epochs(0, 3)]
    resumed = [list(epoch) for epoch in _stream(2).epochs(2, 3)]
    for a, b in zip([*one, one[2]], [*four, *resumed], strict=True):
        assert len(a) == 80 // 16
        for (x1, y1), (x2, y2) in zip(a, b, strict=True):
            assert (x1 == x2).all() and (y1 == y2).all()
    labels = np.bincount(np.concatenate([y for _, y in one[0]]))
    assert labels.tolist() == [20, 20, 30, 10]
    assert any((x1 != x2).any() for (x1, _), (x2, _) in zip(one[0], one[1], strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="by Linux's prctl")
def test_a_step_ends_with_its_parent_even_by_sigkill() -> None:
    """Else it would go on writing into a folder whose lock is free again."""
    code = (
        "import time\nfrom model_pipeline import child\n"
        "print(child._start('tests.support.worker_child', [], stdin=-1).pid, flush=True)\ntime.sleep(120)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    step = Path(f"/proc/{int(parent.stdout.readline())}/stat")
    assert step.exists()
    parent.kill()
    parent.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while step.exists() and step.read_text().split(") ")[1][0] != "Z":
        assert time.monotonic() < deadline, "the step outlived its parent"
        time.sleep(0.05)
