"""Takes in recordings: any folder with one folder a word becomes a data folder at 16 kHz with one-second clips."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_pipeline.data.audio import (
    CLIP_SAMPLES,
    EXTENSIONS,
    SAMPLE_RATE,
    UnreadableAudio,
    fit_clip,
    read_audio,
    resample,
    to_int16,
    write_wav,
)
from model_pipeline.data.dataset import NOISE_FOLDER, read_description, word_folders
from model_pipeline.data.split import SPLITS, Splitter
from model_pipeline.errors import KwsError
from model_pipeline.files import write_json, write_text
from model_pipeline.folders import atomic_dir, refuse_overlap
from model_pipeline.progress import ProgressCallback, silent

_LISTED = 200  # unreadable files named in the result; all are counted


@dataclass
class _Done:
    """What became of one file."""

    source: str
    target: str
    rate: int = SAMPLE_RATE
    samples: int = CLIP_SAMPLES  # at 16 kHz, before padding or cutting
    error: str = ""


def import_folder(
    source: Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    name: str = "",
    licence: str = "",
) -> dict[str, Any]:
    """Makes data folder ``out`` of ``source``, whole or not at all.

    wav, flac, ogg, opus and mp3 are read; other rates are resampled, channels averaged, clips padded with zeros or cut
    to their loudest second. Unreadable files are skipped, listed and counted. The folder's ``*_list.txt`` go with it;
    without them the split is by the hash of the speaker, so files named ``<speaker>_nohash_<n>`` keep a speaker in one
    split (any other file counts as a speaker of its own).

    Args:
        name, licence: what the manifest of a model trained on it will say.

    Returns:
        What is in ``dataset.json``: counts, and the skipped files with the reason.

    Raises:
        KwsError: a folder without words, nothing readable in it, or ``out`` lies in ``source``.
    """
    report = progress or silent
    source, out = Path(source), Path(out)
    refuse_overlap(out, [source])
    words = word_folders(source)
    splitter = Splitter(source)
    jobs = _name(words)
    noise = _noise_files(source)
    total = len(jobs) + len(noise)
    with atomic_dir(out, "kws data import") as folder:
        for word in words:
            (folder / word).mkdir()
        done: list[_Done] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for result in pool.map(lambda job: _convert(source, folder, job, clip=True), jobs):
                    done.append(result)
                    if len(done) % 20 == 0:
                        report(len(done), total, result.source)
                if noise:
                    (folder / NOISE_FOLDER).mkdir()
                noises = list(pool.map(lambda job: _convert(source, folder, job, clip=False), noise))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        good = [d for d in done if not d.error]
        if not good:
            raise KwsError(f"none of the {len(done)} clips in {source} can be read ({done[0].error})")
        for word in words:
            if not any((folder / word).iterdir()):
                (folder / word).rmdir()
        for split in SPLITS:
            if split in splitter.lists:
                lines = [d.target for d in good if splitter(d.source) == split]
                write_text(folder / f"{split}_list.txt", "".join(f"{line}\n" for line in lines))
        skipped = [d for d in [*done, *noises] if d.error]
        origin = read_description(source)
        description = {
            "source": "import",
            "name": name or origin.get("name", ""),
            "licence": licence or origin.get("licence", ""),
            "clips": len(good),
            "words": {word: sum(d.target.startswith(f"{word}/") for d in good) for word in words},
            "noise_files": sum(not d.error for d in noises),
            "split_rule": splitter.rule,
            "resampled": sum(d.rate != SAMPLE_RATE for d in good),
            "padded": sum(d.samples < CLIP_SAMPLES for d in good),
            "cut": sum(d.samples > CLIP_SAMPLES for d in good),
            "skipped": len(skipped),
            "skipped_files": [{"file": d.source, "reason": d.error} for d in skipped[:_LISTED]],
        }
        write_json(folder / "dataset.json", description)
    report(total, total, "")
    return description


def _name(words: dict[str, list[str]]) -> list[_Done]:
    """A target for each file: ``<speaker>_nohash_<n>.wav``, unique in its word."""
    jobs = []
    for word, files in words.items():
        taken: set[str] = set()
        for file in files:
            stem = Path(file).stem
            target = stem if "_nohash_" in stem else f"{re.sub(r'[^A-Za-z0-9.-]+', '-', stem)}_nohash_0"
            speaker, _, number = target.rpartition("_nohash_")
            count = int(number) if number.isdigit() else 0
            while target in taken:  # a.wav beside a.flac
                count += 1
                target = f"{speaker}_nohash_{count}"
            taken.add(target)
            jobs.append(_Done(f"{word}/{file}", f"{word}/{target}.wav"))
    return jobs


def _noise_files(source: Path) -> list[_Done]:
    folder = source / NOISE_FOLDER
    if not folder.is_dir():
        return []
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS)
    return [_Done(f"{NOISE_FOLDER}/{name}", f"{NOISE_FOLDER}/{Path(name).stem}.wav") for name in names]


def _convert(source: Path, folder: Path, job: _Done, *, clip: bool) -> _Done:
    try:
        samples, job.rate = read_audio(source / job.source)
    except UnreadableAudio as error:
        job.error = str(error).removeprefix(f"can't read {source / job.source}: ")
        return job
    audio = to_int16(resample(samples, job.rate))
    job.samples = len(audio)
    write_wav(folder / job.target, fit_clip(audio) if clip else audio)
    return job
