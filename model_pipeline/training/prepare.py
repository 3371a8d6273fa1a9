"""The data of a training: batches made of the training split, features of the validation split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.augment import FeatureStream, model_input
from model_pipeline.config import Config
from model_pipeline.data import noise as noises
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError
from model_pipeline.streaming import negatives
from model_pipeline.training.pool import Pool, PoolStream
from model_pipeline.training.scenes import Scenes, Speech

_READ = 2000  # clips read between two reports of progress


@dataclass
class Prepared:
    """What training and quantisation both need."""

    dataset: Dataset
    extra: Dataset | None
    frames: int
    stream: FeatureStream | PoolStream
    teacher: dict[str, Any]  # what is known of the one that the examples' logits are of
    validation: tuple[np.ndarray, np.ndarray]  # int8 [n, frames, channels], int [n]


def prepare(config: Config, data: Path, trained: Path, report: Callable[[int, int, str], None]) -> Prepared:
    """Reads the audio of training and the features of validation. ``trained`` is where extra data is made.

    Raises:
        KwsError: no such data, or a keyword without training clips.
    """
    dataset = Dataset.open(data, config.keywords, config.data)
    frames = config.frontend.frames(CLIP_SAMPLES)
    clips = dataset.clips("training")
    counts = np.bincount([c.label for c in clips], minlength=len(config.labels))
    lacking = [word for word, count in zip(config.keywords, counts, strict=False) if not count]
    if lacking:
        raise KwsError(f"{data} has no training clips of {', '.join(lacking)}")
    validation = dataset.evaluation("validation")
    extra = extra_data(config, trained, report)
    if config.scenes.examples:
        pool = _pool(config, dataset, extra, frames, trained, report)
        heard = features_of(dataset, validation, config, frames)
        return Prepared(dataset, extra, frames, PoolStream(pool, config.train), pool.state().get("teacher", {}), heard)
    speech = _speech(dataset, extra, report)
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    stream = FeatureStream(
        speech.audio,
        speech.labels,
        dataset.noise_part("training"),
        config.frontend,
        frames,
        config.train,
        unknown=dataset.unknown,
        words=speech.names,
        extra=speech.synthetic,
        extra_share=config.data.extra_share,
        per_epoch=(round(mean_keyword * config.train.unknown_ratio), round(mean_keyword * config.train.silence_ratio)),
        workers=max(1, os.cpu_count() or 1),
    )
    return Prepared(dataset, extra, frames, stream, {}, features_of(dataset, validation, config, frames))


def _speech(dataset: Dataset, extra: Dataset | None, report: Callable[[int, int, str], None]) -> Speech:
    """Every training clip of both."""
    sources = [(source, source.clips("training")) for source in (dataset, extra) if source]
    everything = [(source is extra, clip) for source, clips in sources for clip in clips]
    audio = np.empty((len(everything), CLIP_SAMPLES), np.int16)
    done = 0
    for source, clips in sources:
        for start in range(0, len(clips), _READ):
            report(done, len(everything), "reading audio")
            some = clips[start : start + _READ]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    # The same word of a synthesiser and of people counts as two: each is drawn by its own number of clips.
    names = {name: i for i, name in enumerate(sorted({(made, c.word) for made, c in everything}))}
    return Speech(
        audio,
        np.array([c.label for _, c in everything], np.int64),
        np.array([names[made, c.word] for made, c in everything], np.int64),
        np.array([made for made, _ in everything], bool),
    )


def _pool(
    config: Config,
    dataset: Dataset,
    extra: Dataset | None,
    frames: int,
    trained: Path,
    report: Callable[[int, int, str], None],
) -> Pool:
    """The examples of ``config.scenes`` in ``trained/pool`` or their own folder, made and taught where they are not there yet."""
    c = config.scenes
    connected = negatives.recordings(Path(c.connected), "training") if c.connected else []
    parts: list[Any] = [c.recipe(), config.frontend.model_dump(mode="json"), config.keywords]
    parts += [d.content_hash() for d in (dataset, extra) if d]
    parts += [[p.name, p.stat().st_size] for p in connected]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def scenes() -> Scenes:
        speech = _speech(dataset, extra, report)
        rng = np.random.default_rng([c.seed, 3])
        noise = dataset.noise_part("training") + [noises.generate(kind, 30, rng) for kind in noises.KINDS]
        said = np.flatnonzero(~speech.synthetic)
        noise.append(noises.babble(speech.audio[rng.permutation(said)[:400]], 60, rng))
        return Scenes(speech, dataset.unknown, noise, negatives.read(connected, report), c)

    pool = Pool(Path(c.folder) if c.folder else trained / "pool")
    heard = None
    if c.teacher == "speech_embedding":
        from model_pipeline.models import speech_embedding

        heard = ((speech_embedding.FRAMES, speech_embedding.BANDS), np.float16, speech_embedding.features)
    pool.make(key, c.examples, scenes, config.frontend, frames, heard, c.seed, report)
    if heard:
        from model_pipeline.training.teacher import teach

        clips = dataset.evaluation("validation")
        judged = dataset.audio(clips), np.array([clip.label for clip in clips], np.int64)
        teach(pool, c, len(config.labels), judged, report)
    return pool


def features_of(dataset: Dataset, clips: Sequence[Clip], config: Config, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, frames, channels] and labels int [n] of ``clips`` as they are."""
    features = np.empty((len(clips), frames, config.frontend.channels), np.int8)
    for start in range(0, len(clips), _READ):
        part = clips[start : start + _READ]
        features[start : start + len(part)] = model_input(dataset.audio(part), config.frontend, frames)
    return features, np.array([c.label for c in clips], np.int64)


def extra_data(config: Config, trained: Path, report: Callable[[int, int, str], None]) -> Dataset | None:
    """The folder of `DataConfig.extra`; "synth" is made in ``trained/extra`` where it is not there yet."""
    if config.data.extra != "synth":
        return Dataset.open(config.data.extra, config.keywords) if config.data.extra else None
    folder = trained / "extra"
    made = read_description(folder) if folder.is_dir() else {}
    if made.get("settings") != config.synth.model_dump(mode="json") or made.get("keywords") != config.keywords:
        synthesize(config, folder, report)
    return Dataset.open(folder, config.keywords)
