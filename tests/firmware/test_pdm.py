"""PDM to PCM (firmware/core/pdm): filters against SciPy, integers against NumPy, noise against a perfect filter."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pipeline.native import shared_library
from tests.support import pdm
from tests.support.m4 import requires_m4

STATE_BYTES = 1024  # more than kws_pdm_t; the firmware's own size is asked from the board


@cache
def _library() -> ctypes.CDLL:
    flags = ("-O2", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return shared_library("kws_pdm", [pdm.CORE / "kws_pdm.c"], [pdm.CORE], flags)


def _filter(bits: np.ndarray, gain: int = 4096, chunks: list[int] | None = None) -> np.ndarray:
    """The C on this computer; ``chunks``: samples a call, else all in one."""
    library, state = _library(), ctypes.create_string_buffer(STATE_BYTES)
    library.kws_pdm_init(state, ctypes.c_int32(gain))
    words = pdm.words(bits)
    out = np.zeros(len(words) // 4, np.int16)
    at = 0
    for n in chunks or [len(out)]:
        part = np.ascontiguousarray(words[4 * at : 4 * (at + n)])
        library.kws_pdm_process.restype = ctypes.c_size_t
        made = library.kws_pdm_process(
            state,
            part.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(len(part)),
            out[at:].ctypes.data_as(ctypes.c_void_p),
        )
        assert made == len(part) // 4
        at += made
    return out[:at]


def _tone(hz: float, amplitude: float, seconds: float = 0.25, order: int = 2) -> np.ndarray:
    t = np.arange(int(pdm.PDM_HZ * seconds) // 64 * 64) / pdm.PDM_HZ
    return pdm.modulate(amplitude * np.sin(2 * np.pi * hz * t) + 1e-3, order)


def _level(samples: np.ndarray, hz: float, rate: int) -> float:
    """Amplitude of the tone of ``hz`` among them."""
    window = np.hanning(len(samples))
    carrier = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    return float(2 * np.abs(np.sum(samples * window * carrier)) / window.sum())


def test_the_tables_are_what_their_design_gives() -> None:
    text = (pdm.CORE / "kws_pdm.c").read_text()
    fir = re.search(r"fir\[KWS_PDM_TAPS\] = \{(.*?)\};", text, re.S)
    eight = re.search(r"eight\[256\]\[KWS_PDM_ORDER\] = \{(.*?)\n\};", text, re.S)
    assert fir and eight
    taps = np.array([int(v) for v in re.findall(r"-?\d+", fir[1])])
    assert np.abs(taps - pdm.design()).max() <= 1  # other versions of LAPACK may round the other way
    # The linear solver's own answer is what the rest of this file measures.
    assert np.array_equal(taps, pdm.design()) or pytest.skip("this SciPy rounds a coefficient otherwise")
    rows = np.array([int(v) for v in re.findall(r"-?\d+", re.sub(r"//.*", "", eight[1]))]).reshape(256, 5)
    signs = np.array([[1 if byte >> (7 - i) & 1 else -1 for i in range(8)] for byte in range(256)])
    weights = np.array([[comb(7 - i + k, k) for k in range(5)] for i in range(8)])
    assert np.array_equal(rows, signs @ weights)
    assert np.abs(taps).sum() * 2**14 < 2**31  # no sum of products overflows


def test_passband_and_alias_rejection() -> None:
    taps = pdm.design()
    assert pdm.ripple_db(taps) <= 0.06
    assert pdm.alias_db(taps) <= -71


@given(
    st.integers(1, 150),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.03, 0.5, 0.9, 1.0]),
    st.sampled_from([0, 1, 410, 4096, 16306, 131072]),
    st.lists(st.integers(1, 40), max_size=8),
)
def test_the_integers_are_numpy_s(samples: int, seed: int, density: float, gain: int, chunks: list[int]) -> None:
    """Any bits, any gain, in pieces of any length; full scale and cut off, too."""
    bits = (np.random.default_rng(seed).random(64 * samples) < density).astype(np.int8)
    cuts = []
    while sum(cuts) < samples:
        cuts.append(min(chunks[len(cuts)] if len(cuts) < len(chunks) else samples, samples - sum(cuts)))
    assert np.array_equal(_filter(bits, gain, cuts), pdm.decimate(bits, gain))


def test_a_part_of_a_sample_is_left_out() -> None:
    bits = np.random.default_rng(1).integers(0, 2, 64 * 3 + 48).astype(np.int8)
    assert np.array_equal(_filter(bits), pdm.decimate(bits[: 64 * 3]))


@pytest.mark.parametrize("hz", [125, 500, 3000, 5000, 7000])
def test_tones_come_out_as_loud_as_they_are(hz: int) -> None:
    """Within half a decibel of each other, by the C itself."""
    out = _filter(_tone(hz, 0.25)).astype(float)[1600:]
    assert abs(20 * np.log10(_level(out, hz, pdm.OUT_HZ) / (0.25 * 32768))) < 0.25


@pytest.mark.parametrize("hz", [9000, 12000, 15000, 25000, 40000, 57000, 63000])
def test_tones_outside_do_not_come_in(hz: int) -> None:
    out = _filter(_tone(hz, 0.25)).astype(float)[1600:]
    folded = abs((hz + pdm.OUT_HZ / 2) % pdm.OUT_HZ - pdm.OUT_HZ / 2)
    assert 20 * np.log10(_level(out, folded, pdm.OUT_HZ) / (0.25 * 32768) + 1e-9) < -60


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("amplitude", [0.5, 0.05])
def test_noise_is_that_of_the_bits(order: int, amplitude: float) -> None:
    """The SNR of a sine to 7 kHz, against the same bits through a perfect filter, which is the modulator's ideal."""
    bits = _tone(1000.0, amplitude, 0.3, order)
    ideal = pdm.snr_db(2.0 * bits - 1, 1000.0, pdm.PDM_HZ)
    assert pdm.snr_db(_filter(bits).astype(float)[800:], 1000.0, pdm.OUT_HZ) > ideal - 3


def test_an_offset_goes_away_and_what_is_too_loud_is_cut_off() -> None:
    still = _filter(pdm.modulate(np.full(64 * 3200, 0.1)))
    assert still[:100].max() > 2000 and np.abs(still[2400:]).max() < 60  # from a tenth of full scale
    loud = _filter(_tone(1000.0, 0.9), 4 * 4096)[1600:]
    assert loud.max() == 32767 and loud.min() == -32768
    assert np.all(np.abs(np.diff(np.sign(loud.astype(int)))).sum() <= 2 * 2 * 1000 * 0.25)  # it does not wrap


@requires_m4
@pytest.mark.parametrize("flags", [("-O2",), ("-O0",), ("-O2", "-funsigned-char")])
def test_the_board_makes_the_same_samples(flags: tuple[str, ...]) -> None:
    bits = (np.random.default_rng(3).random(64 * 333) < 0.6).astype(np.int8)
    samples, state, result = pdm.run(bits, 16306, flags)
    assert np.array_equal(samples, pdm.decimate(bits, 16306))
    assert state <= STATE_BYTES
    if flags == ("-O2",):
        assert result.per_call("millisecond") < 12_000
