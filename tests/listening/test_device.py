"""Host equals device: the same session through `kws evaluate --streaming`'s code and through the firmware."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from host_tools import cli
from host_tools.check import stream as parity
from host_tools.image import targets
from host_tools.link.info import Detector
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Event, Plan, Session, generate, write_sessions
from model_pipeline.errors import KwsError
from model_pipeline.listening.evaluate import Audio, evaluate_listening
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import DetectorDefaults, load_manifest
from tests.support.firmware_images import SHIPPED, image, private_copy
from tests.support.listening_models import speech_like
from tests.support.tiny_data import make

pytestmark = pytest.mark.skipif(not (SHIPPED / "model.json").exists(), reason="firmware/model holds no model")
# Loose, so that a session has many detections to compare.
LOOSE = DetectorDefaults(window=3, min_count=2, refractory_samples=8000, thresholds=[90] * 8 + [60, 0], stride_hops=3)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(SHIPPED)


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    """Over five minutes: the shipped model's keywords in noise where real speech is at hand, else sound like it."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "speech_commands"
    labels = load_manifest(SHIPPED).keywords
    if not folder.is_dir():
        truth = [Event(labels[0], 16000, 32000)]  # sessions need one; nothing here depends on it
        return [Session("speech_like", speech_like(np.random.default_rng(4), 310), truth, {})]
    dataset = Dataset.open(folder, labels)
    return list(generate(dataset, "testing", 10.0, Plan(limit=140, keywords_each=8)))


@pytest.fixture(scope="module")
def session(sessions) -> np.ndarray:
    """Five minutes of them in one stream."""
    return np.concatenate([s.samples for s in sessions])[: 300 * 16000]


def check(board: str, recogniser: Recogniser, samples: np.ndarray, folder: Path, detector=None) -> dict:
    with targets.emulated(board, private_copy(image(board), folder)) as link:
        result = parity.compare(link, recogniser, samples, detector)
    assert result.first_difference is None
    assert result.equal
    assert result.lost == 0
    assert result.detections.device == result.detections.host
    stride = (detector or recogniser.manifest.detector).stride_hops
    assert result.inferences == result.equal_inferences == -(-(((len(samples) - 480) // 320 + 1) - 48) // stride)
    return result


@pytest.mark.slow
def test_five_minutes_on_the_host_port(recogniser, session, tmp_path) -> None:
    assert len(session) == 300 * 16000
    result = check("host", recogniser, session, tmp_path, LOOSE)
    assert len(result.detections.device) >= 10


def as_evaluated(recogniser: Recogniser, sessions: list[Session], folder: Path) -> int:
    """Streams sessions to the emulated board, whose detections must be those that `kws evaluate --streaming` lists.

    Returns:
        How many there were.
    """
    write_sessions(sessions, folder / "sessions")
    expected = evaluate_listening(SHIPPED, Audio(own_sessions=folder / "sessions")).detections["own"]
    assert sorted(expected) == sorted(s.name for s in sessions)
    with targets.emulated("disco_f407vg", private_copy(image("disco_f407vg"), folder)) as link:
        for session in sessions:
            result = parity.compare(link, recogniser, session.samples)
            assert result.equal and result.lost == 0, result.first_difference
            assert result.detections.device == expected[session.name]
    return sum(map(len, expected.values()))


@pytest.mark.qemu
def test_twelve_seconds_on_the_emulated_board(recogniser, sessions, tmp_path) -> None:
    samples = sessions[0].samples[: 12 * 16000]
    events = [event for event in sessions[0].events if event.end <= len(samples)]
    assert as_evaluated(recogniser, [Session("start", samples, events, {})], tmp_path)


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.skipif("KWS_LONG" not in os.environ, reason="takes minutes; set KWS_LONG=1")
def test_five_minutes_on_the_emulated_board(recogniser, sessions, tmp_path) -> None:
    count = int(np.searchsorted(np.cumsum([s.seconds for s in sessions]), 300)) + 1
    found = as_evaluated(recogniser, sessions[:count], tmp_path)
    print(f"{sum(s.seconds for s in sessions[:count]):.0f} s, {found} detections at the same samples")
    assert found


def test_a_difference_is_found_and_another_model_refused(recogniser, session, tmp_path, monkeypatch) -> None:
    samples = session[: 20 * 16000]
    with targets.emulated("host", private_copy(image("host"), tmp_path)) as link:
        track = recogniser.track(samples, LOOSE.stride_hops)
        outputs = track.outputs.copy()
        outputs[7, 2] ^= 1
        altered = type(track)(outputs, track.first, track.step, track.stride_hops, track.samples)
        monkeypatch.setattr(recogniser, "track", lambda *_: altered)
        result = parity.compare(link, recogniser, samples, LOOSE)
        assert not result.equal
        assert result.equal_inferences == result.inferences - 1
        assert f"result at sample {track.positions[7]}" in result.first_difference
        # The device's detector set otherwise behind our back.
        monkeypatch.undo()
        plain = link.set_detector
        monkeypatch.setattr(
            link, "set_detector", lambda d: plain(Detector(d.window, 1, d.refractory_samples, d.thresholds, at=0.0))
        )
        result = parity.compare(link, recogniser, samples, LOOSE)
        assert result.equal_inferences == result.inferences
        assert "detection" in result.first_difference
        other = recogniser.manifest.model_copy(update={"model_sha256": "0" * 64})
        monkeypatch.setattr(recogniser, "manifest", other)
        with pytest.raises(KwsError, match="the device runs model"):
            parity.compare(link, recogniser, samples)


def test_the_commands(tmp_path, capfd) -> None:
    data = make(tmp_path / "data", speakers=20)
    arguments = ["sessions", "make", "--data", str(data), "--out", str(tmp_path / "out"), "--keyword", "rise"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--keyword", "fall", "--keywords", "6", "--json"])
    out, err = capfd.readouterr()
    assert ended.value.code in (0, None), err
    result = json.loads(out)
    assert result["keywords"] == 6
    names = sorted(p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith("."))
    assert names == ["testing_00_10dB.json", "testing_00_10dB.wav"]
    wav = tmp_path / "out" / "testing_00_10dB.wav"
    with pytest.raises(SystemExit) as ended:
        cli.main(["sessions", "compare", str(SHIPPED), "--wav", str(wav), "--board", "host", "--json"])
    out, err = capfd.readouterr()
    assert ended.value.code in (0, None), err
    assert json.loads(out)["equal"]
    for wrong, message in (
        (["--keyword", "zebra"], "no clips of zebra"),
        (["--keyword", "rise", "--split", "test"], "no split 'test'"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments[:6], *wrong])
        assert ended.value.code == 2
        assert message in capfd.readouterr().err
