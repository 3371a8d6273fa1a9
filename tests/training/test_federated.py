"""Federated training: clients by speaker, uploads, and Flower's rounds against a plain loop."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from host_tools.records.find import Found, below
from host_tools.records.find import read as read_run
from model_pipeline.config import Config, FederateConfig, load_config, with_settings
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.errors import KwsError
from model_pipeline.native import ROOT
from model_pipeline.progress import silent
from tests.support import tiny_data

pytest.importorskip("tensorflow", reason="the training extra is not installed")

from model_pipeline.federated import upload
from model_pipeline.federated.clients import Client, Household, chosen, examples_of, split
from model_pipeline.federated.local import Learner
from model_pipeline.training.clips import Speech
from tests.support.tiny_net import SMALLEST

SETTINGS = [
    *SMALLEST,
    "federate.rounds=3",
    "federate.fraction=0.5",
    "federate.speakers_per_client=2",
    "federate.batch=4",
]


def config(*more: str) -> Config:
    return with_settings(load_config("plain"), [*SETTINGS, *more]).of_clips()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("federated") / "data", speakers=15)


def _clips(speakers: int, each: int) -> list[Clip]:
    return [
        Clip(f"w{i % 3}/s{s}_nohash_{i}.wav", i % 3, f"w{i % 3}", f"s{s}", "training")
        for s in range(speakers)
        for i in range(each)
    ]


def test_every_speaker_is_of_one_client_and_keeps_all_clips() -> None:
    clips = _clips(11, 4)
    clients = split(clips, FederateConfig(speakers_per_client=3), 2)
    assert [len(c.speakers) for c in clients] == [3, 3, 3, 2]
    assert sorted(s for c in clients for s in c.speakers) == sorted({c.speaker for c in clips})
    assert sorted(i for c in clients for i in c.clips) == list(range(len(clips)))
    for client in clients:
        assert {clips[i].speaker for i in client.clips} == set(client.speakers)
    assert clients == split(clips, FederateConfig(speakers_per_client=3), 2)
    assert clients != split(clips, FederateConfig(speakers_per_client=3, seed=2), 2)


def test_a_client_of_one_keyword_has_no_clip_of_the_other() -> None:
    clips = _clips(6, 9)
    for client in split(clips, FederateConfig(keywords_per_client=1), 2):
        labels = {clips[i].label for i in client.clips}
        assert 2 in labels, "other words stay"
        assert len(labels - {2}) == 1


def test_one_speaker_is_no_federation() -> None:
    with pytest.raises(KwsError, match="1 speakers"):
        split(_clips(1, 4), FederateConfig(), 2)


def test_rounds_draw_other_clients_and_always_the_same() -> None:
    s = FederateConfig(fraction=0.2)
    drawn = [chosen(list(range(20)), s, number) for number in range(1, 20)]
    assert all(len(set(d)) == 4 and d == sorted(d) for d in drawn)
    assert len({tuple(d) for d in drawn}) > 10
    assert drawn == [chosen(list(range(20)), s, number) for number in range(1, 20)]
    assert len(chosen(list(range(20)), FederateConfig(fraction=0.001), 1)) == 2, "one client is not a mean"


def test_settings_that_do_not_go_together() -> None:
    for values in (
        {"clip": 1.0},
        {"clip": 1.0, "noise": 1.0, "strategy": "fedadam"},
        {"secure": True},
        {"secure": True, "upload": "float32", "clip": 1.0, "noise": 1.0},
    ):
        with pytest.raises(ValidationError):
            FederateConfig.model_validate(values)


SHAPES = [(3, 4), (5,), (2, 2, 3), ()]


def _arrays(rng: np.random.Generator, spread: float) -> list[np.ndarray]:
    return [np.asarray(rng.normal(0, spread, shape), np.float32) for shape in SHAPES]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 1.0, 1e4]))
def test_int8_is_off_by_less_than_a_step_and_float32_by_nothing(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    start = _arrays(rng, 1.0)
    end = [np.asarray(a + d, np.float32) for a, d in zip(start, _arrays(rng, spread), strict=True)]
    plain = upload.decode(start, upload.encode(start, end, "float32", 0.1, rng), "float32")
    assert all(np.array_equal(a, b) for a, b in zip(plain, end, strict=True))
    sent = upload.encode(start, end, "int8", 0.1, rng)
    assert len(sent) == sum(math.prod(shape) + 4 for shape in SHAPES)
    for before, after, got in zip(start, end, upload.decode(start, sent, "int8"), strict=True):
        step = np.abs(after - before).max(initial=0) / 127
        assert np.all(np.abs(got - after) <= step * 1.001 + np.spacing(np.abs(after)) * 2)


def test_int8_is_right_on_average() -> None:
    start, end = [np.zeros(2, np.float32)], [np.array([1.27, 0.0034], np.float32)]
    got = [
        upload.decode(start, upload.encode(start, end, "int8", 0.1, np.random.default_rng(i)), "int8")[0][1]
        for i in range(2000)
    ]
    assert set(np.round(got, 5)) == {0.0, np.float32(0.01)}
    assert abs(float(np.mean(got)) - 0.0034) < 0.0005


@given(st.integers(0, 2**32 - 1), st.integers(1, 70_000), st.floats(0.001, 1))
@settings(max_examples=40)
def test_topk_sends_the_largest(seed: int, size: int, top: float) -> None:
    rng = np.random.default_rng(seed)
    start, delta = [np.zeros(size, np.float32)], rng.normal(0, 1, size).astype(np.float32)
    sent = upload.encode(start, [delta], "topk", top, rng)
    got = upload.decode(start, sent, "topk")[0]
    count = max(1, round(top * size))
    kept = np.flatnonzero(got)
    assert len(kept) <= count
    assert np.abs(delta[kept]).min() >= np.sort(np.abs(delta))[size - count] * 0.999
    assert np.allclose(got[kept], delta[kept], rtol=1e-3, atol=2.0**-24)  # float16, whose smallest steps are so long
    assert len(sent) <= 1 + 6 * count


@given(st.binary(max_size=80), st.sampled_from(["float32", "int8", "topk"]))
def test_what_a_client_sends_is_no_code(data: bytes, kind: upload.Upload) -> None:
    start = [np.zeros((3, 4), np.float32), np.zeros(5, np.float32)]
    try:
        arrays = upload.decode(start, data, kind)
    except KwsError:
        return
    assert [a.shape for a in arrays] == [(3, 4), (5,)] and all(np.all(np.isfinite(a)) for a in arrays)


def test_uploads_of_the_shipped_networks_fit_into_40_kb() -> None:
    for name in ("default", "tiny"):
        start = Learner(load_config(name).of_clips()).weights()
        rng = np.random.default_rng(1)
        end = [w + rng.normal(0, 0.1, w.shape).astype(np.float32) for w in start]
        assert len(upload.encode(start, end, "int8", 0.1, rng)) <= 40_000
        assert len(upload.encode(start, end, "topk", 0.1, rng)) <= 40_000


def test_a_clients_examples_are_its_own_and_the_same_again(data: Path) -> None:
    household = Household(config(), data)
    client = household.clients[1]
    assert {household.clips[i].speaker for i in client.clips} == set(client.speakers)
    x, y = household.examples(1, 1)
    again, _ = household.examples(1, 1)
    assert np.array_equal(x, again)
    assert not np.array_equal(x, household.examples(1, 2)[0][: len(x)])
    assert x.dtype == np.int8 and (y < 2).sum() == sum(household.clips[i].label < 2 for i in client.clips)


def test_a_client_without_clips_hears_nothing(data: Path) -> None:
    household = Household(config(), data)
    speech = household.speech(0)
    none = dataclasses.replace(
        speech, audio=speech.audio[:0], labels=speech.labels[:0], names=speech.names[:0], synthetic=speech.synthetic[:0]
    )
    x, y = examples_of(none, household.noise, household.config, (0, 1))
    assert len(x) == len(y) == 0
    learner = Learner(config())
    start = learner.weights()
    found = learner.learn(start, (x, y), [1], 0.1)
    assert found.examples == 0 and all(np.array_equal(a, b) for a, b in zip(found.weights, start, strict=True))


def test_a_head_alone_moves_two_arrays(data: Path) -> None:
    learner, household = Learner(config("federate.head_only=true")), Household(config(), data)
    body = [np.asarray(w).copy() for w in learner.model.weights]
    start = learner.weights()
    assert [w.shape for w in start] == [(1, 1, 8, 4), (4,)]
    found = learner.learn(start, household.examples(0, 1), [1], 0.1)
    assert not np.array_equal(found.weights[0], start[0])
    after = [np.asarray(w) for w in learner.model.weights]
    assert all(np.array_equal(a, b) for a, b in zip(body[:-2], after[:-2], strict=True))


def test_fedprox_stays_nearer_to_where_it_began(data: Path) -> None:
    learner = Learner(config("federate.strategy=fedprox", "federate.epochs=8"))
    examples, start = Household(config(), data).examples(0, 1), learner.weights()

    def moved(proximal: float) -> float:
        end = learner.learn(start, examples, [1], 0.1, proximal).weights
        trained = [i for i in range(len(start)) if i not in learner.statistics]
        return float(np.sqrt(sum(np.square(end[i] - start[i]).sum() for i in trained)))

    assert moved(5.0) < 0.9 * moved(0.0)


# From here on with Flower.


def plain_fedavg(recipe: Config, data: Path) -> list[np.ndarray]:
    """Federated averaging as McMahan and others have it (arXiv:1602.05629), without Flower."""
    c, learner, household = recipe.federate, Learner(recipe), Household(recipe, data)
    weights = learner.weights()
    for number in range(1, c.rounds + 1):
        found = [
            learner.learn(
                weights,
                household.examples(client, number),
                [c.seed, 5, client, number],
                c.learning_rate * 0.5 ** ((number - 1) / 2),
            )
            for client in chosen(list(household.clients), c, number)
        ]
        total = sum(f.examples for f in found)
        weights = [
            np.asarray(sum(f.weights[i] * (f.examples / total) for f in found), np.float32) for i in range(len(weights))
        ]
    return weights


def _flower() -> None:
    pytest.importorskip("flwr", reason="the extra 'federated' (Flower) is not installed")


def _weights(out: Path) -> list[np.ndarray]:
    with np.load(out / "checkpoint.npz") as saved:
        return [saved[f"w{i}"] for i in range(sum(name.startswith("w") for name in saved.files))]


def _equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_flower_gives_the_weights_of_a_plain_loop_and_goes_on_from_any_round(data: Path, tmp_path: Path) -> None:
    _flower()
    from model_pipeline.federated.simulation import federate

    recipe = config("federate.upload=float32", "federate.half_life=2")
    result = federate(recipe, data, tmp_path / "whole")
    assert _equal(_weights(tmp_path / "whole"), plain_fedavg(recipe, data))
    assert [r.number for r in result.rounds] == [0, 1, 2, 3]
    clips = len(Dataset.open(data, recipe.keywords).clips("training"))
    for r in result.rounds[1:]:
        assert r.clients == result.sampled == 2 and 0 < r.examples <= clips
        assert r.up > 4 * result.weights and r.down > 4 * result.weights

    # One round, and then on with the same command: the same weights, with the server's momentum too.
    way = config("federate.upload=int8", "federate.strategy=fedavgm")
    federate(way, data, tmp_path / "at once")
    federate(with_settings(way, ["federate.rounds=1"]), data, tmp_path / "twice")
    again = federate(way, data, tmp_path / "twice")
    assert again.resumed_at == 1
    assert _equal(_weights(tmp_path / "at once"), _weights(tmp_path / "twice"))
    trained = json.loads((tmp_path / "twice" / "train.json").read_text())
    assert trained["epochs"] == 3 and trained["labels"] == ["rise", "fall", "unknown", "silence"]
    # `kws runs` sees the training, and its rounds where all is asked for.
    kinds = [
        [f.record.kind for f in below([tmp_path / "twice"], every=e) if isinstance(f, Found)] for e in (False, True)
    ]
    assert kinds == [["federated"], ["federated", "round", "round", "round"]]
    figures = read_run(tmp_path / "twice" / "rounds" / "0003").record.figures
    assert figures["upload_bytes"].value == again.rounds[3].up
    assert figures["validation_accuracy"] == read_run(tmp_path / "twice").record.figures["validation_accuracy"]
    # What else was trained there begins anew.
    other = federate(with_settings(way, ["federate.seed=9", "federate.rounds=1"]), data, tmp_path / "twice")
    assert other.resumed_at == 0
    assert [p.name for p in (tmp_path / "twice" / "rounds").iterdir()] == ["0001"]


def test_a_client_that_sends_nonsense_counts_as_lost(data: Path) -> None:
    _flower()
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict

    from model_pipeline.federated.records import to_record
    from model_pipeline.federated.rounds import Rounds

    recipe = config("federate.fraction=1", "federate.upload=float32")
    learner = Learner(recipe)
    start = learner.weights()
    whole = upload.encode(start, [w + 1 for w in start], "float32", 0.1, np.random.default_rng(1))
    broken = upload.encode(start, [w * np.nan for w in start], "float32", 0.1, np.random.default_rng(1))

    def reply(client: int, sent: bytes, **metrics: float) -> Message:
        said = {"client": client, "num-examples": 3, "loss": 1.0, "accuracy": 0.5} | metrics
        arrays = ArrayRecord({"0": Array(np.frombuffer(sent, np.uint8))})
        content = RecordDict({"update": arrays, "metrics": MetricRecord(said)})
        return Message(content, 0, MessageType.TRAIN)

    def played(answers: list[Message], *more: str) -> tuple[Rounds, ArrayRecord]:
        rounds = Rounds(with_settings(recipe, list(more)).federate, {i: i for i in range(4)}, 0, learner, lambda: False)
        grid: Any = None
        list(rounds.configure_train(1, to_record(start), ConfigRecord(), grid))
        arrays, _ = rounds.aggregate_train(1, answers)
        assert arrays is not None
        return rounds, arrays

    odd = [reply(2, broken), reply(3, whole[:-1])]
    good = [reply(0, whole), reply(1, whole)]
    rounds, arrays = played([odd[0], *good, odd[1]])
    assert rounds.asked.clients == 2 and rounds.asked.examples == 6
    assert all(np.allclose(arrays[str(i)].numpy(), w + 1, atol=1e-5) for i, w in enumerate(start))
    for answers in (
        [reply(0, whole), reply(1, whole, **{"num-examples": -1}), reply(2, broken), reply(3, whole, loss=math.nan)],
        [],
    ):
        with pytest.raises(KwsError, match="of 4 clients failed"):
            played(answers)
    with pytest.raises(KwsError, match="1 of 4 clients failed"):  # its noise would be too little
        three = [reply(i, whole) for i in range(3)]
        played([*three, reply(3, broken)], "federate.strategy=fedavg", "federate.clip=1", "federate.noise=1")


@pytest.mark.slow
def test_a_signal_ends_it_after_the_client_that_learns_and_whole_rounds_stay(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _flower()
    from model_pipeline.federated import client_app
    from model_pipeline.federated.simulation import federate

    learnt, plain = list[int](), client_app.learn_one

    def learn_one(*arguments: Any) -> Any:
        learnt.append(arguments[5])
        if arguments[5] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(client_app, "learn_one", learn_one)
    recipe = config("federate.fraction=1")
    with pytest.raises(KeyboardInterrupt):
        federate(recipe, data, tmp_path / "out")
    assert learnt == [1] * len(Household(recipe, data).clients) + [2]
    found = read_run(tmp_path / "out").record
    assert found.kind == "federated" and not found.whole and found.figures["rounds"].value == 1
    monkeypatch.undo()
    assert federate(with_settings(recipe, ["federate.rounds=2"]), data, tmp_path / "out").resumed_at == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="its processes are ended by Linux's prctl")
def test_two_processes_of_rays_give_the_weights_of_one_and_end_with_the_command(data: Path, tmp_path: Path) -> None:
    _flower()
    pytest.importorskip("ray", reason="Ray, of the extra 'federated', is not installed for this Python")
    settings = [*SETTINGS, "federate.fraction=1", "federate.rounds=2", "federate.strategy=fedavgm"]
    here = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")}

    def command(workers: int, out: Path) -> list[str]:
        child = [sys.executable, "-m", "model_pipeline.federated", "--config", "plain", "--data", str(data)]
        return [*child, "--out", str(out), *(f"--set={s}" for s in [*settings, f"federate.workers={workers}"])]

    # Both as processes of their own: in this one TensorFlow has been set up by other tests.
    subprocess.run(command(1, tmp_path / "one"), cwd=ROOT, env=here, capture_output=True, check=True, timeout=600)
    before = set(Path("/tmp").glob("kws-ray-*"))
    # Ray starts servers of its own; none may be left a few seconds after the command.
    guard = [sys.executable, "-m", "tests.support.guarded", "--alone", "20"]
    two = command(2, tmp_path / "two")
    done = subprocess.run([*guard, *two], cwd=ROOT, env=here, capture_output=True, text=True, timeout=600)
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray did not start within its own 30 seconds: this machine is too busy")
    assert done.returncode == 0, done.stderr[-3000:]
    assert _equal(_weights(tmp_path / "one"), _weights(tmp_path / "two"))
    assert set(Path("/tmp").glob("kws-ray-*")) <= before


def test_what_is_held_out_is_heard_in_no_round(data: Path) -> None:
    household = Household(config("federate.held_out=0.34"), data)
    whole = Household(config(), data)
    for number, client in household.clients.items():
        assert sorted(client.clips + client.held) == sorted(whole.clients[number].clips)
        assert len(client.held) == int(0.34 * len(whole.clients[number].clips))
        assert len(household.held(number).labels) == len(client.held)
    _, y = household.examples(1, 1)
    assert (y < 2).sum() == sum(household.clips[i].label < 2 for i in household.clients[1].clips)


class Contrary(Household):
    """Its clients call a rise a fall, and a fall a rise."""

    def _speech(self, of: Sequence[int]) -> Speech:
        speech = super()._speech(of)
        return dataclasses.replace(speech, labels=np.where(speech.labels < 2, 1 - speech.labels, speech.labels))


def test_a_head_of_ones_own_learns_what_its_client_calls_things(data: Path) -> None:
    from model_pipeline.federated.personal import personalise

    recipe = config("federate.epochs=15", "federate.head_epochs=40", "federate.head_rate=0.05")
    household, learner = Household(recipe, data), Learner(recipe)
    everything = tuple(range(len(household.clips)))
    household.clients = {0: Client(0, ("all",), everything)}
    calibration = household.examples(0, 1)
    learner.learn(learner.weights(), calibration, [1], 0.1)
    before = [np.asarray(w).copy() for w in learner.model.weights]

    contrary = Contrary(recipe, data)
    # What it has learnt from judges it too; the others have clips on one side alone and are left out.
    both = Client(0, ("all",), everything, everything)
    contrary.clients = {0: both, 1: Client(1, ("a",), (0,)), 2: Client(2, (), ())}
    found = personalise(learner, contrary, calibration[0], silent)
    assert (found.clients, found.held, found.clips) == (1, len(everything), len(everything))
    assert found.after >= found.before + 0.3 and found.right_after > found.right_before
    assert (found.better, found.worse) == (1, 0)
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(before, learner.model.weights, strict=True))
    assert personalise(learner, contrary, calibration[0], silent) == found
    with pytest.raises(KwsError, match="no client"):
        personalise(learner, household, calibration[0], silent)


def test_momentum_of_a_client_goes_further_and_is_forgotten_after_the_round(data: Path) -> None:
    examples, moved = Household(config(), data).examples(0, 1), []
    for momentum in (0.0, 0.9):
        learner = Learner(config(f"federate.client_momentum={momentum}", "federate.epochs=4"))
        start = learner.weights()
        first, again = (learner.learn(start, examples, [1], 0.01).weights for _ in range(2))
        assert _equal(first, again)
        trained = [i for i in range(len(start)) if i not in learner.statistics]
        moved.append(math.sqrt(sum(float(np.square(first[i] - start[i]).sum()) for i in trained)))
    assert moved[1] > 1.5 * moved[0]


@pytest.mark.slow
def test_privacy_and_secure_aggregation(data: Path, tmp_path: Path) -> None:
    _flower()
    from model_pipeline.federated.simulation import federate

    recipe = config("federate.upload=float32", "federate.fraction=1", "federate.rounds=1")
    federate(recipe, data, tmp_path / "plain")
    secure = federate(with_settings(recipe, ["federate.secure=true"]), data, tmp_path / "secure")
    for a, b in zip(_weights(tmp_path / "plain"), _weights(tmp_path / "secure"), strict=True):
        assert np.allclose(a, b, atol=2e-4), "masks cancel, but for the steps of their integers"
    assert secure.rounds[1].clients == secure.clients

    small = ["federate.clip=0.001", "federate.noise=1e-6"]
    private = federate(with_settings(recipe, small), data, tmp_path / "private")
    begin = Learner(recipe).weights()
    moved = sum(float(np.square(a - b).sum()) for a, b in zip(_weights(tmp_path / "private"), begin, strict=True))
    assert math.sqrt(moved) <= 0.0011, "no mean of clients is longer than what each was cut to"
    assert private.epsilon is not None and private.epsilon > 1e3
    noisy = ["federate.clip=1", "federate.noise=10"]
    one = federate(with_settings(recipe, noisy), data, tmp_path / "noisy")
    assert one.epsilon is not None and one.epsilon < 1.5


def test_epsilon() -> None:
    _flower()
    from model_pipeline.federated.privacy import epsilon

    # Without sampling it is that of the Gaussian mechanism with half the noise: Mironov's bound of one release
    # (arXiv:1702.07476), a/(2 z^2) + log(1/delta)/(a - 1) at its best order, is an upper bound of it.
    z, delta = 8.0, 1e-5
    best = min(a / (2 * (z / 2) ** 2) + math.log(1 / delta) / (a - 1) for a in np.linspace(1.01, 200, 5000))
    whole = epsilon(z, 100, 100, 1, delta)
    assert 0.6 * best < whole <= best * 1.01
    assert epsilon(z, 5, 100, 1, delta) < whole < epsilon(z, 100, 100, 2, delta)
