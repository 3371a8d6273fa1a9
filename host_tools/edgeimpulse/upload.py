"""A data folder's recordings into a project: each once, with its label, speaker and split."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
from pydantic import BaseModel, ConfigDict

from host_tools.edgeimpulse.api import Category, Client, Sent
from host_tools.edgeimpulse.each import each
from host_tools.edgeimpulse.record import Record, beside
from model_pipeline.data.audio import SAMPLE_RATE, read_recording, resample, to_int16
from model_pipeline.data.dataset import word_folders
from model_pipeline.data.split import Split, Splitter, speaker_of
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.text import shown
from model_pipeline.words import word_key

FILE_BYTES = 64 << 20
_IN_A_ROW = 20  # recordings that are refused one after the other: then so will be the rest
_LISTED = 200
_HEADER = 44  # bytes of a plain WAV's


@dataclass(frozen=True)
class Clip:
    """``name``: word/file in the folder. ``label``: what it is called in the project."""

    name: str
    label: str
    speaker: str
    split: Split

    @property
    def category(self) -> Category:
        """Edge Impulse takes its validation from training: the metadata say which clips are ours for that."""
        return "testing" if self.split == "testing" else "training"


class Refused(BaseModel):
    """A recording that did not go up, and why."""

    model_config = ConfigDict(frozen=True)
    file: str
    reason: str


class Uploaded(BaseModel):
    """Numbers of recordings. ``before``: were in the project already, by the record or by its own list; ``known``: the
    project refused to take them twice; ``same``: sound that another file of the folder has too; ``unused``: on none of
    the folder's lists."""

    model_config = ConfigDict(frozen=True)
    project: int
    project_name: str
    record: str
    clips: int
    sent: int
    before: int
    known: int
    same: int
    unused: int
    refused: int
    first_refused: list[Refused]
    first_same: list[str]
    labels: dict[str, dict[str, int]]


def clips_of(folder: Path, words: Sequence[str] = ()) -> tuple[list[Clip], int]:
    """What would go up, and how many clips are on none of the lists.

    Args:
        words: only these; empty: all.

    Raises:
        KwsError: no data folder, or no such word.
    """
    found = word_folders(folder)
    wanted = {word_key(word): word for word in words}
    if missing := [word for key, word in wanted.items() if key not in {word_key(name) for name in found}]:
        raise KwsError(
            f"{folder} has no clips of {', '.join(missing)}", hint=f"it has: {', '.join(sorted(found)[:40])}"
        )
    names = [f"{word}/{file}" for word, files in found.items() for file in files]
    splitter = Splitter(folder, names)
    clips, unused = [], 0
    for name in names:
        word = name.partition("/")[0]
        if wanted and word_key(word) not in wanted:
            continue
        split = splitter(name)
        if split is None:
            unused += 1
            continue
        label = word.strip("_") if word in ("_silence_", "_unknown_") else word
        clips.append(Clip(name, _plain(label), _plain(speaker_of(name)), split))
    return clips, unused


def counts(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    """Clips by label and split."""
    table: dict[str, dict[str, int]] = {}
    for (label, split), number in sorted(Counter((clip.label, clip.split) for clip in clips).items()):
        table.setdefault(label, {})[split] = number
    return table


def record_of(folder: Path, project: int) -> Path:
    """Where the record of a folder and a project lies: beside the folder, which stays as it is."""
    return beside(folder, project, ".jsonl")


def upload(
    client: Client,
    folder: Path,
    progress: ProgressCallback | None = None,
    *,
    words: Sequence[str] = (),
    jobs: int = 4,
    fresh: bool = False,
) -> Uploaded:
    """Sends what the project does not have. Run again after whatever ended it: it goes on from there.

    Args:
        jobs: requests side by side.
        fresh: the record is not believed; the project's own list is.

    Raises:
        KwsError: no data folder; key, server or link fail (what is sent stays sent).
        CheckFailed: twenty recordings in a row are refused.
    """
    report = progress or silent
    clips, unused = clips_of(folder, words)
    project = client.project()
    record = Record(record_of(folder, project.id), project.id, str(client.studio.server))
    try:
        if fresh or record.open or not record.is_whole:
            there = {s.said("kws_sha256") for s in client.samples(project.id, report)} - {""}
            record.asked(there)
        done = there if fresh else set(record.done)
        work = _Work(client, folder, record, done, report, len(clips))
        each(clips, work, jobs, client.close)
    finally:
        record.close()
    return Uploaded(
        project=project.id,
        project_name=shown(project.name, 200),
        record=str(record.path),
        clips=len(clips),
        sent=work.count["taken"],
        before=work.count["before"],
        known=work.count["known"],
        same=work.count["same"],
        unused=unused,
        refused=work.count["refused"],
        first_refused=work.refused,
        first_same=work.same,
        labels=counts(clips),
    )


class _Work:
    """What the threads share."""

    def __init__(
        self, client: Client, folder: Path, record: Record, done: set[str], report: ProgressCallback, total: int
    ) -> None:
        self.client, self.folder, self.record, self.report, self.total = client, folder, record, report, total
        self.done = done
        self.mine: dict[str, Clip] = {}
        self.count: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self.same: list[str] = []
        self.in_a_row = 0
        self.lock = threading.Lock()

    def __call__(self, clip: Clip) -> None:
        try:
            wav = wav_of(self.folder / clip.name)
        except KwsError as error:
            self._finish(clip, "refused", str(error), ours=True)
            return
        digest = hashlib.sha256(wav).hexdigest()
        with self.lock:
            first = self.mine.setdefault(digest, clip)
        if first is not clip:
            self._finish(clip, "same", f"{clip.name} is {first.name}")
        elif digest in self.done:
            self._finish(clip, "before")
        else:
            self.record.begin(digest)
            sent = self._send(clip, wav, digest)
            more = {"sample": sent.sample} if sent.sample else {}
            self.record.end(sent.state, digest, **more)
            self._finish(clip, sent.state, sent.reason)

    def _send(self, clip: Clip, wav: bytes, digest: str) -> Sent:
        file = _plain(Path(clip.name).with_suffix(".wav").name)
        metadata = {"speaker": clip.speaker, "split": clip.split, "kws_file": file, "kws_sha256": digest}
        return self.client.send(clip.category, file, wav, clip.label, metadata)

    def _finish(self, clip: Clip, state: str, reason: str = "", *, ours: bool = False) -> None:
        with self.lock:
            self.count[state] += 1
            if state == "same" and len(self.same) < _LISTED:
                self.same.append(shown(reason, 300))
            if state == "refused" and len(self.refused) < _LISTED:
                self.refused.append(Refused(file=shown(clip.name, 200), reason=shown(reason, 300)))
            if state in ("taken", "known", "refused") and not ours:
                self.in_a_row = self.in_a_row + 1 if state == "refused" else 0
            number = sum(self.count.values())
            stop = self.in_a_row >= _IN_A_ROW
        self.report(number, self.total, f"{self.count['taken']:,} sent, {number:,} of {self.total:,} {clip.label}")
        if stop:
            raise CheckFailed(
                f"Edge Impulse refused {_IN_A_ROW} recordings in a row, the last ({shown(clip.name, 100)}): {reason}",
                hint="mend that and run again: what is sent stays sent",
            )


def wav_of(path: Path) -> bytes:
    """A recording as 16-bit mono WAV at 16 kHz; a file that is one already as it is.

    Raises:
        KwsError: it can't be read, or is longer than half an hour.
    """
    try:
        size = path.stat().st_size
        if size > FILE_BYTES:
            raise KwsError(f"{shown(path)} has {size:,} bytes, more than {FILE_BYTES:,}")
        info = soundfile.info(path)
        as_it_is = (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        if as_it_is and info.samplerate == SAMPLE_RATE and size == _HEADER + 2 * info.frames:
            return path.read_bytes()
    except (OSError, soundfile.SoundFileError):
        pass  # read_recording says what is wrong
    recording = read_recording(path, FILE_BYTES / (2 * SAMPLE_RATE))
    out = io.BytesIO()
    samples = to_int16(resample(recording.samples, recording.rate))
    soundfile.write(out, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()


def _plain(name: str) -> str:
    r"""A name that JSON and a header can hold: bytes that are not UTF-8 as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
