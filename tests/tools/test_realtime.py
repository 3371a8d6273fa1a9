"""Whether a model keeps up: the sums, the estimate without QEMU, and one measurement in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.boards import load_board
from host_tools.cli import main
from host_tools.image.build import DEFAULT_MODEL
from host_tools.image.emulate import start
from host_tools.link import stream
from host_tools.link.events import Result
from host_tools.link.session import Link
from host_tools.measure import realtime
from host_tools.measure.realtime import Profile
from model_pipeline.errors import CheckFailed, KwsError
from tests.support.firmware_images import image


def _profile(inference: float, hops: int = 5) -> Profile:
    return Profile(30_000, inference, 500, hops, True, "for a test")


def test_the_sums() -> None:
    verdict = realtime.judge(load_board("disco_f407vg"), _profile(2_000_000), 20)
    assert verdict.instructions_per_hop == 30_000 + 2_000_500 // 5
    # 430,100 instructions at 1.4 cycles of 168 MHz are 3.58 ms of 20 ms.
    assert verdict.load == pytest.approx(430_100 * 1.4 / (168e6 * 0.020), rel=1e-4)
    assert verdict.inference_ms == pytest.approx(2_000_000 * 1.4 / 168e3, abs=1e-3)
    assert verdict.keeps_up
    for text in (
        "keeps up: 17.9 % of 168 MHz",
        "430,100 instructions each 20 ms",
        "1.4 cycles",
        "assumed",
        "for a test",
    ):
        assert text in verdict.line()
    realtime.refuse(verdict)


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_a_slower_clock_never_makes_it_easier(inference: int, hops: int) -> None:
    loads = [
        realtime.judge(load_board(board), _profile(inference, hops), 20).load
        for board in ("nucleo_f446re", "disco_f407vg", "nucleo_l4r5zi", "nano33ble_uart")
    ]
    assert loads == sorted(loads)


def test_what_does_not_keep_up_is_refused() -> None:
    verdict = realtime.judge(load_board("nano33ble"), _profile(6_000_000), 20)
    assert not verdict.keeps_up and "does not keep up" in verdict.line()
    with pytest.raises(CheckFailed, match="does not keep up on nano33ble: 13"):
        realtime.refuse(verdict)
    tight = realtime.judge(load_board("nano33ble"), _profile(4_000_000), 20)
    assert tight.keeps_up and "little is left" in tight.line()


def test_this_computer_has_no_budget() -> None:
    assert realtime.check("host") is None
    with pytest.raises(KwsError, match="no clock"):
        realtime.judge(load_board("host"), _profile(1), 20)


def test_without_qemu_it_is_estimated_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    verdict = realtime.check("disco_f407vg")
    assert verdict is not None and not verdict.measured
    assert "estimated" in verdict.line() and "qemu-system-arm" in verdict.line()


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"is not an exported model \(plan\.json is missing\)"):
        realtime.check("disco_f407vg", tmp_path)


def _kws(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.qemu
@pytest.mark.slow
def test_the_build_says_whether_it_keeps_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    arguments = ("build", "--board", "disco_f407vg", "--out", str(tmp_path / "out"), "--json")
    assert _kws(*arguments) == 0
    values = json.loads(capsys.readouterr().out)["realtime"]
    assert values["measured"] and values["keeps_up"]
    guess = realtime.judge(load_board("disco_f407vg"), realtime.estimate(DEFAULT_MODEL), values["hop_ms"])
    assert 0 < values["load"] < guess.load
    # What was measured is kept, so that another board with the same processor needs no QEMU.
    monkeypatch.setattr(realtime, "measure", lambda *_: pytest.fail("measured again"))
    other = realtime.check("nucleo_l4r5zi")
    assert other is not None and other.instructions_per_hop == values["instructions_per_hop"]
    # And where it can't keep up, the build fails unless it is forced to.
    monkeypatch.setattr(realtime, "profile", lambda *_, **__: _profile(50_000_000))
    assert _kws(*arguments) == 1
    assert "does not keep up" in capsys.readouterr().err
    assert _kws(*arguments, "--force") == 0


@pytest.mark.qemu
def test_instructions_are_the_same_however_bytes_and_milliseconds_fall() -> None:
    """An inference and a frame have no part of the interrupts that came meanwhile, not even their entrance."""
    elf = Path(image("disco_f407vg").elf)
    rng = np.random.default_rng(3)
    sound = rng.integers(-9000, 9000, 20 * 320 + 16000, dtype=np.int16)

    def heard(pause: float) -> list[tuple[int, int, int]]:
        def blocks() -> Iterator[np.ndarray]:
            for at in range(0, len(sound), 160):
                yield sound[at : at + 160]
                if rng.random() < pause:
                    time.sleep(0.01 * rng.random())

        with start("disco_f407vg", elf, kind="qemu") as emulator, Link.open(emulator.url, 30.0) as link:
            link.reset_stream()
            found = [e for e in stream.stream_continuous(link, blocks(), stride=5) if isinstance(e, Result)]
        return [(e.position, e.inference_ticks, e.detector_ticks) for e in found]

    at_once = heard(0.0)
    assert len(at_once) >= 4 and min(ticks for _, ticks, _ in at_once) > 100_000
    assert heard(0.4) == at_once
    profiles = [realtime.measure("disco_f407vg", elf, 5) for _ in range(2)]
    assert profiles[0] == profiles[1]
