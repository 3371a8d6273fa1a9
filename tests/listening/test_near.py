"""Near words: chosen by sound, spoken by voices that were held out, and counted where they set the detector off."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from host_tools.cli import main
from host_tools.words import project
from model_pipeline.config import SynthConfig, load_config
from model_pipeline.data import dictionaries, near, synth, voices
from model_pipeline.errors import KwsError
from model_pipeline.listening import near as evaluation
from model_pipeline.manifest import load_manifest
from model_pipeline.words import folder_name
from tests.support.listening_models import model_folder, sliding_net
from tests.tools.test_cli import kws

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: make setup")
PHONEMES = ("p", "b", "t", "s", "S", "m", "n", "r", "aI", "eI", "oU", "@", "0")
SOUNDS = st.lists(st.sampled_from(PHONEMES), max_size=6).map(tuple)


@given(SOUNDS, SOUNDS)
def test_distance_is_symmetric_and_zero_for_the_same_sound_alone(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert near.distance(a, b) == pytest.approx(near.distance(b, a))
    assert 0 <= near.distance(a, b) <= 1
    assert (near.distance(a, b) == 0) == (a == b)


def test_what_sounds_alike_is_near() -> None:
    right, ride, root, stop = ("r", "aI", "t"), ("r", "aI", "d"), ("r", "u:", "t"), ("s", "t", "0", "p")
    assert near.distance(right, ride) < near.distance(right, root) < near.distance(right, stop)
    assert near.distance(right, ("r", "aI")) < near.distance(right, ("aI",))


@needs_espeak
def test_near_words_are_near_and_never_the_same_sound() -> None:
    keywords = ["no", "right", "stop", "hey_robot"]
    found = near.near_words(keywords, 20)
    assert {"now", "nope", "mode"} <= set(found["no"]) and "ride" in found["right"]
    assert {"top", "stock"} <= set(found["stop"])
    assert {"hey", "robot", "hey rabbit"} <= set(found["hey_robot"])
    assert "hey robots" not in found["hey_robot"]  # holds the keyword: nobody can tell before its end
    everything = [word for words in found.values() for word in words]
    heard = near.sounds([*keywords, *everything])
    assert not {heard[w] for w in everything} & {heard[k] for k in keywords}
    for keyword, words in found.items():
        assert len(words) == len({heard[w] for w in words}) == 20
        made = [w for w in words if w.startswith("[[")]
        assert made and len({folder_name(w) for w in words}) == 20
        # What is written in phonemes is read as these phonemes.
        assert all(near.notation(heard[w]) == w and near.distance(heard[w], heard[keyword]) <= 0.5 for w in made)
    assert near.homophones(keywords, ["know", "write", "now"]) == {"know": "no", "write": "right"}
    assert near.homophones(["right"])["write"] == "right"


@needs_espeak
def test_near_words_are_near_what_voices_are_told_to_say() -> None:
    spoken = {"lumos": "loo moss", "hey_nox": "hey knocks"}
    written, said = near.sounds(["lumos", "hey_nox"]), near.sounds(["lumos", "hey_nox"], "en", spoken)
    assert said == {"lumos": near.sounds(["loo moss"])["loo moss"], "hey_nox": written["hey_nox"]} != written
    found = near.near_words(["lumos", "hey_nox"], 20, "en", spoken)
    heard = near.sounds(found["lumos"])
    made = [word for word in found["lumos"] if word.startswith("[[")]
    assert made and all(
        near.distance(heard[w], said["lumos"]) < near.distance(heard[w], written["lumos"]) for w in made
    )
    assert "loo" not in found["lumos"]  # one word, in however many it is written
    assert {"hey", "knocks", "hey box"} <= set(found["hey_nox"])
    assert near.near_words(["hey_nox"], 20, "en", {}) == near.near_words(["hey_nox"], 20)
    same = near.homophones(["lumos"], ["loo moss", "mouse"], "en", spoken)
    assert same == {"loo moss": "lumos"} and not near.homophones(["lumos"], ["loo moss", "mouse"])
    # In espeak-ng's own notation, where a space is no word's end.
    assert near.near_words(["lumos"], 8, "en", {"lumos": "[[l'u: m'Qs]]"})["lumos"]


def test_a_word_is_listed_where_every_part_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ngerman").write_text("Licht\nan\n")
    (tmp_path / "cmu.out").write_text('MNCL\n("marvin" nil (((m aa r) 1)))\n')
    monkeypatch.setattr(dictionaries, "_LISTS", tmp_path)
    monkeypatch.setattr(dictionaries, "_CMU", tmp_path / "none")
    monkeypatch.setattr(dictionaries, "_hibari_words", list)
    dictionaries._dictionary.cache_clear()
    try:
        assert dictionaries.unlisted(["licht_an", "licht", "lumos", "licht_lumos"], "de") == ["lumos", "licht_lumos"]
        assert dictionaries.unlisted(["lumos"], "fr") == []  # nothing is there to tell by
        assert dictionaries.unlisted(["lumos"], "en") == []  # our own lists are too short to tell
        monkeypatch.setattr(dictionaries, "_CMU", tmp_path / "cmu.out")
        dictionaries._dictionary.cache_clear()
        assert dictionaries.unlisted(["hey_marvin", "marvin", "lumos"], "en") == ["lumos"]
    finally:
        dictionaries._dictionary.cache_clear()


@needs_espeak
def test_a_project_says_how_its_words_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dictionaries, "_hibari_words", lambda: ["nox", "marvin"])
    dictionaries._dictionary.cache_clear()
    code, out, _ = kws("new", "lumos", "marvin", "--folder", "guessed", capfd=capfd)
    assert code == 0 and "lumos l'u:moUz, marvin m'A@vIn" in out
    assert "lumos is in no dictionary here" in out and "marvin is in no dictionary" not in out
    assert "espeak-ng -v en-us lumos" in out and "kws data spelling lumos" in out
    told = ["--spoken", "lumos=loo moss", "--spoken", "marvin=[[m'A@vIn]]"]
    code, out, _ = kws("new", "lumos", "marvin", "--folder", "told", *told, "--json", capfd=capfd)
    made = json.loads(out)
    assert code == 0 and made["phonemes"]["lumos"] == "l'u: m'O2s" and made["unlisted"] == []
    config = load_config(tmp_path / "told")
    assert config.synth.spoken == {"lumos": "loo moss", "marvin": "[[m'A@vIn]]"}
    assert set(made["near_words"]["lumos"]) <= set(config.synth.near_words)
    assert set(load_config(tmp_path / "guessed").synth.near_words) - set(config.synth.near_words)
    for wrong, text in {
        "lumos": "not WORD=TEXT",
        "nox=knocks": "not one of the words",
        "lumos=a/b": "no voice",
    }.items():
        code, _, err = kws("new", "lumos", "--folder", "bad", "--spoken", wrong, capfd=capfd)
        assert code == 2 and text in err and "looking for" not in err and not Path("bad").exists()
    dictionaries._dictionary.cache_clear()


@needs_espeak
def test_a_language_that_nobody_speaks_is_told_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = kws("new", "hallo", "--language", "xx", "--folder", str(tmp_path / "x"), capfd=capfd)
    assert code == 2 and "speaks no language 'xx'" in err and "espeak-ng --voices" in err and "looking for" not in err


@needs_espeak
def test_a_word_near_two_keywords_is_listed_once(tmp_path: Path) -> None:
    made = project.create(["yes", "go", "no"], tmp_path / "new")
    found = [word for words in made.near_words.values() for word in words]
    listed = load_config(tmp_path / "new").synth.near_words
    assert len(found) > len(set(found)) == len(listed) and set(listed) == set(found)


@needs_espeak
def test_words_in_phonemes_are_spoken_by_voices_that_were_held_out() -> None:
    settings = SynthConfig(seed=3, engines=["espeak-ng"])
    made = "[[r|'oU|b|'0|k]]"
    clips, words = synth.held_out_clips(["robot", made], 3, settings)
    assert words == ["robot"] * 3 + [made] * 3
    assert clips.shape == (6, 16000) and (np.abs(clips.astype(int)).max(1) > 1000).all()
    again, _ = synth.held_out_clips(["robot", made], 3, settings)
    assert np.array_equal(clips, again)


@needs_espeak
def test_a_project_of_own_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "robot"
    code, out, _ = kws("new", "hey_robot", "lights_on", "--folder", str(folder), "--json", capfd=capfd)
    made = json.loads(out)
    assert code == 0 and made["keywords"] == ["hey_robot", "lights_on"]
    config = load_config(folder)  # a folder is its configuration
    assert config.name == "robot" and config.keywords == ["hey_robot", "lights_on"]
    assert Path(config.data.recordings) == folder / "recordings"
    # Voices take three quarters of a second for it, people up to 1.4 times as long: a little more than a second.
    assert 0.7 < made["seconds"]["hey_robot"] < 0.85 and made["clip_ms"] == config.data.clip_ms == 1100
    assert {"hey", "hey rabbit", "light on"} <= set(config.synth.near_words)
    assert sorted(p.name for p in (folder / "recordings").iterdir()) == ["hey_robot", "lights_on"]
    trained = synth._unknown_words(config)
    assert trained.count("hey rabbit") == 3 and "seven" in trained and "mode" not in trained
    code, _, err = kws("new", "hey_robot", "--folder", str(folder), capfd=capfd)
    assert code == 2 and "is there already" in err


@needs_espeak
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Hey"], "is not a word"),
        (["right", "write"], "right and write sound the same"),
        (["go", "go"], "given twice"),
        (["silence"], "label of its own"),
        (["a"], "too short"),
        (["turn_on_the_kitchen_lights"], r"takes 1\.\d\d s to say, and at most 1.38 s fit"),
        (["abracadabra_abracadabra_banana"], r"more than 1.5 s to say \(\d+ sounds"),
        ([f"word{chr(97 + i)}" for i in range(26)] + ["x", "y", "z"], "1 to 28"),
    ],
)
def test_words_that_can_be_no_keywords_are_refused(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=said):
        project.create(words, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_the_window_fits_the_longest_word_and_is_a_second_where_that_is_enough() -> None:
    assert project.window_for({"marvin": 0.56}) == project.window_for({}) == 1000
    assert project.window_for({"computer": 0.71}) == 1000 and project.window_for({"computer": 0.72}) == 1100
    assert project.window_for({"go": 0.35, "hey_computer": 0.9}) == 1300
    assert project.window_for({"as_fast_as_voices": 1.38}) == 1500
    with pytest.raises(KwsError, match=r"a_speech takes 1\.39 s to say, and at most 1\.38 s fit into the 1\.5 s"):
        project.window_for({"go": 0.35, "a_speech": 1.39})


def test_what_fires_is_counted_at_the_word_that_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random network fires at something: what is counted must be what its detector gives for each clip alone."""
    model = model_folder(tmp_path / "model", sliding_net(), ["yes", "no", "up", "unknown", "silence"])
    rng = np.random.default_rng(2)
    spoken = ["yes"] * 2 + ["no"] * 2 + ["up"] * 2 + ["yet"] * 6 + ["nope"] * 6
    clips = (rng.standard_normal((len(spoken), 16000)) * 10 ** rng.uniform(1, 4, (len(spoken), 1))).astype(np.int16)
    monkeypatch.setattr(evaluation, "held_out_clips", lambda *_: (clips, spoken))
    monkeypatch.setattr(evaluation, "homophones", lambda *_: {"know": "no"})
    result = evaluation.evaluate_near(model, ["yet", "nope", "know", "yes"], 6, SynthConfig(), record=True)
    rows = {row.word: row for row in [*result.keywords, *result.near]}
    assert [rows[w].takes for w in ("yes", "yet", "nope")] == [2, 6, 6] and set(rows) == {
        "yes",
        "no",
        "up",
        "yet",
        "nope",
    }
    assert result.fired.total == 12 and result.same_sound == {"know": "no"}
    recogniser = evaluation.Recogniser(model)
    alone = evaluation._listen(recogniser, clips, None)
    assert sum(bool(heard) for heard in alone) == sum(row.fired.count for row in rows.values()) > 0
    for row in rows.values():
        assert sum(row.heard.values()) >= row.fired.count and set(row.heard) <= {"yes", "no", "up"}
    recorded = load_manifest(model).accuracy["near"]
    assert recorded["near"] == result.model_dump(mode="json")["near"] and recorded["detector"]["stride_hops"] == 5


def test_near_words_of_a_test_split_are_those_that_its_voices_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many takes as were asked for, by synthesisers alone, and what is written in phonemes under its own name."""
    rng = np.random.default_rng(5)
    said = {"yes": 9, "no": 1, "up": 2, "yet": 3, folder_name("[[n|'E]]"): 2, "nose": 2}
    names = [f"{word}/espeak-v{i}_nohash_0.wav" for word, count in said.items() for i in range(count)]
    people = ["yes/ab12cd34_nohash_0.wav", "yet/ab12cd34_nohash_0.wav"]
    trained = ["yes/espeak-t_nohash_0.wav", "yet/espeak-t_nohash_0.wav"]
    for name in (*names, *people, *trained):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "data" / name, rng.integers(-9000, 9000, 16000).astype(np.int16), 16000)
    (tmp_path / "data" / "testing_list.txt").write_text("\n".join((*names, *people)))
    (tmp_path / "data" / "validation_list.txt").write_text("")
    model = model_folder(tmp_path / "model", sliding_net(), ["yes", "no", "up", "unknown", "silence"])
    words = ["yet", "[[n|'E]]", "nope"]
    result = evaluation.evaluate_near(model, words, 2, SynthConfig(), data=tmp_path / "data")
    assert {row.word: row.takes for row in result.near} == {"yet": 2, "[[n|'E]]": 2, "nope": 0}
    assert {row.word: row.takes for row in result.keywords} == {"yes": 8, "no": 1, "up": 2}
    assert result.fired.total == 4
    # Where the split has too few of them, they are said now.
    now = rng.integers(-9000, 9000, (3, 16000)).astype(np.int16)
    monkeypatch.setattr(evaluation, "held_out_clips", lambda *_: (now, ["yes", "yet", "nope"]))
    result = evaluation.evaluate_near(model, words, 6, SynthConfig(), data=tmp_path / "data")
    assert {row.word: row.takes for row in result.near} == {"yet": 1, "[[n|'E]]": 0, "nope": 1}


def test_a_detection_belongs_to_the_clip_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_pipeline.listening.detector import Detection

    model = model_folder(tmp_path / "model", sliding_net(), ["yes", "no", "up", "unknown", "silence"])
    recogniser = evaluation.Recogniser(model)
    slot = 16000 + max(recogniser.manifest.detector.refractory_samples, 16000)
    places = [(slot + 8000, 0), (2 * slot - 1, 1), (3 * slot + 100, 2), (10, 0)]

    class Track:
        def detect(self, detector: object) -> list[Detection]:
            return [Detection(position=p, label=label, score=200) for p, label in places]

    def track(samples: np.ndarray, progress: object = None) -> Track:
        assert len(samples) == 4 * slot and np.abs(samples[slot : slot + 16000]).min() > 500
        assert np.abs(samples[:slot]).max() < 500
        return Track()

    monkeypatch.setattr(recogniser, "track", track)
    heard = evaluation._listen(recogniser, np.full((3, 16000), 1000, np.int16), None)
    assert heard == [["yes", "no"], [], ["up"]]


def test_the_held_out_voices_are_those_of_the_training_speech(tmp_path: Path) -> None:
    settings = {"seed": 7, "engines": ["espeak-ng"], "clips_per_keyword": 9, "something_new": 1}
    extra = {"extra": {"source": {"settings": settings}}}
    model = model_folder(
        tmp_path / "model", sliding_net(), ["yes", "no", "up", "unknown", "silence"], training_data=extra
    )
    found = evaluation.settings_of(load_manifest(model))
    assert (found.seed, found.engines) == (7, ["espeak-ng"])
    (tmp_path / "dataset.json").write_text(json.dumps({"settings": {"seed": 5}}))
    assert evaluation.settings_of(load_manifest(model), tmp_path).seed == 5


def test_kinds_of_voices_are_known_by_their_names() -> None:
    names = ("espeak-en-us-Andy", "flite-awb", "festival-kal-diphone", "a1b2c3d4", "flitely")
    assert [voices.group_of(n) for n in names] == ["espeak-ng", "flite", "festival", "people", "people"]


@pytest.mark.parametrize("name", ['x\nboard = "host"', "x\x1b[31m", "x\u202ey", "x\r", "x\0"])
def test_a_folders_name_says_nothing_in_a_configuration(name: str, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="no control or invisible character"):
        project.create(["hallo"], tmp_path / name, said=project.Said("de"))
    assert not list(tmp_path.iterdir())


def test_a_language_is_a_name_before_anybody_is_asked(tmp_path: Path) -> None:
    for language in ("", "../x", "-v", "en;id", "en+f3", "x" * 1000):
        with pytest.raises(KwsError, match="is not a language"):
            project.create(["hallo"], tmp_path / "x", said=project.Said(language))
    assert not list(tmp_path.iterdir())


@needs_espeak
def test_commands_that_a_project_tells_can_be_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell runs what is in $(…) of a name that is not quoted."""
    folder = tmp_path / "a $(touch evil) {{7*7}} 'b'"
    with pytest.raises(SystemExit, match="0"):
        main(["new", "computer", "--folder", str(folder)])
    told = capsys.readouterr().out + (folder / "kws.toml").read_text() + (folder / "README.md").read_text()
    commands = [line for line in told.splitlines() if "kws " in line and "$(" in line]
    assert len(commands) >= 4
    assert all(shlex.quote(str(folder)) in line for line in commands)
