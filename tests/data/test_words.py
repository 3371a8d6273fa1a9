"""A word becomes a file name by one function, and whatever the word is, that name stays in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from host_tools.words.takes import Shelf
from model_pipeline.config import Config, SynthConfig, with_settings
from model_pipeline.data import synth
from model_pipeline.data.dataset import NOISE_FOLDER
from model_pipeline.data.near import near_words
from model_pipeline.data.voices import available
from model_pipeline.errors import KwsError
from model_pipeline.words import folder_name, word_key

OUTSIDE = [
    "../../x",
    "/abs/evil",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "C:evil",
    "~root",
    ".hidden",
    "x\0y",
    "x\ny",
    "x" * 5000,
]


@given(st.text(max_size=200))
@example("../../x")
@example("/abs/evil")
@example(NOISE_FOLDER)
@example("[[../x]]")
@example("\udcff")
@example("é" * 300)
def test_a_words_folder_is_one_plain_part_of_a_path(word: str) -> None:
    name = folder_name(word)
    assert 0 < len(name) <= 60 and name != NOISE_FOLDER and not name.startswith((".", "_"))
    assert name.isprintable() and not set(name) & set('/\\:*?"<>| ')
    assert (Path("/data") / name).resolve().parent == Path("/data")
    assert folder_name(name) == name


@given(st.text("abcxyz_ '-", min_size=1, max_size=30), st.text("abcxyz_ '-", min_size=1, max_size=30))
def test_words_share_a_folder_only_where_they_are_the_same_word(a: str, b: str) -> None:
    assert (folder_name(a) == folder_name(b)) == (a.replace(" ", "_") == b.replace(" ", "_"))


def test_all_spellings_of_a_word_are_one() -> None:
    assert folder_name("hey robot") == folder_name("hey_robot") == "hey_robot"
    assert word_key("Hey Robot") == word_key("hey robot") == word_key("hey_robot")
    assert folder_name("café") == folder_name("cafe\u0301")  # composed or not, as file systems differ
    assert folder_name("o'clock") == "o'clock" and folder_name("नमस्ते") == "नमस्ते"
    assert len({folder_name(word) for word in OUTSIDE}) == len(OUTSIDE)


@pytest.mark.parametrize("key", ["synth.unknown_words", "synth.near_words"])
@pytest.mark.parametrize("word", ["../../x", "/abs/evil", "x\\u001b[31m", "", "silence", "[[../\\u0007]]"])
def test_a_word_that_nobody_says_is_refused_with_its_key(key: str, word: str) -> None:
    with pytest.raises(KwsError, match=f"{key}.1: "):
        with_settings(Config(), [f'{key}=["house", "{word}"]'])


@pytest.mark.parametrize("word", ["../../x", "/abs/evil"])
def test_what_is_synthesised_stays_in_its_folder(tmp_path: Path, word: str) -> None:
    if "espeak-ng" not in available(["espeak-ng"]):
        pytest.skip("espeak-ng is not installed")
    settings = SynthConfig(clips_per_keyword=4, unknown_clips=4, engines=["espeak-ng"])
    bad = settings.model_copy(update={"unknown_words": [word]})  # past the check, as another caller might
    out = tmp_path / "a" / "b" / "data"
    synth.synthesize(Config(keywords=["yes"]).model_copy(update={"synth": bad}), out)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and not Path("/abs").exists()
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["data"]
    assert list((out / folder_name(word)).glob("*.wav"))


@pytest.mark.parametrize("word", OUTSIDE)
def test_takes_stay_in_the_recordings(tmp_path: Path, word: str) -> None:
    assert Shelf(tmp_path, word, "anna").folder.parent == tmp_path


def test_silence_is_no_near_word() -> None:
    if "espeak-ng" not in available(["espeak-ng"]):
        pytest.skip("espeak-ng is not installed")
    near = near_words(["silent"], 24)["silent"]
    assert near and "silence" not in near
