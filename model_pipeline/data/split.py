"""Which clip is for training, validation and testing: a folder's own lists, or else Google's hash of the speaker."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from model_pipeline.errors import KwsError

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
    place = int(hashlib.sha1(key.encode("utf-8")).hexdigest(), 16) % (_PLACES + 1)
    percent = place * (100.0 / _PLACES)
    if percent < validation_percent:
        return "validation"
    if percent < validation_percent + testing_percent:
        return "testing"
    return "training"


def read_list(path: Path) -> set[str]:
    """The lines of a ``*_list.txt`` (paths relative to the folder; empty lines and Windows' line ends are fine).

    Raises:
        KwsError: not a text file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KwsError(f"can't read {path}: {error}") from error
    return {line.strip().replace("\\", "/") for line in lines if line.strip()}


class Splitter:
    """The split of each clip of one folder.

    With ``validation_list.txt`` or ``testing_list.txt`` the lists rule, and what is on none is training (with a
    ``training_list.txt`` it is unused: ``None``). Without any list `which_set` decides.
    """

    def __init__(self, folder: Path) -> None:
        self.lists: dict[str, set[str]] = {}
        for split in SPLITS:
            path = folder / f"{split}_list.txt"
            if path.is_file():
                # Names without their extension: a data set keeps its lists when it is stored in another format.
                self.lists[split] = {_stem(line) for line in read_list(path)}
        self.rule = "lists" if self.lists else "which_set"

    def __call__(self, relative: str) -> Split | None:
        """The split of ``word/file``, or None if the lists leave it out."""
        if not self.lists:
            return which_set(relative)
        for split in SPLITS:
            if _stem(relative) in self.lists.get(split, ()):
                return split
        return None if "training" in self.lists else "training"


def _stem(name: str) -> str:
    head, dot, extension = name.rpartition(".")
    return head if dot and "/" not in extension else name
