"""Thresholds from the command line, by keys, on the device, and into model.json."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host_tools.link.info import Detector, Info
from host_tools.live import keys, tune
from model_pipeline.errors import KwsError
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE

LABELS = ("yes", "no", "unknown")


def info(**changes) -> Info:
    return Info(**{"labels": LABELS, "detector": Detector(3, 1, 8000, (200, 100, 0), 2), **changes})


class Link:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Detector] = []

    def set_detector(self, detector: Detector) -> None:
        self.given.append(detector)


@pytest.mark.parametrize(
    ("given", "thresholds"),
    [(["yes=0.5"], (128, 100, 0)), (["yes=0", "no=1"], (0, 255, 0)), (["no=0.0001"], (200, 1, 0)), ([], (200, 100, 0))],
)
def test_asked(given: list[str], thresholds: tuple[int, ...]) -> None:
    detector = tune.asked(given, info())
    assert detector.thresholds == thresholds and (detector.window, detector.rest) == (3, 2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ja=0.5", "no word 'ja'"),
        ("yes=1.1", "from 0 to 1"),
        ("yes=nan", "from 0 to 1"),
        ("yes", "no word"),
        ("yes=", "from"),
    ],
)
def test_asked_for_nonsense(given: str, text: str) -> None:
    with pytest.raises(KwsError, match=text) as error:
        tune.asked([given], info())
    assert error.value.hint


def test_a_device_that_says_nothing_of_them() -> None:
    with pytest.raises(KwsError, match="what its thresholds are"):
        tune.current(info(detector=None))


def test_moving_them() -> None:
    link = Link()
    tuner = tune.Tuner(link, info(), None)  # type: ignore[arg-type]
    tuner.move(-4)
    assert link.given[-1].thresholds == (196, 100, 0) and tuner.changed
    tuner.choose(1)
    tuner.move(1000)
    assert link.given[-1].thresholds == (196, 255, 0)
    tuner.move(4)
    assert len(link.given) == 2  # nothing new
    tuner.choose(1)  # unknown never fires: the first again
    assert tuner.label == 0
    tuner.move(-1000, all_words=True)
    assert link.given[-1].thresholds == (1, 1, 0)
    tuner.undo()
    assert link.given[-1] == info().detector and not tuner.changed
    tuner.save()
    assert "--model" in tuner.message


def test_no_word_can_fire() -> None:
    tuner = tune.Tuner(Link(), info(detector=Detector(1, 1, 0, (0, 0, 0))), None)  # type: ignore[arg-type]
    tuner.choose(1)
    tuner.move(4)
    assert tuner.label is None and not tuner.changed


def test_saving(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "model.tflite"):
        shutil.copy(FIRMWARE / "model" / name, folder)
    before = load_manifest(folder)
    detector = before.detector
    given = Detector(
        detector.window, detector.min_count, detector.refractory_samples, tuple(detector.thresholds), detector.rest
    )
    said = info(labels=tuple(before.labels), detector=given, model_hash=before.model_hash)
    tuner = tune.Tuner(Link(), said, folder)  # type: ignore[arg-type]
    tuner.move(-4)
    tuner.save()
    after = load_manifest(folder)
    assert after.detector.thresholds == [detector.thresholds[0] - 4, *detector.thresholds[1:]]
    assert after.model_copy(update={"detector": detector}) == before  # and nothing else
    assert f"kws export {folder}" in tuner.message
    other = tune.Tuner(Link(), info(model_hash="f" * 16), folder)  # type: ignore[arg-type]
    other.save()
    assert other.message.startswith("not saved") and load_manifest(folder) == after
    gone = tune.Tuner(Link(), said, tmp_path / "nowhere")  # type: ignore[arg-type]
    gone.save()
    assert gone.message.startswith("not saved")


def test_keys_are_cut_from_what_a_terminal_sends() -> None:
    assert keys.split("q\x1b[Aa\x1bOB\x1b[1;5Cs\x1b[D") == ["q", "up", "a", "down", "s", "left"]
    assert keys.split("\x1b") == [] and keys.split("") == []
