"""Words near a keyword in sound, by espeak-ng's phonemes and an edit distance over them.

A word that a synthesiser has no spelling for is written in espeak-ng's own notation, ``[[h'eI m'oUb0t]]``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from model_pipeline.config import SILENCE
from model_pipeline.data.dictionaries import common_words, word_list
from model_pipeline.data.voices import PACKAGES, phonemes
from model_pipeline.errors import MissingTool
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.words import as_text

_LONG = 5  # phonemes
_FARTHEST = 0.6  # of the longer word's phonemes; beyond, two words have little in common

# espeak-ng's consonants by manner (docs/phonemes.md of espeak-ng); every other mnemonic is a vowel.
_MANNERS = (
    ("p", "b", "t", "d", "k", "g"),
    ("tS", "dZ"),
    ("f", "v", "T", "D", "s", "z", "S", "Z", "h"),
    ("m", "n", "N"),
    ("l", "r", "w", "j"),
)
# Consonants that English lacks: known as such, though none is put in an English word's place.
_OTHERS = {"C": 2, "x": 2, "X": 2, "Q": 2, "R": 4, "r-": 4, "*": 4, "L": 4, "l^": 4, "n^": 3, "J": 0, "c": 0}
_MANNER = {sound: i for i, group in enumerate(_MANNERS) for sound in group} | _OTHERS
_VOICING = {frozenset(pair) for pair in (("p", "b"), ("t", "d"), ("k", "g"), ("f", "v"), ("s", "z"), ("S", "Z"))}
_VOWELS = ("aI", "eI", "oU", "aU", "i:", "u:", "E", "I", "a", "0", "V", "U", "O:", "A:", "3:")
_OPEN = ("0", "O", "O:", "A:", "A@", "O@", "V")
_WEAK = ("@", "@2", "@5", "a#", "I2", "I#", "i", "3", "@L")


def tokens(sound: str) -> tuple[str, ...]:
    """espeak-ng's phonemes, separated by ``_`` and spaces, without stress and without the marks of allophones (the
    flap of "water" is a t)."""
    found = (re.sub(r"['’,%=|]", "", part) for part in re.split(r"[_\s]+", sound))
    plain = (re.sub(r"(?<=.)[#2-]+$", "", part) for part in found)
    return tuple(part for part in plain if part)


def sounds(
    words: Sequence[str], language: str = "en", spoken: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """The phonemes of each word.

    Args:
        spoken: what voices are given to say for some of them (`synth.spoken`).

    Raises:
        MissingTool: without espeak-ng.
        KwsError: it does not speak the language.
    """
    texts = {word: as_text((spoken or {}).get(word, word)) for word in words}
    said = phonemes(list(dict.fromkeys(texts.values())), language)
    if words and not said:
        raise MissingTool("espeak-ng, which knows how words sound, is not installed", hint=PACKAGES["espeak-ng"])
    return {word: tokens(said[text]) for word, text in texts.items()}


def distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Edit distance of two phoneme strings as a share of the longer one, 0 (the same sound) to 1: an insertion or a
    loss costs 1, a substitution less the more the two sounds have in common."""
    row = [float(i) for i in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], float(i)
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + _substitution(x, y))
    return min(1.0, row[-1] / max(len(a), len(b), 1))


def near_words(
    keywords: Sequence[str],
    count: int = 16,
    language: str = "en",
    spoken: Mapping[str, str] | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, list[str]]:
    """At most ``count`` words near each keyword in sound and none that sounds the same as any of the keywords: of a
    phrase its parts and its words with one replaced by a near one, single words of our lists (in
    English) and of /usr/share/dict, and words that do not exist, made by replacing or dropping one phoneme.

    Args:
        spoken: as for `sounds`.

    Raises:
        MissingTool: without espeak-ng.
    """
    report = progress or silent
    candidates = _candidates(language)
    parts = {keyword: _parts(keyword, spoken or {}) for keyword in keywords}
    every = [*candidates, *keywords, *itertools.chain.from_iterable(parts.values())]
    known = sounds(list(dict.fromkeys(every)), language, spoken)
    taken = {known[keyword] for keyword in keywords}
    result: dict[str, list[str]] = {}
    for number, keyword in enumerate(keywords):
        report(number, len(keywords), keyword)
        found: dict[tuple[str, ...], str] = {}
        turns = _in_turn(_real(known[keyword], parts[keyword], candidates, known), _made(known[keyword]), real=2)
        texts = list(dict.fromkeys(itertools.islice(turns, 4 * count)))  # more than enough: some sound the same
        heard = known | sounds([text for text in texts if text not in known], language, spoken)
        for text in texts:
            if heard[text] not in taken and not _holds(heard[text], known[keyword]) and len(found) < count:
                found.setdefault(heard[text], text)
        result[keyword] = list(found.values())
    report(len(keywords), len(keywords), "")
    return result


def homophones(
    keywords: Sequence[str],
    words: Sequence[str] = (),
    language: str = "en",
    spoken: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Those of ``words`` (none: of all that we know) that sound the same as a keyword, and as which: write, right.

    Args:
        spoken: as for `sounds`.

    Raises:
        MissingTool: without espeak-ng.
    """
    words = words or _candidates(language)
    known = sounds(list(dict.fromkeys([*keywords, *words])), language, spoken)
    taken = {known[keyword]: keyword for keyword in reversed(keywords)}
    return {word: taken[known[word]] for word in words if known[word] in taken and word not in keywords}


def _parts(keyword: str, spoken: Mapping[str, str]) -> list[str]:
    """The words of a phrase as they are written for voices; of one word, whatever is written for it, none."""
    text = as_text(spoken.get(keyword, keyword))
    phrase = len(as_text(keyword).split()) > 1 and not text.startswith("[[")
    return text.split() if phrase else []


def _holds(sound: tuple[str, ...], keyword: tuple[str, ...]) -> bool:
    """Whether a long keyword is said whole in it ("hey robots"): who hears that has heard the keyword."""
    size = len(keyword)
    return size >= _LONG and any(sound[i : i + size] == keyword for i in range(len(sound) - size + 1))


def _real(
    sound: tuple[str, ...], words: Sequence[str], candidates: Sequence[str], known: dict[str, tuple[str, ...]]
) -> Iterator[str]:
    """Words and phrases that can be written, nearest first. ``words``: those of a phrase."""
    if words:
        for length in range(len(words) - 1, 0, -1):
            for first in range(len(words) - length + 1):
                yield " ".join(words[first : first + length])
        ranked = [_nearest(known[word], candidates, known) for word in words]
        for swaps in itertools.zip_longest(*ranked):
            for i, swap in enumerate(swaps):
                if swap:
                    yield " ".join([*words[:i], swap, *words[i + 1 :]])
    else:
        yield from _nearest(sound, candidates, known)


def _nearest(sound: tuple[str, ...], candidates: Sequence[str], known: dict[str, tuple[str, ...]]) -> list[str]:
    ranked = sorted((distance(sound, known[word]), i, word) for i, word in enumerate(candidates))
    return [word for far, _, word in ranked if 0 < far <= _FARTHEST]


def _made(sound: tuple[str, ...]) -> Iterator[str]:
    """Words that do not exist, in espeak-ng's notation, each place of the word by turns. What a speaker may make of
    the keyword himself is left out: voicing, weak vowels, an h that is not said, a last stop that is not released."""
    choices = []
    for i, phoneme in enumerate(sound):
        swaps = [other for other in _alternatives(phoneme) if _substitution(phoneme, other) >= 0.5]
        changed = [(*sound[:i], other, *sound[i + 1 :]) for other in swaps]
        if phoneme in _MANNER and phoneme != "h" and 0 < i < len(sound) - 1 and len(sound) > 3:
            changed.insert(0, (*sound[:i], *sound[i + 1 :]))
        # A place's own start in its list of swaps, or all would become the same sound.
        turn = 3 * i % max(1, len(changed))
        choices.append(changed[turn:] + changed[:turn])
    for row in itertools.zip_longest(*choices):
        for made in row:
            if made:
                yield notation(made)


def notation(sound: Sequence[str]) -> str:
    """Phonemes as espeak-ng takes them in text; strong vowels are stressed. The separator keeps "t" and "S" two."""
    return f"[[{'|'.join(p if p in _MANNER or p in _WEAK else chr(39) + p for p in sound)}]]"


_LETTERS = {
    "aI": "igh", "eI": "ay", "oU": "oh", "aU": "ow", "OI": "oy", "i:": "ee", "u:": "oo", "E": "e", "I": "i", "a": "a",
    "0": "o", "V": "u", "U": "oo", "O:": "aw", "A:": "ah", "3:": "ur", "e@": "air", "i@": "eer", "tS": "ch", "dZ": "j",
    "S": "sh", "Z": "zh", "T": "th", "D": "th", "N": "ng", "j": "y", "@L": "le",
}  # fmt: skip


def spelling(word: str) -> str:
    """A word as people read it: ``[[w|'E|f|t]]`` as ``"weft"``, in quotes since it is made up; others as they are."""
    if not (word.startswith("[[") and word.endswith("]]")):
        return word
    sounds = [part.strip("',% ") for part in word[2:-2].split("|")]
    letters = (_LETTERS.get(p) or ("a" if p in _WEAK else re.sub(r"[^a-z]", "", p.lower())) for p in sounds)
    return f'"{"".join(letters)}"'


def _alternatives(phoneme: str) -> Sequence[str]:
    if phoneme in _MANNER:
        # h begins syllables and N ends them; Z is rare.
        return [p for p in _MANNERS[_MANNER[phoneme]] if p not in (phoneme, "h", "N", "Z")]
    # Many accents make one vowel of these.
    same = _OPEN if phoneme in _OPEN else (phoneme,)
    return () if phoneme in _WEAK else [p for p in _VOWELS if p not in same]


@cache
def _substitution(x: str, y: str) -> float:
    if x == y:
        return 0.0
    if (x in _MANNER) != (y in _MANNER):
        return 2.0  # never better than a loss and an insertion
    if x not in _MANNER:
        return 0.3 if x in _WEAK and y in _WEAK else 0.5
    if frozenset((x, y)) in _VOICING:
        return 0.3
    return 0.5 if _MANNER[x] == _MANNER[y] else 1.0


def _in_turn(first: Iterable[str], second: Iterable[str], real: int) -> Iterator[str]:
    """``real`` of the first, then one of the second, until both are at their ends."""
    end = object()
    a, b = iter(first), iter(second)
    while True:
        batch = [*itertools.islice(a, real), *([x] if (x := next(b, end)) is not end else [])]
        if not batch:
            return
        yield from batch  # type: ignore[misc]


def _candidates(language: str) -> list[str]:
    """In English our lists and everyday words; in all languages the system's word list, if there is one."""
    words = [*common_words(language), *word_list(language)]
    plain = (word for word in words if word.isalpha() and word.islower() and 2 <= len(word) <= 12)
    return [word for word in dict.fromkeys(plain) if word != SILENCE]
