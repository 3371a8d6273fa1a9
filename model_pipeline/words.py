"""Words: how one is said, and which folder holds it; and words that are not keywords, for training."""

import hashlib
import re
import unicodedata
from pathlib import Path

# Of many sounds and lengths, so that "unknown" is not a single sound.
OTHER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"),
    *("bed", "bird", "cat", "dog", "happy", "house", "tree", "wow", "marvin", "sheila", "visual", "learn", "follow"),
    *("forward", "backward", "hello", "water", "music", "table", "window", "paper", "people", "morning", "coffee"),
    *("under", "other", "about", "away", "because", "kitchen", "number", "seventy", "yellow", "green", "purple"),
    *("radio", "silver", "animal", "family", "orange", "telephone", "computer", "remember", "tomorrow", "believe"),
)

# What a user's room will say and a model takes for "go", "no", "down", "up", "yes", "left", "right", "stop", "on" or
# "off": three times as many clips of each.
NEAR_WORDS = (
    *("now", "nope", "mode", "most", "low", "show", "bow", "goat", "gold", "good", "dough", "note", "goal", "know"),
    *("town", "dawn", "done", "round", "crown", "doubt", "dumb", "ground", "on", "off", "of", "cup", "pup", "apple"),
    *("open", "puppy", "hop", "yeah", "yet", "guess", "less", "mess", "best", "chess", "lift", "laugh", "let", "leaf"),
    *("lap", "loft", "life", "ride", "light", "rice", "bright", "rate", "fight", "rye", "write", "top", "stock"),
    *("step", "shop", "store", "start", "stuff", "stomp"),
)

COMMON_WORDS = Path(__file__).with_name("common_words.txt")  # everyday words, to find near ones of any keyword among


def as_text(word: str) -> str:
    """``word`` as it is spoken and written out: keywords and folders have ``_`` for a space."""
    return word if word.startswith("[[") else word.replace("_", " ")


_LONGEST_NAME = 60  # characters of a folder's name; at most four bytes each, and a file system takes 255


def folder_name(word: str) -> str:
    """The folder that holds ``word``: the one way from a word to a file's name. Whatever the word is, the name is one
    plain part of a path: it cannot leave its folder, is not hidden, and is not taken for the noise folder.

    Letters, digits, marks, ``'``, ``.``, ``-`` and ``_`` stay and each space becomes ``_``, so "hey robot" and
    "hey_robot" are one. Of espeak-ng's notation ``[[…]]`` the letters and digits stay, behind ``near-``. Where anything
    else had to go, a hash of the word keeps it apart from others. A folder's own name is its folder.
    """
    if word.startswith("[["):
        return _bounded("near-" + re.sub(r"[^A-Za-z0-9]", "", word), word)
    name = unicodedata.normalize("NFC", word).replace(" ", "_")
    plain = "".join(c for c in name if _of_a_word(c)).lstrip("._").rstrip(".")
    return _bounded(plain, name, whole=plain == name)


def check_said(word: str) -> str:
    """``word`` if a synthesiser can be asked to say it: letters, digits, marks, spaces and ``_-'.``, or espeak-ng's
    notation ``[[…]]``, at most 100 characters.

    Raises:
        ValueError: it is something else.
    """
    if word.startswith("[["):
        if re.fullmatch(r"\[\[[!-Z\\^-~ ]{1,96}\]\]", word):
            return word
        raise ValueError("[[…]] holds espeak-ng's phonemes, at most 96 characters")
    if not 0 < len(word) <= 100 or not all(c == " " or _of_a_word(c) for c in word) or not word.strip(" _-'."):
        raise ValueError("a word is 1 to 100 letters, digits, spaces and _-'. (or [[…]], espeak-ng's phonemes)")
    if word_key(word) == "silence":
        raise ValueError("silence is the label of no word at all")
    return word


def word_key(word: str) -> str:
    """Equal for all spellings of a word and of its folder: "Hey Robot", "hey robot" and "hey_robot"."""
    return folder_name(word).casefold()


def _of_a_word(character: str) -> bool:
    return character in "_-'." or unicodedata.category(character)[0] in "LNM"


def _bounded(name: str, word: str, *, whole: bool = True) -> str:
    if whole and name and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 14].rstrip('.') or 'word'}-{digest}"
