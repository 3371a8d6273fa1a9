"""A word from `kws new --esphome` on: trained with the stock front end, calibrated, and measured as ESPHome's file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from host_tools.run import order
from host_tools.run.steps import Run, write_config
from host_tools.run.work import Job
from host_tools.words.project import create
from model_pipeline.config import STOCK_FRONTEND, Config, load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.intervals import Rate
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import load_manifest
from model_pipeline.microwakeword import import_model
from tests.library.test_esphome import check_manifest
from tests.support import tiny_data

STEPS = ("import", "train", "quantize", "calibrate", "esphome")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng not in PATH: run `make setup`")
    folder = tmp_path_factory.mktemp("esphome") / "rise"
    create(["rise"], folder, esphome=True)
    return folder


def test_the_template_chooses_what_esphome_has(project):
    config = load_config(project)
    assert config.esphome and config.frontend == STOCK_FRONTEND
    assert config.detector.rate and not config.detector.look and not config.train.base
    assert config.frontend.frames(16000) % config.hop_frames == 0
    assert not config.hop_frames % config.train.shape.step  # each step moves the network by whole frames of its own
    assert config.frontend.frames(16000) > config.train.shape.frames
    assert (
        "micro_wake_word" in (project / "kws.toml").read_text()
        and "esphome/rise/" in (project / "README.md").read_text()
    )


def test_what_esphome_can_not_have_is_refused_where_it_is_written(project):
    config = load_config(project)
    for setting, wanted in (
        ("frontend.hop_ms=20", "hop_ms = 10"),
        ("frontend.pcan=false", "hop_ms = 10"),
        ("detector.look=8", "look = 0"),
        ("hop_frames=0", "hop_frames"),
    ):
        with pytest.raises(KwsError, match=wanted):
            with_settings(config, [setting])


@pytest.fixture(scope="module")
def trained(project) -> Path:
    """A run of the project as far as its wake words, on glides instead of speech."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("tflite_micro")
    folder = project.parent
    tiny_data.make(folder / "data", speakers=40)
    rng = np.random.default_rng(3)
    for name in ("a", "b", "c", "d", "e", "f"):  # speakers, of whom each is in one part
        long = np.concatenate([tiny_data.glide(("fall", "flat")[n % 2], rng) for n in range(15)])
        (folder / "talk").mkdir(exist_ok=True)
        soundfile.write(folder / "talk" / f"{name}_nohash_0.wav", long, 16000, subtype="PCM_16")
    config = with_settings(
        load_config(project),
        [
            'data.source="folder"',
            f'data.folder="{folder / "data"}"',
            'data.recordings=""',
            "talk.sentences=0",
            "scenes.examples=1000",
            'scenes.teacher="none"',
            "scenes.keywords=0.5",
            "train.epochs=3",
            "train.learning_rate=5e-3",
            "train.average=0.9",
            "train.shape.body=16",
            "train.shape.blocks=2",
            "detector.rate=60",
            "measure.session_keywords=12",
        ],
    )
    values = config.model_dump()
    values["scenes"]["corpora"] = [
        {"name": "talk", "folder": str(folder / "talk"), "training": 0.3, "calibration": 0.3, "sure": True}
    ]
    config = Config.model_validate(values)
    with Run(folder / "run") as run:
        job = Job(config, folder / "run", 1, [])
        steps = [step for step in order.steps(job) if step.name in STEPS]
        assert [step.name for step in steps] == list(STEPS)
        run.claim("config.toml")
        write_config(config, folder / "run" / "config.toml")
        run.execute(steps)
        again = run.execute(steps)
        assert all(step.reused for step in again)
        (told,) = again[-1].detail["wake_words"]
    (folder / "run" / "told.json").write_text(json.dumps(told))
    return folder / "run"


@pytest.mark.slow
def test_its_model_and_manifest_say_what_was_measured_of_this_very_file(trained):
    made = trained / "esphome" / "rise"
    assert {p.name for p in made.iterdir()} == {"rise.json", "rise.tflite", "README.md", ".kws-made.json"}
    described = json.loads((made / "rise.json").read_text())
    check_manifest(described)
    model = load_manifest(trained / "model")
    assert model.detector.min_count == 1 and model.detector.stride_hops == 2 and model.look is None
    assert described["micro"]["sliding_window_size"] == model.detector.window
    told = json.loads((trained / "told.json").read_text())
    assert told["step_frames"] == 2 and told["folder"] == str(made)
    measured = told["measured"]
    rate = Rate.model_validate(measured["false_accepts"])
    # Of six recordings of 15 s those that training did not hear and that nothing was chosen on.
    assert measured["of_file"] and 15 <= 3600 * rate.hours < 60 and rate.high is not None
    readme = (made / "README.md").read_text()
    assert rate.described in readme and "| measured | this file, on connected speech" in readme
    assert measured["misses"]["total"] >= 8 and measured["misses"]["value"] < 0.5  # it has learnt the word


@pytest.mark.slow
def test_the_package_hears_what_our_engine_hears(trained, tmp_path):
    pw = pytest.importorskip("pymicro_wakeword")
    made = trained / "esphome" / "rise"
    manifest = import_model(made / "rise.json", tmp_path / "imported")
    rng = np.random.default_rng(8)
    words = [("rise", "fall", "flat", "rise")[n % 4] for n in range(24)]
    sound = np.round(np.concatenate([tiny_data.glide(word, rng) for word in words]) * 32767).astype(np.int16)
    ours = Recogniser(tmp_path / "imported").track(sound)
    detector = manifest.detector.model_copy(update={"refractory_samples": 0})  # as the package: no pause after a word
    found = {d.position for d in ours.detect(detector)}
    theirs, frontend = pw.MicroWakeWord.from_config(made / "rise.json"), pw.MicroWakeWordFeatures()
    assert theirs.stride == 2 and theirs.wake_word == "rise"
    detected, probabilities = [], []
    for number, features in enumerate(frontend.process_streaming(sound.tobytes())):
        said = theirs.process_streaming(features)
        if number % 2:
            detected.append(bool(said))
            probabilities.append(theirs._probabilities[-1])
    mine = (ours.outputs[:, 0].astype(int) + 128) / 256
    assert np.abs(mine - probabilities).max() <= 16 / 256  # TFLite rounds otherwise than TFLite Micro
    size = manifest.detector.window
    means = np.convolve(mine, np.ones(size) / size)[: len(mine)]
    heard = np.array([p in found for p in ours.positions.tolist()])
    sure = (np.abs(means - theirs.probability_cutoff) > 3 / 256) & (np.arange(len(mine)) >= size)
    assert np.array_equal(heard[sure], np.array(detected)[sure])
    assert heard.any() and not heard.all()
