"""The steps of a run: what is kept, what is done again, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from host_tools.measure.clips import verdict
from host_tools.report.results import Results
from host_tools.run import job as mainjob
from host_tools.run import steps
from host_tools.run.quality import with_quality
from host_tools.run.sources import PLUMBING, sources
from host_tools.run.steps import Run, Step, StepDone, folder_stamp, write_config
from model_pipeline.config import CONFIGS, Config, load_config
from model_pipeline.errors import KwsError
from model_pipeline.files import write_text
from model_pipeline.progress import ProgressCallback
from tests.tools.test_report import example

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """Three steps, a then b then c, each of which writes what it read, and a log of which ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.root = folder / "project"
        self.ran: list[str] = []
        self.settings = {"a": 1, "b": 1, "c": 1}
        self.text = {"a": "A", "b": "B", "c": "C"}
        self.stop_at: str | None = None
        self.resumed: bool | None = None
        for name in "abc":
            write_text(self.root / f"{name}.src", "source")

    def steps(self) -> list[Step]:
        """As the settings are now."""
        return [self._step("a", ()), self._step("b", ("a",)), self._step("c", ("a", "b"))]

    def _step(self, name: str, inputs: tuple[str, ...]) -> Step:
        def run(progress: ProgressCallback) -> dict[str, str]:
            self.ran.append(name)
            progress(0, 1, name)
            if name == "b":
                self.resumed = (self.folder / "b" / "half").exists()
                write_text(self.folder / "b" / "half", "begun")
            if self.stop_at == name:
                raise KeyboardInterrupt
            read = "".join((self.folder / i / "out.txt").read_text() for i in inputs)
            write_text(self.folder / name / "out.txt", self.text[name] + read)
            return {"read": read}

        settings = self.settings[name]
        return Step(name, name, (name,), run, inputs, settings, (f"{name}.src",), resumes=name == "b")

    def go(self, **options: bool) -> list[StepDone]:
        """Runs, and gives only this run's log in ``ran``."""
        self.ran.clear()
        with Run(self.folder, self.root) as run:
            return run.execute(self.steps(), **options)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_nothing_is_done_twice(bench: Bench) -> None:
    first = bench.go()
    assert bench.ran == ["a", "b", "c"]
    second = bench.go()
    assert bench.ran == []
    assert [o.reused for o in second] == [True] * 3
    assert [(o.detail, o.seconds) for o in second] == [(o.detail, o.seconds) for o in first]


def test_fresh_does_everything(bench: Bench) -> None:
    bench.go()
    bench.go(fresh=True)
    assert bench.ran == ["a", "b", "c"]


def test_a_run_neither_removes_nor_writes_through_a_link(bench: Bench, tmp_path: Path) -> None:
    bench.go()
    write_text(tmp_path / "theirs" / "out.txt", "a recording")
    os.link(bench.folder / "c" / "out.txt", tmp_path / "a copy")
    before = (tmp_path / "a copy").read_text()
    for name in "ab":
        shutil.rmtree(bench.folder / name)
        (bench.folder / name).symlink_to(tmp_path / "theirs")
    bench.settings.update(a=2, b=2)
    bench.text.update(a="other", c="new")
    bench.go()
    assert bench.ran == ["a", "b", "c"] and not any((bench.folder / name).is_symlink() for name in "abc")
    assert os.listdir(tmp_path / "theirs") == ["out.txt"]
    assert (tmp_path / "theirs" / "out.txt").read_text() == "a recording"
    assert (tmp_path / "a copy").read_text() == before != (bench.folder / "c" / "out.txt").read_text()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system opens links alone")
def test_no_lock_is_made_through_a_link(bench: Bench, tmp_path: Path) -> None:
    bench.folder.mkdir()
    (bench.folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KwsError, match="can't write"):
        bench.go()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_in_which_nothing_was_begun_is_as_it_was(bench: Bench) -> None:
    for there in (False, True):
        if there:
            write_text(bench.folder / "a" / "out.txt", "mine")
        with pytest.raises(KwsError, match="did not make"), Run(bench.folder, bench.root) as run:
            with pytest.raises(KwsError, match="another kws run"), Run(bench.folder, bench.root):
                pass
            assert (bench.folder / ".lock").is_file()  # the one who was refused took nothing away
            write_text(bench.folder / "a" / "out.txt", "mine")
            run.check_ahead(bench.steps())
        assert [p.name for p in bench.folder.iterdir()] == ["a"]


def test_a_lock_that_is_taken_away_is_made_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run that claimed nothing, between another's opening of the file and its locking it."""
    real, taken = steps.try_lock, []

    def late(stream: Any) -> bool:
        if not taken:
            taken.append((bench.folder / ".lock").unlink())
        return real(stream)

    monkeypatch.setattr(steps, "try_lock", late)
    with Run(bench.folder, bench.root), pytest.raises(KwsError, match="another kws run"):
        Run(bench.folder, bench.root).__enter__()
    assert taken


def _edit_result(bench: Bench) -> None:
    (bench.folder / "b" / "out.txt").write_text("edited by hand")


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        (lambda b: b.settings.update(a=2), ["a"]),  # the same output again: nothing after it has changed
        (lambda b: (b.settings.update(a=2), b.text.update(a="other")), ["a", "b", "c"]),
        (lambda b: write_text(b.root / "c.src", "new"), ["c"]),
        (lambda b: (write_text(b.root / "b.src", "new"), b.text.update(b="other")), ["b", "c"]),
        (_edit_result, ["b"]),
        (lambda b: (b.folder / "c" / "out.txt").unlink(), ["c"]),
        (lambda b: os.utime(b.folder / "a" / "out.txt", (1, 1)), []),  # touched, not changed
    ],
    ids=["setting", "setting-output", "source", "source-output", "edited", "lost", "touched"],
)
def test_exactly_what_has_changed_is_done_again(
    bench: Bench, change: Callable[[Bench], object], ran: list[str]
) -> None:
    bench.go()
    change(bench)
    bench.go()
    assert bench.ran == ran
    bench.go()
    assert bench.ran == []


def test_ctrl_c_goes_on_where_it_was(bench: Bench) -> None:
    bench.stop_at = "b"
    with pytest.raises(KeyboardInterrupt):
        bench.go()
    assert bench.ran == ["a", "b"]
    bench.stop_at = None
    bench.go()
    assert bench.ran == ["b", "c"]
    assert bench.resumed, "what b had begun with the same key is there for it to go on from"


def test_what_was_begun_with_another_key_is_not_resumed(bench: Bench) -> None:
    bench.stop_at = "b"
    with pytest.raises(KeyboardInterrupt):
        bench.go()
    bench.stop_at = None
    bench.settings["b"] = 2
    bench.go()
    assert not bench.resumed
    bench.go(fresh=True)
    assert not bench.resumed


def test_a_step_that_fails_is_not_kept(bench: Bench) -> None:
    bench.go()
    bench.settings["c"] = 2
    bench.stop_at = "c"
    with pytest.raises(KeyboardInterrupt):
        bench.go()
    bench.stop_at = None
    bench.settings["c"] = 1  # back to what was once finished; but its output is gone
    bench.go()
    assert bench.ran == ["c"]


def test_forget_runs_a_step_again(bench: Bench) -> None:
    bench.go()
    with Run(bench.folder, bench.root) as run:
        run.forget("b")
    bench.go()
    assert bench.ran == ["b"]


def test_two_at_once_are_refused(bench: Bench) -> None:
    with Run(bench.folder, bench.root), pytest.raises(KwsError, match="another kws run"), Run(bench.folder):
        pass


def test_a_broken_state_is_named_and_one_of_another_version_is_left_aside(bench: Bench) -> None:
    bench.go()
    (bench.folder / "state.json").write_text("{")
    with pytest.raises(KwsError, match=r"state\.json is broken"):
        bench.go()
    (bench.folder / "state.json").write_text(json.dumps({"format": 999}))
    bench.go()
    assert bench.ran == ["a", "b", "c"]


def test_a_step_that_makes_nothing_is_a_bug(tmp_path: Path) -> None:
    with Run(tmp_path) as run, pytest.raises(RuntimeError, match="did not make"):
        run.execute([Step("x", "x", ("nothing",), lambda progress: None)])


def test_folder_stamp_sees_names_sizes_and_times(tmp_path: Path) -> None:
    write_text(tmp_path / "d" / "a", "1")
    before = folder_stamp(tmp_path / "d")
    assert folder_stamp(tmp_path / "d") == before
    os.utime(tmp_path / "d" / "a", (5, 5))
    assert folder_stamp(tmp_path / "d") != before


def test_config_survives_the_way_to_a_child_process(tmp_path: Path) -> None:
    config = load_config(None, name="x.y-z", board="host")
    odd = Config.model_validate(
        {
            **config.model_dump(),
            "keywords": ["o'clock", "go"],
            "synth": {"spoken": {"o'clock": "a klok", "go on": "goh"}},
            "data": {"source": "folder", "folder": 'a "b" \\ ü'},
        }
    )
    for value in (config, odd):
        write_config(value, tmp_path / "config.toml")
        assert load_config(tmp_path / "config.toml") == value


def _all_steps(tmp_path: Path, source: str = "synth") -> list[Step]:
    data = {"source": source, "folder": str(tmp_path)}
    config = Config.model_validate({**load_config("plain").model_dump(), "data": data})
    return mainjob.steps(config, tmp_path, clips=5, done=[])


@pytest.mark.parametrize("source", ["synth", "folder"])
def test_the_main_job_names_sources_that_exist(tmp_path: Path, source: str) -> None:
    steps = _all_steps(tmp_path, source)
    names = [step.name for step in steps]
    for number, step in enumerate(steps):
        assert step.sources
        for path in step.sources:
            assert (ROOT / path).exists(), f"{step.name}: {path}"
        assert set(step.inputs) <= set(names[:number]), "a step may read only what was made before it"


def test_a_wanted_rate_adds_a_calibration_whose_model_is_used(tmp_path: Path) -> None:
    config = load_config("plain")
    plain = mainjob.steps(config, tmp_path, clips=5, done=[])
    wished = config.model_copy(update={"detector": config.detector.model_copy(update={"rate": 1.0})})
    steps = {step.name: step for step in mainjob.steps(wished, tmp_path, clips=5, done=[])}
    assert [name for name in steps if name != "calibrate"] == [step.name for step in plain]
    assert steps["quantize"].outputs == ("int8",) and steps["calibrate"].outputs == ("model",)
    assert "quantize" in steps["calibrate"].inputs
    for step in plain:
        if "quantize" in step.inputs:
            assert "calibrate" in steps[step.name].inputs and "quantize" not in steps[step.name].inputs


def test_a_second_look_comes_before_the_calibration(tmp_path: Path) -> None:
    config = load_config("plain")
    detector = config.detector.model_copy(update={"rate": 1.0, "look": 8})
    wished = config.model_copy(update={"detector": detector})
    steps = {step.name: step for step in mainjob.steps(wished, tmp_path, clips=5, done=[])}
    names = list(steps)
    assert names[names.index("quantize") + 1 :][:2] == ["look", "calibrate"]
    assert steps["look"].outputs == ("looked",) and "quantize" in steps["look"].inputs
    assert "look" in steps["calibrate"].inputs and "quantize" not in steps["calibrate"].inputs
    with pytest.raises(KwsError, match=r"detector\.look needs .* connected speech"):
        mainjob.check_ahead(wished)  # demo has no connected speech


@pytest.mark.parametrize("quality", ["quick", "best"])
def test_quality_is_how_much_is_made(quality: str) -> None:
    config = with_quality(load_config("plain"), quality, ["train.epochs=3"])
    more = 2 if quality == "best" else 1
    assert config.synth.clips_per_keyword == more * load_config("plain").synth.clips_per_keyword
    assert config.train.epochs == 3 and config.keywords == load_config("plain").keywords
    with pytest.raises(KwsError, match="no quality 'good'"):
        with_quality(config, "good")


def _loaded(module: str) -> set[str]:
    """The project's modules that importing ``module`` really loads, without packages' own files."""
    code = (
        f"import sys, {module}\n"
        "print('\\n'.join(n for n, m in sys.modules.items() if getattr(m, '__file__', None) and "
        "n.startswith(('model_pipeline.', 'host_tools.')) and not m.__file__.endswith('__init__.py')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["model_pipeline.train", "model_pipeline.evaluate", "model_pipeline.export", "host_tools.measure.clips"],
)
def test_every_module_that_a_step_loads_counts_as_its_source(module: str) -> None:
    """A change of training must train again: nothing is forgotten but what is named as plumbing."""
    found = set(sources(module))
    loaded = _loaded(module) - PLUMBING - _loaded("model_pipeline.config")
    if module == "model_pipeline.train":  # takes the reader of the compiler alone, whose package hands on the rest
        rest = ("model_pipeline.compiler", "model_pipeline.exported")
        loaded = {name for name in loaded if not name.startswith(rest)}
    for name in loaded:
        assert f"{name.replace('.', '/')}.py" in found, name


def test_what_a_step_depends_on_follows_from_imports() -> None:
    export, train = set(sources("model_pipeline.export")), set(sources("model_pipeline.train"))
    assert {"model_pipeline/manifest.py", "model_pipeline/compiler/ops/conv_2d.py", "firmware/core/nn"} <= export
    assert {"model_pipeline/compiler/fast/pack.py", "firmware/core/nn/fast"} <= set(sources("model_pipeline.evaluate"))
    assert {"model_pipeline/training/augment.c", "model_pipeline/features/lanes.h", "firmware/core/frontend"} <= train
    assert "model_pipeline/models/speech_embedding.py" in train  # imported inside a function
    assert "model_pipeline/compiler/emitter.py" not in train  # a change of the compiler does not train again
    measure = set(sources("host_tools.measure.clips", "host_tools.image.targets"))
    assert {f"host_tools/{name}.py" for name in ("link/session", "measure/metrics", "image/renode")} <= measure
    assert not any(Path(name).name in ("errors.py", "ui.py", "child.py") for name in train | export | measure)


def test_sources_of_a_made_up_project(tmp_path: Path) -> None:
    files = {
        "host_tools/one.py": "import host_tools.two\ndef f():\n    from host_tools import three\n"
        "X = ROOT / 'boards' / 'a'",
        "host_tools/two.py": "from host_tools.four import name\nHERE = Path(__file__).with_name('fast.c')",
        "host_tools/three.py": "from host_tools import ui",
        "host_tools/four/__init__.py": "import pkgutil\nlist(pkgutil.iter_modules(__path__))",
        "host_tools/four/five.py": "",
        "host_tools/ui.py": "",
        "host_tools/fast.c": '#include "fast.h"\n#include <stdio.h>\n',
        "host_tools/fast.h": '#include "fast.c"\n',
        "host_tools/other.py": "",
        "boards/a/b": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    without = {"host_tools/ui.py", "host_tools/other.py", "boards/a/b"}
    assert set(sources("host_tools.one", root=tmp_path)) == {*files, "boards/a"} - without
    with pytest.raises(ValueError, match=r"no module host_tools\.six"):
        sources("host_tools.six", root=tmp_path)


def _results(lost: int = 0, repeated: int = 0, equal: int = 5) -> Results:
    values = example()
    values["clips"] = [row for row in values["clips"] if row["predicted"] is not None]
    values["link"] |= {"lost": lost, "repeated": repeated}
    return Results.of(values | {"agreement": {"compared": 5, "equal": equal, "differ": []}})


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (_results(lost=1), "1 frames were lost"),
        (_results(repeated=2), "2 repeated"),
        (_results(equal=4), "1 of 5 clips differ"),
        (Results.of(example() | {"link": _results().to_json()["link"]}), "no answer to 1 of 60 clips"),
    ],
)
def test_a_measurement_that_cannot_be_relied_on_fails_the_run(results: Results, words: str) -> None:
    with pytest.raises(KwsError, match=words) as caught:
        verdict(results, Path("x"))
    assert caught.value.exit_code == 1


def test_a_clean_measurement_passes() -> None:
    verdict(_results(), Path("x"))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_every_recipe_reads_as_it_was_written(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    write_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config
