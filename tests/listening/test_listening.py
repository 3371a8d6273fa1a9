"""Long audio through front end, model and detector: the rules of the firmware, and the shared columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.features import Frontend, quantize
from model_pipeline.listening import recogniser
from model_pipeline.listening.detector import Detection, run_detector
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.listening.wide import NotWide, widen
from model_pipeline.manifest import DetectorDefaults
from tests.support.listening_models import FRAMES, model_folder, sliding_net, speech_like
from tests.support.tflite_builder import Oracle, ds_cnn

LABELS = ["yes", "no", "up", "unknown", "silence"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model"), sliding_net(), LABELS)


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech_like(np.random.default_rng(1), 9.3)


@pytest.fixture(scope="module")
def every_hop(folder: Path, audio: np.ndarray) -> np.ndarray:
    """TFLite Micro's results at every hop from the first whole window on."""
    manifest = Recogniser(folder, 1).manifest
    frames = quantize(Frontend(manifest.frontend).process(audio), manifest.input.scale)
    windows = np.stack([frames[i : i + FRAMES].reshape(-1) for i in range(len(frames) - FRAMES + 1)])
    return Oracle(sliding_net()).run(windows, (1, FRAMES, 40, 1))


@pytest.mark.parametrize("wide", [True, False])
def test_results_are_those_of_tflite_micro_at_the_firmwares_positions(folder, audio, every_hop, wide) -> None:
    listener = Recogniser(folder, 2, wide=wide)
    assert listener.wide == wide
    assert len(np.unique(every_hop.argmax(1))) > 1
    for stride in (1, 2, 5, 300, 700):
        track = listener.track(audio, stride)
        # kws_app counts hops: the first result at the first whole window, the next ones every `stride` frames.
        expected = [f for f in range(len(every_hop)) if f % stride == 0]
        assert np.array_equal(track.outputs, every_hop[expected])
        assert track.positions.tolist() == [480 + (FRAMES - 1 + f) * 320 for f in expected]
        assert track.samples == len(audio)


@pytest.mark.parametrize("samples", [0, 479, 480 + 48 * 320 - 1, 480 + 48 * 320, 480 + 49 * 320])
def test_short_recordings(folder, audio, every_hop, samples) -> None:
    track = Recogniser(folder, 1).track(audio[:samples], 1)
    count = max(0, (samples - 480) // 320 + 1 - 48) if samples >= 480 else 0
    assert np.array_equal(track.outputs, every_hop[:count])


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 1000),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
    st.integers(2, 9),
    st.integers(1, 12),
    st.integers(1, 2),
)
def test_shared_columns_give_the_windows_results(seed, three, dense, labels, channels, hops, step) -> None:
    from model_pipeline.compiler import HostPrograms, compile_model

    tflite = sliding_net(seed, labels + 2, 8 * (channels // 3 + 1), time_stride=step, three=three, dense=dense)
    wide = widen(tflite, FRAMES, hops)
    assert (wide.step, wide.windows) == (step, max(1, hops // step))
    programs = HostPrograms([compile_model(tflite, "portable"), wide.program], flags=("-O1",)).programs
    starts = [step * i for i in range(wide.windows)]
    frames = np.random.default_rng(seed).integers(-128, 128, (FRAMES + starts[-1], 40)).astype(np.int8)
    plain = programs[0].run(np.stack([frames[i : i + FRAMES] for i in starts]))
    assert np.array_equal(programs[1].run(frames).reshape(wide.windows, -1), plain)


def test_a_network_that_strides_is_run_for_each_phase(tmp_path, audio) -> None:
    tflite = sliding_net(time_stride=2)
    listener = Recogniser(model_folder(tmp_path, tflite, LABELS), 2)
    assert listener.wide
    frames = listener.features(audio)
    windows = np.stack([frames[i : i + FRAMES].reshape(-1) for i in range(len(frames) - FRAMES + 1)])
    expected = Oracle(tflite).run(windows, (1, FRAMES, 40, 1))
    assert len(np.unique(expected, axis=0)) > 100
    for stride in (1, 3, 5, 300):
        assert np.array_equal(listener.track(audio, stride).outputs, expected[::stride])


def test_models_that_can_not_share_columns_say_why_and_run_window_by_window(tmp_path, audio) -> None:
    with pytest.raises(NotWide, match="input has shape"):
        widen(sliding_net(), FRAMES + 1, 4)
    tflite = ds_cnn(3, channels=8, blocks=1, labels=5)  # strides, and takes the mean by MEAN
    listener = Recogniser(model_folder(tmp_path, tflite, LABELS), 2)
    assert not listener.wide
    assert "MEAN" in listener.why_not_wide
    short = audio[:40000]
    track = listener.track(short, 7)
    frames = listener.features(short)
    windows = np.stack([frames[i : i + FRAMES].reshape(-1) for i in range(0, len(frames) - FRAMES + 1, 7)])
    assert np.array_equal(track.outputs, Oracle(tflite).run(windows, (1, FRAMES, 40, 1)))


def test_a_network_that_pads_along_time_shares_no_columns(shared_data) -> None:
    with pytest.raises(NotWide, match="pads along time"):
        widen((shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes(), FRAMES, 4)


def test_shared_columns_that_differ_are_refused(folder, monkeypatch) -> None:
    other = widen(sliding_net(2), FRAMES, recogniser._CHUNK)
    monkeypatch.setattr(recogniser, "widen", lambda *_: other)
    with pytest.raises(CheckFailed, match="different results"):
        Recogniser(folder, 1)


def test_a_coarser_stride_is_every_so_many_results(folder, audio) -> None:
    fine = Recogniser(folder, 1).track(audio, 2)
    assert np.array_equal(fine.every(6).outputs, Recogniser(folder, 1).track(audio, 6).outputs)
    assert fine.every(6).positions.tolist() == fine.positions.tolist()[::3]
    detector = DetectorDefaults(
        window=2, min_count=1, refractory_samples=1000, thresholds=[60] * 3 + [0, 0], stride_hops=6
    )
    found = fine.detect(detector)
    assert found == fine.every(6).detect(detector)
    assert found
    with pytest.raises(ValueError, match="hold none"):
        fine.every(3)
    with pytest.raises(ValueError, match="hold none"):
        fine.detect(detector.model_copy(update={"stride_hops": 3}))


def test_ctrl_c_stops_the_threads(folder, monkeypatch) -> None:
    listener = Recogniser(folder, 2)
    runs = []
    plain = listener._run_wide
    monkeypatch.setattr(listener, "_run_wide", lambda *a: runs.append(1) or plain(*a))

    def interrupt(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    long = np.zeros(16000 * 600, np.int16)
    with pytest.raises(KeyboardInterrupt):
        listener.track(long, 1, interrupt)
    listener._pool.shutdown()  # waits for the other thread
    assert len(runs) < 117  # of 118 chunks


def reference(posteriors: np.ndarray, d: DetectorDefaults, positions: list[int]) -> list[Detection]:
    """The detector's rules again, in as few lines as they take."""
    found: list[Detection] = []
    run: list[int] = []
    last = None
    for i in range(d.window - 1, len(posteriors)):
        sums = posteriors[i - d.window + 1 : i + 1].sum(0)
        top = int(sums.argmax())
        score = int(sums[top]) // d.window
        ready = last is None or positions[i] - last >= d.refractory_samples
        if not ready or not d.thresholds[top] or score < d.thresholds[top]:
            run = []
            continue
        run = [*run, top] if run[-1:] == [top] else [top]
        if len(run) == d.min_count:
            found.append(Detection(positions[i], top, score))
            run, last = [], positions[i]
    return found


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_bound_detector_is_the_firmwares(data: st.DataObject) -> None:
    labels = data.draw(st.integers(2, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    rows = data.draw(st.integers(0, 60))
    posteriors = rng.integers(0, 256, (rows, labels)) // rng.choice([1, 1, 3], (rows, labels))
    detector = DetectorDefaults(
        window=data.draw(st.integers(1, 8)),
        min_count=data.draw(st.integers(1, 4)),
        refractory_samples=data.draw(st.sampled_from([0, 1, 1599, 1600, 8000])),
        thresholds=data.draw(st.lists(st.sampled_from([0, 1, 60, 100, 255]), min_size=labels, max_size=labels)),
        stride_hops=1,
    )
    every = data.draw(st.integers(1, 3))
    outputs = (posteriors - 128).astype(np.int8)
    kept = posteriors[::every]
    positions = [480 + 1600 * every * i for i in range(len(kept))]
    assert run_detector(detector, outputs, 480, 1600, every) == reference(kept, detector, positions)


def test_more_detections_than_there_is_room_for() -> None:
    outputs = np.full((3000, 2), -128, np.int8)
    outputs[:, 0] = 127
    detector = DetectorDefaults(window=1, min_count=1, refractory_samples=0, thresholds=[9, 0], stride_hops=1)
    assert [d.position for d in run_detector(detector, outputs, 5, 10)] == list(range(5, 30005, 10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 33}, "window"),
        ({"min_count": 256}, "min_count"),
        ({"thresholds": [256, 0]}, "threshold"),
        ({"thresholds": [-1, 0]}, "threshold"),
        ({"thresholds": [9, 9, 0]}, "3 thresholds for a model of 2 labels"),
        ({"refractory_samples": 1 << 32}, "refractory"),
    ],
)
def test_values_without_room_in_the_firmware_are_named(change, message) -> None:
    good = DetectorDefaults(window=1, min_count=1, refractory_samples=0, thresholds=[9, 0], stride_hops=1)
    with pytest.raises(KwsError, match=message):
        run_detector(good.model_copy(update=change), np.zeros((3, 2), np.int8), 0, 1)
