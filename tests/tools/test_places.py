"""Paths, caches and images as they come: each works, or is refused before the first step with one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from host_tools.boards import load_board
from host_tools.image import build as builder
from host_tools.image import platformio
from host_tools.image.elf import check_image
from model_pipeline import native
from model_pipeline.config import load_config
from model_pipeline.errors import KwsError
from tests.support.small_elf import image

HOSTILE = "a b'c$d%e(f&g;h,i`j"


class TestImage:
    def test_our_own_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "a.elf").write_bytes(image())
        check_image(load_board("disco_f407vg"), tmp_path / "a.elf")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"RIFF\x24\0\0\0WAVEfmt " + bytes(200), "not an ELF file at all"),
            (b"", "not an ELF file at all"),
            (b"\x7fELF", "not an ELF file at all"),
            (Path(sys.executable).resolve().read_bytes()[:4096], "is a program for"),
            (image(machine=243), "RISC-V"),
            (image(kind=1), "nothing to load"),
            (image()[:90], "nothing to load"),
            (image(address=0x0001_0000), "board's flash"),
            (image(address=0xFFFF_FFF0), "board's flash"),
            (image("nucleo_f446re"), "not a firmware of kws for disco_f407vg"),
        ],
    )
    def test_anything_else_is_not(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "a.elf").write_bytes(content)
        with pytest.raises(KwsError, match=words):
            check_image(load_board("disco_f407vg"), tmp_path / "a.elf")

    def test_every_damaged_header_is_one_line(self, tmp_path: Path) -> None:
        whole = image()
        for at in range(84):
            for value in (0, 1, 0x7F, 0xFF):
                (tmp_path / "a.elf").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
                try:
                    check_image(load_board("disco_f407vg"), tmp_path / "a.elf")
                except KwsError as error:
                    assert "a.elf" in str(error)

    def test_the_command_refuses_before_it_looks_for_a_board(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(100))
        command = [sys.executable, "-m", "host_tools.cli", "flash", "--board", "disco_f407vg", "--elf"]
        done = subprocess.run(
            [*command, str(tmp_path / "a.wav"), "--dry-run"],
            capture_output=True,
            text=True,
            cwd=native.ROOT,
            check=False,
        )
        assert done.returncode == 2
        assert "not an ELF file at all" in done.stderr


class TestPlaces:
    @pytest.mark.parametrize("character", list(" '$%(&;,`"))
    def test_a_project_at_such_a_path_is_refused_at_once(self, monkeypatch: pytest.MonkeyPatch, character: str) -> None:
        monkeypatch.setattr(platformio, "ROOT", Path(f"/home/anna{character}b/micro-kws"))
        with pytest.raises(KwsError, match="its path holds"):
            platformio.check_place()

    def test_paths_of_every_day_are_fine(self) -> None:
        for path in ("/home/zoë/kws-1.0_x+y@z", "/tmp/日本/a", "/a/b=c:d~e"):
            assert not platformio._UNSAFE.search(path)

    def test_an_output_at_such_a_path_is_built_in_the_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
        state = platformio.state_of(tmp_path / HOSTILE)
        assert state.parent == tmp_path / "cache" / "build"
        assert state != platformio.state_of(tmp_path / f"{HOSTILE}2")
        assert platformio.state_of(tmp_path / "plain") == tmp_path / "plain" / ".pio"
        monkeypatch.setenv("KWS_CACHE", str(tmp_path / HOSTILE / "cache"))
        with pytest.raises(KwsError, match="nor in the cache"):
            platformio.state_of(tmp_path / HOSTILE)

    def test_a_firmware_is_built_there(self, tmp_path: Path) -> None:
        built = builder.build("host", out=tmp_path / HOSTILE)
        assert Path(built.elf) == tmp_path / HOSTILE / "firmware.elf"
        assert os.access(built.elf, os.X_OK)
        again = builder.build("host", out=tmp_path / HOSTILE)
        assert again.sha256 == built.sha256

    def test_a_cache_that_cant_be_written_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("KWS_CACHE", str(tmp_path / "file" / "cache"))
        (tmp_path / "seven.c").write_text("int seven(void) { return 7; }\n")
        with pytest.raises(KwsError, match="can't be written") as error:
            native.shared_library("seven", [tmp_path / "seven.c"])
        assert "KWS_CACHE" in error.value.hint

    @pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")
    def test_a_cache_that_others_may_write_is_not_run_from(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A library of the right name in it would be loaded."""
        cache = tmp_path / "cache"
        monkeypatch.setenv("KWS_CACHE", str(cache))
        (tmp_path / "seven.c").write_text("int seven(void) { return 7; }\n")
        assert native.shared_library("seven", [tmp_path / "seven.c"]).seven() == 7
        for folder in (cache, cache / "native"):
            folder.chmod(0o777)
            with pytest.raises(KwsError, match="everybody may write in it") as error:
                native.shared_library("seven", [tmp_path / "seven.c"])
            assert "KWS_CACHE" in error.value.hint
            folder.chmod(0o755)
        cache.chmod(0o1777)  # as /tmp: nobody else moves what is ours in it
        assert native.shared_library("seven", [tmp_path / "seven.c"]).seven() == 7
        if os.getuid() == 0 and native.CODE.stat().st_uid != 12345:
            os.chown(cache / "native", 12345, 12345)
            with pytest.raises(KwsError, match="belongs to somebody else"):
                native.shared_library("seven", [tmp_path / "seven.c"])

    def test_a_byte_order_mark_of_windows(self, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_bytes(b'\xef\xbb\xbfname = "mine"\r\n')
        assert load_config(tmp_path / "mine.toml").name == "mine"
