"""kws study compression: its networks and points, its fronts, a real study of a tiny model, and how it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.study import results
from host_tools.study.points import BASE, Network, Point, configuration, networks, of_point, points
from host_tools.study.results import ACCURACY, COSTS, Compression, front
from model_pipeline import record
from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.record import Figure
from tests.support import tiny_data
from tests.tools.test_cli import kws

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ["name=tiny", 'keywords=["rise", "fall"]', "train.batch=20", "train.average=0.9", "quantize.qat_epochs=1"]
SETTINGS += ["train.architecture=tcn", "train.shape={front=8, body=32, blocks=1, kernel=3}", "frontend.channels=16"]


def recipe(*more: str) -> Config:
    return with_settings(load_config("plain"), [*SETTINGS, *more])


# --- networks and points


def test_each_way_at_each_share_behind_the_base() -> None:
    wide = recipe("train.shape={front=16, body=128, blocks=2, kernel=3}")
    found = networks(wide, (0.25, 0.75, 0.5))
    assert [n.name for n in found] == [
        BASE,
        *(f"{way}-{share}" for way in ("narrow", "pruned", "distilled") for share in (75, 50, 25)),
    ]
    shapes = [configuration(wide, n).train.shape for n in found]
    assert [(s.front, s.body) for s in shapes[:4]] == [(16, 128), (12, 96), (8, 64), (4, 32)]


def test_shares_that_give_the_same_network_are_one() -> None:
    # At 25 % the body is at its least, 16, as it is at 50 %.
    assert len(networks(recipe(), (0.5, 0.25, 0.4))) == 1 + 3
    assert [n.name for n in networks(recipe(), (0.99,))] == [BASE, "narrow-99", "pruned-99", "distilled-99"]
    smallest = recipe("train.shape={front=4, body=16, blocks=1, kernel=3}")
    assert [n.name for n in networks(smallest, (0.75, 0.5))] == [BASE]
    by_width = recipe("train.architecture=ds_tcn", "train.width=0.5")
    assert [n.name for n in networks(by_width, (0.9, 0.5))] == [BASE, "narrow-50", "pruned-50", "distilled-50"]


def test_what_a_way_changes_of_the_recipe() -> None:
    base = recipe("train.epochs=9", "train.warmup_epochs=2", "train.teacher_width=2", "train.base=people")
    base = with_settings(base, ["mine.rounds=2"])
    own = configuration(base, Network(way="base", share=1.0))
    assert own.train == base.train and own.mine.rounds == 0
    narrow = configuration(base, Network(way="narrow", share=0.5)).train
    assert (narrow.base, narrow.teacher_width, narrow.epochs, narrow.warmup_epochs) == ("", 0.0, 9, 2)
    pruned = configuration(base, Network(way="pruned", share=0.5), epochs=6).train
    assert (pruned.epochs, pruned.learning_rate, pruned.warmup_epochs) == (3, base.train.learning_rate / 2, 0)
    assert configuration(base, Network(way="distilled", share=0.5), epochs=1).train.warmup_epochs == 0


def test_points_are_quantised_and_packed() -> None:
    found = points(networks(recipe(), (0.5,)), aware=True)
    assert [p.name for p in found] == [
        f"{model}-{packing}"
        for model in ("base-ptq", "base-qat", "narrow-50-ptq", "pruned-50-ptq", "pruned-50-qat", "distilled-50-ptq")
        for packing in ("speed", "size")
    ]
    assert {p.quantization for p in points(networks(recipe(), (0.5,)), aware=False)} == {"ptq"}
    point = Point(network=Network(way="pruned", share=0.5), quantization="qat", packing="size")
    made = of_point(recipe("quantize.qat_epochs=5"), point, epochs=3)
    assert (made.quantize.method, made.quantize.qat_epochs, made.compile.packing) == ("qat", 3, "size")


# --- fronts

values = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9)


@given(values)
def test_a_front_is_what_nothing_beats(pairs: list[tuple[int, int]]) -> None:
    rows = [{ACCURACY: Figure(value=right / 4), "flash": Figure(value=price)} for right, price in pairs]
    found = front(rows, "flash")
    for n, (right, price) in enumerate(pairs):
        beaten = any((r > right and p <= price) or (r >= right and p < price) for r, p in pairs)
        assert (n in found) == (not beaten)


def test_what_was_not_measured_is_on_no_front() -> None:
    whole = {ACCURACY: Figure(value=0.5), "flash": Figure(value=9)}
    assert front([{ACCURACY: Figure(value=0.9)}, whole, {"flash": Figure(value=1)}], "flash") == [1]


# --- a real one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("study") / "data")


def call(data: Path, out: Path, *more: str) -> list[str]:
    sets = [f"--set={setting}" for setting in SETTINGS]
    basic = ["study", "compression", "--config", "plain", *sets, "--data", str(data), "--out", str(out), "--json"]
    return [*basic, "--shares", "50", "--epochs", "2", *more]


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def studied(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole study, of which the first call's time was over before anything was begun."""
    out = tmp_path_factory.mktemp("studied") / "out"

    def run(*more: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "host_tools.cli", *call(data, out, "--negative", str(data / "flat")), *more]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    begun = run("--minutes", "0.00001")
    assert begun["left"] == 12 and not begun["points"]
    run()
    return out


@pytest.mark.slow
@pytest.mark.qemu
def test_a_study_measures_each_point(studied: Path) -> None:
    found = results.read(studied)
    assert found and not found.left and not found.unheard and len(found.points) == 12
    assert found == Compression.model_validate_json((studied / results.STUDY).read_text())
    by_name = {row.name: row for row in found.points}
    for row in found.points:
        kept = record.read(studied / "points" / row.name)
        assert kept.kind == "point" and kept.figures == row.figures and kept.parent == str(studied)
        assert kept.config["compile"]["packing"] == row.point.packing
        assert {*COSTS, ACCURACY, "misses"} <= row.figures.keys()
        assert row.figures[ACCURACY].sample.endswith("clips") and row.figures["misses"].sample.endswith("keywords")
    speed, size = (by_name[f"base-ptq-{packing}"].figures for packing in ("speed", "size"))
    assert speed["flash"].value > size["flash"].value
    assert speed["instructions_per_second"].value < size["instructions_per_second"].value
    assert speed[ACCURACY] == size[ACCURACY] and speed["misses"] == size["misses"]
    narrow = by_name["pruned-50-ptq-size"].figures
    assert narrow["flash"].value < size["flash"].value and narrow["macs"].value < size["macs"].value
    for cost in COSTS:
        assert any(cost in row.fronts for row in found.points)


@pytest.mark.slow
@pytest.mark.qemu
def test_points_are_runs_and_drawn(studied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, text, err = kws("runs", "list", str(studied), "--all", "--json", capfd=capfd)
    assert code == 0, err
    kinds = [row["kind"] for row in json.loads(text)]
    assert kinds.count("point") == 12 and kinds.count("study") == 1 and kinds.count("training") == 4
    code, text, err = kws("runs", "show", str(studied / "points" / "base-qat-size"), capfd=capfd)
    assert code == 0 and "base; qat; packed for size" in text, err
    page = (studied / "study.html").read_text()
    assert page.count("<svg") == 4 and all(f"<td>{name}</td>" in page for name in ("base", "pruned-50", "distilled-50"))
    assert len(list(studied.glob("front-*.svg"))) == 4
    base, pruned = (load_config(studied / "networks" / name / "config.toml") for name in ("base", "pruned-50"))
    assert base.train.epochs == 2 and pruned.train.epochs == 1


@pytest.mark.slow
@pytest.mark.qemu
def test_only_what_is_missing_is_done_again(data: Path, studied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As a kill leaves it: a point without a record, and a model that was not heard."""
    negative = ("--negative", str(data / "flat"))
    before = files(studied / "networks") | files(studied / "points")
    lost = [studied / "points" / "narrow-50-ptq-size" / record.RECORD, studied / "networks/base/heard-qat.json"]
    for path in lost:
        path.unlink()
    code, text, err = kws(*call(data, studied, *negative), capfd=capfd)
    assert code == 0 and json.loads(text)["left"] == 0, err
    after = files(studied / "networks") | files(studied / "points")
    assert before.keys() == after.keys()
    changed = {path.relative_to(studied) for path in after if before[path] != after[path]}
    assert {path.relative_to(studied) for path in lost} <= changed
    assert all(path.parts[:2] == ("points", "narrow-50-ptq-size") for path in changed - {lost[1].relative_to(studied)})
    code, _, err = kws(*call(data, studied, *negative)[:-4], "--epochs", "1", *negative, capfd=capfd)
    assert code == 2 and "begun with another configuration, other data or other epochs" in " ".join(err.split())
    (studied / "points" / "base-ptq-size" / "mine.txt").write_text("a user's note")
    code, _, err = kws(*call(data, studied, *negative, "--fresh", "--minutes", "0.00001"), capfd=capfd)
    assert code == 2 and "mine.txt" in err and (studied / "networks" / BASE / "ptq" / "model.tflite").is_file()
    (studied / "points" / "base-ptq-size" / "mine.txt").unlink()
    code, text, err = kws(*call(data, studied, *negative, "--fresh", "--minutes", "0.00001"), capfd=capfd)
    assert code == 0 and json.loads(text)["left"] == 12, err
    assert not (studied / "points").exists()


def test_mistakes_are_one_line(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--shares", "50,lots"], "is not a list of percentages"),
        (["--shares", "150"], "is not a list of percentages"),
        (["--board", "none"], "no board"),
        (["--board", "host"], "no clock"),
        (["--set", 'keywords=["sing"]'], "no clips of sing"),
    ):
        code, _, err = kws(*call(data, tmp_path / "o", *more), capfd=capfd)
        assert code == 2 and message in " ".join(err.split()), err
        assert "Traceback" not in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.json").write_text("{}")
    code, _, err = kws(*call(data, tmp_path / "mine"), capfd=capfd)
    assert code == 2 and "study.json, which kws study did not make" in " ".join(err.split())
