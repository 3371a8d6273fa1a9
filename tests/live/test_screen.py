"""The live picture at fixed sizes: nothing sticks out, nothing needs colour, and it stays as it was agreed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from host_tools.link.events import Detection, Features, Log, Result
from host_tools.link.info import Detector, Info
from host_tools.live.letters import large
from host_tools.live.screen import Picture
from host_tools.live.state import State
from host_tools.live.tune import Tuner
from tests.support.terminal import same_as_snapshot

LABELS = ("yes", "no", "up", "down", "left", "right", "stop", "go", "unknown", "silence")
THRESHOLDS = (196, 184, 142, 184, 154, 142, 130, 124, 0, 0)


def info(**changes) -> Info:
    values = {
        "board": "disco_f407vg",
        "model_hash": "b424b0b73a157838",
        "labels": LABELS,
        "timer_source": "DWT",
        "timer_hz": 168_000_000,
        "detector": Detector(2, 1, 12000, THRESHOLDS),
    }
    return Info(**{**values, **changes})


class Clock:
    """Time as a test sets it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(clock: Clock, source: str = "speech.wav", **changes) -> State:
    """Two seconds of sound in which "right" was said, and clipped."""
    state = State(info(**changes), source, fed=True, clock=clock)
    t = np.arange(16000) / 16000
    state.sound((1000 * np.sin(2 * np.pi * 300 * t)).astype(np.int16))
    state.sound(np.clip(40000 * np.sin(2 * np.pi * 300 * t), -32768, 32767).astype(np.int16))
    labels = len(state.info.labels)
    for frame in range(100):
        bands = 670 * np.clip(np.sin((np.arange(40) - frame) / 9), 0, 1)
        state.take(Features(frame, tuple(int(b) for b in bands)))
    for index in range(6):
        output = [-120] * labels
        output[min(5, labels - 1)] = -120 + 45 * index
        at = clock.now + 0.02 * index
        state.take(Result(index, 16000 + 1280 * index, 4_000_000, 4, 1_400_000, 900, tuple(output), at=at))
    state.take(Detection(22400, min(5, labels - 1), 185, at=clock.now))
    return state


class NoLink:
    """Takes every detector."""

    def set_detector(self, detector: Detector) -> None:
        self.detector = detector


@pytest.mark.parametrize("size", [(80, 24), (60, 24), (120, 40)], ids=str)
def test_the_picture(size: tuple[int, int]) -> None:
    clock = Clock()
    state = heard(clock)
    picture = Picture(state, Tuner(NoLink(), state.info, None))  # type: ignore[arg-type]
    picture.tuner.choose(2)  # type: ignore[union-attr]
    same_as_snapshot(f"live-{size[0]}", plain(picture, *size))


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=str)
def test_the_projector(size: tuple[int, int]) -> None:
    picture = Picture(heard(Clock()))
    picture.projector = True
    same_as_snapshot(f"live-projector-{size[0]}", plain(picture, *size))


def plain(picture: Picture, width: int, height: int) -> str:
    text = picture.text(width, height)
    return "\n".join(line.rstrip() for line in text.plain.split("\n")) + "\n"


HARD = {
    "one label": {"labels": ("a",), "detector": Detector(1, 1, 0, (9,))},
    "many": {"labels": tuple(f"word{n}" for n in range(32)), "detector": Detector(1, 1, 0, (9,) * 32)},
    "wide": {"labels": ("左右", "größe", "хватит", "[bold]x", "a\x1b[31mb"), "detector": Detector(1, 1, 0, (9,) * 5)},
    "instructions": {"timer_source": "TIM2", "calibration_expected": 1000, "calibration_ticks": 1000},
}


@pytest.mark.parametrize("projector", [False, True])
@pytest.mark.parametrize("size", [(80, 24), (60, 24), (40, 12), (20, 5), (200, 60), (80, 8)], ids=str)
@pytest.mark.parametrize("kind", HARD)
def test_it_fits_any_terminal(kind: str, size: tuple[int, int], projector: bool) -> None:
    state = heard(Clock(), **HARD[kind])
    state.take(Log(3, "a log with [red]markup[/] and \x1b]0;title\x07" + "x" * 500))
    picture = Picture(state, Tuner(NoLink(), state.info, None))  # type: ignore[arg-type]
    picture.projector = projector
    text = picture.text(*size).plain
    lines = text.split("\n")
    assert len(lines) <= size[1] and all(cell_len(line) <= size[0] for line in lines)
    assert not set("\x1b\x07") & set(text)
    if size[1] >= 12 and not projector:
        assert "↑↓" in lines[-1]  # the keys are never cut off
    if kind == "instructions" and size == (80, 24) and not projector:
        assert "instructions a second" in text and "busy" not in text


def test_before_any_sound() -> None:
    state = State(info(), "its own microphone", fed=False)
    assert "listening" in Picture(state).text(80, 24).plain


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_without_colour_and_without_unicode(encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=out, width=80, height=24, no_color=True, force_terminal=True, legacy_windows=False).print(
        Picture(heard(Clock()))
    )
    out.flush()
    text = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "\x1b[3" not in text and "right" in text  # no colour
    assert ("#" in text) == (encoding == "ascii")


def test_the_figures() -> None:
    clock = Clock()
    state = heard(clock)
    # 5,400,900 + ... of 168 MHz in 80 ms a result.
    assert state.share == pytest.approx(5_400_900 / (168_000_000 * 0.08), rel=1e-6)
    assert state.clipping and state.clipped > 1000
    assert state.scores[5] == pytest.approx((-120 + 45 * 4.5 + 128) / 256)  # the mean of the detector's two
    assert state.lag_s == pytest.approx(0.1)  # the last result's sound was there when the clock stood at 100
    clock.now += 1.5
    assert not state.clipping


def test_lag_of_a_board_that_listens_by_itself_is_beyond_its_least() -> None:
    state = State(info(), "its own microphone", fed=False, clock=Clock())
    for index, late in enumerate((0.2, 0.05, 0.3)):
        position = 16000 + 1280 * index
        state.take(Result(index, position, 1, 1, 1, 1, (0,) * 10, at=position / 16000 + late))
    assert state.lag_s == pytest.approx(0.25)


def test_large_letters() -> None:
    rows = ["█...█..███", "██..█.█...█", "█.█.█.█...█", "█..██.█...█", "█...█..███"]
    assert large("no", 11, 5) == [row.replace(".", " ") for row in rows]
    wide = large("no", 100, 5)
    assert wide and len(wide) == 5 and max(map(len, wide)) == 22  # twice as wide where there is room
    high = large("no", 100, 12)
    assert high and len(high) == 10
    assert large("right", 20, 5) is None and large("хватит", 200, 5) is None and large("", 80, 5) is None
    assert large("größe", 80, 5) == large("GROSSE", 80, 5) and large("señor", 80, 5) == large("senor", 80, 5)
    assert large("hey_robot", 200, 5)


def test_snapshots_are_looked_at() -> None:
    folder = Path(__file__).resolve().parents[1] / "tools" / "snapshots"
    assert {p.name for p in folder.glob("live-*")} == {
        "live-60.txt",
        "live-80.txt",
        "live-120.txt",
        "live-projector-80.txt",
        "live-projector-160.txt",
    }
