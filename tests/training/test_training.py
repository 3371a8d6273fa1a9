"""Training on several devices and workers, kills at any moment, and what is written on the way."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import DevicesConfig
from model_pipeline.errors import KwsError
from tests.support import tiny_data
from tests.support.tiny_net import SMALLEST

pytest.importorskip("tensorflow", reason="the training extra is not installed")

SETTINGS = [
    *SMALLEST,
    "train.batch=8",
    "train.learning_rate=0.01",
    "train.average=0.9",
    "augment.noise_probability=0.2",
]
# One thread: then TensorFlow adds in the same order each time.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


class Trainings:
    """Processes of `model_pipeline.train` on one tiny data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.running: list[subprocess.Popen] = []

    def start(self, out: Path, *settings: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "model_pipeline.train", "--config", "plain", "--data", str(self.data)]
        command += ["--out", str(out), *(f"--set={s}" for s in [*SETTINGS, *settings])]
        process = subprocess.Popen(
            command,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("training") / "data", speakers=10)


@pytest.fixture
def trainings(data: Path) -> Iterator[Trainings]:
    result = Trainings(data)
    yield result
    for process in result.running:
        process.kill()
        process.communicate()


def _done(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-2000:]


def _log(out: Path) -> list[dict[str, float]]:
    if not (out / "log.csv").exists():
        return []
    with (out / "log.csv").open(newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def _until(process: subprocess.Popen, out: Path, epochs: int) -> None:
    deadline = time.monotonic() + 240
    while len(_log(out)) < epochs and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _workers() -> list[dict[str, str]]:
    with socket.socket() as a, socket.socket() as b:
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in (a, b)]
    tasks = ({"type": "worker", "index": i} for i in range(2))
    return [{"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})} for task in tasks]


@pytest.mark.slow
def test_two_devices_and_two_workers_train_as_one(trainings: Trainings, tmp_path: Path) -> None:
    # Everything that a replica takes part in: dropout, normalisation, clipping, the average, a teacher.
    settings = ["train.epochs=2", "train.teacher_width=1", "train.teacher_epochs=1"]
    one, two, workers = tmp_path / "one", tmp_path / "two", tmp_path / "workers"
    running = [trainings.start(one, *settings), trainings.start(two, *settings, "devices.replicas=2")]
    running += [trainings.start(workers, *settings, **worker) for worker in _workers()]
    for process in running:
        _done(process)
    expected = np.array([row["loss"] for folder in (one, one / "teacher") for row in _log(folder)])
    assert len(expected) == 3
    for out in (two, workers):
        assert json.loads((out / "train.json").read_text())["replicas"] == 2
        found = [row["loss"] for folder in (out, out / "teacher") for row in _log(folder)]
        assert np.allclose(found, expected, rtol=1e-3), (found, expected)
        # The first 16 arrays are the network's; AdamW and normalisation blow rounding up.
        with np.load(one / "checkpoint.npz") as a, np.load(out / "checkpoint.npz") as b:
            assert all(np.allclose(a[f"v{i}"], b[f"v{i}"], atol=0.02) for i in range(16))
    # The second worker has written nothing, and both hold one checkpoint.
    assert [p.name for p in (tmp_path / "workers" / "worker-1").rglob("*.*")] == [".kws-made.json"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_other(trainings: Trainings, tmp_path: Path, victim: int) -> None:
    settings = ["train.epochs=5000", "devices.worker_deadline_s=45"]
    workers = [trainings.start(tmp_path / "out", *settings, **worker) for worker in _workers()]
    _until(workers[victim], tmp_path / "out", 2)
    workers[victim].kill()
    _, err = workers[1 - victim].communicate(timeout=240)
    assert workers[1 - victim].returncode in (1, -signal.SIGKILL), err[-2000:]  # an error, or the watchdog
    assert "another worker went away" in err and "start all workers again" in err


@pytest.mark.slow
def test_a_worker_that_never_comes_is_an_error(trainings: Trainings, tmp_path: Path) -> None:
    worker = trainings.start(tmp_path / "out", "devices.worker_deadline_s=5", **_workers()[0])
    _, err = worker.communicate(timeout=240)
    assert worker.returncode in (1, -signal.SIGKILL) and "another worker went away or never came" in err


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(trainings: Trainings, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = trainings.start(whole, "train.epochs=24", **ONE_THREAD)
    moments = random.Random()
    process = trainings.start(killed, "train.epochs=24", **ONE_THREAD)
    _until(process, killed, moments.randrange(1, 14))
    time.sleep(moments.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()
    _done(trainings.start(killed, "train.epochs=24", **ONE_THREAD))
    _done(uninterrupted)
    with np.load(whole / "checkpoint.npz") as a, np.load(killed / "checkpoint.npz") as b:
        assert a.files == b.files
        for name in a.files:
            if name != "state":
                assert np.array_equal(a[name], b[name]), name
        states = [json.loads(str(saved["state"])) for saved in (a, b)]
    assert states[0]["best_epoch"] == states[1]["best_epoch"] and states[0]["best"] == states[1]["best"]
    assert json.loads((killed / "train.json").read_text())["resumed_at"] >= 1
    columns = ("epoch", "loss", "validation_accuracy", "validation_loss", "learning_rate")
    assert [[r[c] for c in columns] for r in _log(whole)] == [[r[c] for c in columns] for r in _log(killed)]
    assert sorted(p.name for p in killed.iterdir() if ".part" not in p.name) == sorted(p.name for p in whole.iterdir())
    _tensorboard(whole, exactly=True)
    _tensorboard(killed, exactly=False)  # an epoch that was begun twice may be there twice


def _tensorboard(out: Path, exactly: bool) -> None:
    import tensorflow as tf

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((out / "tensorboard").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    columns = {tag: tag.replace(" ", "_") for tag in ("loss", "validation accuracy", "validation loss")}
    assert set(found) == {*columns, "learning rate", "steps per second"}
    log = _log(out)
    for tag, column in columns.items():
        assert dict(found[tag]) == pytest.approx({int(r["epoch"]): r[column] for r in log}, abs=1e-5)
        assert len(found[tag]) == len(log) if exactly else len(found[tag]) >= len(log)


@pytest.mark.parametrize(
    ("settings", "environment", "words"),
    [
        ({"strategy": "multiworker"}, "", "needs TF_CONFIG"),
        ({"strategy": "multiworker"}, "{", "TF_CONFIG is broken"),
        ({}, '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "not a worker of the"),
        ({}, '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "ps", "index": 0}}', "not a worker of the"),
    ],
)
def test_a_wrong_cluster_is_one_line(
    settings: dict, environment: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_pipeline.training.distribute import open_replicas

    monkeypatch.setenv("TF_CONFIG", environment)
    with pytest.raises(KwsError, match=words):
        open_replicas(DevicesConfig(**settings))


def test_a_batch_must_be_shared_out_evenly() -> None:
    import tensorflow as tf

    from model_pipeline.training.distribute import Replicas

    replicas = Replicas(tf.distribute.get_strategy())
    replicas.count = 3
    replicas.check_batch(99)
    with pytest.raises(KwsError, match="a batch of 100 can't be shared out evenly over 3 devices") as caught:
        replicas.check_batch(100)
    assert "train.batch=102" in caught.value.hint
