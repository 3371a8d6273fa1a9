"""Pipes, devices and endless files in the place of a file: nothing is waited for without end, nothing is replaced."""

from __future__ import annotations

import ast
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from host_tools.cli import main
from model_pipeline import pipes
from model_pipeline.data.transcripts import transcripts
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, fsync_path, parse_json, read_bytes, read_text
from model_pipeline.native import ROOT
from model_pipeline.pipes import check_regular, read_upto

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
MODEL = ROOT / "firmware" / "model"


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PATIENCE_S", 0.2)


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def writer(path: Path, *pieces: bytes, pause: float = 0.0) -> threading.Thread:
    def write() -> None:
        with path.open("wb") as stream:
            for piece in pieces:
                time.sleep(pause)
                stream.write(piece)
                stream.flush()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_is_read_to_its_end_however_slow_its_writer_is(tmp_path: Path) -> None:
    pipe = fifo(tmp_path / "p")
    thread = writer(pipe, b"keywords", b" = ['yes']", pause=0.4)  # longer than a pipe without a writer is waited for
    assert read_bytes(pipe) == b"keywords = ['yes']"
    thread.join()


def test_no_more_of_a_pipe_is_read_than_may_be(tmp_path: Path) -> None:
    pipe = fifo(tmp_path / "p")
    thread = writer(pipe, b"12345")
    with pytest.raises(KwsError, match="more than 4 bytes"):
        read_bytes(pipe, 4)
    thread.join()


def test_a_pipe_into_which_nobody_writes_is_told(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="a pipe into which nobody writes"):
        read_bytes(fifo(tmp_path / "p"))


def test_an_endless_device_is_read_to_the_bound() -> None:
    assert read_upto(Path("/dev/zero"), 1000) == b"\0" * 1000
    with pytest.raises(KwsError, match="more than 10 bytes"):
        read_text(Path("/dev/zero"), 10)


@pytest.mark.parametrize("make", [fifo, lambda p: p.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_only_files_and_folders_are_regular(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "p")
    with pytest.raises(OSError, match="pipe or a device"):
        check_regular(tmp_path / "p")
    (tmp_path / "f").write_text("x")
    for fine in (tmp_path, tmp_path / "f", tmp_path / "not there"):
        check_regular(fine)


@pytest.mark.parametrize("make", [fifo, lambda p: p.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_what_is_not_a_file_is_not_replaced_by_one(tmp_path: Path, make: Callable[[Path], object]) -> None:
    target = tmp_path / "p"
    make(target)
    with pytest.raises(KwsError, match="pipe or a device"), atomic_path(target) as temporary:
        temporary.write_text("x")
    assert not target.is_file() and os.listdir(tmp_path) == ["p"]


def test_a_link_to_a_file_is_replaced_and_the_file_stays(tmp_path: Path) -> None:
    """So nothing is written through a link out of a folder of ours."""
    (tmp_path / "mine").write_text("a letter")
    (tmp_path / "results.json").symlink_to("mine")
    with atomic_path(tmp_path / "results.json") as temporary:
        temporary.write_text("{}")
    assert (tmp_path / "mine").read_text() == "a letter" and not (tmp_path / "results.json").is_symlink()


def test_a_pipe_is_not_waited_for_when_a_folder_is_brought_to_the_disk(tmp_path: Path) -> None:
    fsync_path(fifo(tmp_path / "p"))


def data(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for word in ("yes", "no"):
        (folder / word).mkdir(parents=True)
        for speaker in "abc":
            sound = (0.1 * rng.standard_normal(16000)).astype(np.float32)
            soundfile.write(folder / word / f"{speaker}_nohash_0.wav", sound, 16000, subtype="PCM_16")
    return folder


def model(folder: Path, replaced: str, make: Callable[[Path], object]) -> Path:
    folder.mkdir()
    for name in ("model.json", "model.tflite"):
        if name == replaced:
            make(folder / name)
        else:
            shutil.copy(MODEL / name, folder / name)
    return folder


def call(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    text = capfd.readouterr().err
    assert "Traceback" not in text and text.count("\n") <= 4
    return int(ended.value.code or 0), text


def test_a_pipe_among_recordings_is_left_out_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = data(tmp_path / "d")
    fifo(folder / "yes" / "z_nohash_0.wav")
    with pytest.raises(SystemExit, match="0"):
        main(["data", "import", str(folder), "--out", str(tmp_path / "o"), "--json"])
    assert "z_nohash_0.wav" in capfd.readouterr().out
    assert len(list((tmp_path / "o").rglob("*.wav"))) == 6


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, endless])
@pytest.mark.parametrize("name", ["model.json", "model.tflite"])
def test_a_model_of_pipes_or_without_an_end_is_one_line(
    name: str, make: Callable[[Path], object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = model(tmp_path / "m", name, make)
    code, text = call(["export", str(folder), "--out", str(tmp_path / "o")], capfd)
    assert code == 2 and str(folder / name) in text and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kws.toml", ["data", "info", "d", "--config", "kws.toml"]),
        ("results.json", ["report", "."]),
        ("results.json", ["runs", "show", "."]),
        ("record.json", ["runs", "show", "."]),
        ("w.json", ["import", "w.json", "--out", "o"]),
        ("one.wav", ["stream", "--wav", "one.wav", "--port", "loop://"]),
        ("in_1.bin", ["mlperf", "--port", "loop://", "--data", "."]),
        (".lock", ["run", "--config", "demo", "--out", "."]),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_one_line(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fifo(tmp_path / name)
    code, text = call(words, capfd)
    assert code == 2 and "error: " in text and ("pipe" in text or "is not there" in text or "holds no" in text)


def test_transcripts_are_files_with_a_size(tmp_path: Path) -> None:
    (tmp_path / "a.trans.txt").write_text("\ufeff19-198-0001 STOP IT\n", encoding="utf-8")
    (tmp_path / "folder.trans.txt").mkdir()
    fifo(tmp_path / "p.tsv")
    endless(tmp_path / "z.tsv")
    assert transcripts(tmp_path) == {"19-198-0001": "STOP IT"}
    (tmp_path / "b.tsv").write_bytes(b"a\t\xff\xfe\n")
    with pytest.raises(KwsError, match=r"b\.tsv: it is not text in UTF-8"):
        transcripts(tmp_path)


@pytest.mark.parametrize(("levels", "fine"), [(99, True), (101, False), (400, False)])
def test_json_has_so_many_levels_at_most(levels: int, fine: bool) -> None:
    text = b'{"a":' * levels + b"1" + b"}" * levels
    if fine:
        assert "a" in parse_json(text, "x")
    else:
        with pytest.raises(KwsError, match="nested too deeply"):
            parse_json(text, "x")


# Files of the project itself, of a build or a test of ours, or after a look at their size.
_OURS = {
    "host_tools/cli.py", "host_tools/edgeimpulse/upload.py", "host_tools/flash/usb.py",
    "host_tools/image/build.py", "host_tools/image/elf.py", "host_tools/image/platformio.py",
    "host_tools/measure/m4/__init__.py", "host_tools/report/pictures.py", "host_tools/run/sources.py",
    "host_tools/run/steps.py", "host_tools/web/folder.py", "host_tools/web/wasm.py", "model_pipeline/data/neural.py",
    "model_pipeline/data/talk.py", "model_pipeline/files.py",
    "model_pipeline/models/speech_embedding.py", "model_pipeline/native.py", "model_pipeline/parts.py",
    "model_pipeline/train.py", "model_pipeline/training/checkpoint.py",
}  # fmt: skip


def test_no_file_from_outside_is_read_without_a_bound() -> None:
    """`model_pipeline.files.read_bytes`, `read_text` and `read_json` have one."""
    found = set()
    for path in sorted([*(ROOT / "model_pipeline").rglob("*.py"), *(ROOT / "host_tools").rglob("*.py")]):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        if any(isinstance(call, ast.Attribute) and call.attr in ("read_bytes", "read_text") for call in calls):
            found.add(path.relative_to(ROOT).as_posix())
    assert {f for f in found if not f.startswith("model_pipeline/library/")} <= _OURS
