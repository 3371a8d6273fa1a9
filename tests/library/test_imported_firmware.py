"""Models of microWakeWord as firmware: alone, and several in one image, on an emulated board and as a sanitized process
of this computer. Results and detections equal the host's, step by step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from host_tools.check.stream import compare
from host_tools.cli import build_app
from host_tools.image import emulate, models
from host_tools.link.events import Detection, Result, StreamDone
from host_tools.link.info import Info
from host_tools.link.session import Link
from host_tools.link.stream import stream_continuous
from host_tools.live import lines, tune
from host_tools.measure import realtime
from model_pipeline.errors import DeviceError, KwsError
from model_pipeline.exported import Exported
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.microwakeword import import_model
from model_pipeline.native import FIRMWARE, ROOT
from tests.support.firmware_images import image, private_copy

pw = pytest.importorskip("pymicro_wakeword")
MODELS = Path(pw.__path__[0]) / "models"
SPEECH = ROOT.parent / "shared" / "data" / "speech_commands"
CUTOFF = 0.02  # so low that other words are heard: the recordings have no wake word
BOARDS = ["host", pytest.param("disco_f407vg", marks=pytest.mark.qemu)]


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """12 s: words of people where they are, else noise that is loud and soft."""
    files = [path for word in ("seven", "marvin", "yes", "left") for path in sorted((SPEECH / word).glob("*.flac"))[:3]]
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, 16000 * 12) * np.repeat(rng.uniform(10, 9000, 24), 8000)
    parts = [soundfile.read(path, dtype="int16")[0] for path in files]
    return np.concatenate([*parts, np.clip(noise, -32768, 32767).astype(np.int16)])[: 16000 * 12]


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("imported")
    for name in ("alexa", "okay_nabu"):
        import_model(MODELS / f"{name}.json", out / name, cutoff=CUTOFF)
    for name in ("vad", "vad2"):  # ESPHome's has this name; here it is a wake word's network, which never says yes
        described = json.loads((MODELS / "hey_jarvis.json").read_text()) | {"model": "vad.tflite", "wake_word": "VAD"}
        (out / "vad.json").write_text(json.dumps(described))
        (out / "vad.tflite").write_bytes((MODELS / "hey_jarvis.tflite").read_bytes())
        import_model(out / "vad.json", out / name, cutoff=0.97)
    return {name: out / name for name in ("alexa", "okay_nabu", "vad", "vad2")}


@pytest.fixture(scope="module", params=BOARDS)
def alone(request, imported, tmp_path_factory) -> Iterator[Link]:
    with running(request.param, [imported["okay_nabu"]], tmp_path_factory.mktemp("alone")) as link:
        yield link


@pytest.fixture(scope="module", params=BOARDS)
def three(request, imported, tmp_path_factory) -> Iterator[Link]:
    """Two wake words with one front end, and ours with another."""
    given = [imported["okay_nabu"], FIRMWARE / "tiny", imported["alexa"]]
    with running(request.param, given, tmp_path_factory.mktemp("three")) as link:
        yield link


@contextlib.contextmanager
def running(board: str, given: list[Path], folder: Path) -> Iterator[Link]:
    """The firmware of these models on ``board``."""
    source = models.generated(given, folder / "model")
    assert source is not None
    built = image(board, model=source)
    exported = Exported.open(source)
    assert built.model_hash == exported.model_hash and built.model_constants == exported.constant_bytes
    with emulate.start(board, private_copy(built, folder)) as emulator:
        with Link.open(emulator.url, timeout=60) as link:
            yield link
        emulator.check()  # no sanitizer has stopped it


def streamed(link: Link, sound: np.ndarray) -> tuple[list[Result], list[Detection]]:
    events = list(stream_continuous(link, (sound[at : at + 3001] for at in range(0, len(sound), 3001))))
    assert isinstance(events[-1], StreamDone) and link.counters.lost == 0
    return [e for e in events if isinstance(e, Result)], [e for e in events if isinstance(e, Detection)]


def test_a_device_hears_what_the_host_and_the_package_hear(alone, imported, sound):
    ours = Recogniser(imported["okay_nabu"])
    said = compare(alone, ours, sound)
    assert said.equal and said.inferences == 1198 // 3 and said.lost == 0, said.first_difference
    if SPEECH.is_dir():
        assert len(said.detections.device) >= 2
    results, _ = streamed(alone, sound)
    # The package's probabilities: TensorFlow Lite rounds once where TensorFlow Lite Micro rounds twice.
    theirs, frontend = pw.MicroWakeWord.from_builtin(pw.Model.OKAY_NABU), pw.MicroWakeWordFeatures()
    probabilities, frames = [], []
    for features in frontend.process_streaming(sound.tobytes()):
        frames.append(np.round(features.reshape(-1) / theirs.input_scale + theirs.input_zero_point).astype(np.int8))
        theirs.process_streaming(features)
        if len(frames) % theirs.stride == 0:
            probabilities.append(theirs._probabilities[-1] * 256)
    assert np.array_equal(ours.features(sound), np.stack(frames))
    assert np.abs(np.array([r.output[0] + 128 for r in results]) - np.array(probabilities)).max() <= 16


def test_each_of_three_models_says_what_it_says_alone(three, imported, sound):
    info = three.info()
    assert [(p.name, p.labels, p.hop_samples, p.stride) for p in info.parts] == [
        ("okay_nabu", 1, 160, 3),
        ("tiny", 10, 320, 4),
        ("alexa", 1, 160, 3),
    ]
    results, detections = streamed(three, sound)
    at = 0
    for folder in (imported["okay_nabu"], FIRMWARE / "tiny", imported["alexa"]):
        ours = Recogniser(folder)
        track = ours.track(sound, ours.manifest.detector.stride_hops)
        own = {int(p): row.tolist() for p, row in zip(track.positions, track.outputs, strict=True)}
        count, now = len(ours.labels), [-128] * len(ours.labels)
        met = 0
        for result in results:
            met += result.position in own
            now = own.get(result.position, now)  # between its results it says the last one
            last = result is results[-1] or results[results.index(result) + 1].position != result.position
            assert not last or list(result.output[at : at + count]) == now
        assert met >= len(own)
        found = [(d.position, d.label, d.score) for d in track.detect(ours.manifest.detector)]
        assert [(d.position, d.label - at, d.score) for d in detections if at <= d.label < at + count] == found
        at += count
    assert at == len(info.labels) == 12
    if SPEECH.is_dir():
        told = [lines.told(d.label, info) for d in detections]
        assert any(t.endswith("(tiny)") for t in told) and any(t.endswith("(okay_nabu)") for t in told)


def test_thresholds_of_several_models_can_be_moved_and_nothing_else(three, sound):
    info = three.info()
    before = tune.current(info)
    try:
        three.set_detector(tune.asked(["Alexa=0", "yes=0.5"], info))
        after = three.info().detector
        assert after is not None and after.thresholds[-1] == 0
        assert after.thresholds[1] == 128 and after.thresholds[0] == before.thresholds[0]
        _, detections = streamed(three, sound)
        assert all(d.label != 11 for d in detections)
        with pytest.raises(DeviceError, match="only thresholds"):
            three.set_detector(replace(before, window=before.window + 1))
    finally:
        three.set_detector(before)
    assert three.info().detector == replace(before, at=three.info().detector.at)


def test_events_say_whose_word_it_is(three):
    info = three.info()
    line = lines.as_line(Detection(16000, 11, 200, at=0.0), info)
    assert line is not None and (line["word"], line["model"]) == ("Alexa", "alexa")
    one = lines.as_line(Detection(16000, 0, 200, at=0.0), Info(labels=("yes",), at=0.0))
    assert one is not None and "model" not in one


@pytest.mark.qemu
def test_what_several_models_take_together_is_measured(imported, tmp_path):
    given = [imported["okay_nabu"], imported["alexa"]]
    folder = models.generated(given, tmp_path / "model")
    built = image("disco_f407vg", model=folder)
    both = realtime.measure("disco_f407vg", Path(built.elf), Exported.open(folder).hops)
    assert both.hops == pytest.approx(3, rel=0.02)  # each takes a step every third hop
    assert 20_000 < both.frontend_frame < 40_000 and 90_000 < both.inference < 130_000


def test_a_voice_model_gates_words_with_another_front_end(imported, tmp_path, sound):
    given = [FIRMWARE / "tiny", imported["vad"]]
    with running("host", given, tmp_path) as link:
        assert link.info().parts[1].role == 1
        _, gated = streamed(link, sound)
    assert not gated  # nobody says its word, so nobody speaks
    if SPEECH.is_dir():
        tiny = Recogniser(FIRMWARE / "tiny")
        assert tiny.track(sound, tiny.manifest.detector.stride_hops).detect(tiny.manifest.detector)


def kws(*arguments: object) -> str:
    done = CliRunner().invoke(build_app(), [str(a) for a in arguments])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


@pytest.mark.qemu
def test_verbs_take_the_folder_of_kws_import_as_it_is(imported, tmp_path, sound):
    wav = tmp_path / "s.wav"
    soundfile.write(wav, sound[: 16000 * 5], 16000)
    shown = kws("flash", "--board", "disco_f407vg", "--dry-run", "--model", imported["okay_nabu"])
    assert f"kws build --board disco_f407vg --model={imported['okay_nabu']}" in shown
    out = tmp_path / "out"
    both = ("--model", imported["okay_nabu"], "--model", imported["alexa"])
    built = json.loads(kws("build", *both, "--out", out, "--json"))
    assert built["model_name"] == "okay_nabu + alexa" and built["realtime"]["keeps_up"]
    (tmp_path / "talk").mkdir()
    wav.rename(tmp_path / "talk" / "s.wav")
    heard = {}
    for name in ("okay_nabu", "alexa"):
        found = json.loads(kws("evaluate", "stream", imported[name], "--negative", tmp_path / "talk", "--json"))
        assert found["name"] == name and found["stride_ms"] == 30 and found["speech"]["hours"] > 0.0013
        ours = Recogniser(imported[name])
        heard[name] = len(ours.track(sound[: 16000 * 5]).detect(ours.manifest.detector))
    for verb, extra in (("stream", ()), ("live", ("--fast",))):
        where = ("--board", "disco_f407vg", "--elf", built["elf"], "--wav", tmp_path / "talk" / "s.wav")
        text = kws(verb, *where, *extra, "--json")
        said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        words = [line["model"] for line in said if line["event"] == "Detection"]
        assert {name: words.count(name) for name in heard} == heard


def test_what_can_not_be_in_one_image_is_refused(imported, tmp_path):
    with pytest.raises(KwsError, match="given twice"):
        models.generated([imported["alexa"], imported["alexa"]], tmp_path / "a")
    with pytest.raises(KwsError, match="engine tflm runs one model"):
        models.generated([imported["alexa"], imported["vad"]], tmp_path / "a", engine="tflm")
    with pytest.raises(KwsError, match="no model that hears words"):
        models.generated([imported["vad"], imported["vad2"]], tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(KwsError, match="takes one model"):
        models.one([imported["alexa"], imported["vad"]], "kws stream --data")
