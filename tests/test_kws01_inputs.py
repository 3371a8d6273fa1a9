"""What the official inputs of MLPerf Tiny's keyword spotting hold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from kws01_inputs import FILE_SCALE, as_the_model_wants, mfcc, official_inputs

from model_pipeline.compiler import compile_model
from model_pipeline.data.audio import read_clip


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
    expected = np.clip(np.round(FILE_SCALE * reference_mfcc(audio)), -127, 127)
    # The clips went through lossless files, so all but a few halves agree.
    assert np.mean(file == expected) > 0.97 and np.abs(file - expected).max() <= 1


def test_the_model_understands_them(shared_data):
    tflite = (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()
    _, inputs, labels = official_inputs(shared_data)
    program = compile_model(tflite)
    given = as_the_model_wants(inputs, float(program.input.scale), program.input.zero_point)
    assert np.mean(program.load_host().run(given).argmax(axis=1) == labels) > 0.905
    assert mfcc(inputs).shape == (1000, 49, 10)
