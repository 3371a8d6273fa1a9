"""Sharded data sets (`model_pipeline.training.shard` writes them), read from a folder or any URL of `tf.io.gfile`.

A set is ``index.json`` and TFRecord files of `tf.train.Example`. Of kind "audio" a record is a clip (``audio``: int16
little-endian, ``name``: word/file). Of kind "features" it is a ready input of one of the epochs that were made ahead
(``features``: int8, ``label``: int64, -1 for none, ``logits``: a teacher's, float32, or empty). Records of training lie
in random order, so that any few files are a fair sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from model_pipeline.config import Config, DataConfig
from model_pipeline.data.dataset import Clip, Dataset, labelled_clip
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.errors import KwsError
from model_pipeline.training.augment import vary
from model_pipeline.training.clips import FeatureStream
from model_pipeline.training.index import SetOfClips, Shard, first_line, join
from model_pipeline.training.pool import mixed, trusted

_BATCH = 64  # records taken from TensorFlow at a time

# int8 [n, frames, channels], labels int [n], and where a teacher was asked its logits float32 [n, labels]
Batch = tuple[np.ndarray, ...]
Batches = Iterator[Batch]


def read_records(place: str | Path, files: Sequence[str], schema: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    """The records of ``files`` in order, some at a time: each key of ``schema`` as an array [n].

    Raises:
        KwsError: a file is missing or broken.
    """
    paths = [join(place, file) for file in files]
    try:
        data = tf.data.TFRecordDataset(paths).batch(_BATCH).map(lambda rows: tf.io.parse_example(rows, schema))
        yield from data.prefetch(1).as_numpy_iterator()
    except tf.errors.OpError as error:
        raise KwsError(
            f"{place} is broken: {first_line(error)}", hint="copy the set again, or make it with kws data shard"
        ) from error


class ShardedDataset(Dataset):
    """As a data folder, but its clips lie in shards. Open it with `ShardedDataset.open_set`."""

    place: str | Path
    entry: SetOfClips

    @classmethod
    def open_set(
        cls, place: str | Path, entry: SetOfClips, keywords: Sequence[str], config: DataConfig
    ) -> ShardedDataset:
        """
        Args:
            entry: the part of the index that describes the clips: ``main`` or ``extra``.

        Raises:
            KwsError: a keyword has no clips, or clips are of another length than the network's window.
        """
        if entry.clip_ms != config.clip_ms:
            raise KwsError(
                f"the clips in {place} are {entry.clip_ms} ms long, and the network's window is {config.clip_ms} ms",
                hint=f"kws data shard makes it again; or --set data.clip_ms={entry.clip_ms}",
            )
        names = [(name, split) for split in SPLITS for name in entry.clips[split]]
        speech = [labelled_clip(name, split, keywords) for name, split in names]
        speech.sort(key=lambda clip: clip.name.split("/", 1))  # a folder's order
        have = {clip.label for clip in speech}
        missing = [word for label, word in enumerate(keywords) if label not in have]
        if missing:
            raise KwsError(f"{place} has no clips of {', '.join(missing)}")
        result = cls(Path(str(place)), list(keywords), speech, entry.unused, entry.split_rule, config)
        result.place, result.entry = place, entry
        return result

    def files(self, split: Split) -> list[tuple[str, int]]:
        """Name and number of records of each shard of a split."""
        return [(shard.file, shard.records) for shard in self.entry.shards[split]]

    def read(self, files: Sequence[str]) -> tuple[list[Clip], np.ndarray]:
        """All clips of some shards: the clips, and their audio int16 [n, clip_samples]."""
        counts = {shard.file: shard.records for shards in self.entry.shards.values() for shard in shards}
        audio = np.empty((sum(counts[file] for file in files), self.clip_samples), np.int16)
        clips: list[Clip] = []
        for rows in read_records(self.place, files, _CLIP):
            for name, samples in zip(rows["name"], rows["audio"], strict=True):
                audio[len(clips)] = np.frombuffer(samples, "<i2")
                clips.append(self._by_name[name.decode()])
        return clips, audio

    def audio(self, clips: Sequence[Clip]) -> np.ndarray:
        """See `Dataset.audio`. Reads the shards that hold the clips from end to end."""
        wanted = {clip.name: [] for clip in clips if clip.noise < 0}  # type: dict[str, list[int]]
        for row, clip in enumerate(clips):
            if clip.noise < 0:
                wanted[clip.name].append(row)
        result = np.empty((len(clips), self.clip_samples), np.int16)
        for rows in read_records(self.place, self._holding(wanted), _CLIP):
            for name, samples in zip(rows["name"], rows["audio"], strict=True):
                for row in wanted.get(name.decode(), ()):
                    result[row] = np.frombuffer(samples, "<i2")
        silent = [row for row, clip in enumerate(clips) if clip.noise >= 0]
        result[silent] = super().audio([clips[row] for row in silent])
        return result

    def _holding(self, names: Iterable[str]) -> list[str]:
        wanted, found = set(names), []
        for split in SPLITS:
            order, start = self.entry.clips[split], 0
            for file, count in self.files(split):
                if not wanted.isdisjoint(order[start : start + count]):
                    found.append(file)
                start += count
        return found

    @cached_property
    def _by_name(self) -> dict[str, Clip]:
        return {clip.name: clip for clip in self.speech}

    @cached_property
    def noise(self) -> list[tuple[str, np.ndarray]]:
        """See `Dataset.noise`."""
        files = [shard.file for shard in self.entry.noise]
        return [
            (name.decode(), np.frombuffer(samples, "<i2").astype(np.int16))
            for rows in read_records(self.place, files, _CLIP)
            for name, samples in zip(rows["name"], rows["audio"], strict=True)
        ]

    def content_hash(self) -> str:
        """That of the folder which the set was made of."""
        return self.entry.hash

    def description(self) -> dict[str, Any]:
        """See `Dataset.description`."""
        return self.entry.description


class ShardStream:
    """Augmented batches of a sharded set that need not fit in memory.

    At most ``buffer`` clips are held: half of them are being used while the next half is read. A set that fits is
    read once, and gives the very same batches as the folder that it was made of. The draw depends on seed, epoch and
    ``buffer`` alone.
    """

    def __init__(
        self,
        sources: Sequence[ShardedDataset],
        make: Callable[[np.ndarray, list[tuple[bool, Clip]], float], FeatureStream],
        seed: int,
        buffer: int,
    ) -> None:
        """
        Args:
            sources: the data, and perhaps the extra data.
            make: the batches of some clips: (int16 [n, samples], each clip and whether it is extra, their share of an
                epoch).
        """
        self.sources, self.make, self.seed = sources, make, seed
        self.shards = [source.files("training") for source in sources]
        self.total = sum(count for shards in self.shards for _, count in shards)
        largest = sum(max((count for _, count in shards), default=0) for shards in self.shards)
        # A block has at least a file of each source.
        self.blocks = 1 if self.total <= buffer else -(-self.total // max(1, buffer // 2 - largest))
        self.blocks = max(1, min(self.blocks, *(len(shards) for shards in self.shards if shards)))
        first = self._read(self._plan(0)[0])
        self._whole = first if self.blocks == 1 else None
        size = first.config.train.batch
        # Each block leaves out what is less than a batch.
        self._clips = first.clips if self._whole else self.blocks * (first.clips // size) * size

    @property
    def clips(self) -> int:
        """Clips in an epoch; about this number, where it is read in blocks."""
        return self._clips

    def representative(self, count: int) -> np.ndarray:
        """See `FeatureStream.representative`."""
        return (self._whole or self._read(self._plan(0)[0])).representative(count)

    def epochs(self, first: int, last: int) -> Iterator[Batches]:
        """See `FeatureStream.epochs`."""
        if self._whole:
            yield from self._whole.epochs(first, last)
            return
        with ThreadPoolExecutor(1) as pool:
            plans = [(n, b) for n in range(first, last) for b in range(self.blocks)]
            ahead: list[Future[FeatureStream]] = []

            def fetch() -> None:
                if plans:
                    number, block = plans.pop(0)
                    ahead.append(pool.submit(self._read, self._plan(number)[block]))

            def epoch(number: int) -> Batches:
                for block in range(self.blocks):
                    stream = ahead.pop().result()
                    fetch()
                    draw = number * self.blocks + block
                    for batches in stream.epochs(draw, draw + 1):
                        yield from batches

            fetch()
            try:
                for number in range(first, last):
                    yield epoch(number)
            finally:
                pool.shutdown(cancel_futures=True)

    def _plan(self, epoch: int) -> list[list[list[str]]]:
        """The files of each block and source."""
        rng = np.random.default_rng([self.seed, epoch, 0x5A])
        parts = []
        for shards in self.shards:
            files = [file for file, _ in shards]
            order = rng.permutation(len(files)) if self.blocks > 1 else np.arange(len(files))
            parts.append([[files[i] for i in some] for some in np.array_split(order, self.blocks)])
        return [list(block) for block in zip(*parts, strict=True)]

    def _read(self, files: list[list[str]]) -> FeatureStream:
        audio: list[np.ndarray] = []
        clips: list[tuple[bool, Clip]] = []
        for number, (source, some) in enumerate(zip(self.sources, files, strict=True)):
            found, samples = source.read(some)
            if self.blocks == 1:
                place = {clip.name: i for i, clip in enumerate(source.clips("training"))}
                order = np.argsort([place[clip.name] for clip in found])
                found, samples = [found[i] for i in order], samples[order]
            audio.append(samples)
            clips += [(number > 0, clip) for clip in found]
        return self.make(np.concatenate(audio) if len(audio) > 1 else audio[0], clips, len(clips) / max(1, self.total))


class PrecomputedStream:
    """Batches of a set of kind "features": its epochs by turns, each time in another order and with other masks
    (SpecAugment); at most ``buffer`` inputs are held."""

    def __init__(self, place: str | Path, made: list[list[Shard]], config: Config, buffer: int) -> None:
        """
        Args:
            made: the shards of each epoch, from the index.
        """
        self.place, self.epochs_made, self.config, self.buffer = place, made, config, buffer
        self.shape = (config.frames, config.frontend.channels)

    def representative(self, count: int) -> np.ndarray:
        """``count`` inputs for measuring ranges."""
        first = [shard.file for shard in self.epochs_made[0]]
        held = []
        for rows in read_records(self.place, first, _FEATURES):
            held.append(self._arrays([rows])[0])
            if sum(map(len, held)) >= count:
                break
        return np.concatenate(held)[:count]

    @property
    def clips(self) -> int:
        """Inputs in an epoch."""
        return min(sum(shard.records for shard in shards) for shards in self.epochs_made)

    def epochs(self, first: int, last: int) -> Iterator[Batches]:
        """See `FeatureStream.epochs`."""
        for number in range(first, last):
            yield self._epoch(number)

    def _epoch(self, number: int) -> Batches:
        settings, augment = self.config.train, self.config.augment
        rng = np.random.default_rng([settings.seed, number, 0x5A])
        shards = self.epochs_made[number % len(self.epochs_made)]
        files = [shards[i].file for i in rng.permutation(len(shards))]
        held: list[np.ndarray] = []  # less than a batch
        left = self.clips // settings.batch  # the same number of steps in every epoch
        for block in self._blocks(files):
            order = rng.permutation(len(block[0]))
            arrays = [a[order] for a in block]
            arrays = [np.concatenate(pair) for pair in zip(held, arrays, strict=True)] if held else arrays
            whole = min(left, len(arrays[0]) // settings.batch)
            for start in range(0, whole * settings.batch, settings.batch):
                features, labels, logits = (a[start : start + settings.batch] for a in arrays)
                features = vary(features, rng, augment, self.config.frontend)
                yield mixed((features, labels, logits), rng, augment)
            left -= whole
            held = [a[whole * settings.batch :] for a in arrays]

    def _blocks(self, files: Sequence[str]) -> Iterator[Batch]:
        held: list[dict[str, np.ndarray]] = []
        for rows in read_records(self.place, files, _FEATURES):
            held.append(rows)
            if sum(len(r["label"]) for r in held) >= self.buffer:
                yield self._arrays(held)
                held = []
        if held:
            yield self._arrays(held)

    def _arrays(self, held: list[dict[str, np.ndarray]]) -> Batch:
        def joined(key: str, dtype: type) -> np.ndarray:
            return np.frombuffer(b"".join(value for rows in held for value in rows[key]), dtype)

        labels = np.concatenate([rows["label"] for rows in held])
        logits = joined("logits", np.float32).reshape(len(labels), -1)
        if logits.shape[1]:
            labels = trusted(labels, logits, self.config.train.distrust)
        return joined("features", np.int8).reshape(-1, *self.shape).copy(), labels, logits


_CLIP = {"name": tf.io.FixedLenFeature([], tf.string), "audio": tf.io.FixedLenFeature([], tf.string)}
_FEATURES = {
    "features": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "logits": tf.io.FixedLenFeature([], tf.string),
}
