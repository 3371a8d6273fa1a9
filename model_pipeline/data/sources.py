"""What lies in a folder of recordings that is taken in: which file says which word, by whom, and for which split.

Three layouts: one folder a word (with folders of speakers below it, if any), the same below folders named training,
validation and testing, and what Edge Impulse exports (``info.labels`` beside ``training/`` and ``testing/``).
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from model_pipeline.data.audio import EXTENSIONS, UNREAD, is_sound
from model_pipeline.data.dataset import NOISE_FOLDER, SILENCE_FOLDERS, is_word_folder
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json
from model_pipeline.words import folder_name, word_key

EDGE_IMPULSE = "info.labels"
_SPLITS: dict[str, Split] = {
    **{split: split for split in SPLITS},
    **{"train": "training", "valid": "validation", "val": "validation", "dev": "validation", "test": "testing"},
}
_LONGEST = 100  # bytes of a speaker in a file's name


@dataclass(frozen=True)
class Source:
    """One recording: its path relative to the folder, its word's folder in the data folder (or the noise folder's), who
    speaks, and in which split it is if the folder says so."""

    path: str
    word: str
    speaker: str
    take: int = 0
    split: Split | None = None


@dataclass
class Found:
    """All of a folder. ``left``: what is not taken, each with the reason."""

    clips: list[Source] = field(default_factory=list)
    noise: list[Source] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    words: dict[str, set[str]] = field(default_factory=dict)  # the spellings that became one word's folder
    layout: str = "words"


def check_folder(folder: Path) -> None:
    """
    Raises:
        KwsError: no such folder.
    """
    if not folder.is_dir():
        raise KwsError(
            f"there is no folder {folder}", hint="give a folder with one folder a word in it: yes/anna_1.wav"
        )


def find(folder: Path) -> Found:
    """Looks through ``folder``; no sound is read.

    Raises:
        KwsError: no such folder, no word with a recording in it, or a broken ``info.labels``.
    """
    check_folder(folder)
    found, speakers = Found(), _Speakers()
    if indices := _edge_impulse_files(folder):
        found.layout = "Edge Impulse"
        for below in indices:
            _edge_impulse(folder, below, found, speakers)
    elif parts := _split_folders(folder):
        found.layout = "splits"
        for name, split in parts.items():
            _words(folder, name, split, found, speakers)
    else:
        _words(folder, "", None, found, speakers)
    if not found.clips:
        left = f" ({found.left[0][0]}: {found.left[0][1]})" if found.left else ""
        raise KwsError(
            f"{folder} holds no words{left}", hint="it needs one folder a word with clips in it: yes/anna_nohash_0.wav"
        )
    return found


def _words(root: Path, below: str, split: Split | None, found: Found, speakers: _Speakers) -> None:
    folder = root / below
    for path in sorted(folder.iterdir()):
        name = f"{below}/{path.name}" if below else path.name
        if not path.is_dir():
            if _is_recording(path.name):
                found.left.append((name, "it lies in no word's folder"))
        elif path.name == NOISE_FOLDER:
            files = [inner for inner in _walk(path) if is_sound(inner)]
            found.noise += [Source(f"{name}/{inner}", NOISE_FOLDER, "", split=split) for inner in files]
        elif is_word_folder(path.name):
            word = _folder_of(path.name)
            for inner in _walk(path):
                clip = f"{name}/{inner}"
                if not is_sound(inner):
                    if not _describes(path / inner):
                        found.left.append((clip, _reason(inner)))
                    continue
                speaker, take = speakers.of(word, inner)
                found.words.setdefault(word, set()).add(path.name)
                found.clips.append(Source(clip, word, speaker, take, split))


def _edge_impulse_files(folder: Path) -> list[str]:
    """The folders, relative to ``folder``, whose ``info.labels`` is to be read: its own, or else those of the folders
    right below it, each with the paths of its own files. (Exports have had both.)"""
    if (folder / EDGE_IMPULSE).is_file():
        return [""]
    return [p.name for p in sorted(folder.iterdir()) if not p.name.startswith(".") and (p / EDGE_IMPULSE).is_file()]


def _edge_impulse(folder: Path, below: str, found: Found, speakers: _Speakers) -> None:
    path = folder / below / EDGE_IMPULSE
    again = "export the data again"
    entries = read_json(path, again).get("files")
    if not isinstance(entries, list):
        raise KwsError(f"{path} is broken: files is not a list", hint=again)
    for entry in entries:
        name, word, split, other = _entry(entry)
        place = PurePosixPath(name)
        if not name or place.is_absolute() or ".." in place.parts or "\0" in name:
            found.left.append((name, "its path leaves the folder, or is missing"))
            continue
        name = f"{below}/{name}" if below else name
        if other:
            found.left.append((name, f"it is for {other}"))
        elif not word:
            found.left.append((name, "it has not exactly one label"))
        elif not _is_file(folder / name):
            found.left.append((name, "it is not there"))
        elif not is_sound(place.name):
            found.left.append((name, _reason(place.name)))
        elif word == NOISE_FOLDER:
            found.noise.append(Source(name, NOISE_FOLDER, "", split=split))
        else:
            folder_of_word = _folder_of(word)
            speaker, take = speakers.of(folder_of_word, place.name)
            found.words.setdefault(folder_of_word, set()).add(word)
            found.clips.append(Source(name, folder_of_word, speaker, take, split))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def _entry(entry: Any) -> tuple[str, str, Split | None, str]:
    """Path, word and split of an entry, and the category if it is none of ours. "split" leaves the split to the reader;
    a multi-label says a word where all its parts are that word."""
    if not isinstance(entry, dict):
        return "", "", None, ""
    label = entry.get("label")
    if isinstance(label, dict):
        kind, parts = label.get("type", "label"), label.get("labels")
        label = label.get("label") if kind == "label" else None
        if kind == "multi-label" and isinstance(parts, list):
            said = {part["label"] for part in parts if isinstance(part, dict) and isinstance(part.get("label"), str)}
            label = said.pop() if len(said) == 1 else None
    path, category = entry.get("path"), entry.get("category", "split")
    split = _SPLITS.get(category) if isinstance(category, str) else None
    other = "" if split or category == "split" else str(category)
    return (path if isinstance(path, str) else ""), (label if isinstance(label, str) else "").strip(), split, other


def _split_folders(folder: Path) -> dict[str, Split]:
    """Folders named for splits that hold folders alone; {} where there are others too."""
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(("_", "."))]
    named = {p.name: _SPLITS[p.name.lower()] for p in inner if p.name.lower() in _SPLITS}
    if len(named) < 2 or len(named) != len(inner):
        return {}
    return named if not any(is_sound(f.name) for p in inner for f in p.iterdir() if f.is_file()) else {}


def _walk(folder: Path) -> Iterator[str]:
    """Files below ``folder``, relative to it, in order; hidden ones are left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, folder)
        for name in sorted(files):
            if not name.startswith("."):
                yield name if relative == "." else f"{relative}/{name}"


def _describes(path: Path) -> bool:
    """A JSON of the same name as a sound, as ``--keep-detections`` writes: it is about that sound, and not missing."""
    return path.suffix == ".json" and any(path.with_suffix(ending).is_file() for ending in (".wav", ".flac"))


def _folder_of(name: str) -> str:
    if name in SILENCE_FOLDERS or name in ("_unknown_",):
        return name.strip("_")
    return folder_name(word_key(name))


def _is_recording(name: str) -> bool:
    return is_sound(name) or name.lower().endswith(UNREAD)


def _reason(name: str) -> str:
    if name.lower().endswith(UNREAD):
        return f"{Path(name).suffix.lower()} can't be read: convert it to WAV (ffmpeg -i IN OUT.wav)"
    return f"no sound (of {', '.join(EXTENSIONS[:6])} …)"


class _Speakers:
    """Names for speakers that differ wherever the files' names do."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[tuple[str, str, int]] = set()

    def of(self, word: str, path: str) -> tuple[str, int]:
        """The speaker of ``path`` below the word's folder, and a number that no other of his takes of it has."""
        stem = Path(path).stem
        above = str(PurePosixPath(path).parent)
        take = 0
        if "_nohash_" in stem:
            said, _, number = stem.rpartition("_nohash_")
            take = int(number) if number.isdecimal() and len(number) < 9 else 0
        else:
            said = stem if above == "." else above  # a folder below the word's is a speaker's
        speaker = self._plain(said)
        while (word, speaker, take) in self._taken:
            take += 1
        self._taken.add((word, speaker, take))
        return speaker, take

    def _plain(self, said: str) -> str:
        name = unicodedata.normalize("NFC", said)
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).lstrip(".") or "-"
        lossy = not name.isascii() or len(plain) > _LONGEST
        if lossy or self._given.setdefault(plain, name) != name:
            digest = hashlib.sha1(os.fsencode(name)).hexdigest()[:8]
            plain = f"{plain[:_LONGEST].strip('-')}-{digest}".lstrip("-")
        return plain
