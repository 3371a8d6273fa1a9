"""What training reads of what it wrote may be anybody's: a network, a checkpoint, a summary, a sharded set's index."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from model_pipeline.config import load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.files import check_archive
from model_pipeline.models import network_of, speech_embedding
from model_pipeline.models.base import begin_with
from model_pipeline.models.load import load_network
from model_pipeline.quantize import load_trained
from model_pipeline.training.checkpoint import State, resume, save
from model_pipeline.training.distribute import open_replicas
from model_pipeline.training.index import read_index
from model_pipeline.training.trainer import Method, Trainer
from tests.tools.test_bounds import DAMAGED

CONFIG = with_settings(
    load_config("plain"),
    ["train.architecture=tcn", "train.shape.blocks=1", "train.shape.front=4", "train.shape.body=8"],
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "model.keras"
    network_of(CONFIG, "float", CONFIG.frontend.frames(16000))[0].save(path)
    return path


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def one_line(refused: pytest.ExceptionInfo[KwsError]) -> str:
    text = str(refused.value)
    assert text and "\n" not in text and len(text) < 1000 and refused.value.hint
    return text


def test_what_we_write_is_loaded(good: Path, tmp_path: Path) -> None:
    loaded, made = load_network(good), keras.saving.load_model(good, compile=False)
    for a, b in zip(loaded.get_weights(), made.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for form in ("folded", "qat"):
        network_of(CONFIG, form, CONFIG.frontend.frames(16000))[0].save(tmp_path / f"{form}.keras")
        load_network(tmp_path / f"{form}.keras")


def change(values: Any, layer: int, **to: Any) -> None:
    values["config"]["layers"][layer].update(to)


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None, "closure": None}}
HOSTILE: dict[str, Callable[[Any], None]] = {
    "a lambda layer": lambda v: change(v, 1, module="keras.layers", class_name="Lambda", registered_name="Lambda"),
    "a lambda's code": lambda v: v["config"]["layers"][1]["config"].update(activation=LAMBDA),
    "a function of a module": lambda v: v["config"]["layers"][1]["config"].update(
        activation={"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    ),
    "a class of another package": lambda v: change(v, 1, module="subprocess", class_name="Popen", registered_name=None),
    "another's registered class": lambda v: change(v, 1, registered_name="evil>Conv"),
    "a saved model elsewhere": lambda v: change(v, 1, module="keras.layers", class_name="TFSMLayer"),
    "a Torch module": lambda v: change(v, 1, module="keras.layers", class_name="TorchModuleWrapper"),
    "Keras's own helpers": lambda v: change(v, 1, module="keras.src.utils.file_utils", class_name="get_file"),
    "a layer of 10^9 filters": lambda v: v["config"]["layers"][1]["config"].update(filters=10**9),
    "an input of 10^12": lambda v: v["config"]["layers"][0]["config"].update(batch_shape=[None, 10**12, 40, 1]),
    "an unknown layer": lambda v: change(v, 1, module="keras.layers", class_name="None", registered_name=None),
    "no layers": lambda v: v["config"].update(layers=[]),
    "layers that are a number": lambda v: v["config"].update(layers=7),
    "no class": lambda v: v.pop("class_name"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_network_with_anything_else_in_it_is_one_line(good: Path, tmp_path: Path, what: str) -> None:
    members = parts(good)
    values = json.loads(members["config.json"])
    HOSTILE[what](values)
    path = pack(tmp_path / "model.keras", members | {"config.json": json.dumps(values).encode()})
    with pytest.raises(KwsError, match=r"model\.keras") as refused:
        load_network(path)
    one_line(refused)


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_description_of_a_network_is_one_line(good: Path, tmp_path: Path, what: str) -> None:
    path = pack(tmp_path / "model.keras", parts(good) | {"config.json": DAMAGED[what]})
    with pytest.raises(KwsError, match=r"model\.keras") as refused:
        load_network(path)
    one_line(refused)


def test_an_archive_that_is_none_of_ours_is_one_line(good: Path, tmp_path: Path) -> None:
    members = parts(good)
    path = tmp_path / "model.keras"
    for name in ("../evil", "/etc/evil", "a\\b", "assets/x", "model.weights.npz"):
        pack(path, {**members, name: b"x"})
        with pytest.raises(KwsError, match=r"model\.keras") as refused:
            load_network(path)
        one_line(refused)
    for name in members:
        pack(path, {other: content for other, content in members.items() if other != name})
        with pytest.raises(KwsError, match=name):
            load_network(path)
    for content in (b"", b"no zip", good.read_bytes()[:-500], good.read_bytes()[300:], b"PK\3\4" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(KwsError, match=r"model\.keras") as refused:
            load_network(path)
        one_line(refused)
    pack(path, members | {"model.weights.h5": members["model.weights.h5"][:3000]})
    with pytest.raises(KwsError, match=r"model\.keras") as refused:
        load_network(path)
    one_line(refused)
    with pytest.raises(KwsError, match=r"none\.keras"):
        load_network(tmp_path / "none.keras")
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def _with_weights(good: Path, path: Path, change: Callable[[h5py.File], None]) -> Path:
    members = parts(good)
    stream = io.BytesIO(members["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        change(file)
    return pack(path, members | {"model.weights.h5": stream.getvalue()})


def _first(file: h5py.File) -> tuple[h5py.Group, str]:
    found: list[str] = []
    file.visititems(lambda name, value: found.append(name) if isinstance(value, h5py.Dataset) else None)
    parent, _, name = found[0].rpartition("/")
    return file[parent], name


def _elsewhere(file: h5py.File) -> None:
    group, name = _first(file)
    shape = group[name].shape
    del group[name]
    group.create_dataset(name, shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    group, name = _first(file)
    layout = h5py.VirtualLayout(shape=group[name].shape, dtype="f4")
    layout[...] = h5py.VirtualSource("/tmp/other.h5", "x", shape=group[name].shape)
    del group[name]
    group.create_virtual_dataset(name, layout)


def _linked(link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group, name = _first(file)
        del group[name]
        group[name] = link

    return change


def _text(file: h5py.File) -> None:
    file.create_dataset("text", data=["a"], dtype=h5py.string_dtype())


def _huge(file: h5py.File) -> None:
    file.create_dataset("huge", (1 << 40,), "f4", chunks=(1 << 20,))


def _loop(file: h5py.File) -> None:
    file["loop"] = file["/"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_elsewhere, "lies elsewhere"),
        (_virtual, "lies elsewhere"),
        (_linked(h5py.ExternalLink("/tmp/other.h5", "/x")), "lies elsewhere"),
        (_linked(h5py.SoftLink("/x")), "lies elsewhere"),
        (_text, "not an array of numbers"),
        (_huge, "too large"),
        (_loop, "twice"),
    ],
)
def test_weights_are_numbers_of_the_file_itself(
    good: Path, tmp_path: Path, change: Callable[[h5py.File], None], said: str
) -> None:
    path = _with_weights(good, tmp_path / "model.keras", change)
    with pytest.raises(KwsError, match=said) as refused:
        load_network(path)
    one_line(refused)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(good: Path, tmp_path: Path) -> None:
    path = pack(tmp_path / "model.keras", parts(good) | {"config.json": bytes(64 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(KwsError, match="more than"):
        load_network(path)
    with pytest.raises(ValueError, match="unpacks to"):
        check_archive(path, 1 << 20)
    twice = tmp_path / "twice.keras"
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
        archive.writestr("config.json", b"{}")
    with pytest.raises(KwsError, match="twice"):
        load_network(twice)


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_summary_of_a_training_is_one_line(good: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "model.keras").write_bytes(good.read_bytes())
    (tmp_path / "train.json").write_bytes(DAMAGED[what])
    with pytest.raises(KwsError, match=r"train\.json") as refused:
        load_trained(CONFIG, tmp_path)
    one_line(refused)


@pytest.mark.parametrize(
    "change", [{"labels": 7}, {"labels": [1]}, {"architecture": None}, {"macs": "many"}, {"parameters": 1.5}]
)
def test_a_summary_of_other_things_is_one_line(good: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"labels": CONFIG.labels, "architecture": "tcn", "macs": 1, "parameters": 1, "frames": 49}
    whole |= {"data_hash": "", "best_epoch": 1, "validation_accuracy": 0.5, "epochs": 1}
    (tmp_path / "model.keras").write_bytes(good.read_bytes())
    (tmp_path / "train.json").write_text(json.dumps(whole))
    load_trained(CONFIG, tmp_path)
    (tmp_path / "train.json").write_text(json.dumps(whole | change))
    with pytest.raises(KwsError) as refused:
        load_trained(CONFIG, tmp_path)
    one_line(refused)


def trainer() -> Trainer:
    model = network_of(CONFIG, "float", CONFIG.frontend.frames(16000))[0]
    return Trainer(model, 1.0, Method(1e-3, average=0.9))


def test_a_damaged_checkpoint_is_one_line(good: Path, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(good.read_bytes())
    path, ours, replicas = tmp_path / "checkpoint.npz", trainer(), open_replicas(CONFIG.devices)
    state: dict[str, Any] = {"epoch": 2, "best": 0.5, "least": 0.7, "best_epoch": 1, "log": ["1,2"], "seconds": 3.0}
    save(path, "key", ours, State(**state))
    assert resume(path, "key", ours, replicas) == State(**state)
    assert resume(path, "another", ours, replicas).epoch == 0
    members = parts(path)
    before = [np.asarray(v) for v in ours.variables()]

    def array(value: object) -> bytes:
        stream = io.BytesIO()
        np.save(stream, np.array(value))
        return stream.getvalue()

    def says(**to: object) -> dict[str, bytes]:
        return members | {"state.npy": array(json.dumps(state | to))}

    nan = np.full(before[0].shape, np.nan, np.float32)
    for broken in (
        says(epoch="2"),
        says(epoch=None),
        says(best_epoch=9),
        says(best_epoch=-1),
        says(log=7),
        says(log=[1]),
        says(least="x"),
        says(best=[]),
        members | {"state.npy": array("[" * 100_000)},
        members | {"state.npy": array("[]")},
        members | {"state.npy": b"no array"},
        members | {"v0.npy": array(np.zeros((3, 3)))},
        members | {"v0.npy": array("text")},
        members | {"v0.npy": array(nan)},
        members | {"v0.npy": members["v0.npy"][:-8]},
        {name: content for name, content in members.items() if name != "v1.npy"},
        members | {"more.npy": bytes(200 << 20)},
    ):
        pack(path, broken)
        with pytest.raises(KwsError, match=r"checkpoint\.npz is broken") as refused:
            resume(path, "key", ours, replicas)
        one_line(refused)
        for a, b in zip(before, ours.variables(), strict=True):
            np.testing.assert_array_equal(a, np.asarray(b))
    for content in (b"", b"PK", path.read_bytes()[:200]):
        path.write_bytes(content)
        if content:
            with pytest.raises(KwsError, match="is broken"):
                resume(path, "key", ours, replicas)
        else:
            assert resume(path, "key", ours, replicas).epoch == 0


def test_a_base_that_is_none_is_one_line(tmp_path: Path) -> None:
    model = network_of(CONFIG, "float", CONFIG.frontend.frames(16000))[0]
    for content in (b"", b"PK\3\4", b"\x80\x04K\x01."):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(KwsError, match="holds no weights"):
            begin_with(tmp_path / "x.npz", model)
    np.savez(tmp_path / "x.npz", evil=np.array([object()], dtype=object))
    with pytest.raises(KwsError, match="holds no weights"):
        begin_with(tmp_path / "x.npz", model)


def index() -> dict[str, Any]:
    shard = {"file": "main-training-00000-of-00001.tfrecord", "records": 2, "bytes": 9, "sha256": "0" * 64}
    splits = {split: [] for split in ("training", "validation", "testing")}
    main: dict[str, Any] = {
        "hash": "h",
        "split_rule": "hash",
        "unused": 0,
        "description": {},
        "words": {},
        "speakers": {},
    }
    main |= {"noise": [], "shards": splits | {"training": [shard]}, "clips": splits | {"training": ["yes/a.wav"]}}
    return {"format": 1, "main": main, "extra": None, "epochs": None}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_index_is_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "index.json").write_bytes(DAMAGED[what])
    with pytest.raises(KwsError, match=r"index\.json") as refused:
        read_index(tmp_path)
    one_line(refused)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file", "../../etc/passwd.tfrecord"),
        ("file", "/abs.tfrecord"),
        ("file", "gs://bucket/x.tfrecord"),
        ("file", "x"),
        ("file", 7),
        ("records", -1),
        ("records", 1e9),
        ("records", 1 << 60),
        ("records", None),
    ],
)
def test_an_index_names_files_of_its_own_set_alone(tmp_path: Path, key: str, value: object) -> None:
    good = index()
    (tmp_path / "index.json").write_text(json.dumps(good))
    assert read_index(tmp_path).model_dump(mode="json") == good
    good["main"]["shards"]["training"][0][key] = value
    (tmp_path / "index.json").write_text(json.dumps(good))
    with pytest.raises(KwsError, match=r"index\.json") as refused:
        read_index(tmp_path)
    one_line(refused)


@pytest.mark.parametrize(
    "key", ["hash", "split_rule", "unused", "description", "words", "speakers", "noise", "shards", "clips"]
)
def test_an_index_that_lacks_something_says_what(tmp_path: Path, key: str) -> None:
    values = index()
    del values["main"][key]
    (tmp_path / "index.json").write_text(json.dumps(values))
    with pytest.raises(KwsError, match=f"main.{key}"):
        read_index(tmp_path)


def test_the_names_of_our_layers_are_those_that_keras_writes() -> None:
    assert speech_embedding._Activation.__module__ == "model_pipeline.models.speech_embedding"
