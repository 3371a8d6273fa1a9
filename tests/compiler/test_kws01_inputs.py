"""What the official inputs of MLPerf Tiny's keyword spotting hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from host_tools.image import emulate
from host_tools.image.build import build
from host_tools.link import stream
from host_tools.link.session import Link
from host_tools.mlperf.inputs import LABELS, MFCC_SCALE, as_the_model_takes
from model_pipeline.compiler import compile_model, load_host
from model_pipeline.config import DetectorConfig, FrontendConfig
from model_pipeline.data.audio import read_clip
from model_pipeline.export import export
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, save_manifest
from tests.support.firmware_images import kept_folder
from tests.support.kws01_inputs import mfcc, official_inputs
from tests.support.tflite_builder import Oracle


def reference_mfcc(clip: np.ndarray) -> np.ndarray:
    """[49, 10] of int16 [16000], as tf.signal and the benchmark's training code define them."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    bands = mel(np.linspace(0, 8000, 257)[1:])[:, None]
    edges = np.linspace(mel(20.0), mel(4000.0), 42)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((bands - low) / (centre - low), (high - bands) / (high - centre)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    frames = (clip / np.abs(clip).max())[np.arange(49)[:, None] * 320 + np.arange(480)] * window
    energy = np.log(np.abs(np.fft.rfft(frames, 512))[:, 1:] @ weights + 1e-6)
    return scipy.fft.dct(energy, 2, axis=1)[:, :10] / np.sqrt(80)


@pytest.mark.parametrize(
    ("number", "clip"), [(33, "stop/cd85758f_nohash_3"), (2, "right/18f8afd5_nohash_3"), (54, "left/2796ac50_nohash_1")]
)
def test_the_files_are_scaled_mfccs(shared_data, number, clip):
    names, inputs, _ = official_inputs(shared_data)
    file = inputs[number].reshape(10, 49).T
    assert int(names[number].split("_")[1]) == number
    audio = read_clip(next((shared_data / "speech_commands").glob(f"{clip}.*"))).astype(np.float64)
    expected = np.clip(np.round(MFCC_SCALE * reference_mfcc(audio)), -127, 127)
    # The clips went through lossless files, so all but a few halves agree.
    assert np.mean(file == expected) > 0.97 and np.abs(file - expected).max() <= 1


def test_the_model_understands_them(shared_data):
    tflite = (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()
    _, inputs, labels = official_inputs(shared_data)
    program = compile_model(tflite)
    given = as_the_model_takes(inputs, program)
    assert np.mean(load_host(program).run(given).argmax(axis=1) == labels) > 0.905
    assert mfcc(inputs).shape == (1000, 49, 10)


def generated(folder: Path, tflite: bytes) -> Path:
    """The reference model as the firmware takes it."""
    program = compile_model(tflite)
    source, target = program.input, program.output
    manifest = Manifest(
        name="kws01",
        model_sha256=hashlib.sha256(tflite).hexdigest(),
        labels=list(LABELS),
        frontend=FrontendConfig(channels=10),
        window_frames=49,
        input=Quantization(scale=float(source.scale), zero_point=source.zero_point, shape=list(source.shape)),
        output=Quantization(scale=float(target.scale), zero_point=target.zero_point, shape=list(target.shape)),
        detector=detector_defaults(DetectorConfig(), len(LABELS), 20),
    )
    (folder / "source").mkdir()
    (folder / "source" / "model.tflite").write_bytes(tflite)
    save_manifest(manifest, folder / "source" / "model.json")
    export(folder / "source", folder / "model")
    return folder / "model"


@pytest.mark.slow
@pytest.mark.qemu
def test_all_official_inputs_on_the_emulated_board_over_its_serial_link(shared_data, tmp_path):
    """The firmware gives the same 1,000 outputs as TensorFlow Lite Micro. ``pytest -s`` shows the accuracy."""
    tflite = (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()
    _, raw, labels = official_inputs(shared_data)
    program = compile_model(tflite)
    inputs = as_the_model_takes(raw, program)
    with kept_folder("firmware-kws01") as folder:
        elf = build("disco_f407vg", generated(tmp_path, tflite), "aot", folder).elf
        with emulate.start("disco_f407vg", elf) as emulator, Link.open(emulator.url) as link:
            results = [stream.infer(link, values) for values in inputs]
    got = np.array([result.output for result in results], np.int8)
    assert np.array_equal(got, Oracle(tflite).run(inputs, program.input.shape))
    accuracy = np.mean(got.argmax(axis=1) == labels)
    ticks = np.mean([result.inference_ticks for result in results])
    print(f"\nMLPerf Tiny KWS01, {len(got)} official inputs: accuracy {accuracy:.1%}, {ticks:,.0f} instructions each")
    assert accuracy > 0.905
