"""The front end against pymicro-features, the reference's own build: every frame, bit for bit."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pymicro_features import MicroFrontend

from model_pipeline.features import Frontend
from model_pipeline.manifest import FEATURE_STEP
from tests.support.frontend_profile import STOCK, speechlike

SECOND = np.arange(16000) / 16000


def reference(samples: np.ndarray) -> np.ndarray:
    """int16 [n] to uint16 [frames, 40] by pymicro-features; samples behind the last whole 10 ms are not used."""
    frontend = MicroFrontend()
    frames = []
    for start in range(0, len(samples) - 159, 160):
        values = frontend.process_samples(samples[start : start + 160].tobytes()).features
        if values:
            frames.append([round(v / FEATURE_STEP) for v in values])
    return np.array(frames, np.uint16).reshape(-1, 40)


def check(samples: np.ndarray, least: int = 1) -> None:
    whole = len(samples) - len(samples) % 160
    expected = reference(samples)
    assert len(expected) >= least
    np.testing.assert_array_equal(Frontend(STOCK).process(samples[:whole]), expected)


def int16(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), -32768, 32767).astype(np.int16)


def noise(level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, 16000)


SIGNALS = {
    "silence": np.zeros(16000),
    "faint noise": noise(1),
    "quiet noise": noise(30),
    "noise": noise(3000),
    "clipped noise": noise(40000),
    "every value": np.random.default_rng(1).integers(-32768, 32768, 16000),
    "low tone": 12000 * np.sin(2 * np.pi * 130 * SECOND),
    "full-scale tone": 32767 * np.sin(2 * np.pi * 1000 * SECOND),
    "tone at the band's edge": 30000 * np.sin(2 * np.pi * 7500 * SECOND),
    "tone at Nyquist": 32767 * np.cos(np.pi * np.arange(16000)),
    "full-scale square": 40000 * np.sign(np.sin(2 * np.pi * 440 * SECOND)),
    "sweep": 20000 * np.sin(2 * np.pi * 4000 * SECOND**2),
    "lowest value": np.full(16000, -32768),
    "highest value": np.full(16000, 32767),
    "step": np.where(SECOND < 0.5, -32768, 32767),
    "clicks": np.where(np.arange(16000) % 700 == 0, 32767, 0),
    # -32768 under the window's top is the one value that 16 bits can't negate: alone, in little noise, in much.
    "lowest clicks": np.where(np.arange(16000) % 61 == 0, -32768, 0),
    "lowest clicks in little noise": np.where(np.arange(16000) % 61 == 0, -32768, noise(2)),
    "lowest clicks in noise": np.where(np.arange(16000) % 61 == 0, -32768, noise(2000)),
    "sudden loudness": noise(1) * np.where(SECOND < 0.5, 3, 9000),
    "sudden silence": noise(1) * np.where(SECOND < 0.5, 9000, 0),
    "speech-like": speechlike(1.0),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_reference(name):
    check(int16(SIGNALS[name]), least=98)


def test_equals_the_reference_over_a_minute():
    """The noise estimate is the only thing that lasts: it must not drift apart."""
    check(np.concatenate([speechlike(30, seed=1), int16(noise(500, seed=2)), speechlike(30, seed=3)]), least=6000)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
@pytest.mark.parametrize("voice", ["en-gb", "en-us+f3", "en-gb-scotland+m7"])
def test_equals_the_reference_on_synthetic_speech(voice):
    words = "yes no up down left right stop go, and seven other words: bed cat happy zero five marvin sheila"
    wav = subprocess.run(["espeak-ng", "-v", voice, "--stdout", words], capture_output=True, check=True).stdout
    samples, _ = soundfile.read(io.BytesIO(wav), dtype="int16")
    check(samples, least=300)


def test_equals_the_reference_on_real_speech(shared_data: Path):
    folders = ["yes", "no", "up", "down", "left", "right", "stop", "go"]
    clips = [sorted((shared_data / "speech_commands" / f).glob("*.flac"))[:3] for f in folders]
    noises = sorted((shared_data / "speech_commands" / "_background_noise_").glob("*.flac"))
    read = [soundfile.read(path, dtype="int16", frames=160000)[0] for row in [*clips, noises] for path in row]
    assert len(read) >= 24
    check(np.concatenate(read), least=2400)


piece = st.tuples(
    st.sampled_from(["uniform", "noise", "tone", "zero", "lowest", "sparse"]),
    st.integers(0, 15),
    st.integers(1, 1200),
    st.integers(0, 2**32 - 1),
)


def compose(pieces: list) -> np.ndarray:
    """Pieces of (kind, bits of level, samples, seed) as int16."""
    parts = []
    for kind, bits, count, seed in pieces:
        rng = np.random.default_rng(seed)
        level = 1 << bits
        if kind == "uniform":
            values = rng.integers(-level, level, count)
        elif kind == "noise":
            values = rng.normal(0, level, count)
        elif kind == "tone":
            values = level * np.sin(2 * np.pi * rng.uniform(0, 0.5) * np.arange(count) + rng.uniform(0, 7))
        elif kind == "zero":
            values = np.zeros(count)
        elif kind == "lowest":
            values = np.full(count, -32768)
        else:
            values = np.where(rng.random(count) < 0.02, -32768, rng.integers(-level, level, count))
        parts.append(int16(values))
    return np.concatenate(parts)


@settings(max_examples=150, deadline=None)
@given(st.lists(piece, min_size=1, max_size=8))
def test_equals_the_reference_on_whatever_is_drawn(pieces):
    samples = compose(pieces)
    whole = len(samples) - len(samples) % 160
    np.testing.assert_array_equal(Frontend(STOCK).process(samples[:whole]), reference(samples))
