"""What is kept of a live stream, to the sample; and how a device is asked for its sound."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.link.audio import Track, audio_flags, near
from host_tools.link.events import Audio, Detection, Result
from host_tools.link.info import Detector, Info
from host_tools.link.stream import AS_ADPCM, SEND_AUDIO, SEND_FEATURES
from host_tools.live.keep import AFTER, BEFORE, Keeper, kept, wav
from model_pipeline.data.audio import read_clip
from model_pipeline.errors import DeviceError, KwsError
from tests.tools.test_cli import kws

INFO = Info(board="host", model_hash="0" * 16, labels=("yes", "../no"), detector=Detector(1, 1, 0, (128, 0)))


def sound(count: int) -> np.ndarray:
    return (np.arange(count) % 30011).astype(np.int16)


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.mark.parametrize("late", [-8000, 0, 7999, 30000], ids=str)
@pytest.mark.parametrize("block", [240, 20000])
def test_two_seconds_about_a_detection(tmp_path: Path, late: int, block: int) -> None:
    """However late or early it comes beside its sound."""
    position, keeper, told = 40000, Keeper(tmp_path, INFO), False
    samples = sound(120000)
    for at in range(0, len(samples), block):
        if at + block > position + late and not told:
            told = True
            keeper.take(Result(3, position, 1, 1, 1, 1, (100, -128)))
            keeper.take(Detection(position, 0, 200))
        keeper.sound(samples[at : at + block])
    keeper.end()
    (path,) = keeper.kept
    assert path.parent == tmp_path / "yes"
    assert np.array_equal(read(path), samples[position - BEFORE : position + AFTER])
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["fired_at_sample"] == BEFORE and facts["word"] == "yes"
    assert facts["posteriors"] == [{"sample": BEFORE, "scores": [228 / 256, 0.0]}]


def test_at_the_start_and_at_the_end_there_is_silence(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, INFO)
    keeper.take(Detection(3000, 0, 200))
    keeper.sound(sound(3500))
    keeper.end()
    heard = read(keeper.kept[0])
    assert len(heard) == BEFORE + AFTER
    assert np.array_equal(heard[BEFORE - 3000 : BEFORE + 500], sound(3500))
    assert not heard[: BEFORE - 3000].any() and not heard[BEFORE + 500 :].any()


def test_a_word_is_no_path_and_no_file_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        keeper = Keeper(tmp_path, INFO)
        for at in (10000, 30000):
            keeper.take(Detection(at, 1, 200))
        keeper.sound(sound(50000))
        keeper.end()
        assert all(path.resolve().parents[1] == tmp_path for path in keeper.kept)
    assert len(list(tmp_path.rglob("*.wav"))) == 4


def test_a_device_that_detects_without_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, INFO)
    for at in range(300):
        keeper.sound(sound(1600))
        for _ in range(20):
            keeper.take(Detection(1600 * at, 0, 200))
    keeper.end()
    assert len(keeper.kept) <= 100 + 5 * 31 and keeper.ignored > 1000


def test_a_device_that_skips_nearly_all_is_stopped() -> None:
    """Each gap alone could be a loss; of all of them a WAV would grow without end."""
    track, made = Track(), 0
    with pytest.raises(DeviceError, match="numbers its samples wrongly"):
        for number in range(1, 1000):
            made += len(track.take(Audio(number * 50 * 16000, 0, 0, sound(200))))
    assert made <= 70 * 16000
    honest = Track()
    for number in range(1000):  # nine of ten blocks are lost
        honest.take(Audio(number * 2400, 0, 0, sound(240)))
    assert honest.lost == 999 * 2160


@given(st.lists(st.integers(0, 2**32 - 1), max_size=80))
@settings(max_examples=15)
def test_a_device_may_say_any_position(tmp_path_factory: pytest.TempPathFactory, positions: list[int]) -> None:
    keeper = Keeper(tmp_path_factory.mktemp("kept"), INFO)
    keeper.sound(sound(5000))
    for position in positions:
        keeper.take(Detection(position, 0, 1))
    keeper.sound(sound(5000))
    keeper.end()
    assert len(keeper.kept) <= 64 and all(len(read(path)) == BEFORE + AFTER for path in keeper.kept)


def test_kws_data_import_takes_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(tmp_path / "kept", INFO)
    for n, at in enumerate((40000, 90000)):
        keeper.take(Detection(at, 0, 200))
        loud = np.zeros(50000, np.int16)
        loud[at - 50000 * n - 12000 : at - 50000 * n - 4000] = 9000  # the word: within the window that fired
        keeper.sound(loud)
    keeper.end()
    code, out, err = kws(
        "data", "import", str(tmp_path / "kept"), "--out", str(tmp_path / "data"), "--json", capfd=capfd
    )
    assert code == 0, err
    assert json.loads(out)["words"] == {"yes": 2} and json.loads(out)["skipped"] == 0
    clips = sorted((tmp_path / "data" / "yes").glob("*"))
    assert len(clips) == 2 and all((read_clip(path) == 9000).sum() > 7900 for path in clips)  # their loudest second


def test_a_wav_is_whole_or_absent(tmp_path: Path) -> None:
    with wav(tmp_path / "a.wav") as append:
        append(sound(1000))
        append(sound(7))
        assert not (tmp_path / "a.wav").exists()
    assert np.array_equal(read(tmp_path / "a.wav"), np.concatenate([sound(1000), sound(7)]))
    with pytest.raises(RuntimeError), wav(tmp_path / "b.wav") as append:
        append(sound(1000))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    with pytest.raises(KwsError), kept(tmp_path, None, INFO):
        pass  # a folder is there


@given(st.integers(0, 2**40), st.integers(-(2**31), 2**31 - 1))
def test_near(here: int, step: int) -> None:
    assert near((here + step) % 2**32, here) == here + step


@pytest.mark.parametrize(
    ("board", "baud", "also", "adpcm"),
    [
        ("disco_f407vg", 500_000, 0, False),
        ("disco_f407vg", 500_000, SEND_FEATURES, True),
        ("nano33ble_uart", 460_800, 0, False),
        ("disco_f407vg", 115_200, 0, True),
        ("disco_f407vg", None, SEND_FEATURES, False),  # emulated: TCP
        ("nano33ble", 500_000, SEND_FEATURES, False),  # USB has no baud rate
        ("somebody_else_s", 9600, 0, False),
    ],
)
def test_how_a_device_is_asked_for_its_sound(board: str, baud: int | None, also: int, adpcm: bool) -> None:
    link = SimpleNamespace(baud=baud, info=lambda: Info(board=board))
    assert audio_flags(link, also) == SEND_AUDIO | (AS_ADPCM if adpcm else 0)  # type: ignore[arg-type]
