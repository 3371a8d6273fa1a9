"""Named corpora: speakers, parts, transcripts, and which utterances say a keyword."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import Config, CorpusConfig
from model_pipeline.data import talk as talk_module
from model_pipeline.data import transcripts as transcripts_module
from model_pipeline.data.audio import write_wav
from model_pipeline.data.corpora import Part, corpus_of, open_corpus, part_of, speaker_in
from model_pipeline.data.talk import is_made, synthesize_talk, texts_of
from model_pipeline.data.transcripts import Sayings, transcripts, words_of
from model_pipeline.errors import KwsError

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


def recordings(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        write_wav(folder / f"{name}.wav", np.ones(1600, np.int16))
    return folder


def test_a_name_tells_its_speaker() -> None:
    assert speaker_in("19-198-0001") == "19"
    assert speaker_in("anna_nohash_3") == "anna"
    assert speaker_in("arctic_a0033_1592747808") == speaker_in("talk0") == ""


def test_parts_never_share_a_speaker_and_have_their_shares(tmp_path: Path) -> None:
    names = [f"{speaker}-{book}-{n:04d}" for speaker in range(120) for book in (1, 2) for n in range(2)]
    folder = recordings(tmp_path / "talk", names)
    corpus = open_corpus(CorpusConfig(name="talk", folder=str(folder), training=0.5, calibration=0.3))
    parts: dict[Part, set[str]] = {
        "training": {r.speaker for r in corpus.of("training")},
        "calibration": {r.speaker for r in corpus.of("calibration")},
        "reporting": {r.speaker for r in corpus.of("reporting")},
    }
    assert sum(len(speakers) for speakers in parts.values()) == 120
    assert 45 <= len(parts["training"]) <= 75 and 24 <= len(parts["calibration"]) <= 50
    assert len(corpus.of(None)) == len(names)
    less = open_corpus(CorpusConfig(name="talk", folder=str(folder), exclude=["3", "7-1-0001"]))
    assert {r.speaker for r in corpus.recordings} - {r.speaker for r in less.recordings} == {"3"}
    assert len(less.recordings) == len(names) - 4 - 1
    with pytest.raises(ValueError, match="more than all"):
        CorpusConfig(name="talk", folder="x", training=0.8, calibration=0.3)


def test_a_recordings_part_does_not_depend_on_its_folder_or_ending() -> None:
    assert part_of("talk0.wav") == part_of("elsewhere/talk0.ogg")
    assert part_of("19-1-2", 1.0, 0.0) == "training" and part_of("19-1-2", 0.0, 1.0) == "calibration"
    assert part_of("19-1-2", 0.0, 0.0) == "reporting"


def test_a_corpus_that_was_used_is_known_again(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "talk", [f"{i}-1-0000" for i in range(40)])
    used = open_corpus(CorpusConfig(name="talk", folder=str(folder), training=0.4, calibration=0.3, licence="CC0"))
    entry = used.describe().model_dump()
    assert entry["files"] == {part: len(used.of(part)) for part in ("training", "calibration", "reporting")}
    renamed = folder.rename(tmp_path / "other")
    again = corpus_of(renamed, [entry])
    assert again.name == "talk" and [r.part for r in again.recordings] == [r.part for r in used.recordings]
    (renamed / "0-1-0000.wav").unlink()
    new = corpus_of(renamed, [entry])
    assert new.name == "other" and {r.part for r in new.recordings} == {"reporting"}
    with pytest.raises(KwsError, match="no folder"):
        corpus_of(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KwsError, match="holds no recordings"):
        corpus_of(tmp_path / "empty")


def test_transcripts_of_both_kinds_are_read(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "talk", ["19-1-0000", "a", "b"])
    (folder / "19-1.trans.txt").write_text("19-1-0000 HE WENT UPSTAIRS\n\n", encoding="utf-8")
    (folder / "some.tsv").write_text("path\tlocale\tsentence\nclips/a.mp3\ten\tGo on\n", encoding="utf-8")
    assert transcripts(folder) == {"19-1-0000": "HE WENT UPSTAIRS", "a": "Go on"}
    corpus = open_corpus(CorpusConfig(name="talk", folder=str(folder)))
    assert corpus.transcribed and {r.name: r.text for r in corpus.recordings}["b"] is None
    (folder / "broken.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(KwsError, match="transcripts"):
        transcripts(folder)


def test_takes_of_prompts_say_what_the_prompts_do(tmp_path: Path) -> None:
    folder = recordings(tmp_path / "arctic", ["arctic_a0005_1592748574", "arctic_a0006", "arctic_a0007_x"])
    prompts = '( arctic_a0005 "Will we ever forget it." )\n( arctic_a0006 "He said: \\"No.\\"" )\n;; a remark\n'
    (folder / "cmuarctic.data").write_text(prompts + '( arctic_a0007 "God bless \'em." )\n', encoding="utf-8")
    said = {r.name: r.text for r in open_corpus(CorpusConfig(name="arctic", folder=str(folder))).recordings}
    assert said == {
        "arctic_a0005_1592748574": "Will we ever forget it.",
        "arctic_a0006": 'He said: \\"No.\\"',
        "arctic_a0007_x": None,  # no take's number: another recording
    }
    other = recordings(tmp_path / "other", ["a"])
    (other / "model.data").write_bytes(b'\xff\xfe( a "b" )')  # of something else
    assert transcripts(other) == {}


def test_words_of_a_text() -> None:
    assert words_of("Don't go-kart, O’Neill!") == ["don't", "go", "kart", "o'neill"]


@needs_espeak
def test_keywords_homophones_and_inflections_are_said_and_rhymes_are_not(tmp_path: Path) -> None:
    sayings = Sayings(["yes", "no", "up", "right", "stop", "go"])
    said = dict(sayings.said("I know the writer stopped going, write that he goes; no's and rights"))
    assert said == {
        "know": "no",
        "writer": "right",
        "stopped": "stop",
        "going": "go",
        "write": "right",
        "goes": "go",
        "no's": "no",
        "rights": "right",
    }
    assert sayings.said("night bright light yet yesterday now note step spots ago ego upon supper gold") == []
    folder = recordings(tmp_path / "talk", ["a", "b", "c"])
    (folder / "t.tsv").write_text("a\tI know\nb\tI see\n", encoding="utf-8")
    without, with_one = open_corpus(CorpusConfig(name="talk", folder=str(folder))).without(None, sayings)
    assert [r.name for r in without] == ["b", "c"] and [r.name for r in with_one] == ["a"]


def test_a_line_of_nothing_but_letters_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def sounds(words: Sequence[str], language: str) -> dict[str, tuple[str, ...]]:
        asked.extend(words)
        assert language == "en"
        return {word: (word,) for word in words}

    monkeypatch.setattr(transcripts_module, "sounds", sounds)
    sayings = Sayings(["stop"])
    assert sayings.said(f"{'a' * 5_000_000} stop {'b' * 60}") == [("stop", "stop")]
    assert asked == ["stop", "b" * 60, "stop"]


@needs_espeak
def test_talk_reads_texts_of_the_language_and_each_sentence_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk_module, "FORTUNES", str(tmp_path))  # as Debian has them: English here, others in folders
    (tmp_path / "de").mkdir()
    (tmp_path / "english").write_text("The cat sat on the mat.\n")
    (tmp_path / "de" / "buch.dat").write_text("Das ist kein Text für Menschen.\n")

    def config(language: str, *texts: str) -> Config:
        synth = {"engines": ["espeak-ng"], "shares": {"espeak-ng": 1.0}, "language": language}
        talk = {"sentences": 6, "near_share": 0.0, "text": [str(tmp_path), *texts]}
        return Config.model_validate({"keywords": ["hallo"], "synth": synth, "talk": talk})

    assert [p.name for p in texts_of(config("en-gb"))] == ["english"]
    assert texts_of(config("de")) == texts_of(config("fr")) == []
    made = synthesize_talk(config("de"), tmp_path / "rows")
    assert made.texts == [] and is_made(config("de"), tmp_path / "rows")

    sentences = [
        f"Der {name} schläft heute über dem Fluß." for name in ("Bär", "Hund", "Wolf", "Fuchs", "Dachs", "Igel")
    ]
    (tmp_path / "de" / "buch").write_text("\n%\n".join([*sentences, "Er sagt hallo zu mir."]), encoding="utf-8")
    assert not is_made(config("de"), tmp_path / "rows"), "made before there was a text"
    assert synthesize_talk(config("de"), tmp_path / "talk").texts == ["buch"]
    assert sorted(transcripts(tmp_path / "talk").values()) == sorted(sentences)
    (tmp_path / "de" / "buch").write_text(sentences[0], encoding="utf-8")  # too little to learn from and to judge by
    assert synthesize_talk(config("de"), tmp_path / "one").read == 0
    own = tmp_path / "own.txt"
    own.write_bytes(b"\xff\x00Hallo sagt der Hund heute. " + b"a " * 100_000)
    with pytest.raises(KwsError, match=r"fewer than two sentences without a keyword in buch, own\.txt"):
        synthesize_talk(config("de", str(own)), tmp_path / "none")
    with pytest.raises(KwsError, match=r"there is no text .*nowhere"):
        synthesize_talk(config("de", str(tmp_path / "nowhere")), tmp_path / "none")


@needs_espeak
def test_talk_says_no_keyword_and_splits_voices(tmp_path: Path) -> None:
    text = tmp_path / "texts"
    text.mkdir()
    (text / "book").write_text("The cat sat on the mat. Now go away, said he.\n%\nA small dog barked at it all day.\n")
    config = Config.model_validate(
        {
            "keywords": ["go", "yes"],
            "synth": {"engines": ["espeak-ng"], "shares": {"espeak-ng": 1.0}},
            "talk": {"sentences": 40, "held_out": 0.5, "text": [str(text)]},
        }
    )
    made = synthesize_talk(config, tmp_path / "talk")
    assert made.texts == ["book"] and made.sentences == {"training": 20, "validation": 18, "rows": 2}
    training, held, rows = (
        open_corpus(CorpusConfig(name=part, folder=str(tmp_path / "talk" / part)))
        for part in ("training", "validation", "rows")
    )
    heard = {r.speaker for r in training.recordings}
    assert training.transcribed and not heard & {r.speaker for r in [*held.recordings, *rows.recordings]}
    sentences = {"The cat sat on the mat.", "A small dog barked at it all day."}
    learnt, judging = ({r.text for r in part.recordings} for part in (training, held))
    assert len(judging) == 1 and judging < sentences, "an hour of these is to be an hour of speech"
    assert learnt & sentences == sentences - judging, "what judges is not what was learnt"
    assert not {r.text for r in rows.recordings} & sentences
    texts = [r.text or "" for r in [*training.recordings, *held.recordings, *rows.recordings]]
    assert 20 > sum(t in sentences for t in texts[:20]) == made.read - 18 > 0
    assert not any(Sayings(config.keywords).said(t) for t in texts)
    assert is_made(config, tmp_path / "talk")
    other = config.model_copy(update={"keywords": ["go", "no"]})
    assert not is_made(other, tmp_path / "talk") and not is_made(config, tmp_path / "nowhere")
