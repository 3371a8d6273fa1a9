"""kws runs: records found, shown, compared, held against thresholds, and told to MLflow."""

from __future__ import annotations

import copy
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.measure.boards import BoardCost
from host_tools.measure.realtime import Verdict
from host_tools.records import find
from host_tools.records.compare import compare, flat, verdict
from host_tools.records.gate import Requirement, against, require
from host_tools.report.page import write_report
from host_tools.report.results import Expectation, Results
from model_pipeline import record
from model_pipeline.config import load_config, with_settings
from model_pipeline.errors import DeviceError, KwsError
from model_pipeline.intervals import Rate, Share
from model_pipeline.listening.results import Response
from model_pipeline.native import ROOT
from model_pipeline.record import FIGURES, Figure, Record
from tests.support.terminal import same_as_snapshot, shown
from tests.tools.test_cli import kws
from tests.tools.test_report import example, stream


def one(name: str = "one", settings: tuple[str, ...] = (), **figures: Figure) -> Record:
    config = with_settings(load_config("demo"), [f"name={name}", *settings]).model_dump(mode="json")
    made = record.new("training", name, config, figures, data_hash="d" * 64, seconds=12.0)
    # What a new key of the configuration, another version or another day would change in the snapshots.
    fixed = {"made": "2026-11-28T01:02:03Z", "kws": "0.1.0", "tools": {}, "config_hash": record.hash_of({"name": name})}
    return made.model_copy(update=fixed)


def put(folder: Path, what: Record) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    record.write(what, folder)
    return folder


ACCURATE = Figure(value=0.95, low=0.92, high=0.97, sample="240 clips")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two runs and one of before there were records, a broken one, and folders that are none."""
    put(tmp_path / "runs" / "a", one("a", accuracy=ACCURATE, flash=Figure(value=110_000), macs=Figure(value=1.2e6)))
    small = Figure(value=0.9, low=0.86, high=0.93, sample="240 clips")
    put(
        tmp_path / "runs" / "deep" / "b",
        one("b", ("train.width=0.5",), accuracy=small, flash=Figure(value=70_000), macs=Figure(value=0.4e6)),
    )
    write_report(Results.of(example()), tmp_path / "runs" / "measured")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text('{"kind": "training"')
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "todo.txt").write_text("nothing of ours")
    put(tmp_path / "runs" / "a" / "inside", one("inside"))
    return tmp_path


def test_runs_are_found_below_a_folder_and_one_that_is_broken_hides_no_other(place: Path) -> None:
    found = list(find.below([place / "runs"]))
    runs = {str(f.place.relative_to(place / "runs")): f.record.kind for f in found if isinstance(f, find.Found)}
    assert runs == {"a": "training", "deep/b": "training", "measured": "measurement"}
    errors = [f for f in found if isinstance(f, KwsError)]
    assert len(errors) == 1 and "broken" in str(errors[0])
    every = [str(f.place.relative_to(place)) for f in find.below([place], every=True) if isinstance(f, find.Found)]
    assert "runs/a/inside" in every


def test_a_walk_ends_where_a_link_leads_back(place: Path) -> None:
    (place / "runs" / "again").symlink_to(place / "runs")
    assert sum(isinstance(f, find.Found) for f in find.below([place / "runs"])) == 3
    with pytest.raises(KwsError, match="no folder"):
        list(find.below([place / "absent"]))


def test_a_walk_that_ends_before_its_time_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_MOST", 2)
    errors = [f for f in find.below([place / "runs"]) if isinstance(f, KwsError)]
    assert any("more than 2 folders" in str(error) for error in errors)


def _nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels):
        value = {"a": value}
    return value


HOSTILE: dict[str, Any] = {
    "deep": {"config": _nested(400)},  # more than pydantic writes
    "not a number": {"seconds": "nan"},
    "5,000 digits": {"seconds": "9" * 5000},
    "beyond a table": {"figures": {"accuracy": {"value": 1e300}}},
    "a kind that there is none of": {"kind": "../../x"},
    "another key": {"evil": 1},
    "5 MB": {"config": {"x": "y" * 5_000_000}},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_record_is_one_line_and_hides_no_other(
    change: dict, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good, bad = put(tmp_path / "good", one("good", accuracy=ACCURATE)), tmp_path / "bad"
    bad.mkdir()
    (bad / "record.json").write_text(json.dumps(one("bad", accuracy=ACCURATE).model_dump(mode="json") | change))
    for words in (["show", bad], ["gate", bad, "--require", "accuracy>=0.1"], ["compare", good, bad]):
        code, _, error = kws("runs", *words, capfd=capfd)
        assert code == 2 and "record.json" in error and error.count("\n") <= 3
    code, text, _ = kws("runs", "list", tmp_path, "--json", capfd=capfd)
    assert code == 0 and [Path(run["place"]).name for run in json.loads(text)] == ["good"]


def test_what_a_record_says_is_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]52;c;eA==\x07[red]x[/foo]\r\u202e"
    changes = {"name": hostile, "parent": hostile, "origin": hostile, "board": hostile, "config": {hostile: [hostile]}}
    bad = one("x", accuracy=ACCURATE.model_copy(update={"sample": hostile})).model_copy(update=changes)
    put(tmp_path / "bad", bad)
    good = put(tmp_path / "good", one("good", accuracy=ACCURATE))
    for words in (
        ["show", str(tmp_path / "bad")],
        ["show", str(tmp_path / "bad"), "--json"],
        ["list", str(tmp_path / "bad")],
        ["compare", str(tmp_path / "bad"), str(good)],
        ["gate", str(tmp_path / "bad"), "--require", "accuracy>=0.1"],
    ):
        code, text, error = kws("runs", *words, capfd=capfd)
        assert code == 0 and not set(text + error) & set("\x1b\x07\r\u202e")


def test_a_comparison_shows_so_many_differences(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    many = one("many").model_copy(update={"config": {f"k{n}": n for n in range(2000)}})
    put(tmp_path / "many", many)
    good = put(tmp_path / "good", one("good", accuracy=ACCURATE))
    code, text, _ = kws("runs", "compare", tmp_path / "many", good, capfd=capfd)
    assert code == 0 and "more; --json tells all" in text and text.count("\n") < 700


def test_figures_of_results_are_what_the_report_has() -> None:
    values = example()
    heard = stream()
    session = heard.sessions["10"].model_copy(
        update={
            "misses": Share.of(20, 100),
            "false_accepts": Rate.of(2, 0.5),
            "response_ms": Response(count=80, median=210.0),
        }
    )
    verdict = Verdict("disco_f407vg", 168_000_000, 20.0, 1000, 500, 0.1, 0.25, True, 1.4, True, "")
    expected = Expectation(
        streaming=heard.model_copy(update={"sessions": {"10": session}}),
        near=None,
        boards=[BoardCost(board="disco_f407vg", name="a board", realtime=verdict, memory=None, why_not="")],
    )
    values["expect"] = expected.model_dump(mode="json")
    figures = find.figures_of(Results.of(values))
    assert figures["device_accuracy"].value == values["accuracy"]["value"]
    assert figures["device_accuracy"].low == pytest.approx(values["accuracy"]["low"])
    rate = figures["false_accepts_per_hour"]
    assert (rate.value, rate.low, rate.high) == (4.0, pytest.approx(0.4844, abs=1e-4), pytest.approx(14.449, abs=1e-3))
    assert figures["noise_false_accepts_per_hour"].high == pytest.approx(7.378, abs=1e-3)
    assert "speech_false_accepts_per_hour" not in figures
    assert figures["instructions_per_second"].value == 50_000 and figures["load"].value == 0.25
    assert figures["inference_instructions"].value == values["cost"]["inference"]["mean"]
    assert figures["misses"].sample == "100 keywords" and figures["answer_ms"].value == 210
    values["ticks"]["name"] = "nanoseconds"  # of this computer: no count of instructions
    assert "inference_instructions" not in find.figures_of(Results.of(values))
    assert set(figures) <= set(FIGURES)


def test_damaged_results_are_one_line(tmp_path: Path) -> None:
    values = example()
    write_report(Results.of(values), tmp_path / "run")
    broken = copy.deepcopy(values) | {"steps": [{"title": "no seconds"}]}
    (tmp_path / "run" / "results.json").write_text(json.dumps(broken))
    with pytest.raises(KwsError, match=r"not a results file of kws: steps\.0\.seconds: Field required"):
        find.read(tmp_path / "run")
    (tmp_path / "run" / "record.json").write_text(json.dumps({"kind": "training", "name": 3}))
    with pytest.raises(KwsError, match="not a record of a run: name"):
        find.read(tmp_path / "run")


def test_a_configurations_hash_is_of_its_values_alone() -> None:
    config = load_config("demo").model_dump(mode="json")
    assert record.hash_of(config) == record.hash_of(dict(reversed(config.items())))
    assert record.hash_of(config) != record.hash_of(config | {"board": "host"}) and record.hash_of({}) == ""


def test_a_file_of_show_is_a_run(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    code, out, err = kws("runs", "show", "runs/a", "--json", capfd=capfd)
    assert code == 0, err
    (place / "kept.json").write_text(out)
    assert find.read(place / "kept.json").record == find.read(place / "runs" / "a").record
    assert kws("runs", "gate", "runs/a", "--against", "kept.json", capfd=capfd)[0] == 0


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("inference_instructions", 1477247.6, "1,477,248"), ("loss", 0.31234, "0.3123"), ("macs", 3.0, "3"),
     ("accuracy", 0.9567, "95.7 %"), ("flash", 110_380.0, "110,380 B"), ("false_accepts_per_hour", 15.876, "15.88")],
)  # fmt: skip
def test_a_figure_in_words(name: str, value: float, text: str) -> None:
    assert record.shown(name, value) == text


# --- beside each other


def test_what_differs_and_nothing_else(place: Path) -> None:
    found = compare([find.read(place / "runs" / "a"), find.read(place / "runs" / "deep" / "b")])
    assert [(d.name, d.values) for d in found.settings] == [("name", ["a", "b"]), ("train.width", [1.0, 0.5])]
    assert {d.name for d in found.about} == {"config_hash"}
    assert {row.name: row.verdicts[1] for row in found.figures} == {
        "accuracy": "worse", "flash": "better", "macs": "better"
    }  # fmt: skip
    other = compare([find.read(place / "runs" / "a"), find.read(place / "runs" / "measured")])
    assert other.unknown == [str(place / "runs" / "measured")] and not other.settings


@given(
    st.sampled_from([n for n, m in FIGURES.items() if m.better]),
    *[st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(sorted)] * 2,
)
def test_a_verdict_has_two_sides(name: str, a: list[float], b: list[float]) -> None:
    one, two = (Figure(value=v[1], low=v[0], high=v[2]) for v in (a, b))
    said, back = verdict(name, one, two), verdict(name, two, one)
    assert (said == "within") == (a[0] <= b[1] <= a[2])
    if {said, back} <= {"better", "worse"}:
        assert said != back
    exact = verdict(name, Figure(value=a[1]), Figure(value=b[1]))
    assert (exact == "same") == (a[1] == b[1])
    if exact != "same":
        assert (exact == "better") == ((b[1] > a[1]) == (FIGURES[name].better == "higher"))


def test_dotted_names_are_those_of_set() -> None:
    config = load_config("default")
    values = flat(config.model_dump(mode="json"))
    assert values["train.shape.front"] == config.train.shape.front and isinstance(values["keywords"], list)


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize(
    "verb",
    [["list", "runs"], ["show", "runs/a"], ["compare", "runs/a", "runs/deep/b"], ["figures"]],
    ids=lambda verb: verb[0],
)
def test_on_a_terminal(verb: list[str], columns: int, place: Path) -> None:
    shutil.rmtree(place / "runs" / "measured")  # its time is that of the test
    text = shown(["runs", *verb], columns, cwd=place)
    assert all(len(line) <= columns for line in text.split("\n") if "  " in line.strip() and "+ better" not in line)
    same_as_snapshot(f"runs-{verb[0]}-{columns}", text)


def test_many_runs_stand_in_several_tables(place: Path) -> None:
    places = ["runs/a", "runs/deep/b", *(f"runs/c{n}" for n in range(5))]
    for n in range(5):
        put(place / f"runs/c{n}", one(f"c{n}", (f"train.epochs={n + 1}",), accuracy=ACCURATE))
    text = shown(["runs", "compare", *places], 80, cwd=place)
    assert all(len(line) <= 80 for line in text.split("\n") if "  " in line.strip() and "+ better" not in line)
    heads = [line.split()[1:] for line in text.split("\n") if line.startswith("figure ")]
    assert all(head[0] == "A" for head in heads) and len(heads) > 1
    assert sorted({letter for head in heads for letter in head}) == list("ABCDEFG")


# --- gates


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("accuracy>=0.9", 0.9),
        ("accuracy >= 90%", 0.9),
        ("flash<=128K", 131072),
        ("macs<1.2M", 1.2e6),
        ("misses<.5", None),
    ],
)
def test_requirements(text: str, limit: float | None) -> None:
    if limit is None:
        with pytest.raises(KwsError, match="not a requirement"):
            Requirement.parse(text)
    else:
        assert Requirement.parse(text).limit == pytest.approx(limit)


@pytest.mark.parametrize("wanted", ["accuracy>=0.95", "accuracy>0.9", "accuracy<=0.95", "accuracy<1"])
def test_a_threshold_that_holds(wanted: str) -> None:
    assert require(one(accuracy=ACCURATE), [Requirement.parse(wanted)])[0].holds


@pytest.mark.parametrize("wanted", ["accuracy>0.95", "accuracy>=0.951", "accuracy<0.95", "accuracy<=0.9", "flash<=1M"])
def test_a_threshold_that_does_not(wanted: str) -> None:
    """The last: what was not measured passes no gate."""
    assert not require(one(accuracy=ACCURATE), [Requirement.parse(wanted)])[0].holds


def test_to_be_sure_is_to_take_the_worse_end() -> None:
    run = one(accuracy=ACCURATE, false_accepts_per_hour=Figure(value=1.0, low=0.0, high=None))
    wanted = [Requirement.parse(text) for text in ("accuracy>=0.93", "accuracy>=0.92", "false_accepts_per_hour<=5")]
    assert [c.holds for c in require(run, wanted)] == [True, True, True]
    assert [c.holds for c in require(run, wanted, sure=True)] == [False, True, False]


def test_against_another_run() -> None:
    before = one("before", accuracy=ACCURATE, flash=Figure(value=100_000), epochs=Figure(value=30))
    for accuracy, flash, holds in (
        (0.92, 102_000, [True, True]),
        (0.919, 102_001, [False, False]),
        (0.99, 1, [True, True]),
    ):
        now = one(
            "now", accuracy=Figure(value=accuracy, low=0, high=1), flash=Figure(value=flash), epochs=Figure(value=3)
        )
        checks = against(now, before)
        assert [c.figure for c in checks] == ["accuracy", "flash"]  # more epochs are neither better nor worse
        assert [c.holds for c in checks] == holds
    assert [c.holds for c in against(one("now", flash=Figure(value=150_000)), before, ["flash"], slack=0.5)] == [True]
    assert not against(one("now"), before, ["accuracy"])[0].holds
    with pytest.raises(KwsError, match="no figure in common"):
        against(one("now"), before)


def test_a_gates_exit_code(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)

    def gate(*words: str) -> tuple[int, str, str]:
        return kws("runs", "gate", *words, capfd=capfd)

    assert gate("runs/a", "--require", "accuracy>=0.9", "--require", "flash<=128K")[0] == 0
    code, out, err = gate("runs/deep/b", "--against", "runs/a", "--json")
    assert code == 1 and "1 of 3 checks failed: accuracy" in err
    assert [c["holds"] for c in json.loads(out)["checks"]] == [False, True, True]
    code, _, err = gate("runs/a", "--require", "acuracy>=0.9")
    assert code == 2 and "did you mean accuracy?" in err
    assert gate("runs/a")[0] == 2
    assert kws("runs", "show", "runs/notes", capfd=capfd)[0] == 2
    put(place / "runs" / "half", one("half", accuracy=ACCURATE).model_copy(update={"whole": False}))
    code, _, err = gate("runs/half", "--require", "accuracy>=0.9")
    assert code == 1 and "stopped before its end" in err


def test_the_projects_own_ci_asks_for_figures_that_there_are() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    wanted = re.findall(r"--require '([^']+)'", text)
    assert len(wanted) > 3 and "kws runs compare" in text
    for requirement in wanted:
        Requirement.parse(requirement)
    for figure in re.findall(r"--figure (\w+)", text):
        record.check_name(figure)


# --- MLflow


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client of a store in the test's folder."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'store.db'}")


def test_mlflow_has_what_the_record_has(place: Path, client: Any) -> None:
    from host_tools.records.mlflow import EXPERIMENT, Tracker

    run = place / "runs" / "a"
    with (run / "log.csv").open("w", newline="") as stream:
        rows = csv.DictWriter(stream, ["epoch", "loss"])
        rows.writeheader()
        rows.writerows([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5}])
    one_run, again = (Tracker().write(find.read(run)) for _ in range(2))
    assert one_run != again
    experiment = client.get_experiment_by_name(EXPERIMENT)
    told = client.get_run(one_run)
    assert {r.info.run_id for r in client.search_runs([experiment.experiment_id])} == {one_run, again}
    assert told.info.status == "FINISHED" and told.info.run_name == "a"
    assert told.data.metrics["accuracy"] == 0.95 and told.data.metrics["accuracy.low"] == 0.92
    assert told.data.metrics["flash"] == 110_000 and "flash.low" not in told.data.metrics
    assert [m.value for m in client.get_metric_history(one_run, "train.loss")] == [0.9, 0.5]
    values = flat(find.read(run).record.config)
    assert told.data.params == {key: str(value)[:500] for key, value in values.items()}
    assert told.data.tags["kws.config_hash"] == find.read(run).record.config_hash


def test_a_store_that_does_not_answer_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    from host_tools.records.mlflow import Tracker

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(DeviceError, match=r"MLflow at http://127\.0\.0\.1:9") as raised:
        Tracker("http://127.0.0.1:9")
    assert raised.value.exit_code == 4
