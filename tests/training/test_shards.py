"""Sharded data sets: written once, read as the folder is, and never all at once."""

from __future__ import annotations

import json
import resource
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.data.dataset import Clip, Dataset, labelled_clip
from model_pipeline.errors import KwsError
from tests.support import tiny_data

pytest.importorskip("tensorflow", reason="the training extra is not installed")

from model_pipeline.training.clips import FeatureStream, Speech
from model_pipeline.training.prepare import prepare
from model_pipeline.training.records import PrecomputedStream, ShardStream
from model_pipeline.training.shard import shard
from model_pipeline.training.sources import open_dataset

SETTINGS = ["name=tiny", 'keywords=["rise", "fall"]', "train.batch=5", "augment.spec_augment=false"]


def quiet(done: int, total: int, text: str) -> None:
    pass


@pytest.fixture(scope="module")
def config() -> Config:
    return with_settings(load_config("plain"), SETTINGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_data.make(tmp_path_factory.mktemp("sharding") / "data", speakers=20)
    noise = made / "_background_noise_"
    noise.mkdir()
    import soundfile

    hum = np.random.default_rng(2).normal(0, 0.02, 16000 * 11)
    soundfile.write(noise / "hum.flac", hum, 16000, subtype="PCM_16")
    return made


@pytest.fixture(scope="module")
def sharded(folder: Path, config: Config) -> Path:
    out = folder.parent / "sharded"
    result = shard(config, folder, out, per_shard=6)
    assert result.clips == {"training": 36, "validation": 12, "testing": 12} and result.kept == 0
    return out


def _epochs(config: Config, data: Path | str, first: int, last: int, *more: str) -> list[list]:
    stream = prepare(with_settings(config, list(more)), data, Path("/nonexistent"), quiet).stream
    return [list(epoch) for epoch in stream.epochs(first, last)]


def _same(a: list[list], b: list[list]) -> bool:
    pairs = zip([x for e in a for x in e], [x for e in b for x in e], strict=True)
    return all((x1 == x2).all() and (y1 == y2).all() for (x1, y1, *_), (x2, y2, *_) in pairs)


def test_a_sharded_set_holds_what_the_folder_holds(folder: Path, sharded: Path, config: Config) -> None:
    there, here = Dataset.open(folder, config.keywords), open_dataset(sharded, config)
    assert here.speech == there.speech and here.content_hash() == there.content_hash()
    for split in ("training", "validation", "testing"):
        assert here.evaluation(split) == there.evaluation(split)
        clips = there.evaluation(split)[::-1]
        assert (here.audio(clips) == there.audio(clips)).all()
    assert [name for name, _ in here.noise] == ["hum.flac"]
    assert (here.noise[0][1] == there.noise[0][1]).all()
    mine, theirs = here.summary(), there.summary()
    # What the lists' lines were is known where the lists are.
    own: dict[str, object] = {"folder": "", "lists": {}}
    assert mine.model_copy(update=own) == theirs.model_copy(update=own)
    index = json.loads((sharded / "index.json").read_text())
    assert len(index["main"]["shards"]["training"]) == 6 and index["main"]["speakers"]["training"] == 12


def test_a_set_of_clips_of_another_length_is_refused(
    folder: Path, sharded: Path, config: Config, tmp_path: Path
) -> None:
    longer = with_settings(config, ["data.clip_ms=1200"])
    with pytest.raises(KwsError, match="are 1000 ms long, and the network's window is 1200 ms"):
        open_dataset(sharded, longer)
    shard(longer, folder, tmp_path / "set")
    assert (
        open_dataset(tmp_path / "set", longer).audio(Dataset.open(folder, config.keywords).speech[:2]).shape[1] == 19200
    )
    with pytest.raises(KwsError, match="are 1200 ms long"):
        open_dataset(tmp_path / "set", config)


def test_a_set_that_fits_in_memory_trains_as_the_folder_does(folder: Path, sharded: Path, config: Config) -> None:
    assert _same(_epochs(config, folder, 0, 2), _epochs(config, f"file://{sharded}", 0, 2))


def test_a_set_that_does_not_fit_gives_each_keyword_clip_once_an_epoch(
    sharded: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    plain = FeatureStream.__init__

    def count(self: FeatureStream, speech: Speech, *a: object, **kw: object) -> None:
        drawn.extend(row.tobytes() for row in speech.audio[speech.labels < 2])
        plain(self, speech, *a, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureStream, "__init__", count)
    small = "devices.buffer_clips=24"
    epochs = _epochs(config, sharded, 0, 2, small, "train.batch=1")
    first = len(drawn) - 2 * 24  # the block that is read for its counts
    once = drawn[first : first + 24]
    assert len(set(once)) == 24 and set(once) == set(drawn[first + 24 :])
    assert once != drawn[first + 24 :]  # another order
    for epoch in epochs:
        labels = np.bincount(np.concatenate([y for _, y in epoch]))
        assert labels[:2].tolist() == [12, 12] and labels[2] >= 18 and labels[3] >= 9
    assert _same(epochs[1:], _epochs(config, sharded, 1, 2, small, "train.batch=1"))  # after a resume


class _Noisy(Dataset):
    """Clips that lie nowhere."""

    def audio(self, clips: Sequence[Clip]) -> np.ndarray:
        return np.random.default_rng(len(clips)).integers(-900, 900, (len(clips), 16000)).astype(np.int16)

    def content_hash(self) -> str:
        return "0"

    def description(self) -> dict:
        return {}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_bounded_by_the_buffer(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, buffer = 3000, 400
    names = [f"{word}/s{n:05d}_nohash_0.wav" for word in ("fall", "rise") for n in range(clips // 2)]
    speech = [labelled_clip(name, "training", config.keywords) for name in names]
    source = _Noisy(tmp_path, config.keywords, speech, 0, "lists")
    with monkeypatch.context() as patch:
        patch.setattr("model_pipeline.training.shard.open_dataset", lambda data, config: source)
        size = shard(config, "", tmp_path / "set", per_shard=50).bytes
    assert size > clips * 32000
    small = with_settings(config, [f"devices.buffer_clips={buffer}", "train.batch=100"])
    stream = prepare(small, tmp_path / "set", tmp_path, quiet).stream
    tracemalloc.start()
    inputs, resident = [], []
    try:
        for epoch in stream.epochs(0, 3):
            inputs.append(sum(len(x) for x, _ in epoch))
            resident.append(_resident())
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert min(inputs) > 0.8 * clips
    # NumPy's arrays: the buffer's 13 MB, noise, and what augmentation and the front end work on.
    assert held < size / 2, f"{held / 1e6:.0f} MB"
    # What TensorFlow holds besides no longer grows after an epoch.
    assert max(resident) - resident[0] < size / 3, [f"{r / 1e6:.0f} MB" for r in resident]


def test_an_interrupted_sharding_goes_on(folder: Path, sharded: Path, config: Config, tmp_path: Path) -> None:
    out = tmp_path / "set"

    def stop(done: int, total: int, text: str) -> None:
        if "validation" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard(config, folder, out, stop, per_shard=6)
    assert not out.exists()
    assert shard(config, folder, out, per_shard=6).kept == 7
    assert json.loads((out / "index.json").read_text()) == json.loads((sharded / "index.json").read_text())
    assert shard(config, folder, out, per_shard=9).kept == 0  # another plan; the old set is replaced
    assert len(list(out.glob("*training*"))) == 4 and not list(tmp_path.glob(".*"))


def test_features_made_ahead_are_those_of_the_stream(folder: Path, config: Config, tmp_path: Path) -> None:
    out = tmp_path / "set"
    shard(config, folder, out, epochs=2)
    made, fresh = _epochs(config, out, 0, 3), _epochs(config, folder, 0, 2, "train.batch=1")
    for epoch, original in zip(made[:2], fresh, strict=True):
        lines = {x.tobytes() + bytes([int(y)]) for xs, ys in original for x, y in zip(xs, ys, strict=True)}
        some = [x.tobytes() + bytes([int(y)]) for xs, ys, _ in epoch for x, y in zip(xs, ys, strict=True)]
        assert len(some) >= len(original) - 5 and set(some) <= lines
    assert not _same(made[:1], made[2:])  # the third is the first in another order
    with pytest.raises(KwsError, match="were made for rise, fall"):
        _epochs(config, out, 0, 1, "frontend.channels=20")


def test_extra_data_goes_into_the_set(folder: Path, config: Config, tmp_path: Path) -> None:
    other = tiny_data.make(tmp_path / "other", speakers=5)
    with_extra = with_settings(config, [f"data.extra={other}"])
    shard(with_extra, folder, tmp_path / "set")
    assert _same(_epochs(with_extra, folder, 0, 1), _epochs(with_extra, tmp_path / "set", 0, 1))


def test_a_broken_set_is_one_line(folder: Path, sharded: Path, config: Config, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="was made without extra data"):
        _epochs(config, sharded, 0, 1, "data.extra=synth")
    with pytest.raises(KwsError, match="no clips of gone"):
        open_dataset(sharded, with_settings(config, ['keywords=["rise", "gone"]']))
    with pytest.raises(KwsError, match="can't read file:///nowhere/"):
        open_dataset("file:///nowhere", config)
    with pytest.raises(KwsError, match="was not made by kws data shard"):
        shard(config, sharded, folder)
    out = tmp_path / "set"
    shard(config, sharded, out, per_shard=60)  # a set of a set
    file = next(out.glob("main-training*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(KwsError, match="set is broken"):
        _epochs(config, out, 0, 1)
    (out / "index.json").write_text('{"format": 9}')
    with pytest.raises(KwsError, match="not an index of format 1"):
        open_dataset(out, config)


def test_streams_know_their_size(sharded: Path, config: Config) -> None:
    stream = prepare(with_settings(config, ["devices.buffer_clips=24"]), sharded, Path("/nonexistent"), quiet).stream
    assert isinstance(stream, ShardStream) and not isinstance(stream, PrecomputedStream) and stream.blocks > 1
    steps = [len(list(epoch)) for epoch in stream.epochs(0, 3)]
    assert all(abs(n - stream.clips // 5) <= stream.blocks for n in steps)
