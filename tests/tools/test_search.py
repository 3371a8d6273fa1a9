"""kws search: the study, its limits and its end at any moment; costs and trainings of real candidates."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from host_tools.run.steps import write_config
from host_tools.search import results
from host_tools.search import study as study_module
from host_tools.search.cost import Costs, Infeasible, Limits, NetworkCost
from host_tools.search.study import PEERS, PRUNE_EVERY, SPACE, Search, falls_behind, narrower
from host_tools.search.training import trainer
from host_tools.verbs.search import _number
from model_pipeline.child import Worker
from model_pipeline.compiler import compile_model, load_host
from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.outcomes import Untrained
from tests.support import tiny_data
from tests.support.worker_child import Sum
from tests.tools.test_cli import kws

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ["name=tiny", 'keywords=["rise", "fall"]', "train.batch=20", "train.average=0.9"]
SETTINGS += ["frontend.hop_ms=30", "frontend.channels=16", "train.shape={front=8, body=32, blocks=2, kernel=3}"]
LIMITS = Limits(macs=400_000)


def price(config: Config, folder: Path) -> NetworkCost:
    """A made-up cost that grows with every size."""
    shape = config.train.shape
    macs = 100 * shape.front * config.frontend.channels + 40 * shape.body**2 * shape.blocks * shape.kernel // 10
    if (excess := LIMITS.excess({"macs": macs}))["macs"] > 0:
        raise Infeasible(f"macs {macs}", excess)
    per_second = macs * 100 // config.frontend.hop_ms
    return NetworkCost(macs=macs, flash=2 * macs, ram=macs // 10, inference=macs, per_second=per_second, load=0.1)


def learn(folder: Path, parent: Path | None, go_on: Callable[[list[float]], bool], progress: object) -> list[float]:
    """A made-up training: larger networks get further, those with an even number of blocks not as far."""
    config = load_config(folder / "config.toml")
    assert parent is None or (parent / "model.keras").exists()
    (folder / "train").mkdir(exist_ok=True)
    (folder / "train" / "model.keras").touch()
    shape = config.train.shape
    top = 1 - 3 / (shape.body * shape.kernel * shape.front) - 0.05 * (shape.blocks % 2 == 0)
    accuracies: list[float] = []
    for epoch in range(config.train.epochs):
        accuracies.append(top * (1 - math.exp(-1 - epoch)))
        if not go_on(accuracies):
            break
    return accuracies


def search(out: Path, train: Callable = learn, **changes: object) -> Search:
    out.mkdir(exist_ok=True)
    config = with_settings(load_config("plain"), SETTINGS)
    arguments = {"data_hash": "data", "out": out, "limits": LIMITS, "epochs": 4, "cost": price, "train": train}
    return Search(config, **{**arguments, **changes})  # type: ignore[arg-type]


def quiet(done: int, total: int, text: str) -> None:
    assert 0 <= done <= total


# --- the study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Search:
    study = search(tmp_path_factory.mktemp("search") / "out")
    study.run(15, 0, quiet)
    return study


def test_the_front_is_what_nothing_beats(finished: Search) -> None:
    complete = [t.values for t in finished.finished() if t.state == TrialState.COMPLETE]
    beaten = [
        any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in complete)  # more accurate and cheaper
        for a in complete
    ]
    expected = sorted({tuple(a) for a, bad in zip(complete, beaten, strict=True) if not bad}, key=lambda v: v[1])
    front = [tuple(t.values) for t in finished.front()]
    assert front == expected and len(front) >= 3
    assert [v[0] for v in front] == sorted(v[0] for v in front)


def test_what_breaks_a_limit_is_never_trained(finished: Search) -> None:
    infeasible = [t for t in finished.finished() if "cost" not in t.user_attrs]
    assert infeasible and all(t.state == TrialState.PRUNED and max(t.constraints.values()) > 0 for t in infeasible)
    assert all(t.user_attrs["end"].startswith("macs") for t in infeasible)
    assert not any((finished.folder(t) / "train").exists() for t in infeasible)
    assert all(t.user_attrs["cost"]["macs"] <= LIMITS.macs for t in finished.trained())


def test_it_begins_with_the_configuration_and_prunes_what_it_found(finished: Search) -> None:
    trained = finished.trained()
    assert len(trained) == 15
    first = {"hop_ms": 30, "channels": 16, "front": 8, "body": 32, "blocks": 2, "kernel": 3, "step": 1}
    assert trained[0].params == first and trained[0].user_attrs["origin"] == "start"
    pruned = [n for n, t in enumerate(trained) if t.user_attrs.get("parent")]
    assert pruned == [n for n in range(15) if n % PRUNE_EVERY == PRUNE_EVERY - 1]
    by_key = {t.user_attrs["key"]: t for t in finished.finished()}
    for trial in (trained[n] for n in pruned):
        parent = by_key[trial.user_attrs["parent"]]
        same = ("hop_ms", "channels", "blocks", "kernel", "step")
        assert all(trial.params[name] == parent.params[name] for name in same)
        assert trial.params["front"] <= parent.params["front"] and trial.params["body"] <= parent.params["body"]
        assert len(trial.user_attrs["accuracies"]) == 2  # half the epochs


def test_hopeless_trials_end_early(finished: Search) -> None:
    ended = [t for t in finished.trained() if t.state == TrialState.PRUNED]
    assert ended and all(2 <= len(t.user_attrs["accuracies"]) < 4 for t in ended)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.integers(0, 10),
    st.lists(st.tuples(st.lists(st.floats(0, 1), max_size=6), st.integers(0, 10)), max_size=12),
)
def test_only_trials_that_cost_no_more_can_end_one(
    accuracies: list[float], cost: int, others: list[tuple[list[float], int]]
) -> None:
    cheap = [(a, c) for a, c in others if c <= cost and len(a) >= len(accuracies)]
    verdict = falls_behind(accuracies, cost, others)
    assert verdict == falls_behind(accuracies, cost, cheap)
    if verdict:
        better = sum(max(a[: len(accuracies)]) > max(accuracies) for a, _ in cheap)
        assert len(cheap) >= PEERS and 2 * better >= len(cheap) and len(accuracies) > 1
    elif len(cheap) >= PEERS and len(accuracies) > 1:
        assert 2 * sum(max(a[: len(accuracies)]) <= max(accuracies) for a, _ in cheap) >= len(cheap)


@given(st.sampled_from((0.5, 0.625, 0.75, 0.875, 1.0)), st.integers(1, 8), st.integers(4, 32))
def test_a_narrower_network_is_in_the_space(share: float, front: int, body: int) -> None:
    params = {"front": 4 * front, "body": 4 * body, "blocks": 2}
    result = narrower(params, (share, share))
    for name in ("front", "body"):
        low, _, step = SPACE[name]
        assert low <= result[name] <= params[name] and result[name] % step == 0
        assert result[name] > share * params[name] - step
    assert result["blocks"] == 2


def test_nothing_within_the_limits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "FRUITLESS", 5)

    def never(config: Config, folder: Path) -> NetworkCost:
        raise Infeasible("ram 50,000", {"ram": 1.0})

    with pytest.raises(KwsError, match=r"no network within the limits .*ram 50,000"):
        search(tmp_path / "out", cost=never).run(3, 0, quiet)


def test_a_network_that_is_proposed_again_is_not_trained_again(tmp_path: Path) -> None:
    study = search(tmp_path / "out")
    study.run(2, 0, quiet)
    study.study.enqueue_trial(study.trained()[0].params)
    study.run(3, 0, quiet)
    again = [t for t in study.finished() if "same_as" in t.user_attrs]
    assert again and again[0].values == study.trained()[0].values
    assert len(study.trained()) == 3


# --- going on


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, ".")
from tests.tools import test_search

count = 0

def train(folder, parent, go_on, progress):
    global count
    count += 1
    def watched(accuracies):
        answer = go_on(accuracies)
        if count == 3 and len(accuracies) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return test_search.learn(folder, parent, watched, progress)

test_search.search(Path(sys.argv[1]), train).run(6, 0, test_search.quiet)
"""


def test_a_killed_search_goes_on_with_the_same_network(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    study = search(out)
    states = [t.state for t in study.study.get_trials()]
    assert states.count(TrialState.FAIL) == 1 and TrialState.RUNNING not in states and len(study.trained()) == 2
    lost = next(t for t in study.study.get_trials() if t.state == TrialState.FAIL)
    study.run(6, 0, quiet)
    trained = study.trained()
    assert len(trained) == 6
    assert trained[2].params == lost.params and trained[2].user_attrs["key"] == lost.user_attrs["key"]


def test_ctrl_c_does_no_more_harm_than_a_kill(tmp_path: Path) -> None:
    def stopped(*_: object) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "out", stopped).run(3, 0, quiet)
    study = search(tmp_path / "out")
    study.run(3, 0, quiet)
    assert study.trained()[0].user_attrs["origin"] == "start" and len(study.trained()) == 3


def test_a_study_is_not_mixed_with_another(tmp_path: Path) -> None:
    search(tmp_path / "out").run(1, 0, quiet)
    for changes in ({"limits": Limits(macs=1)}, {"epochs": 5}, {"data_hash": "other"}):
        with pytest.raises(KwsError, match="begun with another"):
            search(tmp_path / "out", **changes)  # type: ignore[arg-type]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(KwsError, match="can't be used"):
        search(tmp_path / "broken")


# --- results


def test_each_network_of_the_front_can_be_trained_in_full(finished: Search) -> None:
    result = results.write(finished)
    assert json.loads((finished.out / "front" / "front.json").read_text()) == result.model_dump(mode="json")
    assert result.trained == 15 == len(result.front) + len(result.others)
    for row, trial in zip(result.front, finished.front(), strict=True):
        config = load_config(row.config)
        assert config.train.architecture == "tcn" and config.train.epochs == finished.config.train.epochs
        assert config.train.shape.model_dump() == {
            k: trial.params[k] for k in ("front", "body", "blocks", "kernel", "step")
        }
        assert (config.frontend.hop_ms, config.frontend.channels) == (trial.params["hop_ms"], trial.params["channels"])
        stride_ms = config.detector.stride_hops * config.frontend.hop_ms
        assert abs(stride_ms - finished.config.detector.stride_hops * 30) <= config.frontend.hop_ms / 2
    picture = ElementTree.parse(result.plot)
    assert picture.getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_limits() -> None:
    assert Limits(ram=1000).excess({"ram": 1500, "flash": 9, "load": 0.5}) == {"ram": 0.5, "load": -0.5}
    assert _number("1.2M", 1000) == 1_200_000 and _number("40K", 1024) == 40960 and _number("77", 1000) == 77
    with pytest.raises(KwsError, match="is not a number"):
        _number("forty", 1000)


# --- the worker


def test_a_worker_answers_asks_fails_and_goes_on() -> None:
    notes: list[str] = []
    with Worker("tests.support.worker_child", []) as worker:
        first = worker.call(
            {"do": "add", "count": 3}, Sum, lambda *a: notes.append(a[2]), lambda ask: 10 * ask["number"]
        )
        assert first.sum == 30 and notes == ["half way"]
        with pytest.raises(KwsError, match="not today") as refused:
            worker.call({"do": "refuse"}, Sum)
        assert refused.value.hint == "tomorrow" and refused.value.exit_code == 1
        assert worker.call({"do": "add", "count": 0}, Sum).pid == first.pid
        with pytest.raises(KwsError, match=r"worker_child failed: it was killed"):
            worker.call({"do": "die"}, Sum)
        again = worker.call({"do": "add", "count": 0}, Sum).pid
        assert again != first.pid
    with pytest.raises(ProcessLookupError):
        os.kill(again, 0)


@pytest.mark.slow
@pytest.mark.qemu
def test_a_real_search_measures_trains_and_prunes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, out = tiny_data.make(tmp_path / "data"), tmp_path / "out"
    settings = [*SETTINGS, "train.shape.blocks=1"]  # TensorFlow takes its time over each layer
    arguments = ["search", "--config", "plain", *(f"--set={s}" for s in settings), "--data", str(data), "--json"]
    code, text, err = kws(*arguments, "--out", str(out), "--trials", "1", "--epochs", "1", capfd=capfd)
    assert code == 0, err
    result = json.loads(text)
    assert result["trained"] == 1
    (row,) = result["front"]
    assert row["origin"] == "start" and 0 < row["accuracy"] <= 1
    assert 0 < row["load"] < 1 and row["per_second"] > row["inference"] > 1.0 * row["macs"]
    config = load_config(row["config"])
    wide = next(out.glob("candidates/*"))
    narrow = out / "narrow"
    small = with_settings(config, ["train.shape.body=16", "train.shape.front=4", "train.epochs=2"])
    narrow.mkdir()
    write_config(small, narrow / "config.toml")
    with Worker("model_pipeline.search", ["--data", str(data), "--out", str(out)]) as worker:
        cost = Costs(config.board, Limits(), worker, out)(small, narrow)
        assert cost.inference < row["inference"] and cost.macs < row["macs"] and cost.flash < row["flash"]
        with pytest.raises(Infeasible, match=r"over the limit: ram [\d,]+"):
            Costs(config.board, Limits(ram=20_000), worker, out)(small, narrow)
        # Without normalisation the values of a deep and narrow network must not fade.
        write_config(with_settings(small, ["train.shape={front=4, body=16, blocks=7, kernel=3}"]), narrow / "deep.toml")
        worker.call({"do": "network", "config": str(narrow / "deep.toml"), "out": str(narrow / "deep")}, Untrained)
        deep = compile_model((narrow / "deep" / "model.tflite").read_bytes())
        answers = load_host(deep).run(np.random.default_rng(1).integers(-128, 128, (9, deep.input.size), np.int8))
        assert len(np.unique(answers, axis=0)) > 1
        heard: list[list[float]] = []
        accuracies = trainer(worker)(narrow, wide / "train", lambda a: bool(heard.append(a)), lambda *_: None)
    assert accuracies == heard[-1] and len(heard) == 1  # it was told to stop


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = tiny_data.make(tmp_path / "data", speakers=5)
    basic = [
        "search",
        "--config",
        "plain",
        "--set",
        'keywords=["rise"]',
        "--data",
        str(data),
        "--out",
        str(tmp_path / "o"),
    ]
    for more, message in (
        ([], "a search needs an end"),
        (["--trials", "1", "--max-ram", "lots"], "'lots' is not a number"),
        (["--trials", "1", "--board", "none"], "no board"),
        (["--trials", "1", "--board", "host"], "no clock"),
        (["--trials", "1", "--set", 'keywords=["sing"]'], "no clips of sing"),
    ):
        code, _, err = kws(*basic, *more, capfd=capfd)
        assert code == 2 and message in " ".join(err.split()), err
        assert "Traceback" not in err
