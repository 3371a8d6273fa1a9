"""kws new and kws record: from a folder to takes that training can use; the sound card is a fake."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.words import takes
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.split import SPLITS, which_set
from tests.tools.test_cli import kws

RATE = 16000
Run = Callable[..., tuple[int, str, str]]


def room(seconds: float, level: float = 20.0, seed: int = 1) -> np.ndarray:
    """float [n]: faint noise."""
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def say(sound: np.ndarray, at: float, seconds: float = 0.5, amplitude: float = 6000.0) -> None:
    """Adds a tone to ``sound``, with soft edges."""
    count = int(seconds * RATE)
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / RATE) * np.minimum(1, 60 * np.hanning(count))
    sound[int(at * RATE) : int(at * RATE) + count] += amplitude * tone


def whole(sound: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: kws(*arguments, capfd=capfd)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `kws new` makes, without the need of espeak-ng."""
    (tmp_path / "kws.toml").write_text('name = "p"\nkeywords = ["hey_robot"]\n[data]\nrecordings = "recordings"\n')
    return tmp_path


class Card:
    """sounddevice with one microphone that plays ``sound``, and then fails as a card that is pulled out."""

    def __init__(self, sound: np.ndarray) -> None:
        self.module = types.ModuleType("sounddevice")
        error = type("PortAudioError", (Exception,), {})

        class InputStream:
            def __init__(self, samplerate: int, channels: int, dtype: str, blocksize: int) -> None:
                assert (samplerate, channels, dtype) == (RATE, 1, "int16")
                self.at = 0

            def __enter__(self) -> InputStream:
                return self

            def __exit__(self, *_: object) -> None: ...

            def read(self, count: int) -> tuple[np.ndarray, bool]:
                if self.at + count > len(sound):
                    raise error("device unplugged")
                self.at += count
                return sound[self.at - count : self.at, None], False

        self.module.InputStream = InputStream  # type: ignore[attr-defined]
        self.module.PortAudioError = error  # type: ignore[attr-defined]


@given(
    words=st.lists(st.tuples(st.floats(0.2, 0.9), st.floats(0.7, 3.0), st.floats(1500, 20000)), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_every_word_is_found_once_and_centred(words: list[tuple[float, float, float]], seed: int) -> None:
    sound = room(1 + sum(length + pause for length, pause, _ in words), seed=seed)
    at, spans = 0.7, []
    for length, pause, amplitude in words:
        say(sound, at, length, amplitude)
        spans.append((at, at + length))
        at += length + pause
    found = list(takes.find(whole(sound), ended=True))
    assert [t.reason for t in found] == [""] * len(words)
    for take, (start, end) in zip(found, spans, strict=True):
        assert abs(take.start / RATE - start) < 0.06 and abs(take.end / RATE - end) < 0.06
        heard = np.flatnonzero(np.abs(take.clip.astype(int)) > 500)
        middle = (heard[0] + heard[-1]) / 2
        # In the middle, or as near to it as the recording's ends let it.
        assert abs(middle - RATE / 2) < 0.05 * RATE or take.end > len(sound) - RATE or take.start < RATE
        assert len(take.clip) == RATE and take.clip.dtype == np.int16


@pytest.mark.parametrize(
    ("seconds", "amplitude", "noise", "reason"),
    [
        (0.5, 60000, 20, "clipped"),
        (0.5, 200, 5, "too quiet"),
        (0.5, 1100, 150, "above the room's noise"),
        (1.3, 6000, 20, "1.3 s long"),
    ],
)
def test_a_bad_take_is_refused_with_its_reason(seconds: float, amplitude: float, noise: float, reason: str) -> None:
    sound = room(4, noise)
    say(sound, 1.5, seconds, amplitude)
    assert [reason in take.reason for take in takes.find(whole(sound), ended=True)] == [True]


def test_takes_are_as_long_as_the_projects_clips() -> None:
    sound = room(4)
    say(sound, 1.5, 1.3)
    (take,) = takes.find(whole(sound), ended=True, clip=24000)
    heard = np.flatnonzero(np.abs(take.clip.astype(int)) > 500)
    assert take.reason == "" and len(take.clip) == 24000 and heard[-1] - heard[0] > 1.2 * RATE
    say(sound, 1.3, 1.7)
    (take,) = takes.find(whole(sound), ended=True, clip=24000)
    assert "1.7 s long: one word, or short phrase, in 1.5 s" in take.reason


def test_noise_clicks_and_silence_are_no_words() -> None:
    sound = room(5)
    for at in (1.0, 2.2, 3.1):
        say(sound, at, 0.04)
    for quiet in (sound, np.zeros(RATE), np.zeros(0), room(0.005)):
        assert not list(takes.find(whole(quiet), ended=True))


def test_a_word_is_not_given_before_it_has_ended() -> None:
    sound = room(3)
    say(sound, 1.0, 0.6)
    samples = whole(sound)
    assert not list(takes.find(samples[: int(1.4 * RATE)], ended=False))
    assert not list(takes.find(samples[: int(2.0 * RATE)], ended=False))
    assert len(list(takes.find(samples[: int(2.2 * RATE)], ended=False))) == 1


def test_a_long_recording_becomes_takes(project: Path, run: Run) -> None:
    sound = room(12)
    for i, amplitude in enumerate((6000, 60000, 4000)):
        say(sound, 1 + 3 * i, 0.6, amplitude)
    soundfile.write(project / "long.wav", whole(sound), RATE)
    base = ("record", "hey_robot", "--folder", str(project), "--from-file", str(project / "long.wav"), "--json")
    code, out, err = run(*base, "--speaker", "Anna ")
    result = json.loads(out)
    assert code == 0 and result["keyword"] and result["takes"] == len(result["kept"]) == 2
    assert [r["reason"].split(":")[0] for r in result["refused"]] == ["clipped"] and "not kept" in err
    names = [Path(path).name for path in result["kept"]]
    assert names == [f"{result['speaker']}_nohash_{n}.wav" for n in range(2)]
    assert "anna" not in out.lower() and result["split"] == which_set(names[0])
    # Once more: the numbers go on, the split stays; another speaker has another name.
    again = json.loads(run(*base, "--speaker", "anna")[1])
    assert [Path(p).name[-5] for p in again["kept"]] == ["2", "3"] and again["speaker"] == result["speaker"]
    assert json.loads(run(*base, "--speaker", "ben")[1])["speaker"] != result["speaker"]
    dataset = Dataset.open(project / "recordings", ["hey_robot"])
    assert dataset.audio(dataset.speech).shape == (6, RATE)


def test_who_is_heard_for_what_is_said_before_the_first_take(project: Path, run: Run) -> None:
    names = [f"speaker {i}" for i in range(40)]
    of = {split: [n for n in names if takes.Shelf(project, "no", n).split == split] for split in SPLITS}
    assert len(of["training"]) > len(of["testing"]) > 0 < len(of["validation"])
    sound = room(5)
    say(sound, 2)
    soundfile.write(project / "long.wav", whole(sound), RATE)
    base = ("record", "hey_robot", "--folder", str(project), "--from-file", str(project / "long.wav"), "--json")
    heard = [("training", of["training"][0]), ("training", of["training"][1]), ("testing", of["testing"][0])]
    for split, name in heard:
        code, out, err = run(*base, "--speaker", name)
        assert code == 0 and json.loads(out)["split"] == split
        assert 0 <= err.find(f"({split}, by a hash of the name)") < err.find(" dB\n")  # before the take
        assert ("nobody tells yet" in err) == (split == "training")
    assert json.loads(out)["speakers"] == {"training": 2, "validation": 0, "testing": 1}
    config = project / "kws.toml"
    config.write_text(config.read_text() + "personal = true\n")
    code, out, err = run(*base, "--speaker", of["testing"][0])
    assert code == 0 and json.loads(out)["split"] is None and "eight of ten train the model" in err


def test_a_microphone_is_recorded_until_there_are_enough(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = room(40)
    for i in range(9):
        say(sound, 1 + 3.01 * i, 0.5, 40 if i == 1 else 60000 if i == 2 else 5000)
    monkeypatch.setitem(sys.modules, "sounddevice", Card(whole(sound)).module)
    base = ("record", "hey_robot", "--folder", str(project), "--speaker", "anna", "--json")
    code, out, err = run(*base, "--count", "3")
    result = json.loads(out)
    assert code == 0, err
    assert result["takes"] == len(result["kept"]) == 3
    assert [r["second"] for r in result["refused"]] == [pytest.approx(7.02, abs=0.06)]
    assert json.loads(run(*base, "--count", "5")[1])["takes"] == 5  # goes on where it was
    code, _, err = run(*base, "--count", "5")
    assert code == 2 and "5 takes are there already" in err
    assert len(list((project / "recordings/hey_robot").iterdir())) == 5  # nothing half written
    code, _, err = run(*base, "--count", "50")  # until the card is pulled out
    assert code == 2 and "no microphone: device unplugged" in err
    code, _, err = run(*base, "--count", "90", "--seconds", "2.5")
    assert code == 2 and "heard no word in 2.5 s" in err


def test_what_is_missing_is_said_in_a_line(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ("record", "hey_robot", "--folder", str(project))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _, err = run(*base)
    assert code == 3 and "sounddevice is not installed" in err and "pip install" in err

    class Broken:  # what the package does at import where PortAudio is missing
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    code, _, err = run(*base)
    assert code == 3 and "PortAudio is not installed" in err and "libportaudio2" in err
    assert run("record", "Hey!", "--folder", str(project))[0] == 2
    code, _, err = run("record", "hey", "--folder", str(project / "recordings"))
    assert code == 2 and "is not a project" in err and "kws new" in err
    soundfile.write(project / "empty.wav", whole(room(3)), RATE)
    code, _, err = run(*base, "--from-file", str(project / "empty.wav"))
    assert code == 2 and "no word in" in err
