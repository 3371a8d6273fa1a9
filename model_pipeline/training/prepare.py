"""The data of a training: augmented batches of the training split, features of the validation split."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.augment import FeatureStream, model_input
from model_pipeline.config import Config
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError

_READ = 2000  # clips read between two reports of progress


@dataclass
class Prepared:
    """What training and quantisation both need."""

    dataset: Dataset
    extra: Dataset | None
    frames: int
    stream: FeatureStream
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
    sources = [(dataset, clips)]
    extra = extra_data(config, trained, report)
    if extra:
        sources.append((extra, extra.clips("training")))
    everything = [(source, c) for source, part in sources for c in part]
    total = len(everything) + len(validation)
    audio = np.empty((len(everything), CLIP_SAMPLES), np.int16)
    done = 0
    for source, part in sources:
        for start in range(0, len(part), _READ):
            report(done, total, "reading audio")
            some = part[start : start + _READ]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    report(done, total, "reading audio")
    # The same word of a synthesiser and of people counts as two: each is drawn by its own number of clips.
    names = {name: i for i, name in enumerate(sorted({(s is extra, c.word) for s, c in everything}))}
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    stream = FeatureStream(
        audio,
        np.array([c.label for _, c in everything]),
        dataset.noise_part("training"),
        config.frontend,
        frames,
        config.train,
        unknown=dataset.unknown,
        words=np.array([names[s is extra, c.word] for s, c in everything]),
        extra=np.array([s is extra for s, _ in everything]),
        extra_share=config.data.extra_share,
        per_epoch=(round(mean_keyword * config.train.unknown_ratio), round(mean_keyword * config.train.silence_ratio)),
        workers=max(1, os.cpu_count() or 1),
    )
    return Prepared(dataset, extra, frames, stream, features_of(dataset, validation, config, frames))


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
