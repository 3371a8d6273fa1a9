"""Makes a sharded data set: the clips of a data folder in TFRecord files that training reads from end to end.

    python -m model_pipeline.training.shard --config default --data DIR --out DIR

See `model_pipeline.training.records` for what is in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import model_pipeline.quiet  # noqa: F401

# isort: split

import numpy as np
import tensorflow as tf

from model_pipeline.config import Config
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, read_json, sha256_file, write_json
from model_pipeline.folders import check_replaceable, finish_dir, real_path, refuse_overlap
from model_pipeline.outcomes import Sharded
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.rate import CLIP_MS
from model_pipeline.training.augment import UNVARIED
from model_pipeline.training.index import FORMAT, INDEX, Index, MadeEpochs, SetOfClips, Shard
from model_pipeline.training.prepare import prepare
from model_pipeline.training.sources import extra_data, open_dataset

KIND = "kws data shard"
PER_SHARD = 3000  # clips of 32 KB: files of about 100 MB
_SMALLER = 16  # a ready input is this many times smaller than a clip
_READ = 500  # clips held while a shard is written


def shard(
    config: Config,
    data: str | Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    per_shard: int = PER_SHARD,
    epochs: int = 0,
) -> Sharded:
    """Writes the clips of ``data``, with its noise and the configuration's extra data, as sharded set ``out``.

    Shards that an interrupted call left whole are kept; ``out`` appears when all is there.

    Args:
        per_shard: clips of a file.
        epochs: how many epochs of training are augmented and turned into features ahead; 0: the audio is kept, and
            training augments it afresh in each epoch.

    Raises:
        KwsError: no such data, a clip that can't be read, something else at ``out``, or a full disk.
    """
    report = progress or silent
    check_replaceable(out, KIND, sources=[data], ours=_ours)
    target = real_path(out)
    stage = target.with_name(f".{target.name}.sharding")
    refuse_overlap(stage, [data])
    stage.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(data, config)
    extra = extra_data(config, data, stage, report)
    sources = {"main": dataset, "extra": extra} if extra else {"main": dataset}
    _keep_of(stage, config, sources, per_shard, epochs)
    writer = _Writer(stage, sum(len(s.speech) for s in sources.values()), report)
    splits = [s for s in SPLITS if s != "training" or not epochs]
    clips = {name: _write_clips(writer, name, source, splits, per_shard) for name, source in sources.items()}
    made = _write_epochs(writer, config, data, stage, epochs, per_shard * _SMALLER) if epochs else None
    index = Index(main=clips["main"], extra=clips.get("extra"), epochs=made)
    write_json(stage / INDEX, index.model_dump(mode="json"))
    (stage / _PLAN).unlink()
    for folder in ("extra", "pool"):  # what the shards were made of
        shutil.rmtree(stage / folder, ignore_errors=True)
    finish_dir(stage, out, KIND, ours=_ours)
    main = dataset.summary().splits
    return Sharded(
        clips={split: values.clips for split, values in main.items()},
        speakers={split: values.speakers for split, values in main.items()},
        extra=len(extra.speech) if extra else 0,
        epochs=epochs,
        files=writer.files,
        kept=writer.kept,
        bytes=writer.bytes,
    )


class _Writer:
    def __init__(self, folder: Path, clips: int, report: ProgressCallback) -> None:
        self.folder, self.report, self.clips = folder, report, clips
        self.files = self.kept = self.bytes = self.done = 0

    def write(self, file: str, count: int, examples: Iterable[bytes]) -> Shard:
        """Writes ``count`` records unless the file is there already, and gives its line of the index."""
        path = self.folder / file
        if path.exists():
            self.kept += 1
        else:
            try:
                with atomic_path(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
                    for example in examples:
                        writer.write(example)
            except tf.errors.OpError as error:
                raise KwsError(f"can't write {path}: {error.message}", hint="is the disk full?") from error
        self.files += 1
        self.bytes += path.stat().st_size
        self.done += count
        self.report(min(self.done, self.clips), self.clips, file)
        return Shard(file=file, records=count, bytes=path.stat().st_size, sha256=sha256_file(path))


def _write_clips(writer: _Writer, name: str, source: Dataset, splits: Sequence[Split], per_shard: int) -> SetOfClips:
    shards: dict[Split, list[Shard]] = {split: [] for split in SPLITS}
    order: dict[Split, list[str]] = {}
    for split in SPLITS:
        clips = source.clips(split)
        if split == "training":
            clips = [clips[i] for i in np.random.default_rng(2027).permutation(len(clips))]
        order[split] = [clip.name for clip in clips]
        parts = np.array_split(np.arange(len(clips)), -(-len(clips) // per_shard)) if clips and split in splits else []
        for number, part in enumerate(parts):
            some = [clips[i] for i in part]

            def examples(some: Sequence[Clip] = some) -> Iterator[bytes]:
                for start in range(0, len(some), _READ):
                    few = some[start : start + _READ]
                    for clip, samples in zip(few, source.audio(few), strict=True):
                        yield _clip_example(clip.name, samples)

            file = f"{name}-{split}-{number:05d}-of-{len(parts):05d}.tfrecord"
            shards[split].append(writer.write(file, len(some), examples()))
    noise = (_clip_example(noise_name, samples) for noise_name, samples in source.noise)
    speakers: Counter[str] = Counter(clip.split for clip in {(c.speaker, c.split): c for c in source.speech}.values())
    return SetOfClips(
        hash=source.content_hash(),
        clip_ms=source.config.clip_ms,
        split_rule=source.rule,
        unused=source.unused,
        description=source.description(),
        words={s: dict(sorted(Counter(c.word for c in source.clips(s)).items())) for s in SPLITS},
        speakers=dict(speakers),
        noise=[writer.write(f"{name}-noise.tfrecord", len(source.noise), noise)] if name == "main" else [],
        shards=shards,
        clips=order,
    )


def _write_epochs(
    writer: _Writer, config: Config, data: str | Path, stage: Path, epochs: int, per_shard: int
) -> MadeEpochs:
    # What is drawn and judged when the inputs are used is not done here.
    train = config.train.model_copy(update={"distrust": 0.0, "batch": 100})
    plain = config.model_copy(update={"train": train, "augment": config.augment.model_copy(update=UNVARIED)})
    prepared = prepare(plain, data, stage, writer.report)
    writer.done, writer.clips = 0, prepared.stream.clips * epochs
    files: list[list[Shard]] = []
    for number in range(epochs):
        note = stage / f"epoch{number:04d}.json"  # this epoch is whole
        if not _kept(note, "files"):
            for file in stage.glob(f"epoch{number:04d}-*"):
                file.unlink()
            made: list[Shard] = []
            for rows in _groups(prepared.stream.epochs(number, number + 1), per_shard):
                name = f"epoch{number:04d}-{len(made):05d}.tfrecord"
                made.append(writer.write(name, len(rows), rows))
            write_json(note, {"files": [shard.model_dump() for shard in made]})
        files.append([Shard.model_validate(values) for values in _kept(note, "files") or []])
        writer.done = prepared.stream.clips * (number + 1)
    for number in range(epochs):
        (stage / f"epoch{number:04d}.json").unlink()
    return MadeEpochs(
        labels=config.labels,
        frontend=config.frontend.model_dump(mode="json"),
        clip_ms=config.data.clip_ms,
        recipe=config.recipe(),
        teacher=prepared.teacher,
        prior=prepared.prior,
        files=files,
    )


def _groups(epochs: Iterable[Iterable[tuple[np.ndarray, ...]]], size: int) -> Iterator[list[bytes]]:
    """The inputs of an epoch as records, ``size`` at a time."""
    held: list[bytes] = []
    for batches in epochs:
        for x, y, *taught in batches:
            logits = taught[0] if taught else np.zeros((len(y), 0), np.float32)
            for row, label, said in zip(x, y, logits, strict=True):
                values = {"features": _bytes(row.tobytes()), "label": _integer(int(label))}
                held.append(_example({**values, "logits": _bytes(said.astype("<f4").tobytes())}))
                if len(held) == size:
                    yield held
                    held = []
    if held:
        yield held


def _clip_example(name: str, samples: np.ndarray) -> bytes:
    return _example({"name": _bytes(name.encode()), "audio": _bytes(samples.astype("<i2").tobytes())})


def _example(features: dict[str, tf.train.Feature]) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integer(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


_PLAN = "plan.json"


def _keep_of(stage: Path, config: Config, sources: dict[str, Dataset], per_shard: int, epochs: int) -> None:
    """Removes what an interrupted call left of another set."""
    made: list[object] = []
    if epochs:
        made = [config.frontend.model_dump(mode="json"), config.recipe(), config.scenes.recipe(), config.labels]
    if config.data.clip_ms != CLIP_MS:
        made.append(config.data.clip_ms)
    text = json.dumps([FORMAT, {n: s.content_hash() for n, s in sources.items()}, per_shard, epochs, made])
    plan = {"plan": hashlib.sha256(text.encode()).hexdigest()}
    path = stage / _PLAN
    if _kept(path, "plan") != plan["plan"]:
        for file in (*stage.glob("*.tfrecord"), *stage.glob("epoch*.json")):
            file.unlink()
        write_json(path, plan)


def _kept(path: Path, key: str) -> Any:
    """What an interrupted call noted; None if that is nothing, or damaged: then it is made again."""
    try:
        return read_json(path).get(key)
    except (FileNotFoundError, KwsError):
        return None


def _ours(folder: Path) -> bool:
    """A sharded set of before there were marks."""
    names = {p.name for p in folder.iterdir()}
    return INDEX in names and all(name == INDEX or name.endswith(".tfrecord") for name in names)


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    parser = child.parser("Make a sharded data set.", "data", "out")
    parser.add_argument("--per-shard", type=int, default=PER_SHARD)
    parser.add_argument("--epochs", type=int, default=0)
    a = parser.parse_args(argv)
    return child.main(
        a,
        lambda progress: shard(
            child.config_of(a), a.data, Path(a.out), progress, per_shard=a.per_shard, epochs=a.epochs
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
