"""Which clip is for training, validation and testing: a folder's own lists, or else Google's hash of the speaker."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_pipeline.data.described import ListLines
from model_pipeline.errors import KwsError
from model_pipeline.files import read_bytes
from model_pipeline.words import word_key

Split = Literal["training", "validation", "testing"]
SPLITS: tuple[Split, ...] = ("training", "validation", "testing")

# The rule counts speakers on a ring of 2^27 - 1 places (Warden, "Speech Commands", arXiv:1804.03209, and the
# archive's own README): a speaker keeps his place however many others come.
_PLACES = 2**27 - 1
_SPEAKER = re.compile(r"_nohash_.*$")


def speaker_of(name: str) -> str:
    """The speaker in a file name ``<speaker>_nohash_<n>.ext`` (the stem where there is none)."""
    return _SPEAKER.sub("", Path(name).name) if "_nohash_" in name else Path(name).stem


def which_set(name: str, validation_percent: float = 10.0, testing_percent: float = 10.0) -> Split:
    """The split of file ``name`` by the SHA-1 of its speaker, as Speech Commands was split."""
    key = _SPEAKER.sub("", Path(name).name)
    place = int(hashlib.sha1(os.fsencode(key)).hexdigest(), 16) % (_PLACES + 1)
    percent = place * (100.0 / _PLACES)
    if percent < validation_percent:
        return "validation"
    if percent < validation_percent + testing_percent:
        return "testing"
    return "training"


_LONGEST = 256 << 20  # bytes of a list: the names of millions of clips


def read_list(path: Path) -> list[str]:
    """The lines of a ``*_list.txt`` without empty ones; a byte order mark and any kind of line end are fine.

    Raises:
        KwsError: not a text file.
    """
    try:
        content = read_bytes(path, _LONGEST)
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = content.decode(encoding)
    except (OSError, UnicodeError) as error:
        raise KwsError(f"can't read {path}: {error}", hint="it is to be a text file in UTF-8") from error
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


@dataclass(frozen=True)
class ListUse:
    """What became of the lines of one list. ``unmatched``: those that name no clip of the folder."""

    lines: int
    unmatched: tuple[str, ...]

    def counted(self) -> ListLines:
        """Counts, and the first lines that name nothing."""
        return ListLines(lines=self.lines, unmatched=len(self.unmatched), first_unmatched=list(self.unmatched[:10]))


class Splitter:
    """The split of each clip of one folder.

    With ``validation_list.txt`` or ``testing_list.txt`` the lists rule, and what is on none is training (with a
    ``training_list.txt`` it is unused: ``None``); what is on two is for testing before validation before training.
    Without any list `which_set` decides. A line names a clip whatever its extension, case, slashes, spelling of the
    word (see `words.word_key`) and Unicode normal form, with or without the folders above the word.

    Args:
        names: the clips, ``word/file`` (or deeper); None: every line is taken for one.

    Raises:
        KwsError: a list that names none of them.
    """

    def __init__(self, folder: Path, names: Iterable[str] | None = None) -> None:
        names = None if names is None else list(names)
        self.lists: dict[Split, set[str]] = {}
        self.use: dict[str, ListUse] = {}
        known = None if names is None else {_key(name) for name in names}
        for split in SPLITS:
            path = folder / f"{split}_list.txt"
            if not path.is_file():
                continue
            lines = read_list(path)
            found, unmatched = set(), []
            for line in lines:
                if known is None:
                    found.add(_key(line))
                    continue
                parts = _key(line).split("/")
                # The longest end of the path that is a clip: lines may begin with the folder, or with a slash.
                key = next((k for i in range(len(parts) - 1) if (k := "/".join(parts[i:])) in known), None)
                if key is None:
                    unmatched.append(line)
                else:
                    found.add(key)
            if lines and names and not found:
                raise KwsError(
                    f"{path} names none of the clips of {folder} ({lines[0]} …), so all would be used for training",
                    hint=f"lines like {names[0]}, or remove the list",
                )
            self.lists[split] = found
            self.use[split] = ListUse(len(lines), tuple(unmatched))
        self.rule = "lists" if self.lists else "which_set"

    def __call__(self, relative: str) -> Split | None:
        """The split of ``word/file``, or None if the lists leave it out."""
        if not self.lists:
            return which_set(relative)
        key = _key(relative)
        for split in reversed(SPLITS):
            if key in self.lists.get(split, ()):
                return split
        return None if "training" in self.lists else "training"


@functools.cache
def _word(folder: str) -> str:
    return word_key(folder)


def _key(name: str) -> str:
    """Equal for all ways to write one clip's path. Without its extension: a data set keeps its lists when it is stored
    in another format."""
    parts = [part for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/") if part not in ("", ".")]
    head, dot, _ = parts[-1].rpartition(".") if parts else ("", "", "")
    stem = head if dot and head else "".join(parts[-1:])
    return "/".join([*(_word(part) for part in parts[:-1]), stem.casefold()])
