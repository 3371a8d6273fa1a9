"""What a training reads: its data folder or sharded set, data beside it, and corpora; the clips' audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.config import Config
from model_pipeline.data.corpora import Corpus, open_corpus
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.data.talk import is_made, synthesize_talk
from model_pipeline.data.voices import group_of
from model_pipeline.errors import KwsError
from model_pipeline.features import model_input
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import CLIP_MS
from model_pipeline.training.clips import Speech
from model_pipeline.training.index import is_sharded, read_index
from model_pipeline.training.records import ShardedDataset

_READ = 2000  # clips read between two reports of progress


@dataclass(frozen=True)
class Sources:
    """What examples are made of: the data, the data beside it, and the corpora of [scenes]."""

    dataset: Dataset
    extra: Dataset | None = None
    corpora: Sequence[Corpus] = ()


def open_dataset(data: str | Path, config: Config) -> Dataset:
    """A data folder or a sharded set.

    Raises:
        KwsError: it is neither, or lacks a keyword.
    """
    if is_sharded(data):
        return ShardedDataset.open_set(data, read_index(data).main, config.keywords, config.data)
    return Dataset.open(data, config.keywords, config.data)


def extra_data(config: Config, data: str | Path, trained: Path, report: ProgressCallback) -> Dataset | None:
    """What `DataConfig.extra` names: a folder, or for "synth" one that is made in ``trained/extra`` if it is not there
    yet. A sharded set has it in itself.

    Raises:
        KwsError: a sharded set was made without it.
    """
    if not config.data.extra:
        return None
    if is_sharded(data):
        entry = read_index(data).extra
        if entry is None:
            raise KwsError(
                f"{data} was made without extra data",
                hint='kws data shard with this configuration, or --set data.extra=""',
            )
        return ShardedDataset.open_set(data, entry, config.keywords, config.data)
    if config.data.extra != "synth":
        return Dataset.open(config.data.extra, config.keywords, clip_ms=config.data.clip_ms)
    folder = trained / "extra"
    made = read_description(folder) if folder.is_dir() else {}
    same = made.get("keywords") == config.keywords and made.get("clip_ms", CLIP_MS) == config.data.clip_ms
    if not same or not config.synth.made(made.get("settings")):
        synthesize(config, folder, report)
    return Dataset.open(folder, config.keywords, clip_ms=config.data.clip_ms)


def open_corpora(config: Config, trained: Path, report: ProgressCallback) -> list[Corpus]:
    """The corpora of ``config.scenes``; that of ``[talk]`` is made in ``trained/talk`` if it is not there yet.

    Raises:
        KwsError: one is not there, or [talk] has no sentences.
    """
    found = []
    for corpus in config.scenes.corpora:
        if corpus.folder != "talk":
            found.append(open_corpus(corpus))
            continue
        if not config.talk.sentences:
            raise KwsError(f"{corpus.name} is to be made, but talk.sentences is 0", hint="--set talk.sentences=2600")
        folder = Path(config.talk.folder) if config.talk.folder else trained / "talk"
        if not is_made(config, folder):
            synthesize_talk(config, folder, report)
        found.append(open_corpus(corpus.model_copy(update={"folder": str(folder / "training")})))
    return found


def read_speech(dataset: Dataset, extra: Dataset | None, report: ProgressCallback, least: int = 0) -> Speech:
    """Every training clip of both whose label is ``least`` or a later one."""
    sources = [
        (source, [clip for clip in source.clips("training") if clip.label >= least])
        for source in (dataset, extra)
        if source
    ]
    everything = [(source is extra, clip) for source, clips in sources for clip in clips]
    audio = np.empty((len(everything), dataset.clip_samples), np.int16)
    done = 0
    for source, clips in sources:
        # Shards are read from end to end, so once for all.
        step = max(1, len(clips)) if isinstance(source, ShardedDataset) else _READ
        for start in range(0, len(clips), step):
            report(done, len(everything), "reading audio")
            some = clips[start : start + step]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    return labelled(audio, everything)


def labelled(audio: np.ndarray, clips: Sequence[tuple[bool, Clip]]) -> Speech:
    """int16 [n, samples] with its clips, each with whether it is of the extra data."""
    synthetic = [made or group_of(c.speaker) != "people" for made, c in clips]
    # The same word of a synthesiser and of people counts as two: each is drawn by its own number of clips.
    named = [(made, c.word) for made, (_, c) in zip(synthetic, clips, strict=True)]
    names = {name: i for i, name in enumerate(sorted(set(named)))}
    return Speech(
        audio,
        np.array([c.label for _, c in clips], np.int64),
        np.array([names[name] for name in named], np.int64),
        np.array(synthetic, bool),
    )


def features_of(dataset: Dataset, clips: Sequence[Clip], config: Config, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, frames, channels] and labels int [n] of ``clips`` as they are."""
    features = np.empty((len(clips), frames, config.frontend.channels), np.int8)
    for start in range(0, len(clips), _READ):
        part = clips[start : start + _READ]
        features[start : start + len(part)] = model_input(dataset.audio(part), config.frontend, frames)
    return features, np.array([c.label for c in clips], np.int64)
