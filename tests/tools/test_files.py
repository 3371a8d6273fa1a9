"""Whole or absent: what `model_pipeline.files` and `model_pipeline.native` promise."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from model_pipeline import native
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, sha256_tree, write_json, write_text
from model_pipeline.folders import MARK, atomic_dir


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    before = target.read_bytes()
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "d"
    with atomic_dir(target, "kws test") as temporary:
        write_text(temporary / "x", "old")
    with pytest.raises(KeyboardInterrupt), atomic_dir(target, "kws test") as temporary:
        write_text(temporary / "x", "new")
        raise KeyboardInterrupt
    assert (target / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for name in ("x", "y"):
        with atomic_dir(target, "kws test") as temporary:
            write_text(temporary / name, name)
    assert {p.name for p in target.iterdir()} == {"y", MARK}
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="disk is full"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_tree_hash_sees_names_and_contents(tmp_path: Path) -> None:
    write_text(tmp_path / "d" / "a", "1")
    first = sha256_tree([tmp_path / "d"], tmp_path)
    write_text(tmp_path / "d" / "a", "2")
    second = sha256_tree([tmp_path / "d"], tmp_path)
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert len({first, second, sha256_tree([tmp_path / "d"], tmp_path)}) == 3


def test_threads_may_build_the_same_library_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "seven.c"
    source.write_text("int seven(void) { return 7; }\n")
    results: list[object] = []

    def build() -> None:
        try:
            results.append(native.shared_library("seven", [source]).seven())
        except Exception as error:  # the assertion below shows what it was
            results.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [7] * 4


def test_a_source_that_does_not_compile_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "bad.c"
    source.write_text("int bad(void) { return nothing; }\n")
    with pytest.raises(KwsError, match="could not build bad"):
        native.shared_library("bad", [source])
    assert not list((tmp_path / "cache" / "native").iterdir())
