"""A data folder (Speech Commands' layout) as labelled clips with splits."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import SILENCE, UNKNOWN, DataConfig
from model_pipeline.data import noise as noises
from model_pipeline.data.audio import (
    SAMPLE_RATE,
    fit_clip,
    is_sound,
    read_audio,
    read_clips,
    resample,
    to_int16,
)
from model_pipeline.data.described import SplitCounts, Summary
from model_pipeline.data.doubts import warnings
from model_pipeline.data.split import SPLITS, ListUse, Split, Splitter, speaker_of
from model_pipeline.data.voices import group_of
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json
from model_pipeline.rate import CLIP_MS, LONGEST_CLIP_MS
from model_pipeline.words import word_key

NOISE_FOLDER = "_background_noise_"
SILENCE_FOLDERS = ("silence", "_silence_")  # recordings in which nothing is said
# Each noise file is cut in time: the first part is for training, the rest for validation and testing, so that
# silence is judged on noise that training never heard.
_NOISE_PARTS: dict[str, tuple[float, float]] = {
    "training": (0.0, 0.8),
    "validation": (0.8, 0.9),
    "testing": (0.9, 1.0),
}
_SILENCE_DB = (-30.0, 0.0)  # gain of a silence clip against its noise file


@dataclass(frozen=True)
class Clip:
    """A clip of audio with its label: a file, or for silence a piece of noise.

    ``name`` is ``word/file`` (or ``silence/<noise file>@<start>``), the same wherever the folder lies.
    """

    name: str
    label: int
    word: str
    speaker: str
    split: Split
    noise: int = -1  # index of the noise file; -1: speech
    start: int = 0  # first sample in the noise file
    gain: float = 1.0


def labelled_clip(name: str, split: Split, keywords: Sequence[str]) -> Clip:
    """The clip ``word/file`` under a list of keywords."""
    word, _, file = name.partition("/")
    labels = {word_key(keyword): label for label, keyword in enumerate(keywords)}
    return Clip(name, _label(word, labels), word, speaker_of(file), split)


def by_people(clips: Iterable[Clip]) -> list[Clip]:
    """``clips`` without those by synthesisers of labels that people said too."""
    clips = list(clips)
    said = {clip.label for clip in clips if group_of(clip.speaker) == "people"}
    return [clip for clip in clips if clip.label not in said or group_of(clip.speaker) == "people"]


def _label(folder: str, labels: dict[str, int]) -> int:
    """The label of a word's folder: that of its keyword, else unknown, or silence for what is not a word."""
    if folder in SILENCE_FOLDERS:
        return len(labels) + 1
    return labels.get(word_key(folder), len(labels))


@dataclass
class Dataset:
    """The clips of a folder under one list of keywords. Open it with `Dataset.open`."""

    folder: Path
    keywords: list[str]
    speech: list[Clip]
    unused: int  # clips that the lists name nowhere
    rule: str  # "lists" or "which_set"
    config: DataConfig = field(default_factory=DataConfig)
    lists: dict[str, ListUse] = field(default_factory=dict)
    absent: tuple[str, ...] = ()  # keywords without a clip here

    @classmethod
    def open(
        cls,
        folder: str | Path,
        keywords: Sequence[str],
        config: DataConfig | None = None,
        *,
        some: bool = False,
        clip_ms: int | None = None,
    ) -> Dataset:
        """Lists the clips (no audio is read).

        Args:
            some: keywords without clips are fine as long as one has some; they are then in ``absent``.
            clip_ms: how long clips shall be, as a model's manifest has it; None: as ``config`` has it, or without one
                as the folder's clips are.

        Raises:
            KwsError: no such folder, no words in it, a keyword without clips (named), a list that names no clip, or
                clips that were made of another length.
        """
        folder = Path(folder)
        words = word_folders(folder)
        used = (config or DataConfig()).model_copy(
            update={"clip_ms": fitting_clip_ms(folder, clip_ms or (config.clip_ms if config else None))}
        )
        labels = {word_key(keyword): label for label, keyword in enumerate(keywords)}
        there = {word_key(word) for word in words}
        missing = [keyword for keyword in keywords if word_key(keyword) not in there]
        if missing and not (some and len(missing) < len(keywords)):
            raise no_clips(folder, missing, words)
        splitter = Splitter(folder, (f"{word}/{file}" for word, files in words.items() for file in files))
        speech, unused = [], 0
        for word, files in sorted(words.items()):
            label = _label(word, labels)
            for file in files:
                name = f"{word}/{file}"
                split = splitter(name)
                if split is None:
                    unused += 1
                    continue
                speech.append(Clip(name, label, word, speaker_of(file), split))
        return cls(folder, list(keywords), speech, unused, splitter.rule, used, splitter.use, tuple(missing))

    @property
    def labels(self) -> list[str]:
        """The model's outputs: keywords, unknown, silence."""
        return [*self.keywords, UNKNOWN, SILENCE]

    @property
    def clip_samples(self) -> int:
        """Samples of a clip, whatever the length of its file."""
        return self.config.clip_samples

    @property
    def unknown(self) -> int:
        """The label of other words."""
        return len(self.keywords)

    @property
    def silence(self) -> int:
        """The label of no word at all."""
        return len(self.keywords) + 1

    def clips(self, split: Split) -> list[Clip]:
        """All speech of a split in the order of names; every other word has the label unknown."""
        return [clip for clip in self.speech if clip.split == split]

    def evaluation(self, split: Split) -> list[Clip]:
        """The clips that a split is judged on: all keyword clips, and unknown and silence each as many as a mean
        keyword has (or as `DataConfig` says, in per cent of all keyword clips), as in Speech Commands' own
        evaluation, where 10 % each stand beside ten keywords. Always the same clips for the same folder.

        A `DataConfig.personal` model is judged by its own speakers: of words that they have takes of in the split no
        synthesiser's clip counts.
        """
        keyword = [c for c in self.clips(split) if c.label < self.unknown]
        other = [c for c in self.clips(split) if c.label == self.unknown]
        # In the order of a hash of the name: a fixed draw that no other clip's coming or going changes.
        other.sort(key=lambda c: hashlib.sha1(c.name.encode()).digest())
        unknown = sorted(other[: self.share(len(keyword), self.config.unknown_percent)], key=lambda c: c.name)
        wanted = self.share(len(keyword), self.config.silence_percent)
        recorded = [c for c in self.clips(split) if c.label == self.silence][:wanted]
        if self.config.personal:
            keyword = by_people(keyword)
        return [*keyword, *unknown, *recorded, *self.silence_clips(split, wanted - len(recorded))]

    def share(self, keyword_clips: int, percent: int) -> int:
        """How many unknown (or silence) clips stand beside ``keyword_clips``."""
        if percent:
            return math.ceil(keyword_clips * percent / 100)
        return math.ceil(keyword_clips / max(1, len(self.keywords) - len(self.absent)))

    def silence_clips(self, split: Split, count: int) -> list[Clip]:
        """``count`` pieces of the split's part of the noise files, by turns, each with its own level; one in 20 is
        digital zero. Always the same for the same files."""
        rng = np.random.default_rng([2027, SPLITS.index(split)])
        clips = []
        for index in range(count):
            which = index % len(self.noise)
            first, last = self._noise_span(which, split)
            start = int(rng.integers(first, max(first + 1, last - self.clip_samples + 1)))
            gain = float(10 ** (rng.uniform(*_SILENCE_DB) / 20))
            gain = 0.0 if index % 20 == 19 else gain
            name = f"{SILENCE}/{self.noise[which][0]}@{start}"
            clips.append(Clip(name, self.silence, SILENCE, self.noise[which][0], split, which, start, gain))
        return clips

    def audio(self, clips: Sequence[Clip]) -> np.ndarray:
        """The clips' audio: int16 [n, clip_samples].

        Raises:
            KwsError: a file can't be decoded or is not at 16 kHz.
        """
        length = self.clip_samples
        result = np.empty((len(clips), length), np.int16)
        speech = [i for i, c in enumerate(clips) if c.noise < 0]
        if speech:
            result[speech] = read_clips([self.folder / clips[i].name for i in speech], length)
        for i, clip in enumerate(clips):
            if clip.noise >= 0:
                piece = self.noise[clip.noise][1][clip.start : clip.start + length]
                result[i] = fit_clip(to_int16(piece.astype(np.float32) / 32768 * clip.gain), length)
        return result

    @cached_property
    def noise(self) -> list[tuple[str, np.ndarray]]:
        """Names and int16 samples of the noise files (at least two seconds each); made by formula where the folder
        has none."""
        found = []
        folder = self.folder / NOISE_FOLDER
        paths = sorted(p for p in folder.iterdir() if is_sound(p.name)) if folder.is_dir() else []
        for path in paths:
            samples, rate = read_audio(path)
            samples = to_int16(resample(samples, rate))
            if len(samples) < 2 * SAMPLE_RATE:
                samples = np.tile(samples, math.ceil(2 * SAMPLE_RATE / len(samples)))
            found.append((path.name, samples))
        if not found:
            rng = np.random.default_rng(1)
            found = [(f"generated_{kind}", noises.generate(kind, 30, rng)) for kind in noises.KINDS]
        return found

    def noise_part(self, split: Split) -> list[np.ndarray]:
        """The split's part of each noise file, int16 [n] each."""
        return [samples[slice(*self._noise_span(i, split))] for i, (_, samples) in enumerate(self.noise)]

    def _noise_span(self, which: int, split: Split) -> tuple[int, int]:
        first, last = _NOISE_PARTS[split]
        length = len(self.noise[which][1])
        # A short file's part may be shorter than a clip: reach back then, rather than repeat a few milliseconds.
        end = int(last * length)
        return max(0, min(int(first * length), end - self.clip_samples)), end

    def content_hash(self) -> str:
        """SHA-256 over every clip's name, size and split: which data a model was trained on."""
        digest = hashlib.sha256()
        for clip in self.speech:
            size = (self.folder / clip.name).stat().st_size
            digest.update(os.fsencode(f"{clip.name}\0{size}\0{clip.split}\n"))
        return digest.hexdigest()

    def description(self) -> dict[str, Any]:
        """What ``dataset.json`` says of the source."""
        return read_description(self.folder)

    def summary(self) -> Summary:
        """Counts by word and split, speakers, the rule of the split, and what ``dataset.json`` says of the source."""
        by_split: dict[str, SplitCounts] = {}
        for split in SPLITS:
            clips = self.clips(split)
            counts = Counter(self.labels[c.label] for c in clips)
            by_split[split] = SplitCounts(
                clips=len(clips),
                speakers=len({c.speaker for c in clips}),
                labels={label: counts.get(label, 0) for label in self.labels[:-1]},
                recorded_silence=counts.get(SILENCE),
            )
        return Summary(
            folder=str(self.folder),
            hash=self.content_hash(),
            split_rule=self.rule,
            unused_clips=self.unused,
            lists={split: use.counted() for split, use in self.lists.items()},
            warnings=warnings(self.speech, self.labels, self.lists),
            splits=by_split,
            words=dict(sorted(Counter(c.word for c in self.speech).items())),
            noise={name: round(len(samples) / SAMPLE_RATE, 1) for name, samples in self.noise},
            source=self.description(),
        )


def no_clips(folder: Path, missing: Sequence[str], words: Iterable[str]) -> KwsError:
    """The error of a folder that lacks keywords; ``words`` are those that it has."""
    return KwsError(f"{folder} has no clips of {', '.join(missing)}", hint=f"it has: {', '.join(sorted(words)[:40])}")


def word_folders(folder: Path) -> dict[str, list[str]]:
    """The words of a data folder: name to sorted file names; folders that begin with ``_`` or ``.`` are none, but for
    ``_silence_`` and ``_unknown_``.

    Raises:
        KwsError: no such folder, or no word with a clip in it.
    """
    if not folder.is_dir():
        raise KwsError(f"no data folder {folder}", hint="kws data synth, import or download makes one")
    words = {}
    for child in sorted(folder.iterdir()):
        if child.is_dir() and is_word_folder(child.name):
            files = sorted(f.name for f in child.iterdir() if is_sound(f.name))
            if files:
                words[child.name] = files
    if not words:
        raise KwsError(
            f"{folder} holds no words", hint="it needs one folder a word with clips in it: yes/anna_nohash_0.wav"
        )
    return words


def own_words(folder: Path) -> list[str]:
    """The keywords that a data folder was made for, as its ``dataset.json`` has them, or else all of its words.

    Raises:
        KwsError: no such folder, or no words in it.
    """
    words = [word for word in word_folders(folder) if word not in (UNKNOWN, SILENCE)]
    made_for = read_description(folder).get("keywords")
    if (
        isinstance(made_for, list)
        and made_for
        and {word_key(str(word)) for word in made_for} <= set(map(word_key, words))
    ):
        return [str(word) for word in made_for]
    return words


def fitting_clip_ms(folder: Path, wanted: int | None) -> int:
    """How long a folder's clips are read: ``wanted``, or None for as they were made. Folders that do not say how their
    clips were made take any length.

    Raises:
        KwsError: they were made of another length.
    """
    description = read_description(folder)
    made = description.get("clip_ms", CLIP_MS if description.get("source") in ("synth", "import") else None)
    if made is not None and (not isinstance(made, int) or not CLIP_MS <= made <= LONGEST_CLIP_MS):
        raise KwsError(
            f"{folder / 'dataset.json'}: clip_ms is {CLIP_MS} to {LONGEST_CLIP_MS}", hint="make the data folder again"
        )
    if wanted and made and wanted != made:
        raise KwsError(
            f"the clips in {folder} are {made} ms long, and the network's window is {wanted} ms",
            hint=f"make the folder again with data.clip_ms = {wanted}, or --set data.clip_ms={made}",
        )
    return wanted or made or CLIP_MS


def is_word_folder(name: str) -> bool:
    """Whether a folder of a data folder holds clips."""
    return not name.startswith(("_", ".")) or name in ("_silence_", "_unknown_")


def read_description(folder: Path, name: str = "dataset.json") -> dict[str, Any]:
    """``dataset.json`` (or ``name``) of a folder that kws made, or {}.

    Raises:
        KwsError: it is there and broken.
    """
    path = folder / name
    if not path.is_file():
        return {}
    return read_json(path, hint="make the data folder again")
