"""A speech data set made offline by the machine's speech synthesisers, in Speech Commands' layout.

Nothing of the augmentation (noise, gain, shift) is in the files: training makes that anew every epoch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_pipeline.config import Config, DataConfig, SynthConfig
from model_pipeline.data import noise
from model_pipeline.data.aligned import Carrier, speak_within
from model_pipeline.data.audio import (
    CLIP_SAMPLES,
    SAMPLE_RATE,
    fit_clip,
    is_sound,
    read_clips,
    to_int16,
    write_wav,
)
from model_pipeline.data.carriers import carriers, cut
from model_pipeline.data.casting import (
    PITCH,
    RATE,
    SLOW,
    Casting,
    Job,
    cast_of,
    cast_voices,
    engine_shares,
    pick_voice,
    voices_of,
    wanted_engines,
)
from model_pipeline.data.dataset import NOISE_FOLDER
from model_pipeline.data.described import BySplit, EngineUsed, Synthesized
from model_pipeline.data.importer import import_folder
from model_pipeline.data.near import tokens
from model_pipeline.data.split import SPLITS, Split, Splitter, speaker_of
from model_pipeline.data.voices import (
    Utterance,
    Voice,
    available,
    phonemes,
    reads_phonemes,
    speak,
    version,
)
from model_pipeline.errors import KwsError
from model_pipeline.files import write_json, write_text
from model_pipeline.folders import atomic_dir
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.words import NEAR_WORDS, OTHER_WORDS, as_text, folder_name

_SHARES: dict[Split, float] = {"training": 0.8, "validation": 0.1, "testing": 0.1}
_NOISE_S = 120  # of each; a tenth chooses the detector, another tells what to expect
_BATCH = 24  # utterances to one worker at a time
FILLED = 0.92  # of a clip, at most, by a word
_MEASURED = 9  # voices that say how long a word takes
# Of every ten takes of a word by one speaker, where a model is for him alone; the other eight are heard in training.
_TURN = 10
_PERSONAL: dict[int, Split] = {3: "validation", 4: "testing"}


def synthesize(config: Config, out: Path, progress: ProgressCallback | None = None) -> Synthesized:
    """Writes the data folder of ``config`` (its keywords, its ``synth`` part and ``data.recordings``) to ``out``, whole
    or not at all.

    The same configuration on the same machine gives the same files. Engines that are missing are left out.

    Returns:
        What is in ``dataset.json``.

    Raises:
        MissingTool: none of the wanted engines is installed.
        KwsError: an engine fails, or it has too few voices to hold some out for testing.
    """
    report = progress or silent
    report(0, 1, "looking for voices")
    voices = voices_of(config.synth)
    engines = Counter(voice.engine for voice in voices)
    rng = np.random.default_rng(config.synth.seed)
    cast = cast_voices(voices, rng)
    words = _unknown_words(config)
    jobs = _plan(config, cast, words, rng)
    if config.synth.carrier:
        jobs = _in_sentences(jobs, config)
    with atomic_dir(out, "kws data synth", sources=[config.data.recordings]) as folder:
        failed, within = _speak_all(jobs, folder, report, config.data.clip_samples)
        if failed > len(jobs) // 10:
            raise KwsError(f"{failed} of {len(jobs)} clips could not be spoken")
        made = [job for job in jobs if (folder / job.path).exists()]
        _write_noise(folder / NOISE_FOLDER, made, config, folder)
        own = _add_recordings(config.data, folder) if config.data.recordings else {}
        for split in ("validation", "testing"):
            names = [*(j.path for j in made if j.split == split), *(n for n, s in own.items() if s == split)]
            write_text(folder / f"{split}_list.txt", "".join(f"{name}\n" for name in names))
        licence = "made on this machine; no third party's recordings"
        description = Synthesized(
            clip_ms=config.data.clip_ms,
            licence=f"{licence}; and the user's own recordings" if own else licence,
            engines={engine: EngineUsed(version=version(engine), voices=n) for engine, n in engines.items()},
            missing_engines=[e for e in wanted_engines(config.synth) if e not in engines],
            keywords=config.keywords,
            unknown_words=sorted({*words, *(set(config.synth.more) - set(config.keywords))}),
            settings=config.synth.model_dump(mode="json"),
            clips=dict(Counter(job.split for job in made)),
            failed=failed,
            in_sentences=within if config.synth.carrier else None,
            speakers={s: len({j.utterance.voice.speaker for j in made if j.split == s}) for s in SPLITS},
            recordings=BySplit(
                clips={s: sum(split == s for split in own.values()) for s in SPLITS},
                speakers={s: len({speaker_of(n) for n, split in own.items() if split == s}) for s in SPLITS},
            )
            if own
            else None,
        )
        write_json(folder / "dataset.json", description.model_dump(mode="json"))
    return description


def held_out_clips(
    words: Sequence[str],
    takes: int,
    settings: SynthConfig,
    progress: ProgressCallback | None = None,
    length: int = CLIP_SAMPLES,
) -> tuple[np.ndarray, list[str]]:
    """Each of ``words`` as ``takes`` voices say it that the data of `synthesize` with the same ``settings`` keeps for
    testing.

    Returns:
        int16 [n, length], and the word of each clip; a word that no voice can say has none.

    Raises:
        MissingTool, KwsError: as `synthesize`.
    """
    report = progress or silent
    rng = np.random.default_rng(settings.seed)
    casting = Casting(cast_voices(voices_of(settings), rng), settings, rng)
    for word in words:
        casting.add(word, "testing", takes)
    with tempfile.TemporaryDirectory(prefix="kws_near_") as name:
        folder = Path(name)
        _speak_all(casting.jobs, folder, report, length)
        made = [job for job in casting.jobs if (folder / job.path).exists()]
        return read_clips([folder / job.path for job in made], length), [job.word for job in made]


def said_alike(
    texts: Sequence[str],
    takes: int,
    settings: SynthConfig,
    progress: ProgressCallback | None = None,
    length: int = CLIP_SAMPLES,
) -> dict[str, np.ndarray]:
    """Each of ``texts`` by the same ``takes`` voices of training, at the same pitch, rate and level: int16 [n, length];
    fewer where a voice can't say it. Kokoro, which takes its time, is left out where there are others.

    Raises:
        MissingTool, KwsError: as `synthesize`.
    """
    rng = np.random.default_rng([settings.seed, 31])
    voices = cast_of(settings)["training"]
    voices = {engine: found for engine, found in voices.items() if engine != SLOW} or voices
    shared, shares = [], engine_shares(settings)
    for _ in range(takes):
        voice = pick_voice(voices, shares, rng)
        if voice.engine == "espeak-ng":  # one that reads phonemes, which a text may be written in
            able = [v for v in voices["espeak-ng"] if reads_phonemes(v, settings.language)] or [voice]
            voice = able[int(rng.integers(len(able)))]
        shared.append((voice, float(rng.uniform(*PITCH)), float(rng.uniform(*RATE))))
    jobs = []
    for number, text in enumerate(texts):
        for take, (voice, pitch, rate) in enumerate(shared):
            if text.startswith("[[") and not reads_phonemes(voice, settings.language):
                continue
            saying = Utterance(voice, as_text(text), pitch, rate)
            jobs.append(Job(f"text {number}", "training", f"text_{number}/{take:03}.wav", saying, -20.0, 0.5))
    with tempfile.TemporaryDirectory(prefix="kws_say_") as name:
        folder = Path(name)
        _speak_all(jobs, folder, progress or silent, length)
        return {
            text: read_clips(sorted((folder / f"text_{number}").glob("*.wav")), length)
            for number, text in enumerate(texts)
        }


def seconds_of(words: Sequence[str], settings: SynthConfig) -> dict[str, float]:
    """How long each word takes to say: the median of some of espeak-ng's voices at their usual pace, in seconds. A word
    that they can't say is left out.

    Raises:
        KwsError: espeak-ng fails.
    """
    voices = available(["espeak-ng"], settings.language).get("espeak-ng", [])
    some = [voices[i] for i in np.random.default_rng(1).permutation(len(voices))[:_MEASURED]]

    def of(word: str) -> list[int]:
        said = speak([Utterance(voice, settings.text_of(word), 1.0, 1.0) for voice in some])
        return [len(x) for x in map(_trim, said) if x is not None]

    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        found = zip(words, pool.map(of, words), strict=True)
        return {word: float(np.median(lengths)) / SAMPLE_RATE for word, lengths in found if lengths}


def _speak_all(jobs: Sequence[Job], folder: Path, report: ProgressCallback, length: int) -> tuple[int, int]:
    """Writes all clips, of ``length`` samples; returns how many the engines said nothing for, and how many were cut out
    of sentences."""
    for word in {job.word for job in jobs}:
        (folder / folder_name(word)).mkdir(exist_ok=True)
    done, failed, within = 0, 0, 0
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        try:
            for silent_ones, cut_ones in pool.map(lambda batch: _make(batch, folder, length), _batches(jobs)):
                failed += silent_ones
                within += cut_ones
                done += _BATCH
                report(min(done, len(jobs)), len(jobs), f"{len(jobs)} clips")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failed, within


def _plan(
    config: Config, cast: dict[Split, dict[str, list[Voice]]], unknown: Sequence[str], rng: np.random.Generator
) -> list[Job]:
    """Every clip that will be made, with all that is random about it."""
    casting = Casting(cast, config.synth, rng)
    for split, share in _SHARES.items():
        for word in config.keywords:
            casting.add(word, split, max(1, round(config.synth.clips_per_keyword * share)))
        casting.add_in_turn(unknown, split, max(1, round(config.synth.unknown_clips * share)))
        for word, clips in config.synth.more.items():
            casting.add(word, split, round(clips * share))
    return casting.jobs


def _in_sentences(jobs: Sequence[Job], config: Config) -> list[Job]:
    """Some of the jobs of training, of keywords and other words alike, within sentences. Nothing else of them changes,
    nor of the rest; two clips of one saying stay so."""
    rng = np.random.default_rng([config.synth.seed, 29])
    free = carriers(config.keywords)
    if not free:
        raise KwsError("every sentence that words could be cut out of says a keyword", hint="synth.carrier = 0")
    spoken = phonemes(list(dict.fromkeys(job.utterance.text for job in jobs)), config.synth.language)
    planned = []
    drawn: dict[tuple[str, Voice, float], Carrier | None] = {}
    for job in jobs:
        saying = (job.word, job.utterance.voice, round(job.utterance.rate / job.utterance.pitch, 3))
        if saying not in drawn:
            some = free[int(rng.integers(len(free)))]
            drawn[saying] = some if rng.random() < config.synth.carrier else None
        if job.split == "training" and (carrier := drawn[saying]):
            job = replace(job, carrier=carrier, sounds=len(tokens(spoken.get(job.utterance.text, ""))))
        planned.append(job)
    return planned


def _unknown_words(config: Config) -> list[str]:
    """Words that are none of the keywords, nor sound like one; near ones three times."""
    settings = config.synth
    near = _near_words(settings)
    wanted = [w for w in [*(settings.unknown_words or OTHER_WORDS), *near] if w not in config.keywords]
    text = {w: settings.text_of(w) for w in [*wanted, *config.keywords]}
    spoken = phonemes(list(text.values()), settings.language)
    sounds = {w: tokens(spoken.get(said, f"?_{w}")) for w, said in text.items()}
    taken = {sounds[w] for w in config.keywords}
    words = [w for w in wanted if sounds[w] not in taken]
    if not words:
        raise KwsError("synth.unknown_words holds nothing but the keywords (or words that sound the same)")
    words = list(dict.fromkeys(words))
    near = [w for w in words if w in near]
    return [*words, *near, *near]


def _near_words(settings: SynthConfig) -> list[str]:
    """Those of the settings, or of the usual commands where no other words are wanted at all."""
    return settings.near_words or ([] if settings.unknown_words else list(NEAR_WORDS))


def _batches(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs of one engine together: festival speaks many in one process."""
    by_engine: dict[str, list[Job]] = {}
    for job in jobs:
        by_engine.setdefault(job.utterance.voice.engine, []).append(job)
    # The slowest come first, so that the cores end together.
    slow = ("kokoro", "festival")
    order = sorted(by_engine.values(), key=lambda group: group[0].utterance.voice.engine not in slow)
    return [group[i : i + _BATCH] for group in order for i in range(0, len(group), _BATCH)]


def _make(jobs: Sequence[Job], folder: Path, length: int) -> tuple[int, int]:
    """Speaks and writes a batch; what fills more of a clip than it may is spoken faster, and what can't be cut out of
    its sentence by itself. Returns how many the engine said nothing for, and how many were cut out."""
    longest = int(FILLED * length)
    within = [job for job in jobs if job.carrier]
    said = speak_within([job.utterance for job in within], [job.carrier for job in within if job.carrier])
    words = (_trim(cut(x, job.sounds)) if x else None for job, x in zip(within, said, strict=True))
    found: dict[str, np.ndarray | None] = {
        job.path: x for job, x in zip(within, words, strict=True) if x is not None and len(x) <= longest
    }
    alone = [job for job in jobs if job.path not in found]
    cut_out = len(found)
    found |= {job.path: _trim(x) for job, x in zip(alone, speak([job.utterance for job in alone]), strict=True)}
    spoken = [found[job.path] for job in jobs]
    long = [i for i, x in enumerate(spoken) if x is not None and len(x) > longest]
    faster = []
    for i in long:
        word = jobs[i].utterance
        faster.append(replace(word, rate=word.rate * len(spoken[i]) / (0.9 * longest)))  # type: ignore[arg-type]
    for i, x in zip(long, speak(faster), strict=True):
        spoken[i] = _trim(x)
    for job, x in zip(jobs, spoken, strict=True):
        if x is not None:
            write_wav(folder / job.path, _place(x, job.level, job.place, length))
    return sum(x is None for x in spoken), cut_out


def _trim(samples: np.ndarray | None) -> np.ndarray | None:
    """Cuts off the silence at both ends (40 dB under the peak, 20 ms left); None if there is nothing else."""
    if samples is None or not len(samples):
        return None
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    if np.abs(samples).max() < 1e-4 or len(loud) < 0.05 * SAMPLE_RATE:
        return None
    margin = SAMPLE_RATE // 50
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _place(samples: np.ndarray, level_db: float, where: float, length: int) -> np.ndarray:
    """A word at an RMS of ``level_db`` under full scale, at the relative place ``where`` of a clip: int16 [length]."""
    x = samples * (10 ** (level_db / 20) / np.sqrt(np.mean(np.square(samples))))
    x = fit_clip(x, length) if len(x) > length else x
    peak = np.abs(x).max()
    out = np.zeros(length, np.float32)
    start = int(where * (length - len(x)))
    out[start : start + len(x)] = x * min(1.0, 0.98 / peak)
    return to_int16(out)


def _add_recordings(config: DataConfig, folder: Path) -> dict[str, Split]:
    """Takes the user's recordings into the data folder: their names, ``word/file``, with the split of each. With
    ``personal`` each speaker's takes of a word are shared out over the splits, and not the speakers."""
    source = Path(config.recordings)
    if not any(is_sound(path.name) for path in source.glob("*/**/*")):
        return {}
    taken = folder / ".recordings"
    import_folder(source, taken, clip_ms=config.clip_ms)
    paths = sorted(taken.glob("*/*.wav"))
    names = [f"{path.parent.name}/{path.name}" for path in paths]
    splitter = Splitter(taken, names)
    own: dict[str, Split] = {}
    takes: Counter[str] = Counter()
    for path, name in zip(paths, names, strict=True):
        split = splitter(name)
        if config.personal and path.parent.name != NOISE_FOLDER:
            said_by = f"{path.parent.name}/{speaker_of(name)}"
            split = _PERSONAL.get(takes[said_by] % _TURN, "training")
            takes[said_by] += 1
        if path.parent.name != NOISE_FOLDER:
            if split is None:
                continue
            own[name] = split
        (folder / path.parent.name).mkdir(exist_ok=True)
        os.replace(path, folder / name)
    shutil.rmtree(taken)
    return own


def _write_noise(target: Path, jobs: Sequence[Job], config: Config, folder: Path) -> None:
    """Each formula noise, and babble of the training voices, in which no keyword is said, nor what is near one: rooms
    are not full of such words, and how often they fire is told by itself."""
    target.mkdir()
    rng = np.random.default_rng([config.synth.seed, 1])
    for kind in noise.KINDS:
        write_wav(target / f"{kind}.wav", noise.generate(kind, _NOISE_S, rng))
    said = [job for job in jobs if job.split == "training" and job.word not in config.keywords]
    others = [job for job in said if job.word not in _near_words(config.synth)] or said
    some = [folder / others[i].path for i in rng.permutation(len(others))[:200]]
    write_wav(target / "babble.wav", noise.babble(read_clips(some, config.data.clip_samples), _NOISE_S, rng))
