"""Models of microWakeWord, imported: against the package that runs them elsewhere, and against TensorFlow Lite Micro.

The package runs TensorFlow Lite, whose kernels round once where TensorFlow Lite Micro (which ESPHome runs, and which
ours equal) rounds twice, so a probability can differ from the package's by a few steps of 1/256. Features are equal,
and so is what is detected.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_pipeline.errors import KwsError
from model_pipeline.features import quantize
from model_pipeline.library import export_library
from model_pipeline.listening.detector import run_detector
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.microwakeword import import_model, threshold_of
from model_pipeline.native import ROOT

pw = pytest.importorskip("pymicro_wakeword")
MODELS = Path(pw.__path__[0]) / "models"
NAMES = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")
SPEECH = ROOT.parent / "shared" / "data" / "speech_commands"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Two minutes: clips of people where they are, and noise that is loud and soft."""
    rng = np.random.default_rng(2)
    parts = [soundfile.read(path, dtype="int16")[0] for path in sorted(SPEECH.glob("*/*.flac"))[::40][:100]]
    noise = rng.normal(0, 1, 16000 * 20) * np.repeat(rng.uniform(10, 9000, 40), 8000)
    return np.concatenate([*parts, np.clip(noise, -32768, 32767).astype(np.int16)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("imported")
    for name in NAMES:
        import_model(MODELS / f"{name}.json", out / name)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_features_and_detections_equal_the_package_and_probabilities_tflite_micro(name, folders, sound):
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    ours = Recogniser(folders / name)
    track = ours.track(sound)
    theirs, frontend = pw.MicroWakeWord.from_builtin(pw.Model(name)), pw.MicroWakeWordFeatures()
    scale, zero = theirs.input_scale, theirs.input_zero_point
    micro = runtime.Interpreter.from_bytes((folders / name / "model.tflite").read_bytes())
    frames, detected, probabilities, exact = [], [], [], []
    for features in frontend.process_streaming(sound.tobytes()):
        frames.append(np.round(features.reshape(-1) / scale + zero).astype(np.int8))
        said = theirs.process_streaming(features)
        if len(frames) % theirs.stride == 0:
            detected.append(bool(said))
            probabilities.append(theirs._probabilities[-1] * 256)
            micro.set_input(np.stack(frames[-theirs.stride :])[None], 0)
            micro.invoke()
            exact.append(int(micro.get_output(0).item()))
    assert np.array_equal(ours.features(sound), np.stack(frames))
    posteriors = track.outputs[:, 0].astype(int) + 128
    assert posteriors.tolist() == exact
    assert np.abs(posteriors - np.array(probabilities)).max() <= 16
    level = ours.manifest.detector.model_copy(update={"refractory_samples": 0})  # as the package: no pause after a word
    found = {d.position for d in run_detector(level, track.outputs, track.first, track.step)}
    assert [p in found for p in track.positions.tolist()] == detected


def test_a_feature_becomes_the_step_that_a_division_gives():
    """For every value that a front end gives below the input's top."""
    scale = float(np.float32(26 / 255))
    features = np.arange(680, dtype=np.uint16)
    expected = np.clip(np.round(features * 0.0390625 / scale - 128), -128, 127)
    assert np.array_equal(quantize(features, scale, -128, 20), expected)


@pytest.mark.parametrize("window", [1, 3, 5, 10])
@pytest.mark.parametrize("cutoff", [0.0, 0.25, 0.5, 0.85, 0.97, 0.9921875])
def test_the_threshold_is_the_least_sum_above_the_cutoff(cutoff, window):
    threshold, rest = threshold_of(cutoff, window)
    total = threshold * window + rest
    assert rest < window and total / (256 * window) > cutoff
    assert total == window or (total - 1) / (256 * window) <= cutoff


def test_a_library_of_two_wake_words_hears_them_with_one_front_end(folders, sound, tmp_path):
    export_library([folders / "alexa", folders / "okay_nabu"], tmp_path / "lib", "cmake", "home")
    sources = [str(p) for p in sorted((tmp_path / "lib" / "src").glob("*.c"))]
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "home.h"\nint main(void) {\n  static home_t k;\n  static int16_t pcm[480];\n'
        "  size_t n;\n  if (home_init(&k)) return 1;\n"
        "  while ((n = fread(pcm, 2, 480, stdin)) > 0) {\n    home_feed(&k, pcm, n, NULL, NULL);\n"
        '    printf("%d %d\\n", home_stream_scores(&k.stream, 0)[0], home_stream_scores(&k.stream, 1)[0]);\n  }\n'
        "  return 0;\n}\n"
    )
    command = ["gcc", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]
    include = f"-I{tmp_path / 'lib' / 'src'}"
    subprocess.run([*command, include, *sources, str(main), "-o", str(tmp_path / "two")], check=True)
    sound = sound[: 480 * 400]
    done = subprocess.run([tmp_path / "two"], input=sound.tobytes(), capture_output=True, check=True)
    scores = np.array([line.split() for line in done.stdout.decode().splitlines()], int)
    for column, name in enumerate(("alexa", "okay_nabu")):
        # After n blocks of 480 samples, 3 n - 2 frames are there: one step less.
        outputs = Recogniser(folders / name).track(sound).outputs[:, 0].astype(int) + 128
        assert scores[0, column] == 0
        assert scores[1 : len(outputs) + 1, column].tolist() == outputs[: len(scores) - 1].tolist()


def described(folder: Path, **changes) -> Path:
    values = json.loads((MODELS / "okay_nabu.json").read_text())
    (folder / "okay_nabu.tflite").write_bytes((MODELS / "okay_nabu.tflite").read_bytes())
    (folder / "x.json").write_text(json.dumps(values | changes))
    return folder / "x.json"


def test_version_1_has_a_step_of_20_ms(tmp_path):
    micro = {"probability_cutoff": 0.5, "sliding_window_average_size": 10}
    manifest = import_model(described(tmp_path, version=1, micro=micro), tmp_path / "out")
    assert manifest.frontend.hop_ms == 20 and manifest.detector.window == 10
    assert (manifest.detector.thresholds, manifest.detector.rest) == ([128], 1)


def test_a_bare_model_needs_its_front_end_named(tmp_path):
    with pytest.raises(KwsError, match="front end"):
        import_model(MODELS / "alexa.tflite", tmp_path / "out")
    manifest = import_model(MODELS / "alexa.tflite", tmp_path / "out", front_end="micro", cutoff=0.9, window=4)
    assert manifest.labels == ["alexa"] and manifest.detector.window == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "other"}, "type"),
        ({"version": 3}, "version 3"),
        ({"model": "../../etc/passwd"}, "not the name of a file"),
        ({"model": "gone.tflite"}, "can't read"),
        ({"micro": {"probability_cutoff": 0.5, "feature_step_size": 10}}, "sliding_window_size"),
        ({"micro": {"probability_cutoff": 1.0, "sliding_window_size": 5, "feature_step_size": 10}}, "cutoff"),
        ({"micro": []}, "no part micro"),
        ({"wake_word": ""}, "wake_word"),
        ({"wake_word": "a\nb"}, "can't be taken as it is: labels"),
        ({"wake_word": "\x1b]52;c;x\x07"}, "can't be taken as it is: labels"),
        ({"wake_word": "\u4e00" * 60}, "can't be taken as it is: labels"),
        ({"model": "x\0.tflite"}, "can't read"),
        ({"model": "x" * 300 + ".tflite"}, "can't read"),
        ({"website": "x" * 1000}, "website"),
        ({"trained_languages": ["x" * 100]}, "trained_languages"),
    ],
)
def test_what_is_no_such_manifest_is_said_in_one_line(tmp_path, changes, said):
    with pytest.raises(KwsError, match=said) as error:
        import_model(described(tmp_path, **changes), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
