"""What a verb talks to: a port, or a board that is emulated with an image that is built, or is there already."""

from __future__ import annotations

import contextlib
import json

import pytest

from host_tools.image import targets
from model_pipeline.errors import KwsError


@pytest.fixture
def emulated(monkeypatch):
    """Which images were started; nothing is built."""
    started = []

    @contextlib.contextmanager
    def start(board, elf):
        started.append((board, elf))
        yield "link"

    monkeypatch.setattr(targets, "emulated", start)
    monkeypatch.setattr(targets.builder, "build", lambda *a, **k: pytest.fail("built"))
    return started


def test_an_image_that_is_there_is_emulated_and_not_built(tmp_path, emulated):
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF")
    with targets.target(None, "disco_f407vg", elf=elf) as (link, build):
        assert (link, build) == ("link", None)
    assert emulated == [("disco_f407vg", elf)]


@pytest.mark.parametrize("same", [True, False])
def test_the_build_beside_an_image_is_told_if_it_is_its_own(tmp_path, emulated, monkeypatch, same):
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF")

    class Build:
        def __init__(self) -> None:
            self.elf = str(elf if same else tmp_path / "other.elf")

    (tmp_path / "build.json").write_text(json.dumps({}))
    monkeypatch.setattr(targets.builder, "load_build", lambda folder: Build())
    with targets.target(None, "disco_f407vg", elf=elf) as (_, build):
        assert (build.elf if build else None) == (str(elf) if same else None)


def test_an_image_needs_a_board(tmp_path):
    with pytest.raises(KwsError, match="--elf is a firmware to emulate"), targets.target("/dev/x", None, elf=tmp_path):
        pass
