"""What the computer refuses, however deep it comes up, and files that are too much: one line, whatever the command."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from host_tools.cli import main
from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.files import of_surroundings, parse_json, read_bytes
from model_pipeline.native import ROOT

LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["data", "info", LONG],
        ["data", "info", "x", "--config", LONG],
        ["data", "import", LONG, "--out", "o"],
        ["compile", LONG],
        ["export", str(ROOT / "firmware" / "model"), "--out", LONG],
        ["report", LONG],
        ["import", f"{LONG}.json", "--out", "o"],
        ["flash", "--board", "disco_f407vg", "--elf", LONG],
        ["build", "--board", "host", "--model", LONG],
        ["boards", LONG],
        ["run", "--config", "demo", "--out", LONG],
    ],
)
def test_a_name_that_no_file_system_has_is_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words)
    text = capfd.readouterr().err
    assert ended.value.code == 2 and "error: " in text and "Traceback" not in text and text.count("\n") <= 4
    assert not list(tmp_path.iterdir())


def test_what_is_of_the_computer_is_told_and_what_is_ours_is_not_hidden() -> None:
    refused = of_surroundings(PermissionError(errno.EACCES, "Permission denied", "/root/\x1b[31m"))
    assert str(refused) == "the system refuses it: Permission denied (/root/\\x1b[31m)"
    assert of_surroundings(OSError(errno.ENAMETOOLONG, "File name too long", LONG)) is not None
    assert "not enough memory" in str(of_surroundings(MemoryError()))
    gone, child = FileNotFoundError(errno.ENOENT, "x"), ChildProcessError(errno.ECHILD, "x")
    for ours in (ValueError("x"), gone, OSError("x"), child):
        assert of_surroundings(ours) is None


@pytest.mark.parametrize("number", ["1e999", "-1e400", "9" * 400 + ".0", "9" * 5000, "NaN", "Infinity"])
def test_a_number_beyond_all_is_no_number(number: str) -> None:
    with pytest.raises(KwsError, match="x is broken"):
        parse_json(f'{{"a": [{number}]}}'.encode(), "x")


def test_a_number_of_5000_digits_in_a_configuration_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f"hop_frames = {'9' * 5000}")
    with pytest.raises(KwsError, match="can't read"):
        load_config(tmp_path / "x.toml")
    with pytest.raises(KwsError, match="hop_frames"):
        with_settings(Config(), [f"hop_frames={'9' * 5000}"])


def test_other_numbers_are_what_they_were() -> None:
    assert parse_json(b'{"a": [1.5, -0.25e-3, 1e308, 7]}', "x") == {"a": [1.5, -0.00025, 1e308, 7]}


def test_a_file_is_read_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(KwsError, match="more than 4 bytes"):
        read_bytes(path, 4)
    with pytest.raises(KwsError, match="can't read"):
        read_bytes(tmp_path / "x\0y")
    with pytest.raises(KwsError, match="No such file"):
        read_bytes(tmp_path / "none")
    path.touch()
    os.truncate(path, 1 << 40)  # takes no room on the disk
    with pytest.raises(KwsError, match="more than"):
        read_bytes(path)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/fd and /dev/zero")
def test_a_pipe_is_read_whole_and_what_never_ends_is_not(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b'name = "piped"')  # kws … --config <(…)
    os.close(writer)
    assert load_config(f"/dev/fd/{reader}").name == "piped"
    os.close(reader)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(KwsError, match="more than 1,000 bytes"):
        read_bytes(tmp_path / "zero", 1000)


@pytest.mark.parametrize("text", ["a=" + "[" * 100_000, "a=" + "{a=" * 100_000])
def test_a_configuration_that_is_nested_too_deeply_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(KwsError, match="nested too deeply"):
        load_config(tmp_path / "x.toml")
    with pytest.raises(KwsError, match="nested too deeply"):
        with_settings(Config(), [f"name={text.partition('=')[2]}"])


def test_a_configuration_of_megabytes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("#" * (5 << 20))
    with pytest.raises(KwsError, match="more than"):
        load_config(tmp_path / "x.toml")
