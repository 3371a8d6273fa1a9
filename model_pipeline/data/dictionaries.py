"""Which words there are: word lists of the system, and dictionaries that synthesisers bring."""

from __future__ import annotations

import gzip
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from model_pipeline.data.voices import speaks_english
from model_pipeline.files import parse_json, read_bytes, read_text
from model_pipeline.words import COMMON_WORDS, NEAR_WORDS, OTHER_WORDS, as_text

_LISTS = Path("/usr/share/dict")
# Debian's names of word lists by language (packages wngerman, wfrench, …).
_NAMES = {
    "en": ("words", "american-english", "british-english"),
    "de": ("ngerman", "ogerman", "swiss"),
    "fr": ("french",),
    "es": ("spanish",),
    "it": ("italian",),
    "pt": ("portuguese", "brazilian"),
    "nl": ("dutch",),
    "pl": ("polish",),
    "sv": ("swedish",),
    "da": ("danish",),
    "nb": ("bokmaal",),
}
_CMU = Path("/usr/share/festival/dicts/cmu/cmudict-0.4.out")  # Debian's festlex-cmu: festival's and flite's voices


def common_words(language: str) -> list[str]:
    """Our lists and everyday words, which are English."""
    if not speaks_english(language):
        return []
    return [*NEAR_WORDS, *OTHER_WORDS, *read_text(COMMON_WORDS).split()]


def word_list(language: str) -> list[str]:
    """The system's word list of a language (/usr/share/dict), [] where none is installed."""
    lists = (_LISTS / name for name in _NAMES.get(language.split("-")[0], ()))
    found = next((path for path in lists if path.is_file()), None)
    return read_text(found, errors="replace").split() if found else []


def unlisted(words: Sequence[str], language: str = "en") -> list[str]:
    """Those of ``words`` of which a part is in no word list nor dictionary of this machine, so that voices guess how it
    is said; [] where there is none of the language."""
    known = _dictionary(language)
    return [word for word in words if known and not {*as_text(word).lower().split()} <= known]


@cache
def _dictionary(language: str) -> frozenset[str]:
    """All words, in small letters; none where only our own lists are there, which are too short to tell."""
    found = word_list(language)
    if speaks_english(language):
        found += [*_hibari_words(), *_festival_words()]
    return frozenset(word.lower() for word in [*found, *common_words(language)]) if found else frozenset()


def _hibari_words() -> list[str]:
    spec = importlib.util.find_spec("hibari")
    folders = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    files = [path for folder in folders for path in sorted(folder.glob("assets/lexicon_*.json.gz"))]
    return [word for path in files for word in parse_json(gzip.decompress(read_bytes(path)), path)]


def _festival_words() -> list[str]:
    text = read_text(_CMU, errors="replace") if _CMU.is_file() else ""
    return re.findall(r'^\("([^"]+)"', text, re.M)
