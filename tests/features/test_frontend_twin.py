"""The NumPy twin against the C source in other configurations, and the facts that the fast C code leans on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.config import FrontendConfig
from model_pipeline.features import Frontend, twin
from model_pipeline.features.tables import factors, leaf_order, tables
from tests.features.test_frontend import compose, piece


@st.composite
def configs(draw: st.DrawFn) -> FrontendConfig:
    window = draw(st.integers(10, 64))
    lower = draw(st.sampled_from([0, 20, 62.5, 125, 300, 1000]))
    return FrontendConfig(
        window_ms=window,
        hop_ms=draw(st.integers(5, window)),
        channels=draw(st.integers(4, 64)),
        lower_hz=lower,
        upper_hz=draw(st.sampled_from([2000, 3800, 4000, 7500, 7900, 8000])),
        noise_reduction=draw(st.booleans()),
        pcan=draw(st.booleans()),
    )


@settings(max_examples=25, deadline=None)
@given(configs(), st.lists(piece, min_size=2, max_size=4))
def test_equals_c(config, pieces):
    samples = compose(pieces)[:3000]
    np.testing.assert_array_equal(twin.features(config, samples), Frontend(config).process(samples))


@pytest.mark.parametrize("window_ms", [10, 16, 17, 25, 30, 32, 33, 64])
@pytest.mark.parametrize("channels", [4, 40, 64])
def test_equals_c_for_each_fft_size(window_ms, channels):
    config = FrontendConfig(window_ms=window_ms, hop_ms=10, channels=channels)
    samples = compose([("noise", 11, 1200, 1), ("sparse", 3, 1100, 2)])
    np.testing.assert_array_equal(twin.features(config, samples), Frontend(config).process(samples))


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_fft_approximates_the_fourier_transform(size):
    x = np.random.default_rng(size).integers(-20000, 20000, size)
    exact = np.fft.rfft(x) / size
    ours = twin.real_fft(x.astype(np.int64))
    error = np.abs(ours[:, 0] + 1j * ours[:, 1] - exact)
    assert error[1:-1].max() < 8


def test_products_with_one_are_left_out_rightly():
    """kws_frontend.c skips twiddle factors of 1 (which is 32767/32768): rounding gives back all that can occur."""
    every = np.stack([np.arange(-32768, 32768), np.arange(-32768, 32768)[::-1]], 1)
    for radix, limit in ((2, 16383), (4, 8192)):
        scaled = twin.scale(every, radix)
        assert np.abs(scaled).max() <= limit
        np.testing.assert_array_equal(twin.multiply(scaled, np.array([32767, 0])), scaled)


def test_shift_may_be_a_part_of_the_division():
    """first_stage() divides and shifts in one: ((x << s) c + 2^14) >> 15 = (x c + 2^(14 - s)) >> (15 - s)."""
    for shift in range(15):
        x = np.arange(-(1 << (15 - shift)), 1 << (15 - shift))
        for radix in (2, 4):
            factor = 32767 // radix
            together = (x * factor + (1 << (14 - shift))) >> (15 - shift)
            np.testing.assert_array_equal(together, twin.scale(x << shift, radix))


@settings(max_examples=100, deadline=None)
@given(configs())
def test_tables_keep_what_the_code_leans_on(config):
    t = tables(config)
    weights = t.weights.astype(int)
    assert weights.min() >= 0
    assert weights.max() <= 4096
    assert 1 <= t.first_bin <= t.end_bin <= t.fft_size // 2
    assert t.first_bin + int(t.widths.sum()) == t.end_bin
    assert t.ties[-1] == 0xFFFF
    assert list(t.ties) == sorted(set(t.ties.tolist()))
    # No complex point before the split can reach -32768, whose conjugate would not be an int16: each is at most
    # sqrt(2) 32768 times the window's mean, and some rounding.
    window = t.window.copy().view(np.int16).astype(int)
    assert np.sqrt(2) * 32768 * window.sum() / 4096 / t.fft_size < 32000


@pytest.mark.parametrize("points", [128, 256, 512])
def test_leaves(points):
    assert sorted(leaf_order(points)) == list(range(points))
    assert np.prod(factors(points)) == points
