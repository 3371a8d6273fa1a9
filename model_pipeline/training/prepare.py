"""The data of a training: augmented batches of the training split, features of the validation split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from model_pipeline.augment import FeatureStream, model_input, silence_audio
from model_pipeline.config import Config
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError
from model_pipeline.training.records import (
    Batches,
    PrecomputedStream,
    ShardedDataset,
    ShardStream,
    is_sharded,
    read_index,
)

_READ = 2000  # clips read between two reports of progress


class Stream(Protocol):
    """Where the batches of training come from."""

    @property
    def clips(self) -> int:
        """Clips in an epoch."""

    def epochs(self, first: int, last: int) -> Iterator[Batches]:
        """One iterator of batches, int8 [batch, frames, channels] and int [batch], for each epoch from ``first`` to
        ``last`` - 1; the same for the same seed, wherever it begins."""


@dataclass
class Prepared:
    """What training and quantisation both need."""

    dataset: Dataset
    extra: Dataset | None
    frames: int
    stream: Stream
    validation: tuple[np.ndarray, np.ndarray]  # int8 [n, frames, channels], int [n]

    def examples(self, count: int) -> np.ndarray:
        """int8 [n, frames, channels]: ``count`` clips of training and some silence, all labels mixed, without
        augmentation (with it where the data set holds nothing else)."""
        stream = self.stream
        if isinstance(stream, PrecomputedStream):
            return np.concatenate([x for x, _ in next(stream.epochs(0, 1))])[:count]
        some = stream.sample if isinstance(stream, ShardStream) else stream
        assert isinstance(some, FeatureStream)
        rng = np.random.default_rng(7)
        index = rng.permutation(len(some.audio))[:count]
        silence = silence_audio(some.noise, max(1, len(index) // 10), rng)
        return model_input(np.concatenate([some.audio[index], silence]), some.frontend, some.frames)


def open_dataset(data: str | Path, config: Config) -> Dataset:
    """A data folder or a sharded set.

    Raises:
        KwsError: it is neither, or lacks a keyword.
    """
    if is_sharded(data):
        return ShardedDataset.open_set(data, read_index(data)["main"], config.keywords, config.data)
    return Dataset.open(data, config.keywords, config.data)


def prepare(config: Config, data: str | Path, trained: Path, report: Callable[[int, int, str], None]) -> Prepared:
    """Opens the training split and reads the features of validation. ``trained`` is where extra data is made.

    Raises:
        KwsError: no such data, or a keyword without training clips.
    """
    dataset = open_dataset(data, config)
    frames = config.frontend.frames(CLIP_SAMPLES)
    clips = dataset.clips("training")
    counts = np.bincount([c.label for c in clips], minlength=len(config.labels))
    lacking = [word for word, count in zip(config.keywords, counts, strict=False) if not count]
    if lacking:
        raise KwsError(f"{data} has no training clips of {', '.join(lacking)}")
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    extra = extra_data(config, data, trained, report)
    sources = [dataset, extra] if extra else [dataset]
    noise = dataset.noise_part("training")

    def make(audio: np.ndarray, some: Sequence[Clip], added: np.ndarray, share: float = 1.0) -> FeatureStream:
        # The same word of a synthesiser and of people counts as two: each is drawn by its own number of clips.
        words = [(bool(is_added), clip.word) for is_added, clip in zip(added, some, strict=True)]
        names = {name: i for i, name in enumerate(sorted(set(words)))}
        ratios = config.train.unknown_ratio, config.train.silence_ratio
        return FeatureStream(
            audio,
            np.array([clip.label for clip in some]),
            noise,
            config.frontend,
            frames,
            config.train,
            unknown=dataset.unknown,
            words=np.array([names[word] for word in words]),
            extra=added,
            extra_share=config.data.extra_share,
            per_epoch=(round(mean_keyword * ratios[0] * share), round(mean_keyword * ratios[1] * share)),
            workers=max(1, os.cpu_count() or 1),
        )

    stream: Stream
    if isinstance(dataset, ShardedDataset):
        report(0, 1, "reading the sharded set")
        made = read_index(data)["epochs"]
        size = config.train.buffer_clips or _quarter_of_memory()
        if made:
            _check_made(made, config, data)
            stream = PrecomputedStream(data, made["files"], config, frames, size)
        else:
            stream = ShardStream([s for s in sources if isinstance(s, ShardedDataset)], make, config.train.seed, size)
    else:
        stream = make(*_read_all(sources, report))
    validation = dataset.evaluation("validation")
    return Prepared(dataset, extra, frames, stream, features_of(dataset, validation, config, frames))


def _quarter_of_memory() -> int:
    """In clips."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1000, memory // 4 // (2 * CLIP_SAMPLES))


def _check_made(made: dict, config: Config, data: str | Path) -> None:
    if made["labels"] != config.labels or made["frontend"] != config.frontend.model_dump(mode="json"):
        raise KwsError(
            f"the features in {data} were made for {', '.join(made['labels'])} with another front end or other labels",
            hint="kws data shard --epochs makes them for this configuration",
        )


def _read_all(
    sources: Sequence[Dataset], report: Callable[[int, int, str], None]
) -> tuple[np.ndarray, list[Clip], np.ndarray]:
    """The training audio of folders: int16 [n, 16000], the clips, and which are of the second source: bool [n]."""
    parts = [source.clips("training") for source in sources]
    total = sum(len(part) for part in parts)
    audio = np.empty((total, CLIP_SAMPLES), np.int16)
    done = 0
    for source, part in zip(sources, parts, strict=True):
        for start in range(0, len(part), _READ):
            report(done, total, "reading audio")
            some = part[start : start + _READ]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    report(done, total, "reading audio")
    added = np.repeat(np.arange(len(parts)) > 0, [len(part) for part in parts])
    return audio, [clip for part in parts for clip in part], added


def features_of(dataset: Dataset, clips: Sequence[Clip], config: Config, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, frames, channels] and labels int [n] of ``clips`` as they are."""
    features = np.empty((len(clips), frames, config.frontend.channels), np.int8)
    for start in range(0, len(clips), _READ):
        part = clips[start : start + _READ]
        features[start : start + len(part)] = model_input(dataset.audio(part), config.frontend, frames)
    return features, np.array([c.label for c in clips], np.int64)


def extra_data(
    config: Config, data: str | Path, trained: Path, report: Callable[[int, int, str], None]
) -> Dataset | None:
    """What `DataConfig.extra` names: a folder, or for "synth" one that is made in ``trained/extra`` if it is not there
    yet. A sharded set has it in itself.

    Raises:
        KwsError: a sharded set was made without it.
    """
    if not config.data.extra:
        return None
    if is_sharded(data):
        entry = read_index(data)["extra"]
        if entry is None:
            raise KwsError(
                f"{data} was made without extra data",
                hint='kws data shard with this configuration, or --set data.extra=""',
            )
        return ShardedDataset.open_set(data, entry, config.keywords, config.data)
    if config.data.extra != "synth":
        return Dataset.open(config.data.extra, config.keywords)
    folder = trained / "extra"
    made = read_description(folder) if folder.is_dir() else {}
    if made.get("settings") != config.synth.model_dump(mode="json") or made.get("keywords") != config.keywords:
        synthesize(config, folder, report)
    return Dataset.open(folder, config.keywords)
