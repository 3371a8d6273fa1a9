"""Named corpora: folders of connected speech, noise or impulse responses, cut in parts that never share a speaker.

A recording's speaker is read from its name where names tell it, as LibriSpeech's (``19-198-0001``: 19) and Speech
Commands' (``anna_nohash_0``: anna) do; elsewhere each file stands for itself. The part follows the SHA-1 of the speaker
(or of the file's name), so it is the same on every machine and does not change when recordings come or go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from model_pipeline.config import CorpusConfig
from model_pipeline.data.audio import EXTENSIONS
from model_pipeline.data.described import UsedCorpus
from model_pipeline.data.transcripts import Sayings, text_of, transcripts
from model_pipeline.errors import KwsError

Part = Literal["training", "calibration", "reporting"]
PARTS: tuple[Part, ...] = ("training", "calibration", "reporting")
_SPEAKERS = (re.compile(r"(\d+)-\d+-\d+"), re.compile(r"(.+?)_nohash_.*"))


def speaker_in(name: str) -> str:
    """The speaker that a recording's name tells, "" where it tells none."""
    return next((found.group(1) for pattern in _SPEAKERS if (found := pattern.fullmatch(name))), "")


def part_of(name: str, training: float = 0.25, calibration: float = 0.25) -> Part:
    """Which part a recording belongs to, by its file's name without folder and extension: ``training`` of all speakers
    are for training, ``calibration`` for choosing thresholds, the others are only reported."""
    stem = Path(name).stem
    place = hashlib.sha1((speaker_in(stem) or stem).encode()).digest()[0] / 256
    return "training" if place < training else "calibration" if place < training + calibration else "reporting"


def audio_files(folder: Path) -> list[Path]:
    """The audio files under ``folder`` in the order of their names.

    Raises:
        KwsError: no such folder, or nothing in it.
    """
    if not Path(folder).is_dir():
        raise KwsError(
            f"no folder {folder} with recordings",
            hint="your own, or kws data download librispeech-dev makes one of connected speech",
        )
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not found:
        raise KwsError(f"{folder} holds no recordings")
    return found


@dataclass(frozen=True)
class Recording:
    """A file of a corpus; ``text`` is None without a transcript."""

    path: Path
    part: Part
    text: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def speaker(self) -> str:
        """Who speaks: what the name tells, or the name itself."""
        return speaker_in(self.name) or self.name


@dataclass(frozen=True)
class Corpus:
    """A folder with its recordings."""

    config: CorpusConfig
    recordings: list[Recording]

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.config.name

    def of(self, part: Part | None) -> list[Recording]:
        """The recordings of one part, of all for None."""
        return [r for r in self.recordings if part is None or r.part == part]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the names and sizes of all files: which corpus it was, wherever it lies."""
        digest = hashlib.sha256()
        for r in self.recordings:
            digest.update(f"{r.path.name}\0{r.path.stat().st_size}\n".encode())
        return digest.hexdigest()

    def describe(self) -> UsedCorpus:
        """What the manifest keeps of a corpus that was used."""
        c = self.config
        return UsedCorpus(
            name=c.name,
            kind=c.kind,
            licence=c.licence,
            hash=self.content_hash,
            files={part: len(self.of(part)) for part in PARTS},
            training=c.training,
            calibration=c.calibration,
            exclude=list(c.exclude),
        )

    def without(self, part: Part | None, sayings: Sayings | None) -> tuple[list[Recording], list[Recording]]:
        """Recordings of a part in which no keyword is said, as far as transcripts tell, and those in which one is."""
        mine = self.of(part)
        if sayings is None:
            return mine, []
        sayings.learn([r.text for r in mine if r.text])
        said = {r.path for r in mine if r.text and sayings.said(r.text)}
        return [r for r in mine if r.path not in said], [r for r in mine if r.path in said]

    @property
    def transcribed(self) -> bool:
        """Whether it has transcripts."""
        return any(r.text is not None for r in self.recordings)


def open_corpus(config: CorpusConfig) -> Corpus:
    """Lists a corpus; no audio is read.

    Raises:
        KwsError: no such folder, or no recordings in it.
    """
    folder = Path(config.folder)
    texts = transcripts(folder) if folder.is_dir() else {}
    left_out = set(config.exclude)
    found = [
        Recording(path, part_of(path.name, config.training, config.calibration), text_of(path.stem, texts))
        for path in audio_files(folder)
        if path.stem not in left_out and speaker_in(path.stem) not in left_out
    ]
    return Corpus(config, found)


def corpus_of(folder: Path, known: Sequence[dict[str, Any]] = ()) -> Corpus:
    """A folder as a corpus: as one of ``known`` (a manifest's, `Corpus.describe`) where the files or the name are its,
    with that one's parts; otherwise under the folder's name, all of it for reporting."""
    name = Path(folder).name
    plain = open_corpus(CorpusConfig(name=name, folder=str(folder), training=0.0, calibration=0.0))
    for entry in known:
        excluded = list(entry.get("exclude", []))
        config = CorpusConfig(
            name=entry["name"],
            folder=str(folder),
            licence=entry.get("licence", ""),
            training=entry["training"],
            calibration=entry["calibration"],
            exclude=excluded,
        )
        found = open_corpus(config) if excluded or entry["name"] == name else plain
        if entry["name"] == name or found.content_hash == entry.get("hash"):
            return open_corpus(config)
    return plain
