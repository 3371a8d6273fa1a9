"""Streaming labelled clips and endless audio, against the device in Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from host_tools.link import stream
from host_tools.link.events import Detection, Result, StreamDone
from host_tools.link.session import Link
from host_tools.measure import clips as measuring
from host_tools.measure import device as bench
from host_tools.report.results import Results
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import DeviceError, KwsError
from tests.support.fake_device import LABELS, FakeFirmware, Faults, expected_output, plugged


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips each of yes, no, cat and dog, all in the testing list."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    names = []
    for word in ("yes", "no", "cat", "dog"):
        for number in range(6):
            name = f"{word}/speaker{number}_nohash_0.wav"
            (path / word).mkdir(exist_ok=True)
            soundfile.write(path / name, rng.integers(-9000, 9000, 16000, dtype=np.int16), 16000)
            names.append(name)
    (path / "testing_list.txt").write_text("\n".join(names))
    (path / "validation_list.txt").write_text("")
    return path


def test_clips_are_measured_and_summed_up(folder: Path) -> None:
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        info = link.info()
        dataset = measuring.open_dataset(folder, info.labels)
        clips = measuring.choose_clips(dataset, 8)
        results = measuring.measure_clips(link, info, dataset, clips, realtime=1)
        Results.of(json.loads(json.dumps(results.to_json())))  # as results.json holds it
        assert results.to_json()["device"] == json.loads(json.dumps(info.as_dict()))
    audio = dataset.audio(clips)
    truth = [expected_output(a.tobytes()) for a in audio]
    assert [row.output for row in results.clips] == truth
    right = sum(int(np.argmax(t)) == c.label for t, c in zip(truth, clips, strict=True))
    assert results.accuracy.correct == right
    assert results.accuracy.total == 8
    assert results.link.lost == results.link.repeated == 0
    assert results.ticks.name == "instructions"
    assert results.cost.inference.mean == 9_000_000
    assert results.cost.frontend_frame.mean == 30_000
    assert results.cost.detector.mean == 400
    assert results.response_ms.burst.count == 8
    assert results.response_ms.streaming.count == len(results.response_ms.paced) == 1
    agreement = measuring.compare_outputs(results, np.array(truth)).agreement
    assert agreement is not None
    assert (agreement.compared, agreement.equal, agreement.differ) == (8, 8, [])
    truth[3][1] += 1
    agreement = measuring.compare_outputs(results, np.array(truth)).agreement
    assert agreement is not None
    assert (agreement.equal, agreement.differ) == (7, [clips[3].name])


def test_a_lost_answer_is_counted_and_the_next_clip_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PATIENCE_S", 0.1)
    with plugged(FakeFirmware(Faults(lose_result=2))) as port, Link(port) as link:
        link.hello()
        info = link.info()
        dataset = measuring.open_dataset(folder, info.labels)
        results = measuring.measure_clips(link, info, dataset, measuring.choose_clips(dataset, 4))
    assert [row.predicted is None for row in results.clips] == [False, False, True, False]
    assert results.link.lost == 1
    assert results.accuracy.total == 4


@given(
    st.dictionaries(st.integers(0, 11), st.integers(1, 40), min_size=1),
    st.integers(1, 200),
)
def test_shares_are_even_and_complete(available: dict[int, int], count: int) -> None:
    shares = measuring._even_shares(available, count)
    assert sum(shares.values()) == min(count, sum(available.values()))
    assert all(1 <= shares[k] <= available[k] for k in shares)
    for label, there in available.items():  # nobody has less than another while having more to give
        if shares.get(label, 0) < there:
            assert max(shares.values()) <= shares.get(label, 0) + 1


def test_chosen_clips_are_distinct_and_always_the_same(folder: Path) -> None:
    dataset = Dataset.open(folder, ["yes", "no"])
    clips = measuring.choose_clips(dataset, 10)
    assert clips == measuring.choose_clips(Dataset.open(folder, ["yes", "no"]), 10)
    assert len({clip.name for clip in clips}) == len(clips) == 10
    counts = [sum(c.label == label for c in clips) for label in range(4)]
    assert max(counts) - min(counts) <= 1
    assert len(measuring.choose_clips(dataset, 10_000)) == len(dataset.evaluation("testing"))


def test_a_device_with_other_labels_is_refused_by_name(folder: Path) -> None:
    assert measuring.open_dataset(folder, ["yes", "maybe", "unknown", "silence"]).absent == ("maybe",)
    with pytest.raises(KwsError, match="no clips of maybe, perhaps"):
        measuring.open_dataset(folder, ["maybe", "perhaps", "unknown", "silence"])
    with pytest.raises(KwsError, match="alexa"):
        measuring.open_dataset(folder, ["alexa", "other"])


def test_continuous_audio_gives_results_detections_and_the_end() -> None:
    rng = np.random.default_rng(2)
    sound = rng.integers(-32768, 32767, 16000 * 4, dtype=np.int16)
    blocks = [sound[at : at + 320] for at in range(0, len(sound), 320)]
    with plugged(FakeFirmware()) as port, Link(port) as link:
        link.hello()
        events = list(stream.stream_continuous(link, blocks, stride=5))
        assert link.counters.clean, link.counters
    results = [e for e in events if isinstance(e, Result)]
    assert isinstance(events[-1], StreamDone)
    assert events[-1].total == len(sound)
    assert events[-1].inferences == len(results) == 1 + (199 - 49) // 5
    assert any(isinstance(e, Detection) for e in events)
    for result in results:
        assert list(result.output) == expected_output(sound[: result.position].tobytes())


def test_leaving_a_stream_early_stops_it_on_the_device() -> None:
    firmware = FakeFirmware()
    with plugged(firmware) as port, Link(port) as link:
        link.hello()
        events = stream.stream_continuous(link, (np.ones(320, np.int16) for _ in range(10_000)))
        next(events)
        assert firmware.mode == stream.CONTINUOUS
        events.close()
        assert firmware.mode is None
        assert link.info().labels == LABELS


def test_a_refused_position_is_an_error() -> None:
    firmware = FakeFirmware()
    with plugged(firmware) as port, Link(port) as link:
        link.hello()
        firmware._act = lambda frame, real=firmware._act: (  # type: ignore[method-assign]
            firmware._error(frame, 6) if frame.type == 5 else real(frame)
        )
        with pytest.raises(DeviceError, match="position"):
            stream.stream_clip(link, np.zeros(16000, np.int16))


def test_bench_measures_each_part() -> None:
    with plugged(FakeFirmware(calibrated=False)) as port, Link(port) as link:
        link.hello()
        result = bench.bench(link, rounds=3)
    assert result.ticks.name == "ticks of TIM2 at 84,000,000 Hz"
    inference = result.cost.inference
    assert (inference.count, inference.min, inference.max) == (6, 9e6, 9e6)
    assert result.cost.frontend_frame.mean == 30_000
    assert result.cost.detector.count > 3
    assert result.link.lost == 0
    assert result.throughput_bytes_per_second > 0


def test_bench_sound_uses_the_whole_range() -> None:
    sound = bench.sound(np.random.default_rng(1))
    assert sound.dtype == np.int16
    assert sound.shape == (16000,)
    loud = [np.abs(part.astype(int)).mean() for part in np.split(sound, 20)]
    assert max(loud) > 8 * min(loud)
