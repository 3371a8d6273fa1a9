"""What is said in recordings: transcripts of a folder, and which words of a text are a keyword to who only listens.

A word counts as said where a word of the text sounds the same by espeak-ng's phonemes ("know" and "no", "write" and
"right"), or is an inflection of it: the same phonemes and then an ending ("stops", "stopped", "going", "no's").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from model_pipeline.data.near import sounds
from model_pipeline.files import read_text

# Endings in espeak-ng's phonemes: -ing, -er, and the plural and past after a hiss or a stop. Those of one sound are
# voiced as the sound before them is ("stops", "goes"; "note" is not a past of "no").
_ENDINGS = frozenset({("I2", "z"), ("I", "z"), ("I2", "d"), ("I", "d"), ("I", "N"), ("I2", "N"), ("I", "n"), ("3",)})
_VOICELESS = frozenset({"p", "t", "k", "f", "T", "s", "S", "tS", "h"})
_TOGETHER = 500  # words that espeak-ng is given at once
_LETTERS = 60  # of a word; espeak-ng takes minutes for a line of nothing but letters
TABLE = "transcripts.tsv"
PROMPTS = ("cmuarctic.data", "txt.done.data")
# A line of Festvox's prompts: ( arctic_a0001 "Author of the danger trail, Philip Steels, etc." )
_PROMPT = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')
_TAKE = re.compile(r"_\d+$")  # what recorders put behind a prompt's name: the time, or which take it is


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters, apostrophes kept: "Don't go-kart!" has don't, go, kart."""
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower().replace("’", "'"))


class Sayings:
    """Looks for keywords in texts. Words are looked up once, all of a text's together."""

    def __init__(self, keywords: Sequence[str], language: str = "en") -> None:
        """
        Args:
            language: of keywords and texts, as espeak-ng names it. The endings are those of English.

        Raises:
            MissingTool: without espeak-ng. KwsError: it does not speak the language.
        """
        self.keywords, self._language = list(keywords), language
        self._sounds = {sound: word for word, sound in sounds(self.keywords, language).items()}
        self._known: dict[str, str] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Looks up all words of ``texts`` at once (espeak-ng takes a moment to start)."""
        self._look_up({word for text in texts for word in words_of(text)})

    def _look_up(self, words: Iterable[str]) -> None:
        new = sorted(set(words) - self._known.keys())
        self._known |= {word: "" for word in new if len(word) > _LETTERS}
        new = [word for word in new if len(word) <= _LETTERS]
        for first in range(0, len(new), _TOGETHER):
            for word, sound in sounds(new[first : first + _TOGETHER], self._language).items():
                self._known[word] = self._which(sound)

    def said(self, text: str) -> list[tuple[str, str]]:
        """The words of ``text`` that are, or sound like, a keyword or an inflection of one, each with that keyword."""
        words = words_of(text)
        self._look_up(words)
        return [(word, self._known[word]) for word in words if self._known[word]]

    def _which(self, sound: tuple[str, ...]) -> str:
        if keyword := self._sounds.get(sound):
            return keyword
        for size in (len(sound) - 1, len(sound) - 2):
            stem, ending = sound[:size], sound[size:]
            short = {("s",), ("t",)} if stem and stem[-1] in _VOICELESS else {("z",), ("d",)}
            if (keyword := self._sounds.get(stem)) and (ending in _ENDINGS or ending in short):
                return keyword
        return ""


def transcripts(folder: Path) -> dict[str, str]:
    """What is said in each recording under ``folder``, by the file's name without its ending; {} without transcripts.

    Read are ``*.trans.txt`` as LibriSpeech has them (a name, a space, the text) and ``*.tsv`` with a name (or a path)
    in the first column and the text in the last; a first line whose last column is ``text``, ``sentence`` or
    ``transcript`` names the columns. Also Festvox's `PROMPTS`, a line ``( NAME "text" )`` each, as CMU ARCTIC has them.

    Raises:
        KwsError: a file of transcripts that can't be read.
    """
    found: dict[str, str] = {}
    for path in _below(folder, "*.trans.txt"):
        for line in read_text(path).splitlines():
            name, _, text = line.strip().partition(" ")
            if name:
                found[name] = text
    for path in _below(folder, "*.tsv"):
        for number, line in enumerate(read_text(path).splitlines()):
            cells = line.split("\t")
            header = number == 0 and cells[-1].strip().lower() in ("text", "sentence", "transcript")
            if len(cells) > 1 and not header:
                found[Path(cells[0].strip()).stem] = cells[-1].strip()
    for path in _below(folder, *PROMPTS):
        for line in read_text(path).splitlines():
            if prompt := _PROMPT.fullmatch(line.strip()):
                found[prompt.group(1)] = prompt.group(2)
    return found


def _below(folder: Path, *patterns: str) -> list[Path]:
    """Files; a folder, or a pipe, of such a name is none."""
    return sorted(path for pattern in patterns for path in Path(folder).rglob(pattern) if path.is_file())


def text_of(name: str, texts: Mapping[str, str]) -> str | None:
    """What is said in the recording ``name`` (without its ending) by `transcripts`; None where they do not tell. A take
    of a prompt, ``arctic_a0001_1592748574``, says what the prompt does."""
    return texts.get(name, texts.get(_TAKE.sub("", name)))
