"""Takes in recordings: any folder with one folder a word becomes a data folder at 16 kHz with clips of one length."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.data.audio import (
    SAMPLE_RATE,
    UnreadableAudio,
    fit_clip,
    read_recording,
    resample,
    to_int16,
    write_wav,
)
from model_pipeline.data.dataset import NOISE_FOLDER, no_clips, read_description
from model_pipeline.data.described import Imported, LeftOut
from model_pipeline.data.doubts import same_sound
from model_pipeline.data.sources import Found, Source, find
from model_pipeline.data.split import SPLITS, Split, Splitter, which_set
from model_pipeline.errors import KwsError
from model_pipeline.files import write_json, write_text
from model_pipeline.folders import atomic_dir, refuse_overlap
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.rate import CLIP_MS, samples_of
from model_pipeline.text import shown
from model_pipeline.words import word_key

_LISTED = 200  # files that are left out, by name; all are counted
_LONGEST_S = 60.0  # of a clip: longer is not a take of one word
_SHORTEST = SAMPLE_RATE // 50  # samples at 16 kHz: less is neither a word nor noise


@dataclass
class _Done:
    """What became of one file."""

    source: Source
    target: str
    rate: int = SAMPLE_RATE
    samples: int = 0  # at 16 kHz, before padding or cutting
    mended: tuple[str, ...] = ()
    digest: str = ""
    error: str = ""


def import_folder(
    source: Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    name: str = "",
    licence: str = "",
    clip_ms: int = CLIP_MS,
) -> Imported:
    """Makes data folder ``out`` of ``source`` (its layouts: `model_pipeline.data.sources`), whole or not at all.

    wav, flac, ogg, opus, mp3 and what else libsndfile knows are read; other rates are resampled, channels averaged (of
    such that cancel each other out the loudest is taken), floats beyond full scale made smaller, clips padded with
    zeros or cut to their loudest ``clip_ms``. What can't be used is left out, listed and counted. The folder's
    ``*_list.txt`` (or its folders of splits) go with it. Without them the split is by the hash of the speaker: that of
    names ``<speaker>_nohash_<n>``, a folder below the word's, or else each file counts as a speaker of its own.

    Args:
        name, licence: what the manifest of a model trained on it will say.

    Returns:
        What is in ``dataset.json``.

    Raises:
        KwsError: a folder without words, nothing readable in it, a list that names none of its clips, or ``out`` and
            ``source`` overlap.
    """
    report = progress or silent
    source, out = Path(source), Path(out)
    refuse_overlap(out, [source])
    found = find(source)
    splitter = Splitter(source, (clip.path for clip in found.clips))
    jobs = [_Done(clip, _target(clip)) for clip in found.clips]
    noise = _noise(found)
    total, length = len(jobs) + len(noise), samples_of(clip_ms)
    with atomic_dir(out, "kws data import") as folder:
        for word in found.words:
            (folder / word).mkdir()
        done: list[_Done] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for result in pool.map(lambda job: _convert(source, folder, job, length), jobs):
                    done.append(result)
                    if len(done) % 20 == 0:
                        report(len(done), total, shown(result.source.path, 80))
                if noise:
                    (folder / NOISE_FOLDER).mkdir()
                noises = list(pool.map(lambda job: _convert(source, folder, job, None), noise))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        good = [d for d in done if not d.error]
        if not good:
            raise KwsError(f"none of the {len(done)} clips in {source} can be read ({done[0].error})")
        for word in found.words:
            if not any((folder / word).iterdir()):
                (folder / word).rmdir()
        rule = _write_lists(folder, good, splitter)
        left = [(d.source.path, d.error) for d in [*done, *noises] if d.error] + found.left
        origin = read_description(source)
        spoken = [d for d in good if d.source.word != "silence"]
        mended = Counter(kind for d in good for kind in d.mended)
        words = Counter(d.source.word for d in good)
        description = Imported(
            clip_ms=clip_ms,
            name=name or str(origin.get("name") or ""),
            licence=licence or str(origin.get("licence") or ""),
            layout=found.layout,
            clips=len(good),
            words={word: words[word] for word in sorted(found.words)},
            spellings={word: sorted(map(shown, said)) for word, said in found.words.items() if said != {word}},
            noise_files=sum(not d.error for d in noises),
            split_rule=rule,
            lists={split: use.counted() for split, use in splitter.use.items()},
            resampled=sum(d.rate != SAMPLE_RATE for d in good),
            padded=sum(d.samples < length for d in good),
            cut=sum(d.samples > length for d in good),
            opposite_phase=mended["opposite"],
            scaled_down=mended["scaled"],
            header_without_size=mended["unsized"],
            skipped=len(left),
            skipped_files=[LeftOut(file=shown(path), reason=shown(reason)) for path, reason in left[:_LISTED]],
            warnings=same_sound({d.target: (d.digest, d.source.speaker) for d in spoken}),
        )
        write_json(folder / "dataset.json", description.model_dump(mode="json"))
    report(total, total, "")
    return description


def _write_lists(folder: Path, good: list[_Done], splitter: Splitter) -> str:
    """Writes the lists of the splits that the source had, and returns the rule."""
    given = any(d.source.split for d in good)
    if not splitter.lists and not given:
        return "which_set"
    splits: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for d, split in zip(good, _splits([d.source for d in good], splitter), strict=True):
        if split:
            splits[split].append(d.target)
    for split in SPLITS:
        if split in splitter.lists or (given and not splitter.lists and split != "training"):
            write_text(folder / f"{split}_list.txt", "".join(f"{line}\n" for line in splits[split]))
    return "lists" if splitter.lists else "folders"


def _splits(clips: Sequence[Source], splitter: Splitter) -> Iterator[Split | None]:
    """The split of each clip: by the lists, by its folder, or by the hash of its speaker."""
    given = {clip.split for clip in clips} - {None}
    for clip in clips:
        if splitter.lists:
            yield splitter(clip.path)
            continue
        by_hash = which_set(_target(clip))
        if not given:
            yield by_hash
        elif (clip.split or "training") == "training" and "validation" not in given:
            # Without a part for validation, a tenth of the speakers of training is it.
            yield "validation" if by_hash == "validation" else "training"
        else:
            yield clip.split or "training"


def _target(clip: Source) -> str:
    return f"{clip.word}/{clip.speaker}_nohash_{clip.take}.wav"


def check_splits(source: Path, keywords: Sequence[str]) -> None:
    """Looks, without reading sound, whether ``source`` can train and judge a model of ``keywords``.

    Raises:
        KwsError: as `import_folder`, or a keyword without any clip, or a split without keywords.
    """
    found = find(source)
    splitter = Splitter(source, (clip.path for clip in found.clips))
    there = set(map(word_key, found.words))
    if missing := [keyword for keyword in keywords if word_key(keyword) not in there]:
        raise no_clips(source, missing, found.words)
    wanted = set(map(word_key, keywords))
    splits = zip(found.clips, _splits(found.clips, splitter), strict=True)
    spoken = [(clip, split) for clip, split in splits if word_key(clip.word) in wanted]
    speakers = len({clip.speaker for clip, _ in spoken})
    rule = f"its {speakers} speaker{'s' * (speakers > 1)}, each of whom is in one split"
    if splitter.lists:
        rule = "its lists"
    elif any(clip.split for clip, _ in spoken):
        rule = "its folders"
    filled = {split for _, split in spoken}
    for split in SPLITS:
        if split not in filled:
            raise KwsError(
                f"{source} has no {split} clips of the keywords by {rule}",
                hint=f"record more speakers, or name clips in a {split}_list.txt",
            )


def _noise(found: Found) -> list[_Done]:
    jobs, taken = [], set()
    for source in found.noise:
        stem = shown(Path(source.path).stem, 100).replace("/", "-").replace("\\", "-")
        target, number = stem, 1
        while target.casefold() in taken:  # hum.wav beside hum.flac
            number += 1
            target = f"{stem}-{number}"
        taken.add(target.casefold())
        jobs.append(_Done(source, f"{NOISE_FOLDER}/{target}.wav"))
    return jobs


def _convert(source: Path, folder: Path, job: _Done, length: int | None) -> _Done:
    """``length``: of a clip in samples; None for noise, which stays as long as it is."""
    path = source / job.source.path
    try:
        recording = read_recording(path, _LONGEST_S if length else float("inf"))
    except UnreadableAudio as error:
        job.error = str(error).removeprefix(f"can't read {shown(path)}: ")
        return job
    job.rate = recording.rate
    job.mended = tuple(kind for kind in ("opposite", "scaled", "unsized") if getattr(recording, kind))
    audio = to_int16(resample(recording.samples, recording.rate))
    job.samples = len(audio)
    if len(audio) < _SHORTEST:
        job.error = f"it is {1000 * len(audio) / SAMPLE_RATE:.1f} ms long"
    elif length and job.source.word != "silence" and not np.any(audio):
        job.error = "there is no sound in it (all samples are 0)"
    else:
        audio = fit_clip(audio, length) if length else audio
        job.digest = hashlib.sha256(audio.tobytes()).hexdigest()
        write_wav(folder / job.target, audio)
    return job
