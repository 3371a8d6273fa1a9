"""Takes of one word, out of a microphone's sound or a long recording: found by their energy, checked, cut to a clip
and kept under names that keep a speaker in one split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import percentile_filter

from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE, is_sound, write_wav
from model_pipeline.data.dataset import NOISE_FOLDER
from model_pipeline.data.split import SPLITS, Split, speaker_of, which_set
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path
from model_pipeline.words import folder_name

_FRAME = SAMPLE_RATE // 100
_ROOM = 400  # frames about a frame in which the room's level is looked for: 4 s
_ROOM_PERCENTILE = 20
_ABOVE_DB = 10.0  # of the room's level: a word
_GAP = 30  # frames between the words of a phrase, at most
_SHORTEST = 12  # frames; shorter is a click
_AFTER = SAMPLE_RATE // 2  # of sound that must follow a word before it counts as ended
_QUIET_DB = -45.0  # RMS of a word, of full scale
_SNR_DB = 15.0
_CLIPPED = 32700
_CLIPPED_RUN = 3  # samples in a row: a loud but whole sine touches the top once


@dataclass(frozen=True)
class Take:
    """One word. ``start`` and ``end`` in samples of the recording; ``clip`` int16 [n] with the word in its
    middle; ``level_db`` its RMS of full scale; ``reason`` why it is of no use, "" if it is."""

    start: int
    end: int
    clip: np.ndarray
    level_db: float
    reason: str


def find(samples: np.ndarray, *, ended: bool, clip: int = CLIP_SAMPLES) -> Iterator[Take]:
    """The words in int16 [n] at 16 kHz, in order.

    Args:
        ended: whether the recording is over; else a word that may still go on is not given yet.
        clip: samples of a clip.
    """
    count = len(samples) // _FRAME
    if not count:
        return
    level = _decibel(samples[: count * _FRAME].reshape(count, _FRAME))
    room = percentile_filter(level, _ROOM_PERCENTILE, size=min(_ROOM, 2 * count - 1), mode="nearest")
    loud = np.flatnonzero(level > room + _ABOVE_DB)
    if not len(loud):
        return
    for part in np.split(loud, np.flatnonzero(np.diff(loud) > _GAP) + 1):
        first, last = int(part[0]), int(part[-1]) + 1
        # Seldom loud: clicks of a keyboard within the gap.
        if last - first < _SHORTEST or len(part) < (last - first) // 4:
            continue
        start, end = first * _FRAME, last * _FRAME
        if not ended and len(samples) - end < _AFTER:
            return
        yield _take(samples, start, end, float(np.median(room[first:last])), clip)


def _take(samples: np.ndarray, start: int, end: int, room_db: float, length: int) -> Take:
    word = samples[start:end]
    level = float(_decibel(word[None])[0])
    at_top = np.concatenate([[0], np.abs(word.astype(np.int32)) >= _CLIPPED, [0]]).astype(int)
    edges = np.flatnonzero(np.diff(at_top))
    reason = ""
    if len(edges) and (edges[1::2] - edges[::2]).max() >= _CLIPPED_RUN:
        reason = "clipped: speak more softly or further away, or turn the microphone down"
    elif level < _QUIET_DB:
        reason = f"too quiet ({level:.0f} dB of full scale): come nearer, or turn the microphone up"
    elif level < room_db + _SNR_DB:
        reason = f"only {level - room_db:.0f} dB above the room's noise: come nearer"
    elif end - start > length:
        room = "a second" if length == SAMPLE_RATE else f"{length / SAMPLE_RATE:.1f} s"
        reason = f"{(end - start) / SAMPLE_RATE:.1f} s long: one word, or short phrase, in {room}"
    first = min(max(0, (start + end - length) // 2), max(0, len(samples) - length))
    clip = samples[first : first + length]
    missing = length - len(clip)
    return Take(start, end, np.pad(clip, (missing // 2, missing - missing // 2)), level, reason)


def _decibel(rows: np.ndarray) -> np.ndarray:
    """RMS of int16 rows [n, samples] in dB of full scale; digital zero is -90."""
    return 10 * np.log10(np.mean((rows / 32768.0) ** 2, axis=1) + 1e-9)


def level_db(block: np.ndarray) -> float:
    """RMS of int16 [n] in dB of full scale, -90 to 0."""
    return float(_decibel(block[None])[0])


class Shelf:
    """The takes of one speaker and one word in a recordings folder: ``word/<hash of the speaker>_nohash_<n>.wav``, so
    that by the hash of Speech Commands all that a speaker says goes into one split, and his name is not told."""

    def __init__(self, recordings: Path, word: str, speaker: str) -> None:
        if not speaker.strip():
            raise KwsError("the speaker's name is empty", hint="--speaker anna")
        self.folder = recordings / folder_name(word)
        self.speaker = hashlib.sha1(speaker.strip().lower().encode()).hexdigest()[:8]

    @property
    def split(self) -> Split:
        """Where all that the speaker says goes."""
        return which_set(f"{self.speaker}_nohash_0.wav")

    def taken(self) -> list[int]:
        """The numbers that are there."""
        found = (re.fullmatch(rf"{self.speaker}_nohash_(\d+)\.\w+", p.name) for p in self.folder.glob("*"))
        return sorted(int(match[1]) for match in found if match)

    def keep(self, take: Take) -> Path:
        """Writes the take behind those that are there."""
        path = self.folder / f"{self.speaker}_nohash_{max(self.taken(), default=-1) + 1}.wav"
        with atomic_path(path) as temporary:
            write_wav(temporary, take.clip)
        return path


def speakers(recordings: Path, shelf: Shelf) -> dict[Split, int]:
    """How many have recorded any word of a project, by split; the shelf's speaker is one of them."""
    folders = [folder for folder in recordings.glob("*") if folder.is_dir() and folder.name != NOISE_FOLDER]
    names = {path.name for folder in folders for path in folder.iterdir() if is_sound(path.name)}
    splits = {speaker_of(name): which_set(name) for name in names} | {shelf.speaker: shelf.split}
    return {split: sum(found == split for found in splits.values()) for split in SPLITS}
