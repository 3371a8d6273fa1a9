"""The data of a training: batches made of the training split, features of the validation split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.described import UsedCorpus
from model_pipeline.errors import KwsError
from model_pipeline.models.base import Linear
from model_pipeline.progress import ProgressCallback
from model_pipeline.training import head
from model_pipeline.training.clips import FeatureStream, Speech
from model_pipeline.training.examples import taught_examples
from model_pipeline.training.index import MadeEpochs, is_sharded, read_index
from model_pipeline.training.pool import Pool, PoolStream
from model_pipeline.training.records import PrecomputedStream, ShardedDataset, ShardStream
from model_pipeline.training.sources import (
    Sources,
    extra_data,
    features_of,
    labelled,
    open_corpora,
    open_dataset,
    read_speech,
)


@dataclass
class Prepared:
    """What training and quantisation both need."""

    dataset: Dataset
    extra: Dataset | None
    frames: int
    stream: FeatureStream | PoolStream | ShardStream | PrecomputedStream
    teacher: dict[str, Any]  # what is known of the one that the examples' logits are of
    validation: tuple[np.ndarray, np.ndarray]  # int8 [n, frames, channels], int [n]
    prior: list[float] | None = None  # each label's share of the examples, where it is known
    corpora: list[UsedCorpus] = field(default_factory=list)  # of the scenes, as `Corpus.describe` has them
    head: Linear | None = None  # of the teacher, over the speech embedding as it is

    def shares(self, amount: float) -> np.ndarray | None:
        """What the labels' shares of the examples add to logits, times ``amount``: float32 [labels]; None for 0.

        Raises:
            KwsError: the shares are not known.
        """
        if not amount:
            return None
        if self.prior is None:
            raise KwsError(
                "train.balance and quantize.lean need [scenes]", hint="--set train.balance=0 --set quantize.lean=0"
            )
        return np.float32(amount) * np.log(np.maximum(self.prior, 1e-4), dtype=np.float32)


def prepare(
    config: Config,
    data: str | Path,
    trained: Path,
    report: ProgressCallback,
    hard: Sequence[Pool] = (),
) -> Prepared:
    """Opens the training split and reads the features of validation. ``trained`` is where extra data is made. ``hard``:
    examples beside those of the scenes.

    Raises:
        KwsError: no such data, or a keyword without training clips.
    """
    dataset = open_dataset(data, config)
    frames = config.frames
    clips = dataset.clips("training")
    counts = np.bincount([c.label for c in clips], minlength=len(config.labels))
    lacking = [word for word, count in zip(config.keywords, counts, strict=False) if not count]
    if lacking:
        raise KwsError(f"{data} has no training clips of {', '.join(lacking)}", hint=_cause(dataset, lacking[0]))
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    extra = extra_data(config, data, trained, report)
    noise = dataset.noise_part("training")

    def augmented(speech: Speech, share: float = 1.0) -> FeatureStream:
        c = config.train
        each = round(mean_keyword * c.unknown_ratio * share), round(mean_keyword * c.silence_ratio * share)
        return FeatureStream(speech, noise, config, each, workers=max(1, os.cpu_count() or 1))

    def block(audio: np.ndarray, some: list[tuple[bool, Clip]], share: float) -> FeatureStream:
        return augmented(labelled(audio, some), share)

    stream: FeatureStream | PoolStream | ShardStream | PrecomputedStream
    made = read_index(data).epochs if is_sharded(data) else None
    size = config.devices.buffer_clips or _quarter_of_memory(dataset.clip_samples)
    teacher: dict[str, Any] = {}
    prior: list[float] | None = None
    corpora: list[UsedCorpus] = []
    linear: Linear | None = None
    if made:
        _check_made(made, config, data)
        stream, teacher = PrecomputedStream(data, made.files, config, size), made.teacher
        prior = made.prior
    elif config.scenes.examples:
        heard_in = open_corpora(config, trained, report)
        corpora = [corpus.describe() for corpus in heard_in]
        pool = taught_examples(config, Sources(dataset, extra, heard_in), trained, report)
        stream = PoolStream([pool, *hard], config, config.scenes.examples)
        teacher = pool.state().get("teacher", {})
        prior = stream.prior(len(config.labels))
        if config.scenes.teacher == "embedding_head":
            linear = head.read(pool)
    elif isinstance(dataset, ShardedDataset):
        report(0, 1, "reading the sharded set")
        sources = [source for source in (dataset, extra) if isinstance(source, ShardedDataset)]
        stream = ShardStream(sources, block, config.train.seed, size)
    else:
        stream = augmented(read_speech(dataset, extra, report))
    heard = features_of(dataset, dataset.evaluation("validation"), config, frames)
    return Prepared(dataset, extra, frames, stream, teacher, heard, prior, corpora, linear)


def _cause(dataset: Dataset, word: str) -> str:
    """Why a keyword has no training clips, and what to do."""
    label = dataset.keywords.index(word)
    clips = [clip for clip in dataset.speech if clip.label == label]
    speakers, splits = {clip.speaker for clip in clips}, sorted({clip.split for clip in clips})
    where = f"all {len(clips)} clips of {word} are by {len(speakers)} speaker{'s'[: len(speakers) != 1]}"
    if dataset.rule == "lists":
        return f"{where}, and the folder's lists put them into {' and '.join(splits)}"
    return (
        f"{where}, whom the hash of the name puts into {' and '.join(splits)}: record others, or write "
        "validation_list.txt and testing_list.txt yourself"
    )


def _quarter_of_memory(samples: int) -> int:
    """In clips of ``samples``."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1000, memory // 4 // (2 * samples))


def _check_made(made: MadeEpochs, config: Config, data: str | Path) -> None:
    same = made.frontend == config.frontend.model_dump(mode="json") and made.clip_ms == config.data.clip_ms
    if made.labels != config.labels or not same:
        raise KwsError(
            f"the features in {data} were made for {', '.join(made.labels)} with another front end, other labels or "
            "another window",
            hint="kws data shard --epochs makes them for this configuration",
        )
