"""Sessions with known keyword times, audio without keywords, and the ground truth of both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.data import connected as negatives
from model_pipeline.data.corpora import audio_files
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.noise import VOICES
from model_pipeline.data.sessions import (
    Event,
    Plan,
    Session,
    _power,
    _sizes,
    generate,
    loop,
    read_sessions,
    word_span,
    write_sessions,
)
from model_pipeline.errors import KwsError
from tests.support.tiny_data import make

KEYWORDS = ["rise", "fall"]  # "flat" is the other word


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(make(tmp_path_factory.mktemp("data") / "d", speakers=40), KEYWORDS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.integers(800, 12000), st.floats(0.15, 0.45), st.floats(-55, -25))
def test_a_words_span_is_found_by_its_energy(seed: int, start: int, length: float, noise_db: float) -> None:
    rng = np.random.default_rng(seed)
    end = min(start + int(length * 16000), 15500)
    x = 32768 * 10 ** (noise_db / 20) * 0.3 * rng.standard_normal(16000)
    x[start:end] += 9000 * np.sin(np.arange(end - start) * rng.uniform(0.1, 1.0))
    found = word_span(np.clip(x, -32768, 32767).astype(np.int16))
    # Half a frame of 20 ms and its grid of 5 ms; nothing more, as the tone begins and ends at once.
    assert abs(found[0] - start) <= 16 * 21
    assert abs(found[1] - end) <= 16 * 21


def tone(pieces: list[tuple[int, int]]) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal(16000) * 5
    for start, end in pieces:
        x[start:end] += 8000 * np.sin(np.arange(end - start) * 0.3)
    return x.astype(np.int16)


@pytest.mark.parametrize("n", [640, 719, 720, 15999, 16000])
def test_power_is_the_mean_square_less_the_mean_around(n: int) -> None:
    x = np.random.default_rng(n).integers(-32768, 32768, n)
    less = x - np.convolve(np.pad(x, (80, 79)), np.ones(160) / 160, "valid")
    frames = [np.mean(less[i : i + 320] ** 2) for i in range(0, n - 319, 80)]
    np.testing.assert_allclose(_power(x.astype(np.int16)), frames, rtol=1e-9)


def test_the_pause_of_a_stop_belongs_to_the_word_and_a_far_noise_does_not() -> None:
    assert word_span(tone([(4000, 7000), (9000, 9800)])) == pytest.approx((4000, 9800), abs=350)  # 125 ms of pause
    assert word_span(tone([(4000, 7000), (10500, 11300)])) == pytest.approx((4000, 7000), abs=350)  # 219 ms
    assert word_span(tone([(4000, 7000), (8000, 8010)])) == pytest.approx((4000, 7000), abs=350)  # a click
    assert word_span(tone([(4000, 5000), (6500, 9000)])) == pytest.approx((4000, 9000), abs=350)  # before the loudest
    assert word_span(tone([(0, 6000)]))[0] == 0
    assert word_span(tone([(9000, 16000)]))[1] == 16000
    start, end = word_span(np.zeros(16000, np.int16))
    assert 0 <= start < end <= 16000
    assert word_span(np.zeros(10, np.int16)) == (0, 10)


def test_sessions_follow_from_the_seed_alone(dataset: Dataset) -> None:
    plan = Plan(keywords_each=5)
    first, again = list(generate(dataset, "testing", 10.0, plan)), list(generate(dataset, "testing", 10.0, plan))
    assert [s.events for s in first] == [s.events for s in again]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, again, strict=True))
    other = list(generate(dataset, "testing", 10.0, replace(plan, seed=2)))
    assert [s.events for s in first] != [s.events for s in other]


def test_every_keyword_clip_is_said_once_among_other_words(dataset: Dataset) -> None:
    sessions = list(generate(dataset, "testing", 10.0, Plan(keywords_each=5)))
    said = [event for session in sessions for event in session.events]
    keywords = sorted(e.clip for e in said if e.word in KEYWORDS)
    assert keywords == sorted(c.name for c in dataset.clips("testing") if c.word in KEYWORDS)
    assert len(keywords) == 16
    assert sum(e.word == "flat" for e in said) == 8  # half as many
    assert [s.about["keywords"] for s in sessions] == [5, 5, 5, 1]
    for session in sessions:
        gaps = [b.start - a.end for a, b in zip(session.events, session.events[1:], strict=False)]
        assert all(0.4 * 16000 - 1 <= gap <= 2.0 * 16000 for gap in gaps)
        assert session.events[0].start >= 16000  # the model's window is full by then
        assert session.events[-1].end + 16000 <= len(session.samples)


@given(st.integers(1, 5000), st.integers(1, 90), st.integers(1, 200))
def test_few_words_are_said_in_all_of_the_noises(keywords: int, most: int, noises: int) -> None:
    sizes = _sizes(keywords, most, noises)
    assert sum(sizes) == keywords and min(sizes) >= 1 and max(sizes) <= most
    assert len(sizes) >= noises or keywords < 8 * noises, "a noise is left out"


def test_two_hundred_words_are_shared_out_evenly() -> None:
    assert _sizes(200, 60, 9) == [23, 23] + [22] * 7 and _sizes(20, 60, 9) == [10, 10]
    assert _sizes(1693, 60, 9) == [60] * 28 + [13] and _sizes(5, 60, 9) == [5]


def test_a_limit_takes_as_many_of_each_word(dataset: Dataset) -> None:
    sessions = list(generate(dataset, "testing", 10.0, Plan(limit=6)))
    words = [e.word for s in sessions for e in s.events]
    assert (words.count("rise"), words.count("fall"), words.count("flat")) == (3, 3, 3)


def test_the_snr_is_what_was_asked_for(dataset: Dataset) -> None:
    quiet = list(generate(dataset, "testing", 90.0, Plan(keywords_each=8)))
    for wanted in (20.0, 5.0):
        ratios = []
        for clean, noisy in zip(quiet, generate(dataset, "testing", wanted, Plan(keywords_each=8)), strict=True):
            assert clean.events == noisy.events
            noise = noisy.samples.astype(float) - clean.samples
            for event in clean.events:
                word = clean.samples[event.start : event.end].astype(float)
                ratios.append(10 * np.log10((word**2).mean() / (noise**2).mean()))
        assert np.median(ratios) == pytest.approx(wanted, abs=0.3)
        assert np.ptp(ratios) < 1.5  # the loop of noise is not the same at each word


def test_looped_noise_has_no_jump() -> None:
    noise = (10000 * np.sin(np.arange(4001) * 0.01)).astype(np.int16)  # its ends do not fit each other
    out = loop(noise, 30000, np.random.default_rng(3))
    assert len(out) == 30000
    assert np.sqrt((out**2).mean()) == pytest.approx(1.0, rel=0.05)
    assert np.abs(np.diff(out)).max() < 0.05


def test_a_split_without_keywords_is_an_error(dataset: Dataset) -> None:
    empty = replace(dataset, speech=[c for c in dataset.speech if c.split != "testing"])
    with pytest.raises(KwsError, match="no testing clips of rise, fall"):
        next(generate(empty, "testing", 10.0))


def test_written_sessions_are_read_again(dataset: Dataset, tmp_path: Path) -> None:
    sessions = list(generate(dataset, "testing", 10.0, Plan(keywords_each=8)))
    paths = write_sessions(sessions, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == sorted(
        [p.name for p in paths] + [f"{s.name}.wav" for s in sessions]
    )
    again = read_sessions(tmp_path, KEYWORDS)
    assert [(s.name, s.events, s.about) for s in again] == [(s.name, s.events, s.about) for s in sessions]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(again, sessions, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"events": [{"word": "rise", "start": 0, "end": 99999}]}', "lies outside"),
        ('{"events": [{"word": "rise", "start": 9, "end": 9}]}', "lies outside"),
        ('{"events": [{"wort": "rise", "start": 0, "end": 9}]}', "is not a session"),
        ('{"words": []}', "is not a session"),
        ("[]", "is broken: not a JSON object"),
        ("{", "is broken"),
        ('{"events": [{"word": "zebra", "start": 0, "end": 9}]}', "no word in .* is a keyword"),
    ],
)
def test_broken_sessions_are_named(tmp_path: Path, text: str, message: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, np.int16), 16000)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(KwsError, match=message):
        read_sessions(tmp_path, KEYWORDS)


def test_a_folder_without_sessions(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="holds no sessions"):
        read_sessions(tmp_path, KEYWORDS)
    (tmp_path / "a.json").write_text(json.dumps({"events": []}))
    with pytest.raises(KwsError, match="no recording beside it"):
        read_sessions(tmp_path, KEYWORDS)


def test_joined_recordings_know_where_each_lies(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sounds = [rng.integers(-9000, 9000, n, dtype=np.int16) for n in (16000, 5000, 24000)]
    for number, sound in enumerate(sounds):
        soundfile.write(tmp_path / f"{number}.flac", sound, 16000)
    stretch = negatives.speech(audio_files(tmp_path), "talk")
    for number, sound in enumerate(sounds):
        start = int(stretch.starts[number])
        assert np.array_equal(stretch.samples[start : start + len(sound)], sound)
        assert stretch.where(start + 1600) == (f"{number}.flac", 0.1)
    pauses = np.diff(stretch.starts) - [len(s) for s in sounds[:-1]]
    assert ((pauses >= 0.3 * 16000) & (pauses <= 16000)).all()
    assert np.abs(stretch.samples[: stretch.starts[0]]).max() < 100
    fast = negatives.join("fast", sounds, ["0", "1", "2"], 1.25)
    assert len(fast.samples) - fast.starts[-1] == 24000 / 1.25


def test_noise_without_keywords_comes_at_two_levels(dataset: Dataset) -> None:
    stretch = negatives.noise(dataset, "testing", seconds=2.5)
    assert len(stretch.samples) == 40000 * len(stretch.names)
    for number, name in enumerate(stretch.names):
        rms = np.sqrt((stretch.samples[number * 40000 : (number + 1) * 40000].astype(float) ** 2).mean())
        level = float(name.split(" at ")[1].split()[0])
        assert 20 * np.log10(rms / 32768) == pytest.approx(level, abs=2)


def test_a_noise_that_is_shorter_comes_once_as_its_false_accepts_would_not(dataset: Dataset) -> None:
    whole = {name: len(part) for (name, _), part in zip(dataset.noise, dataset.noise_part("testing"), strict=True)}
    seconds = 1 + max(whole.values()) / 16000
    stretch = negatives.noise(dataset, "testing", seconds=seconds)
    ends = [*stretch.starts[1:], len(stretch.samples)]
    for name, start, end in zip(stretch.names, stretch.starts, ends, strict=True):
        assert end - start == whole.get(name.split(" at ")[0], int(seconds * 16000))
        assert stretch.where(start) == (name, 0) and stretch.where(end - 1)[0] == name


def test_a_detector_is_judged_on_other_noise_than_it_was_chosen_by(dataset: Dataset) -> None:
    first, second = (negatives.noise(dataset, split, seconds=2.5) for split in ("validation", "testing"))
    assert first.names == second.names
    made = [number for number, name in enumerate(first.names) if name.startswith("made_")]
    assert made
    for number in made:
        one, other = (stretch.samples[number * 40000 :][:40000] for stretch in (first, second))
        assert not np.array_equal(one, other), first.names[number]


def test_a_session_is_a_recording_with_events() -> None:
    session = Session("x", np.zeros(32000, np.int16), [Event("a", 1, 2)], {})
    assert session.seconds == 2.0


def test_a_personal_models_sessions_say_takes_again_and_no_voice(tmp_path: Path) -> None:
    root = make(tmp_path / "d", speakers=40)
    take = sorted((root / "fall").iterdir())[0]
    data = Dataset.open(root, KEYWORDS)
    data.speech = [
        *(c for c in data.speech if c.split != "validation" or c.label == data.unknown),
        Clip("fall/" + take.name, 1, "fall", "anna", "validation"),
        Clip("fall/" + take.name, 1, "fall", "espeak-en", "validation"),
        Clip("rise/" + sorted((root / "rise").iterdir())[0].name, 0, "rise", "espeak-en", "validation"),
    ]

    def said(plan: Plan) -> tuple[int, ...]:
        events = [e for s in generate(data, "validation", 10.0, plan) for e in s.events]
        return tuple(sum(e.word == word for e in events) for word in KEYWORDS)

    assert said(Plan()) == (1, 2)
    assert said(Plan(takes=5)) == (5, 5)  # "rise" by the voice: there is nobody else
    assert said(Plan(takes=5, limit=6)) == (3, 3)


def test_babble_is_of_the_splits_other_words_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Clip] = []
    real = Dataset.audio
    monkeypatch.setattr(Dataset, "audio", lambda self, clips: heard.extend(clips) or real(self, clips))
    stretch = negatives.babble(dataset, "testing", seconds=3)
    assert {clip.word for clip in heard} == {"flat"} and {clip.split for clip in heard} == {"testing"}
    assert stretch.seconds == pytest.approx(2 * 3 * len(VOICES))
    assert stretch.where(0)[0].startswith("2 voices") and stretch.where(len(stretch.samples) - 1)[0].startswith("12 ")


def test_without_other_words_there_is_no_babble(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="no other words"):
        negatives.babble(Dataset.open(make(tmp_path / "d", words=("rise", "fall")), KEYWORDS), "training")
