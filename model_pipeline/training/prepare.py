"""The data of a training: batches made of the training split, features of the validation split."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config, ScenesConfig
from model_pipeline.data import connected as negatives
from model_pipeline.data import noise as noises
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.data.corpora import Corpus, open_corpus
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.data.talk import is_made, synthesize_talk
from model_pipeline.data.transcripts import Sayings
from model_pipeline.data.voices import group_of
from model_pipeline.errors import KwsError
from model_pipeline.features import model_input
from model_pipeline.progress import ProgressCallback
from model_pipeline.training.augment import FeatureStream
from model_pipeline.training.mine import mine
from model_pipeline.training.pool import PART, Answer, Kept, Pool, PoolStream
from model_pipeline.training.records import (
    PrecomputedStream,
    ShardedDataset,
    ShardStream,
    is_sharded,
    read_index,
)
from model_pipeline.training.scenes import Scenes, Sounds, Speech, response
from model_pipeline.words import word_key

_READ = 2000  # clips read between two reports of progress


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
    corpora: list[dict[str, Any]] = field(default_factory=list)  # of the scenes, as `Corpus.describe` has them

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


def open_dataset(data: str | Path, config: Config) -> Dataset:
    """A data folder or a sharded set.

    Raises:
        KwsError: it is neither, or lacks a keyword.
    """
    if is_sharded(data):
        return ShardedDataset.open_set(data, read_index(data)["main"], config.keywords, config.data)
    return Dataset.open(data, config.keywords, config.data)


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
    frames = config.frontend.frames(CLIP_SAMPLES)
    clips = dataset.clips("training")
    counts = np.bincount([c.label for c in clips], minlength=len(config.labels))
    lacking = [word for word, count in zip(config.keywords, counts, strict=False) if not count]
    if lacking:
        raise KwsError(f"{data} has no training clips of {', '.join(lacking)}", hint=_cause(dataset, lacking[0]))
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    extra = extra_data(config, data, trained, report)
    noise = dataset.noise_part("training")

    def augmented(speech: Speech, share: float = 1.0) -> FeatureStream:
        ratios = config.train.unknown_ratio, config.train.silence_ratio
        return FeatureStream(
            speech.audio,
            speech.labels,
            noise,
            config.frontend,
            frames,
            config.train,
            config.augment,
            unknown=dataset.unknown,
            words=speech.names,
            extra=speech.synthetic,
            extra_share=config.data.extra_share,
            per_epoch=(round(mean_keyword * ratios[0] * share), round(mean_keyword * ratios[1] * share)),
            workers=max(1, os.cpu_count() or 1),
        )

    def block(audio: np.ndarray, some: list[tuple[bool, Clip]], share: float) -> FeatureStream:
        return augmented(_labelled(audio, some), share)

    stream: FeatureStream | PoolStream | ShardStream | PrecomputedStream
    made = read_index(data)["epochs"] if is_sharded(data) else None
    size = config.devices.buffer_clips or _quarter_of_memory()
    teacher: dict[str, Any] = {}
    prior: list[float] | None = None
    corpora: list[dict[str, Any]] = []
    if made:
        _check_made(made, config, data)
        stream, teacher = PrecomputedStream(data, made["files"], config, frames, size), made["teacher"]
        prior = made.get("prior")
    elif config.scenes.examples:
        heard_in = open_corpora(config, trained, report)
        corpora = [corpus.describe() for corpus in heard_in]
        pool = _pool(config, dataset, extra, heard_in, trained, report)
        stream = PoolStream([pool, *hard], config.train, config.augment, config.frontend, config.scenes.examples)
        teacher = pool.state().get("teacher", {})
        prior = stream.prior(len(config.labels))
    elif isinstance(dataset, ShardedDataset):
        report(0, 1, "reading the sharded set")
        sources = [source for source in (dataset, extra) if isinstance(source, ShardedDataset)]
        stream = ShardStream(sources, block, config.train.seed, size)
    else:
        stream = augmented(_speech(dataset, extra, report))
    heard = features_of(dataset, dataset.evaluation("validation"), config, frames)
    return Prepared(dataset, extra, frames, stream, teacher, heard, prior, corpora)


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


def _quarter_of_memory() -> int:
    """In clips."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1000, memory // 4 // (2 * CLIP_SAMPLES))


def _check_made(made: dict[str, Any], config: Config, data: str | Path) -> None:
    if made["labels"] != config.labels or made["frontend"] != config.frontend.model_dump(mode="json"):
        raise KwsError(
            f"the features in {data} were made for {', '.join(made['labels'])} with another front end or other labels",
            hint="kws data shard --epochs makes them for this configuration",
        )


def _speech(dataset: Dataset, extra: Dataset | None, report: ProgressCallback) -> Speech:
    """Every training clip of both."""
    sources = [(source, source.clips("training")) for source in (dataset, extra) if source]
    everything = [(source is extra, clip) for source, clips in sources for clip in clips]
    audio = np.empty((len(everything), CLIP_SAMPLES), np.int16)
    done = 0
    for source, clips in sources:
        # Shards are read from end to end, so once for all.
        step = max(1, len(clips)) if isinstance(source, ShardedDataset) else _READ
        for start in range(0, len(clips), step):
            report(done, len(everything), "reading audio")
            some = clips[start : start + step]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    return _labelled(audio, everything)


def _labelled(audio: np.ndarray, clips: Sequence[tuple[bool, Clip]]) -> Speech:
    """int16 [n, 16000] with its clips, each with whether it is of the extra data."""
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


def examples(
    config: Config, data: str | Path, trained: Path, keep: Kept, report: Callable[[int, int, str], None]
) -> Pool:
    """The examples of ``config.scenes`` without a teacher, in ``trained/pool`` or their own folder; ``heard.npy`` holds
    what ``keep`` makes of each.

    Raises:
        KwsError: as `prepare`.
    """
    dataset, extra = open_dataset(data, config), extra_data(config, data, trained, report)
    corpora = open_corpora(config, trained, report)
    pool, make = _making(config, dataset, extra, corpora, trained, report)
    make(count=config.scenes.examples, keep=keep)
    return pool


def _pool(
    config: Config,
    dataset: Dataset,
    extra: Dataset | None,
    corpora: Sequence[Corpus],
    trained: Path,
    report: ProgressCallback,
) -> Pool:
    """The examples of ``config.scenes`` in ``trained/pool`` or their own folder, made and taught where they are not
    there yet.

    Raises:
        KwsError: their own folder holds others.
    """
    c = config.scenes
    pool, make = _making(config, dataset, extra, corpora, trained, report)
    if c.teacher == "none":
        make(count=c.examples)
        return pool
    teach, heard = _teacher(c)
    make(count=_first(c), keep=heard)
    clips = dataset.evaluation("validation")
    judged = dataset.audio(clips), np.array([clip.label for clip in clips], np.int64)
    make(count=c.examples, answer=teach(pool, c, len(config.labels), judged, report), labels=len(config.labels))
    return pool


def _first(config: ScenesConfig) -> int:
    """The teacher learns from the first ones alone; it answers for the others while they are made. Of what a head needs
    so little is kept that it learns from all."""
    if config.teacher != "speech_embedding":
        return config.examples
    return min(config.examples, -(-config.teacher_examples // PART) * PART)


def _making(
    config: Config,
    dataset: Dataset,
    extra: Dataset | None,
    corpora: Sequence[Corpus],
    trained: Path,
    report: Callable[[int, int, str], None],
) -> tuple[Pool, Callable[..., None]]:
    """The pool of ``config.scenes``, and its `Pool.make` with all that does not change from call to call."""
    c = config.scenes
    recipe = {**c.recipe(), "examples": 0, "teacher_examples": _first(c) if c.teacher != "none" else 0}
    parts: list[Any] = [recipe, config.frontend.model_dump(mode="json"), config.keywords]
    parts += [d.content_hash() for d in (dataset, extra) if d]
    parts += [corpus.content_hash for corpus in corpora]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @functools.cache
    def scenes() -> Scenes:
        return _scenes(config, dataset, extra, corpora, report)

    pool = Pool(Path(c.folder) if c.folder else trained / "pool")
    make = functools.partial(
        pool.make,
        key,
        scenes=scenes,
        frontend=config.frontend,
        frames=config.frontend.frames(CLIP_SAMPLES),
        seed=c.seed,
        report=report,
        replace=not c.folder,  # its own folder may hold hours of work of another recipe
    )
    return pool, make


def _teacher(config: ScenesConfig) -> tuple[Callable[..., Answer], Kept]:
    """How ``config.teacher`` learns, and what of each example it learns from."""
    from model_pipeline.models import speech_embedding as embedding

    if config.teacher == "embedding_head":
        from model_pipeline.training import head

        return head.teach, Kept((embedding.POOLED,), np.float16, embedding.pooled)
    from model_pipeline.training import teacher

    return teacher.teach, Kept((embedding.FRAMES, embedding.BANDS), np.float16, embedding.features)


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


def hard_pool(
    config: Config,
    data: str | Path,
    trained: Path,
    number: int,
    logits: Callable[[np.ndarray], np.ndarray],
    report: ProgressCallback,
) -> Pool:
    """Examples of what a network falls for (`mine`) in round ``number``, in ``trained/hard<number>``, made and taught
    where they are not there yet.

    Raises:
        KwsError: there is no connected speech, or the network falls for none of it.
    """
    c = config.scenes
    pool = Pool(trained / f"hard{number}")
    if pool.state().get("taught") or (c.teacher == "none" and pool.state().get("made")):
        return pool
    dataset = open_dataset(data, config)
    frames = config.frontend.frames(CLIP_SAMPLES)
    scenes = _scenes(config, dataset, None, open_corpora(config, trained, report), report, clips=False)
    scenes.mine(lambda sounds: mine(logits, sounds, config.frontend, frames, config.mine.score, report))
    if not scenes.hard_places:
        raise KwsError("the network falls for none of the training speech", hint="--set mine.rounds=0")
    answer = None
    if c.teacher != "none":
        teach, _ = _teacher(c)
        main = Pool(Path(c.folder) if c.folder else trained / "pool")
        empty = np.zeros((0, CLIP_SAMPLES), np.int16), np.zeros(0, np.int64)
        answer = teach(main, c, len(config.labels), empty, report)
    pool.make(
        f"{scenes.hard_places} places",
        config.mine.examples[min(number, len(config.mine.examples)) - 1],
        lambda: scenes,
        config.frontend,
        frames,
        c.seed + 1000,
        report,
        answer=answer,
        labels=len(config.labels),
    )
    pool.note(taught=answer is not None, places=scenes.hard_places)
    return pool


def _scenes(
    config: Config,
    dataset: Dataset,
    extra: Dataset | None,
    corpora: Sequence[Corpus],
    report: ProgressCallback,
    *,
    clips: bool = True,
) -> Scenes:
    """``clips``: whether scenes of single words are wanted too, whose audio takes minutes to read."""
    c = config.scenes
    speech = _speech(dataset, extra, report) if clips else _labelled(np.zeros((0, CLIP_SAMPLES), np.int16), [])
    rng = np.random.default_rng([c.seed, 3])
    own = dataset.noise_part("training") + [noises.generate(kind, 30, rng) for kind in noises.KINDS]
    said = np.flatnonzero(~speech.synthetic)
    if not len(said):  # nothing was recorded: synthetic voices babble, without the keywords
        said = np.flatnonzero(speech.labels >= dataset.unknown)
    if clips:
        own.append(noises.babble(speech.audio[rng.permutation(said)[:400]], 60, rng))
    noise, connected = [Sounds(own)], list[Sounds]()
    rooms: list[list[np.ndarray]] = []
    sayings = Sayings(config.keywords) if any(corpus.transcribed for corpus in corpora) else None
    for corpus in corpora:
        audio = negatives.read([r.path for r in corpus.without("training", sayings)[0]], report)
        if not audio:
            continue
        sounds = Sounds(audio, corpus.config.weight, corpus.config.sure)
        if corpus.config.kind == "response":
            rooms.append([response(x) for x in audio])
        else:
            (noise if corpus.config.kind == "noise" else connected).append(sounds)
    often = np.ones(int(speech.names.max(initial=0)) + 1)
    for word, factor in c.often.items() if clips else ():
        first = next(
            (i for i, clip in enumerate(dataset.clips("training")) if word_key(clip.word) == word_key(word)), None
        )
        if first is not None:
            often[speech.names[first]] = factor
    return Scenes(speech, dataset.unknown, noise, connected, c, rooms, often)


def features_of(dataset: Dataset, clips: Sequence[Clip], config: Config, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, frames, channels] and labels int [n] of ``clips`` as they are."""
    features = np.empty((len(clips), frames, config.frontend.channels), np.int8)
    for start in range(0, len(clips), _READ):
        part = clips[start : start + _READ]
        features[start : start + len(part)] = model_input(dataset.audio(part), config.frontend, frames)
    return features, np.array([c.label for c in clips], np.int64)


def extra_data(config: Config, data: str | Path, trained: Path, report: ProgressCallback) -> Dataset | None:
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
    if not config.synth.made(made.get("settings")) or made.get("keywords") != config.keywords:
        synthesize(config, folder, report)
    return Dataset.open(folder, config.keywords)
