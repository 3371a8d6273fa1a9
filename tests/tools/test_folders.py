"""No folder of a user's is replaced or emptied, and a folder of ours is whole at every moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from host_tools.cli import build_app
from host_tools.image import build as builder
from host_tools.report.page import write_report
from host_tools.report.results import Results
from host_tools.run import job
from host_tools.run.steps import Run, Step
from host_tools.words import project
from model_pipeline import files, folders, parts
from model_pipeline.config import Config
from model_pipeline.data.importer import import_folder
from model_pipeline.data.sessions import Session, write_sessions
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError
from model_pipeline.export import export
from model_pipeline.files import atomic_path, write_text
from model_pipeline.folders import (
    MARK,
    atomic_dir,
    claim_dir,
    finish_dir,
    foreign_files,
    read_mark,
    refuse_overlap,
    updated_dir,
    write_mark,
)
from model_pipeline.native import FIRMWARE, ROOT
from model_pipeline.parts import left_behind, part_name
from tests.tools.test_report import example

KIND = "kws test"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make(target: Path, *names: str, kind: str = KIND, **options: object) -> None:
    """A folder with files that hold their own names."""
    with atomic_dir(target, kind, **options) as folder:  # type: ignore[arg-type]
        for name in names:
            write_text(folder / name, name)


def speech(folder: Path, *words: str) -> Path:
    """Three recordings of each word."""
    rng = np.random.default_rng(1)
    for word in words or ("yes", "no"):
        (folder / word).mkdir(parents=True)
        for i in range(3):
            samples = rng.normal(0, 0.1, 16000).astype(np.float32)
            soundfile.write(folder / word / f"s{i}_nohash_0.wav", samples, 16000, subtype="PCM_16")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of somebody's."""
    folder = tmp_path / "home"
    for name in (".ssh/id_ed25519", "thesis.tex", "yes/anna_nohash_0.wav", "firmware.elf", "model.tflite"):
        write_text(folder / name, name)
    return folder


class TestRule:
    def test_what_this_kind_of_step_made_is_replaced(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a", "b/c")
        make(tmp_path / "d", "b/d")
        assert set(contents(tmp_path / "d")) == {"b/d", MARK}
        assert read_mark(tmp_path / "d") == {KIND: ["b/d"]}

    def test_what_another_kind_made_is_not(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a")
        with pytest.raises(KwsError, match="was made by kws test, not by kws other"):
            make(tmp_path / "d", "b", kind="kws other")
        assert (tmp_path / "d" / "a").exists()

    @pytest.mark.parametrize("name", ["notes.txt", "a.bak", "sub/notes.txt", "empty/", ".hidden"])
    def test_something_of_the_users_in_it_keeps_it(self, tmp_path: Path, name: str) -> None:
        make(tmp_path / "d", "a", "sub/b")
        if name.endswith("/"):
            (tmp_path / "d" / name).mkdir()
        else:
            write_text(tmp_path / "d" / name, "mine")
        before = contents(tmp_path / "d")
        with pytest.raises(KwsError, match="did not make, and is not replaced"):
            make(tmp_path / "d", "a")
        assert contents(tmp_path / "d") == before

    def test_what_a_file_manager_left_is_nobodys(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a")
        write_text(tmp_path / "d" / ".DS_Store", "")
        make(tmp_path / "d", "b")

    def test_what_came_while_it_was_made_is_kept(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a")
        with pytest.raises(KwsError, match="late"), atomic_dir(tmp_path / "d", KIND) as folder:
            write_text(folder / "b", "b")
            write_text(tmp_path / "d" / "late", "mine")
        assert set(contents(tmp_path / "d")) == {"a", "late", MARK}
        assert [p.name for p in tmp_path.iterdir()] == ["d"]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            '{"format": 2, "made": {"kws test": ["a"]}}',
            '{"format": 1, "made": {"kws test": "a"}}',
            "[" * 5000,
            '{"format": 1, "made": {"kws test": [1]}}',
        ],
    )
    def test_a_damaged_mark_is_none(self, tmp_path: Path, text: str) -> None:
        make(tmp_path / "d", "a")
        (tmp_path / "d" / MARK).write_text(text)
        with pytest.raises(KwsError, match="was not made by"):
            make(tmp_path / "d", "b")
        assert (tmp_path / "d" / "a").exists()

    def test_names_with_brackets_and_stars_are_names(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a[1].txt", "b*.txt")
        assert not foreign_files(tmp_path / "d")
        write_text(tmp_path / "d" / "a1.txt", "mine")
        assert foreign_files(tmp_path / "d") == ["a1.txt"]

    def test_a_file_or_the_folder_one_is_in_is_refused(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(KwsError, match="is a file"):
            make(home / "thesis.tex", "a")
        (tmp_path / "empty" / "below").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "empty" / "below")
        for target in (".", "..", "../../empty"):
            with pytest.raises(KwsError, match="the folder that you are in"):
                make(Path(target), "a")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "home"]

    def test_a_link_stays_a_link(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "real")
        make(tmp_path / "link", "a")
        make(tmp_path / "link", "b")
        assert (tmp_path / "link").is_symlink()
        assert set(contents(tmp_path / "real")) == {"b", MARK}
        (tmp_path / "to_home").symlink_to(home)
        with pytest.raises(KwsError, match="was not made by"):
            make(tmp_path / "to_home", "a")

    def test_a_link_in_a_folder_is_not_followed(self, tmp_path: Path, home: Path) -> None:
        with atomic_dir(tmp_path / "d", KIND) as folder:
            (folder / "out").symlink_to(home)
        make(tmp_path / "d", "a")
        assert (home / "thesis.tex").exists()

    @pytest.mark.parametrize(
        ("out", "source"), [("d", "d"), ("d/below", "d"), ("d", "d/below"), ("link", "d"), ("d/x/../../d", "d")]
    )
    def test_overlaps_are_refused_in_either_direction(self, tmp_path: Path, out: str, source: str) -> None:
        write_text(tmp_path / "d" / "below" / "a", "mine")
        (tmp_path / "link").symlink_to(tmp_path / "d")
        with pytest.raises(KwsError, match="read"):
            make(tmp_path / out, "b", sources=[tmp_path / source])
        refuse_overlap(tmp_path / "data2", [tmp_path / "d", "", "https://host/data"])

    def test_a_name_that_begins_alike_is_no_overlap(self, tmp_path: Path) -> None:
        speech(tmp_path / "data")
        make(tmp_path / "data2", "a", sources=[tmp_path / "data"])


class TestAtomic:
    def test_there_is_no_moment_without_the_folder(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a")
        missing, stop = [], threading.Event()

        def look() -> None:
            while not stop.is_set():
                if not (tmp_path / "d" / "a").exists():
                    missing.append(1)

        watcher = threading.Thread(target=look)
        watcher.start()
        for _ in range(30):
            make(tmp_path / "d", "a")
        stop.set()
        watcher.join()
        assert not missing or not _exchanges(tmp_path)

    @pytest.mark.parametrize("killed_at", [1, 2])
    def test_a_kill_between_two_renames_is_undone_at_the_next_call(self, tmp_path: Path, killed_at: int) -> None:
        """Where no call exchanges folders."""
        target = tmp_path / "d"
        make(target, "old")
        code = (
            "import os, sys; from pathlib import Path; from model_pipeline import folders\n"
            "folders._exchange = lambda *_: False\n"
            "rename, count = os.rename, [0]\n"
            "def stop(*a):\n"
            "    count[0] += 1\n"
            f"    if count[0] == {killed_at}: os._exit(9)\n"
            "    rename(*a)\n"
            "os.rename = stop\n"
            f"with folders.atomic_dir(Path({str(target)!r}), {KIND!r}) as d: (d / 'new').write_text('new')\n"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 9
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(KeyboardInterrupt), atomic_dir(target, KIND):
            assert set(contents(target)) == {"old", MARK}
            raise KeyboardInterrupt
        assert [p.name for p in tmp_path.iterdir()] == ["d"]
        assert (target / "old").exists()

    def test_without_an_exchange_the_new_folder_takes_the_place_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
        make(tmp_path / "d", "a")
        make(tmp_path / "d", "b")
        assert set(contents(tmp_path / "d")) == {"b", MARK}
        assert [p.name for p in tmp_path.iterdir()] == ["d"]

    @pytest.mark.parametrize("many", [1, 200])
    def test_files_are_on_the_disk_before_they_take_their_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
    ) -> None:
        done: list[str] = []
        fsync, whole, rename = os.fsync, files._sync_file_system, os.rename

        def note(handle: int) -> None:
            done.append(os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        def note_all(folder: Path) -> bool:
            done.append("all")
            return whole(folder)

        def note_rename(a: Path, b: Path) -> None:
            done.append("rename")
            rename(a, b)

        monkeypatch.setattr(os, "fsync", note)
        monkeypatch.setattr(files, "_sync_file_system", note_all)
        monkeypatch.setattr(os, "rename", note_rename)
        with atomic_dir(tmp_path / "d", KIND) as folder:
            for i in range(many):
                (folder / f"{i}.txt").write_text("x")
        before, after = done[: done.index("rename")], done[done.index("rename") + 1 :]
        assert "all" in before or any(path.endswith("/0.txt") for path in before)
        assert str(tmp_path) in after
        with atomic_path(tmp_path / "f") as temporary:
            temporary.write_text("x")
        assert any(path.endswith(".part") for path in done)

    def test_what_a_killed_call_left_is_swept_and_what_works_is_not(self, tmp_path: Path) -> None:
        code = (
            "import os; from pathlib import Path; from model_pipeline import files, parts, folders\n"
            f"folder = Path({str(tmp_path)!r})\n"
            f"with folders.atomic_dir(folder / 'd', {KIND!r}) as d, files.atomic_path(folder / 'f.txt') as f:\n"
            "    (d / 'x').write_text('x'); f.write_text('x'); os._exit(9)\n"
        )
        for _ in range(2):
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        assert len(left_behind(tmp_path / "d")) == 1, "the second call swept what the first one left"
        own = tmp_path / part_name("d", ".part")
        own.mkdir()
        others = [tmp_path / ".d.notes.old", tmp_path / ".d.part", tmp_path / ".f.txt.part", tmp_path / ".d.x.part"]
        for path in others:
            path.write_text("mine")
            os.utime(path, (1, 1))
        make(tmp_path / "d", "a")
        write_text(tmp_path / "f.txt", "f")
        assert {p.name for p in tmp_path.iterdir()} == {"d", "f.txt", own.name, *(p.name for p in others)}

    def test_parts_of_other_machines_are_left_for_a_day(self, tmp_path: Path) -> None:
        name = part_name("d", ".part").replace(parts._machine(), "0123abcd")
        (tmp_path / name).mkdir()
        make(tmp_path / "d", "a")
        assert (tmp_path / name).exists()
        os.utime(tmp_path / name, (time.time() - 90000,) * 2)
        make(tmp_path / "d", "a")
        assert not (tmp_path / name).exists()

    def test_long_names_have_parts(self, tmp_path: Path) -> None:
        make(tmp_path / ("ü" * 120), "a")
        write_text(tmp_path / ("f" * 240), "x")

    def test_an_update_keeps_what_a_user_has_there(self, tmp_path: Path) -> None:
        make(tmp_path / "d", "a")
        write_text(tmp_path / "d" / "notes", "mine")
        with updated_dir(tmp_path / "d") as folder:
            write_text(folder / "b", "b")
        assert set(contents(tmp_path / "d")) == {"a", "b", "notes", MARK}
        assert foreign_files(tmp_path / "d") == ["notes"]


def _exchanges(folder: Path) -> bool:
    """Whether the file system can."""
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    return folders._exchange(folder / "one", folder / "two")


class TestClaim:
    def test_names_of_the_users_are_not_overwritten_and_others_stay(self, tmp_path: Path, home: Path) -> None:
        with pytest.raises(KwsError, match=r"holds firmware\.elf, which"):
            claim_dir(home, KIND, ["firmware.elf", ".pio/**"])
        claim_dir(home, KIND, ["build.json", ".pio/**"])
        write_text(home / ".pio" / "a" / "b", "ours")
        write_text(home / "build.json", "ours")
        claim_dir(home, KIND, ["build.json", ".pio/**"])
        assert "build.json" not in foreign_files(home)
        assert ".pio/a/b" not in foreign_files(home)
        with pytest.raises(KwsError, match=r"model\.tflite"):
            claim_dir(home, KIND, ["build.json", "*.tflite"])

    def test_it_may_not_lie_in_what_is_read(self, tmp_path: Path) -> None:
        data = speech(tmp_path / "data")
        with pytest.raises(KwsError, match="lies in"):
            claim_dir(data / "train", KIND, ["a"], sources=[data])
        claim_dir(tmp_path, KIND, ["a"], sources=[data])


STEPS: dict[str, Callable[[Path, Path], object]] = {
    "import": lambda source, out: import_folder(source, out),
    "synth": lambda source, out: synthesize(
        Config.model_validate({"data": {"recordings": str(source)}, "synth": {"engines": ["espeak-ng"]}}), out
    ),
    "export": lambda source, out: export(FIRMWARE / "model", out),
    "new": lambda source, out: project.create(["marvin"], out),
    "build": lambda source, out: builder.build("host", FIRMWARE / "model", out=out),
    "report": lambda source, out: write_report(Results.of(example()), out),
    "sessions": lambda source, out: write_sessions(
        [Session("thesis", np.zeros(16000, np.int16), [], {})], _with(out, "thesis.wav")
    ),
    "finish": lambda source, out: finish_dir(source, out, KIND),
}


def _with(folder: Path, name: str) -> Path:
    (folder / name).touch()
    return folder


@pytest.mark.parametrize("step", STEPS)
def test_no_step_takes_a_home_folder(tmp_path: Path, home: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_tools.report.page.render", lambda results: "")
    source = speech(tmp_path / "source")
    for name in ("results.json", "report.html", "thesis.wav"):
        write_text(home / name, "mine")
    before = contents(home)
    with pytest.raises(KwsError) as error:
        STEPS[step](source, home)
    assert error.value.exit_code == 2
    assert contents(home) == before
    assert set(contents(source)) == {f"{w}/s{i}_nohash_0.wav" for w in ("yes", "no") for i in range(3)}


@pytest.mark.parametrize("out", ["", "..", "yes", "../source", "deeper/below"])
def test_importing_never_touches_its_source(tmp_path: Path, out: str) -> None:
    source = speech(tmp_path / "above" / "source")
    before = contents(tmp_path)
    with pytest.raises(KwsError):
        import_folder(source, source / out)
    assert contents(tmp_path) == before


def test_the_commands_exit_with_2_and_one_line(tmp_path: Path, home: Path) -> None:
    model = FIRMWARE / "model" / "model.tflite"
    speech(tmp_path / "in")
    before = contents(tmp_path)
    for arguments in (
        ["data", "import", str(tmp_path / "in"), "--out", str(home)],
        ["data", "import", str(tmp_path / "in"), "--out", str(tmp_path)],
        ["compile", str(model), "--out", str(home)],
        ["export", str(FIRMWARE / "model"), "--out", str(home)],
        ["build", "--board", "host", "--out", str(home)],
        ["new", "marvin", "--folder", str(home)],
    ):
        done = CliRunner().invoke(build_app(), arguments)
        assert isinstance(done.exception, KwsError), (arguments, done.exception)
        assert contents(tmp_path) == before


class TestRun:
    """`kws run --out X`: what it did not make is not removed, whatever it is called."""

    OUTPUTS = ("data", "train", "model", "check", "firmware_model", "expect", "build", "measure")

    def _run(self, out: Path, **data: object) -> None:
        job.run(Config.model_validate({"board": "host", "data": data}), out)

    @pytest.fixture
    def until_first_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Run, "execute", stop)

    @pytest.mark.parametrize("where", ["X/data", "X", "X/train", "X/build"])
    def test_recordings_that_are_read_stay(self, tmp_path: Path, where: str) -> None:
        speech(tmp_path / where)
        before = contents(tmp_path / where)
        with pytest.raises(KwsError, match="read"):
            self._run(tmp_path / "X", source="folder", folder=str(tmp_path / where))
        assert contents(tmp_path / where) == before

    @pytest.mark.parametrize("name", [*OUTPUTS, "config.toml", "results.json", "report.html"])
    def test_what_has_an_outputs_name_stops_it_before_the_first_step(self, tmp_path: Path, name: str) -> None:
        speech(tmp_path / "in")
        if "." in name:
            write_text(tmp_path / "X" / name, "mine")
        else:
            write_text(tmp_path / "X" / name / "yes" / "a.wav", "mine")
            write_text(tmp_path / "X" / name / "firmware.elf", "mine")
        before = contents(tmp_path / "X")
        with pytest.raises(KwsError, match="did not make"):
            self._run(tmp_path / "X", source="folder", folder=str(tmp_path / "in"))
        assert contents(tmp_path / "X") == before

    def test_a_state_of_something_else_is_not_overwritten(self, tmp_path: Path) -> None:
        speech(tmp_path / "in")
        write_text(tmp_path / "X" / "state.json", '{"game": "chess"}')
        with pytest.raises(KwsError, match="not a state of a run"):
            self._run(tmp_path / "X", source="folder", folder=str(tmp_path / "in"))
        assert (tmp_path / "X" / "state.json").read_text() == '{"game": "chess"}'

    def test_a_project_beside_its_recordings_is_a_run(self, tmp_path: Path, until_first_step: None) -> None:
        speech(tmp_path / "X" / "recordings", "marvin")
        with pytest.raises(KeyboardInterrupt):
            self._run(tmp_path / "X", recordings=str(tmp_path / "X" / "recordings"))

    def test_a_run_of_before_there_were_marks_goes_on(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        bench.go()
        (bench.folder / MARK).unlink()
        bench.value = "2"
        bench.go()
        assert bench.read() == "2"
        bench.value = "3"
        bench.go()
        assert bench.read() == "3"

    def test_what_a_user_put_into_an_output_stops_it(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        bench.go()
        write_text(bench.folder / "out" / "mine.txt", "mine")
        bench.value = "2"
        with pytest.raises(KwsError, match=r"mine\.txt, which no step made"):
            bench.go()
        assert (bench.folder / "out" / "mine.txt").read_text() == "mine"

    def test_a_step_that_failed_before_it_made_anything_owns_nothing(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, fails=True)
        with pytest.raises(KwsError, match="no voices"):
            bench.go()
        write_text(bench.folder / "out" / "mine.txt", "mine")
        with pytest.raises(KwsError, match="no step made"):
            bench.go()
        assert (bench.folder / "out" / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"format": 1}', '{"format": 1, "steps": {"s": {}}, "begun": {}}', "[" * 5000, '"\\ud800"']
    )
    def test_fresh_gets_out_of_a_damaged_state(self, tmp_path: Path, text: str) -> None:
        bench = Bench(tmp_path)
        bench.go()
        (bench.folder / "state.json").write_text(text)
        bench.value = "2"
        bench.go(fresh=True)
        assert bench.read() == "2"


class Bench:
    """A run of one step."""

    def __init__(self, folder: Path, fails: bool = False) -> None:
        self.folder, self.fails, self.value = folder / "run", fails, "1"

    def go(self, fresh: bool = False) -> None:
        """Runs it."""

        def run(progress: object) -> None:
            if self.fails:
                raise KwsError("no voices")
            write_text(self.folder / "out" / "value.txt", self.value)

        with Run(self.folder, self.folder.parent, fresh=fresh) as state:
            state.execute([Step("s", "s", ("out",), run, settings=self.value)], fresh=fresh)

    def read(self) -> str:
        """What it made last."""
        return (self.folder / "out" / "value.txt").read_text()


def test_the_shipped_models_are_marked() -> None:
    for name in ("model", "tiny"):
        assert set(read_mark(FIRMWARE / name)) == {"kws export"}
        assert not foreign_files(FIRMWARE / name)


def test_a_mark_says_nothing_of_the_time(tmp_path: Path) -> None:
    write_mark(tmp_path, {KIND: ["b", "a"]})
    assert json.loads((tmp_path / MARK).read_text()) == {"format": 1, "made": {KIND: ["a", "b"]}}
