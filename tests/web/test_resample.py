"""The page's resampler is the formula of docs/live.md, and the formula is good enough for speech."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import node

HERE = Path(__file__).resolve().parent
RATES = (8000, 16000, 22050, 44100, 48000, 96000)


def page(rate: int, samples: NDArray[np.float32], folder: Path) -> NDArray[np.int16]:
    """What the page makes of them."""
    samples.astype("<f4").tofile(folder / "in.raw")
    node.run(HERE / "resample.mjs", rate, folder / "in.raw", folder / "out.raw")
    return np.fromfile(folder / "out.raw", "<i2")


def formula(rate: int, samples: NDArray[np.float32]) -> NDArray[np.int64]:
    """docs/live.md, straight, in exact integers."""
    g = math.gcd(rate, 16000)
    up, down, lower = 16000 // g, rate // g, min(rate, 16000)
    half = -(-36 * rate // lower)
    q = np.clip(np.floor(samples.astype(np.float64) * 2**23 + 0.5), -(2**23), 2**23).astype(np.int64)
    out = []
    j = 0
    while (centre := j * down // up) + half < len(q):
        i = np.arange(centre - half + 1, centre + half + 1)
        t = (j * down - i * up) / up  # in input samples
        inside = np.abs(t) < half
        window = np.where(inside, np.i0(7 * np.sqrt(np.clip(1 - (t / half) ** 2, 0, None))) / np.i0(7.0), 0)
        scale = 2 * 0.46875 * lower / rate
        taps = np.floor(scale * np.sinc(scale * t) * window * 2**24 + 0.5).astype(np.int64)
        value = int(np.dot(np.where((i >= 0), q[np.clip(i, 0, None)], 0), taps))
        out.append(max(-32768, min(32767, (value + (1 << 31)) >> 32)))
        j += 1
    return np.array(out)


@pytest.mark.parametrize("rate", [r for r in RATES if r != 16000])
def test_it_is_the_formula(rate: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(rate)
    samples = (rng.standard_normal(rate // 4) * 0.4).astype(np.float32)
    samples[50:90] = 3.0  # beyond full scale
    samples[100:140] = -1.0
    got, wanted = page(rate, samples, tmp_path), formula(rate, samples)
    assert len(got) > 3500 and np.array_equal(got, wanted)


def test_sixteen_kilohertz_go_through_as_they_are(tmp_path: Path) -> None:
    values = np.arange(-32768, 32768, 7, dtype=np.int16)
    assert np.array_equal(page(16000, (values / 32768).astype(np.float32), tmp_path), values)
    odd = np.array([1.0, 2.0, -2.0, 0.5 / 32768, -0.5 / 32768], np.float32)
    assert page(16000, odd, tmp_path).tolist() == [32767, 32767, -32768, 1, 0]


@pytest.mark.parametrize("rate", [44100, 48000])
def test_speech_passes_and_nothing_folds_back(rate: int, tmp_path: Path) -> None:
    """Sines: within 0.1 dB up to 7 kHz, 60 dB down from 8 kHz on."""

    def level(hertz: float) -> float:
        sine = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate)
        out = page(rate, sine.astype(np.float32), tmp_path)[400:-400].astype(np.float64)
        return 20 * math.log10(max(float(np.sqrt(np.mean(out**2))), 0.01) / (0.5 * 32768 / math.sqrt(2)))

    assert all(abs(level(hertz)) < 0.1 for hertz in (100, 1000, 4000, 6000, 7000))
    assert all(level(hertz) < -60 for hertz in (8000, 8500, 10000, 15500, 17000, 20000))
