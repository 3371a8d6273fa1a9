"""A speech data set made offline by the machine's speech synthesisers, in Speech Commands' layout.

Nothing of the augmentation (noise, gain, shift) is in the files: training makes that anew every epoch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config
from model_pipeline.data import noise
from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE, fit_clip, to_int16, write_wav
from model_pipeline.data.dataset import NOISE_FOLDER, folder_name
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.data.voices import PACKAGES, Utterance, Voice, available, phonemes, speak, version
from model_pipeline.data.words import NEAR_WORDS, OTHER_WORDS
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.files import atomic_dir, write_json, write_text

_SHARES: dict[Split, float] = {"training": 0.8, "validation": 0.1, "testing": 0.1}
_ENGINE_SHARES = {"espeak-ng": 0.6, "flite": 0.24, "festival": 0.16}  # of the clips, where all three are there
_BATCH = 24  # utterances to one worker at a time
_LONGEST = int(0.92 * CLIP_SAMPLES)


@dataclass(frozen=True)
class _Job:
    word: str
    split: Split
    path: str
    utterance: Utterance
    level: float
    place: float


def synthesize(config: Config, out: Path, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Writes the data folder of ``config`` (its keywords and ``synth`` part) to ``out``, whole or not at all.

    The same configuration on the same machine gives the same files. Engines that are missing are left out.

    Returns:
        What is in ``dataset.json``.

    Raises:
        MissingTool: none of the wanted engines is installed.
        KwsError: an engine fails, or it has too few voices to hold some out for testing.
    """
    report = progress or (lambda done, total, text: None)
    report(0, 1, "looking for voices")
    voices = available(config.synth.engines)
    if not voices:
        raise MissingTool(
            "no speech synthesiser is installed", hint="; ".join(PACKAGES[e] for e in config.synth.engines)
        )
    rng = np.random.default_rng(config.synth.seed)
    cast = _cast([v for engine in voices.values() for v in engine], rng)
    words = _unknown_words(config)
    jobs = _plan(config, cast, words, rng)
    done, failed = 0, 0
    with atomic_dir(out) as folder:
        for word in {job.word for job in jobs}:
            (folder / folder_name(word)).mkdir()
        batches = _batches(jobs)
        with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
            try:
                for count in pool.map(lambda batch: _make(batch, folder), batches):
                    failed += count
                    done += _BATCH
                    report(min(done, len(jobs)), len(jobs), f"{len(jobs)} clips, {len(voices)} engines")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if failed > len(jobs) // 10:
            raise KwsError(f"{failed} of {len(jobs)} clips could not be spoken")
        made = [job for job in jobs if (folder / job.path).exists()]
        for split in ("validation", "testing"):
            write_text(folder / f"{split}_list.txt", "".join(f"{j.path}\n" for j in made if j.split == split))
        _write_noise(folder / NOISE_FOLDER, made, folder, config.synth.seed)
        description = {
            "source": "synth",
            "licence": "made on this machine; no third party's recordings",
            "engines": {engine: {"version": version(engine), "voices": len(v)} for engine, v in voices.items()},
            "missing_engines": [e for e in config.synth.engines if e not in voices],
            "keywords": config.keywords,
            "unknown_words": sorted(set(words)),
            "settings": config.synth.model_dump(mode="json"),
            "clips": dict(Counter(job.split for job in made)),
            "failed": failed,
            "speakers": {s: len({j.utterance.voice.speaker for j in made if j.split == s}) for s in SPLITS},
        }
        write_json(folder / "dataset.json", description)
    return description


def _cast(voices: Sequence[Voice], rng: np.random.Generator) -> dict[Split, dict[str, list[Voice]]]:
    """Which voices speak in which split, by engine. Identities, not voices, are shared out, so that no throat is
    heard in two splits; each engine's identities are shared out apart, so that each split hears all engines."""
    identities: dict[str, list[str]] = {}
    for voice in voices:
        group = "espeak-ng" if voice.engine == "espeak-ng" else "other"
        identities.setdefault(group, [])
        if voice.identity not in identities[group]:
            identities[group].append(voice.identity)
    if sum(len(v) for v in identities.values()) < 3:
        raise KwsError("fewer than three voices: none can be held out for testing", hint=PACKAGES["espeak-ng"])
    if any(len(names) < 3 for names in identities.values()):
        identities = {"all": list(dict.fromkeys(name for names in identities.values() for name in names))}
    where: dict[str, Split] = {}
    for names in identities.values():
        order = [names[i] for i in rng.permutation(len(names))]
        held = max(1, round(0.1 * len(order))) if len(order) >= 3 else 0
        for i, name in enumerate(order):
            where[name] = "testing" if i < held else "validation" if i < 2 * held else "training"
    result: dict[Split, dict[str, list[Voice]]] = {split: {} for split in SPLITS}
    for voice in voices:
        result[where[voice.identity]].setdefault(voice.engine, []).append(voice)
    return result


def _plan(
    config: Config, cast: dict[Split, dict[str, list[Voice]]], unknown: Sequence[str], rng: np.random.Generator
) -> list[_Job]:
    """Every clip that will be made, with all that is random about it."""
    takes: Counter[str] = Counter()
    jobs = []

    def add(word: str, split: Split) -> None:
        engines = sorted(cast[split])
        share = np.array([_ENGINE_SHARES[e] for e in engines])
        voices = cast[split][engines[int(rng.choice(len(engines), p=share / share.sum()))]]
        voice = voices[int(rng.integers(len(voices)))]
        name = f"{folder_name(word)}/{voice.speaker}_nohash_"
        pitch, rate = float(rng.uniform(0.7, 1.35)), float(rng.uniform(0.75, 1.35))
        spoken = Utterance(voice, word.replace("_", " "), pitch, rate)
        level, place = float(rng.uniform(-26, -12)), float(rng.uniform(0.3, 0.7))
        jobs.append(_Job(word, split, f"{name}{takes[name]}.wav", spoken, level, place))
        takes[name] += 1

    for split, share in _SHARES.items():
        for word in config.keywords:
            for _ in range(max(1, round(config.synth.clips_per_keyword * share))):
                add(word, split)
        for i in range(max(1, round(config.synth.unknown_clips * share))):
            add(unknown[i % len(unknown)], split)
    return jobs


def _unknown_words(config: Config) -> list[str]:
    """Words that are none of the keywords, nor sound like one."""
    wanted = [w for w in (config.synth.unknown_words or [*OTHER_WORDS, *NEAR_WORDS]) if w not in config.keywords]
    sounds = phonemes([*wanted, *config.keywords])
    taken = {_plain(sounds[w]) for w in config.keywords if w in sounds}
    words = [w for w in wanted if _plain(sounds.get(w, f"?{w}")) not in taken]
    if not words:
        raise KwsError("synth.unknown_words holds nothing but the keywords (or words that sound the same)")
    near = [] if config.synth.unknown_words else [w for w in words if w in NEAR_WORDS]
    return [*words, *near, *near]


def _plain(sound: str) -> str:
    return "".join(c for c in sound if c not in "',_: ")


def _batches(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Jobs of one engine together: festival speaks many in one process."""
    by_engine: dict[str, list[_Job]] = {}
    for job in jobs:
        by_engine.setdefault(job.utterance.voice.engine, []).append(job)
    # The slowest to start comes first, so that the cores end together.
    order = sorted(by_engine.values(), key=lambda group: group[0].utterance.voice.engine != "festival")
    return [group[i : i + _BATCH] for group in order for i in range(0, len(group), _BATCH)]


def _make(jobs: Sequence[_Job], folder: Path) -> int:
    """Speaks and writes a batch; returns how many the engine said nothing for."""
    spoken = [_trim(x) for x in speak([job.utterance for job in jobs])]
    long = [i for i, x in enumerate(spoken) if x is not None and len(x) > _LONGEST]
    faster = []
    for i in long:
        word = jobs[i].utterance
        faster.append(replace(word, rate=word.rate * len(spoken[i]) / (0.9 * _LONGEST)))  # type: ignore[arg-type]
    for i, x in zip(long, speak(faster), strict=True):
        spoken[i] = _trim(x)
    for job, x in zip(jobs, spoken, strict=True):
        if x is not None:
            write_wav(folder / job.path, _place(x, job.level, job.place))
    return sum(x is None for x in spoken)


def _trim(samples: np.ndarray | None) -> np.ndarray | None:
    """Cuts off the silence at both ends (40 dB under the peak, 20 ms left); None if there is nothing else."""
    if samples is None or not len(samples):
        return None
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    if np.abs(samples).max() < 1e-4 or len(loud) < 0.05 * SAMPLE_RATE:
        return None
    margin = SAMPLE_RATE // 50
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _place(samples: np.ndarray, level_db: float, where: float) -> np.ndarray:
    """A word at an RMS of ``level_db`` under full scale, at the relative place ``where`` of one second: int16."""
    x = samples * (10 ** (level_db / 20) / np.sqrt(np.mean(np.square(samples))))
    x = fit_clip(x) if len(x) > CLIP_SAMPLES else x
    peak = np.abs(x).max()
    out = np.zeros(CLIP_SAMPLES, np.float32)
    start = int(where * (CLIP_SAMPLES - len(x)))
    out[start : start + len(x)] = x * min(1.0, 0.98 / peak)
    return to_int16(out)


def _write_noise(target: Path, jobs: Sequence[_Job], folder: Path, seed: int) -> None:
    """20 s of each formula noise, and babble of the training voices."""
    from model_pipeline.data.audio import read_clips

    target.mkdir()
    rng = np.random.default_rng([seed, 1])
    for kind in noise.KINDS:
        write_wav(target / f"{kind}.wav", noise.generate(kind, 20, rng))
    training = [folder / job.path for job in jobs if job.split == "training"]
    some = [training[i] for i in rng.permutation(len(training))[:200]]
    write_wav(target / "babble.wav", noise.babble(read_clips(some), 20, rng))
