"""`kws export --library esphome`: a stateful model and its manifest, as ESPHome takes them.

The network is the shipped default's; only its front end is said to be ESPHome's, so that it hears nonsense, in the same
arithmetic.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from host_tools.cli import build_app
from model_pipeline.config import STOCK_FRONTEND
from model_pipeline.errors import KwsError
from model_pipeline.esphome import MAX_VARIABLES, OPERATORS, cutoff_of, export_esphome
from model_pipeline.features import quantize
from model_pipeline.intervals import Rate
from model_pipeline.listening.detector import run_detector
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import Manifest, Quantization, input_scale, load_manifest, save_manifest
from model_pipeline.microwakeword import import_model, threshold_of
from model_pipeline.native import FIRMWARE, ROOT
from tests.support.listening_models import model_folder, sliding_net

schema = pytest.importorskip("tflite_micro.tensorflow.lite.micro.python.schema_py_generated")
SPEECH = ROOT.parent / "shared" / "data" / "speech_commands"
NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def with_stock_input(tflite: bytes) -> bytes:
    """The network with the input scale of ESPHome's features (and what its first layer's bias follows from it)."""
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(tflite, 0)
    graph = model.subgraphs[0]
    source = graph.tensors[graph.inputs[0]].quantization
    factor = np.float32(input_scale(STOCK_FRONTEND)) / source.scale[0]
    first = next(o for o in graph.operators if graph.inputs[0] in o.inputs)
    for quantization in (source, graph.tensors[first.inputs[2]].quantization):
        quantization.scale = (np.asarray(quantization.scale) * factor).astype(np.float32)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A model folder with the stock front end, and a detector that ESPHome can have."""
    folder = tmp_path_factory.mktemp("esphome") / "source"
    folder.mkdir()
    tflite = with_stock_input((FIRMWARE / "model" / "model.tflite").read_bytes())
    (folder / "model.tflite").write_bytes(tflite)
    shipped = load_manifest(FIRMWARE / "model")
    changes = {
        "model_sha256": hashlib.sha256(tflite).hexdigest(),
        "frontend": STOCK_FRONTEND,
        "input": Quantization(
            **{**shipped.input.model_dump(), "scale": float(np.float32(input_scale(STOCK_FRONTEND)))}
        ),
        "detector": shipped.detector.model_copy(update={"min_count": 1, "window": 4, "rest": 1, "stride_hops": 7}),
        "look": None,
    }
    save_manifest(shipped.model_copy(update=changes), folder / "model.json")
    return folder


@pytest.fixture(scope="module")
def exported(source) -> Path:
    export_esphome(source, source.parent / "yes", word="yes")
    return source.parent / "yes"


@pytest.fixture(scope="module")
def imported(exported) -> Path:
    import_model(exported / "yes.json", exported.parent / "imported")
    return exported.parent / "imported"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """30 s: people's clips where they are, and noise that is loud and soft."""
    rng = np.random.default_rng(4)
    parts = [soundfile.read(path, dtype="int16")[0] for path in sorted(SPEECH.glob("*/*.flac"))[::200][:20]]
    noise = rng.normal(0, 1, 16000 * 30) * np.repeat(rng.uniform(10, 9000, 60), 8000)
    return np.concatenate([*parts, np.clip(noise, -32768, 32767).astype(np.int16)])[: 16000 * 30]


def check_manifest(values: dict) -> None:
    """What ESPHome 2026.6.5 takes for a manifest of version 2: these keys, no others, of these types."""
    assert values.pop("website", "https://x.org/").startswith(("http://", "https://"))
    kinds = {"type": str, "model": str, "author": str, "version": int, "wake_word": str, "trained_languages": list}
    assert {key: type(value) for key, value in values.items()} == {**kinds, "micro": dict}
    assert (values["type"], values["version"]) == ("micro", 2)
    micro = values["micro"]
    numbers = {"feature_step_size": int, "tensor_arena_size": int, "sliding_window_size": int}
    others = {"probability_cutoff": float, "minimum_esphome_version": str}
    assert {key: type(value) for key, value in micro.items()} == {**numbers, **others}
    assert 0 <= micro["feature_step_size"] <= 30 and micro["sliding_window_size"] > 0
    assert all(part.isdigit() for part in micro["minimum_esphome_version"].split("."))


def posteriors(folder: Path, sound: np.ndarray) -> np.ndarray:
    return Recogniser(folder).track(sound).outputs[:, 0].astype(int) + 128


def test_the_file_is_what_esphome_takes(exported):
    described = json.loads((exported / "yes.json").read_text())
    check_manifest(described)
    assert (described["type"], described["version"], described["model"]) == ("micro", 2, "yes.tflite")
    micro = described["micro"]
    assert micro["feature_step_size"] == 10 and micro["sliding_window_size"] == 4
    assert 16_000 < micro["tensor_arena_size"] < 64_000 and micro["minimum_esphome_version"] == "2024.7.0"
    model = schema.ModelT.InitFromPackedBuf((exported / "yes.tflite").read_bytes(), 0)
    graph = model.subgraphs[0]
    given, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert list(given.shape) == [1, 7, 40] and given.type == schema.TensorType.INT8
    assert list(result.shape) == [1, 1] and result.type == schema.TensorType.UINT8
    used = {NAMES[c.builtinCode] for c in model.operatorCodes}
    assert used <= OPERATORS and {"CALL_ONCE", "READ_VARIABLE", "ASSIGN_VARIABLE"} <= used
    handles = [o for o in graph.operators if NAMES[model.operatorCodes[o.opcodeIndex].builtinCode] == "VAR_HANDLE"]
    assert 5 < len(handles) <= MAX_VARIABLES


def test_our_engine_equals_tflite_micro_step_by_step(exported, imported, sound):
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    micro = runtime.Interpreter.from_bytes((exported / "yes.tflite").read_bytes())
    ours = Recogniser(imported)
    frames = ours.features(sound)
    steps = frames[: len(frames) // 7 * 7].reshape(-1, 1, 7, 40)
    expected = []
    for step in steps:
        micro.set_input(step, 0)
        micro.invoke()
        expected.append(int(micro.get_output(0).item()))
    assert posteriors(imported, sound).tolist() == expected
    assert max(expected) > min(expected) + 32  # it does say something


def test_the_package_loads_it_and_hears_the_same(exported, imported, sound, tmp_path):
    pw = pytest.importorskip("pymicro_wakeword")
    ours = Recogniser(imported)
    track = ours.track(sound)
    means = np.convolve(track.outputs[:, 0].astype(int) + 128, np.ones(4) / 4)[: len(track.outputs)] / 256
    cutoff = float(np.sort(means)[-20])
    described = json.loads((exported / "yes.json").read_text())
    described["micro"]["probability_cutoff"] = cutoff
    described["model"] = str(exported / "yes.tflite")
    (tmp_path / "yes.json").write_text(json.dumps(described))
    theirs, frontend = pw.MicroWakeWord.from_config(tmp_path / "yes.json"), pw.MicroWakeWordFeatures()
    assert theirs.stride == 7 and theirs.wake_word == "yes"
    frames, probabilities, detected = [], [], []
    for features in frontend.process_streaming(sound.tobytes()):
        frames.append(np.round(features.reshape(-1) / theirs.input_scale + theirs.input_zero_point).astype(np.int8))
        said = theirs.process_streaming(features)
        if len(frames) % theirs.stride == 0:
            probabilities.append(theirs._probabilities[-1] * 256)
            detected.append(bool(said))
    assert np.array_equal(ours.features(sound), np.stack(frames))
    difference = np.abs(track.outputs[:, 0].astype(int) + 128 - np.array(probabilities))
    assert difference.max() <= 16 and np.median(difference) == 0  # it rounds once where TFLite Micro rounds twice
    threshold, rest = threshold_of(cutoff, 4)
    # As the package: no pause after a word.
    changes = {"refractory_samples": 0, "thresholds": [threshold], "rest": rest}
    level = ours.manifest.detector.model_copy(update=changes)
    found = {d.position for d in run_detector(level, track.outputs, track.first, track.step)}
    heard = np.array([p in found for p in track.positions.tolist()])
    sure = np.abs(means - cutoff) > 3 / 256  # such that no rounding decides it
    assert np.array_equal(heard[sure], np.array(detected)[sure]) and (heard & sure).any()


def test_the_probability_is_that_against_the_strongest_rival(source, imported, sound):
    window = Recogniser(source)
    track = window.track(sound, 7)
    probability = (track.outputs[:, window.labels.index("yes")].astype(int) + 128) / 256
    made = posteriors(imported, sound)[6:] / 256  # seven steps fill the window; before, silence is in it
    assert len(made) == len(probability)
    rivals = np.delete(track.outputs.astype(int) + 128, window.labels.index("yes"), axis=1).max(axis=1) / 256
    sure = (probability > 0.05) & (rivals > 0.05)
    assert sure.sum() > 5
    pair = probability / (probability + rivals)
    assert np.abs(made - pair)[sure].max() < 0.06  # logits in steps of 1/16, the softmax in 1/256
    assert (made - probability).min() > -0.06


def test_the_detector_comes_back_as_strict_as_it_was(source, imported):
    before, after = load_manifest(source).detector, load_manifest(imported).detector
    assert after.window == before.window and after.stride_hops == before.stride_hops
    sums = [d.thresholds[0] * d.window + d.rest for d in (before, after)]
    assert sums[0] <= sums[1] <= sums[0] + 2 * before.window  # a step of 1/255 more, rounded up


@given(st.integers(1, 32).flatmap(lambda window: st.tuples(st.integers(window, 255 * window), st.just(window))))
@example((255 * 5, 5))
@example((1, 1))
@example((254 * 32 + 1, 32))
def test_nobody_hears_a_word_at_a_smaller_sum(case):
    """ESPHome compares sums with int(cutoff * 255), the package means with the cutoff."""
    total, window = case
    cutoff = cutoff_of(total, window)
    device = int(cutoff * 255) * window + 1  # the least sum above
    threshold, rest = threshold_of(cutoff, window)
    for least in (device, threshold * window + rest):
        assert min(total, 254 * window + 1) <= least <= min(total + 2 * window, 255 * window)


def test_results_at_another_pace_are_averaged_over_as_long(source, tmp_path):
    detector = load_manifest(source).detector.model_dump()
    slow = changed(source, tmp_path / "slow", detector={**detector, "stride_hops": 4, "window": 7})
    assert export_esphome(slow, tmp_path / "x", word="yes").sliding_window_size == 4


def test_false_accepts_that_were_measured_stand_beside_it_and_not_in_it(tmp_path):
    """ESPHome's manifest has no key for them, and refuses keys that it does not know."""
    record = {
        "corpora": [{"name": n, "training": 0.0, "calibration": 0.5} for n in ("talk", "prose")],
        "reporting": {"hours": 2.0, "false_accepts": 3},
    }
    detector = load_manifest(FIRMWARE / "model").detector
    changes = {"min_count": 1, "window": 4, "stride_hops": 7, "thresholds": [200, 0, 0]}
    folder = model_folder(
        tmp_path / "one",
        sliding_net(1, 3),
        ["yes", "unknown", "silence"],
        frontend=STOCK_FRONTEND,
        detector=detector.model_copy(update=changes),
        accuracy={"calibration": record},
    )
    done = export_esphome(folder, tmp_path / "out")
    assert done.measured and done.measured.false_accepts == Rate.of(3, 2.0) and not done.measured.of_file
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "| false accepts | 3 in 2.00 h: 1.50 an hour (95 %: 0.31 to 4.38) |" in readme
    assert "the model that this file is made of" in readme and "talk, prose |" in readme
    check_manifest(json.loads((tmp_path / "out" / "yes.json").read_text()))
    other = export_esphome(folder, tmp_path / "out", window=3)
    assert other.measured is None and "not measured with this" in (tmp_path / "out" / "README.md").read_text()


def changed(source: Path, folder: Path, **changes) -> Path:
    folder.mkdir()
    (folder / "model.tflite").write_bytes((source / "model.tflite").read_bytes())
    save_manifest(Manifest.model_validate({**load_manifest(source).model_dump(), **changes}), folder / "model.json")
    return folder


def test_what_esphome_can_not_have_is_refused(source, tmp_path):
    with pytest.raises(KwsError, match="another front end") as error:
        export_esphome(FIRMWARE / "model", tmp_path / "x", word="yes")
    assert "hop_ms = 10" in str(error.value.hint) and "pcan = true" in str(error.value.hint)
    with pytest.raises(KwsError, match="8 keywords"):
        export_esphome(source, tmp_path / "x")
    with pytest.raises(KwsError, match="no keyword 'off'"):
        export_esphome(source, tmp_path / "x", word="off")
    with pytest.raises(KwsError, match="does not divide"):
        export_esphome(source, tmp_path / "x", word="yes", hop=3)
    look = load_manifest(FIRMWARE / "model").look
    assert look is not None
    detector = load_manifest(source).detector.model_dump()
    steps = {"window": look.window, "stride_hops": look.stride_hops}
    second = changed(source, tmp_path / "look", look=look.model_dump(), detector={**detector, **steps})
    with pytest.raises(KwsError, match="no second look") as error:
        export_esphome(second, tmp_path / "x", word="yes")
    assert "--cutoff" in str(error.value.hint)
    row = changed(source, tmp_path / "row", detector={**detector, "min_count": 2})
    with pytest.raises(KwsError, match="2 results in a row"):
        export_esphome(row, tmp_path / "x", word="yes")
    assert not (tmp_path / "x").exists()
    done = export_esphome(second, tmp_path / "x", word="yes", cutoff=0.8, window=5)
    assert (done.probability_cutoff, done.sliding_window_size) == (0.8, 5)


def test_features_are_quantised_as_esphome_does():
    """value = ((feature * 256) + 333) / 666 - 128, as its firmware has it: within a step of ours."""
    features = np.arange(660, dtype=np.uint16)
    esphome = np.clip((features.astype(int) * 256 + 333) // 666 - 128, -128, 127)
    assert np.abs(quantize(features, input_scale(STOCK_FRONTEND), -128, 20) - esphome).max() <= 1


def test_the_verb(source, tmp_path):
    out = tmp_path / "out"
    arguments = ["export", str(source), "--library", "esphome", "--word", "no", "--streaming", "7", "--out", str(out)]
    done = CliRunner().invoke(build_app(), [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["wake_word"] == "no" and (out / "no.tflite").stat().st_size == told["bytes"]
    wrong = CliRunner().invoke(build_app(), ["export", str(source), "--word", "no", "--out", str(out)])
    assert isinstance(wrong.exception, KwsError) and wrong.exception.hint == "add --library esphome"
