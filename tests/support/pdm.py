"""The PDM decimator of firmware/core/pdm on paper: its filter's design and the whole chain's response by SciPy, the
same integers in NumPy, and modulators that make its input. ``python -m tests.support.pdm`` prints the coefficients as
kws_pdm.c has them, and what they are worth."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from model_pipeline.native import FIRMWARE

from .m4 import M4Result, run_on_m4

HERE = Path(__file__).parent
CORE = FIRMWARE / "core" / "pdm"
PDM_HZ = 1_024_000
ORDER, FIRST = 5, 16  # of the CIC: its order and its decimation
MID_HZ = PDM_HZ // FIRST
SECOND = 4  # the FIR's decimation
OUT_HZ = MID_HZ // SECOND
TAPS = 128
PASS_HZ, STOP_HZ = 7000, 9000  # what lies above the second would fold into the band below the first
CIC_SHIFT = 6  # 16^5 is 2^20; the FIR's input has 2^14 for full scale
FIR_SHIFT = 9  # its output has 2^20: the samples' 2^15 and 5 bits more
FRACTION = 5
DC_SHIFT = 8
GAIN_BITS = 12


def cic_response(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain of the CIC, 1 at 0 Hz, in the shape of ``hz``; (sin(R x) / (R sin x))^N of Hogenauer 1981."""
    x = np.pi * np.asarray(hz, float) / PDM_HZ
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.sin(FIRST * x) / (FIRST * np.sin(x))
    return np.abs(np.where(np.isclose(np.sin(x), 0), 1.0, gain)) ** ORDER


@cache
def design() -> NDArray[np.int64]:
    """Coefficients in 2^-15, int64 [TAPS]: least squares for flatness with the CIC to PASS_HZ, nothing from STOP_HZ."""
    grid = np.concatenate([np.linspace(0, PASS_HZ, 400), np.linspace(STOP_HZ, MID_HZ / 2, 1200)])
    target = np.where(grid <= PASS_HZ, 1 / cic_response(grid), 0.0)
    weight = np.where(grid <= PASS_HZ, 1.0, 12.0)
    cosines = 2 * np.cos(2 * np.pi * np.outer(grid / MID_HZ, np.arange(TAPS // 2) + 0.5))
    half = np.linalg.lstsq(cosines * weight[:, None], target * weight, rcond=None)[0]
    half *= 0.5 / half.sum()  # 1 at 0 Hz
    integers = np.round(half * 32768).astype(np.int64)
    return np.concatenate([integers[::-1], integers])


def response_db(taps: NDArray[np.int64], hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain in dB of CIC and FIR for a tone of the bit stream at ``hz``, up to half of PDM_HZ."""
    _, fir = signal.freqz(taps / 32768, worN=hz, fs=MID_HZ)
    return 20 * np.log10(np.maximum(np.abs(fir) * cic_response(hz), 1e-12))


def ripple_db(taps: NDArray[np.int64]) -> float:
    """Greatest less least gain from 0 to PASS_HZ, dB."""
    gains = response_db(taps, np.linspace(0, PASS_HZ, 4000))
    return float(gains.max() - gains.min())


def alias_db(taps: NDArray[np.int64]) -> float:
    """The greatest gain, dB, of whatever folds into 0 to PASS_HZ."""
    hz = np.arange(OUT_HZ / 2, PDM_HZ / 2 + 1, 10.0)
    folded = np.abs((hz + OUT_HZ / 2) % OUT_HZ - OUT_HZ / 2)
    return float(response_db(taps, hz)[folded <= PASS_HZ].max())


def decimate(bits: NDArray[np.int8], gain_q12: int = 1 << GAIN_BITS) -> NDArray[np.int16]:
    """The whole chain in exact integers: bits of 0 and 1, a multiple of 64, to int16 [len / 64]."""
    box = np.ones(1, np.int64)
    for _ in range(ORDER):
        box = np.convolve(box, np.ones(FIRST, np.int64))
    cic = np.convolve(2 * bits.astype(np.int64) - 1, box)[: len(bits)][FIRST - 1 :: FIRST]
    mid = (cic + (1 << (CIC_SHIFT - 1))) >> CIC_SHIFT
    padded = np.concatenate([np.zeros(TAPS - SECOND, np.int64), mid])
    windows = np.lib.stride_tricks.sliding_window_view(padded, TAPS)[::SECOND]
    values = (windows @ design()) >> FIR_SHIFT
    out = np.empty(len(values), np.int64)
    offset = 0
    for i, value in enumerate(values.tolist()):
        y = value - (offset >> DC_SHIFT)
        offset += y
        out[i] = y
    shift = GAIN_BITS + FRACTION
    return np.clip((out * gain_q12 + (1 << (shift - 1))) >> shift, -32768, 32767).astype(np.int16)


def modulate(samples: NDArray[np.float64], order: int = 2) -> NDArray[np.int8]:
    """A sigma-delta modulator as in a MEMS microphone: ``samples`` at PDM_HZ, of -1 to 1, to bits.

    Order 1 and 2 are the textbook's (Norsworthy, Schreier, Temes 1997); noise transfer (1 - z^-1)^order.
    """
    bits = np.empty(len(samples), np.int8)
    a = b = 0.0
    for i, x in enumerate(samples.tolist()):
        quantizer = b if order == 2 else a
        bit = 1 if quantizer >= 0 else 0
        y = 2 * bit - 1
        if order == 2:
            b += a - 2 * y  # with a's delay: NTF (1 - z^-1)^2
        a += x - y
        bits[i] = bit
    return bits


def words(bits: NDArray[np.int8]) -> NDArray[np.uint16]:
    """As I2S puts them into memory: 16 a word, the first in its highest bit."""
    return np.packbits(bits.astype(np.uint8)).view(">u2").astype(np.uint16)


def run(
    bits: NDArray[np.int8], gain_q12: int = 1 << GAIN_BITS, flags: tuple[str, ...] = ("-O2",)
) -> tuple[NDArray[np.int16], int, M4Result]:
    """The firmware's decimator on the emulated Cortex-M4.

    Returns:
        samples int16, bytes of kws_pdm_t, and counts: region "millisecond".
    """
    given = np.int32(gain_q12).tobytes() + words(bits).tobytes()
    result = run_on_m4([HERE / "pdm_main.c", CORE / "kws_pdm.c"], [CORE], flags, input=given)
    return np.frombuffer(result.output[:-4], np.int16), int.from_bytes(result.output[-4:], "little"), result


def snr_db(samples: NDArray[np.float64], hz: float, rate: int, top: float = PASS_HZ) -> float:
    """A sine's power over that of all else from 60 Hz to ``top``, dB."""
    window = signal.windows.blackmanharris(len(samples))
    power = np.abs(np.fft.rfft((samples - samples.mean()) * window)) ** 2
    bins = np.fft.rfftfreq(len(samples), 1 / rate)
    sine = np.abs(bins - hz) <= 5 * rate / len(samples)
    noise = (bins >= 60) & (bins <= top) & ~sine
    return float(10 * np.log10(power[sine].sum() / power[noise].sum()))


def main() -> None:
    """Prints the table and its worth."""
    taps = design()
    for at in range(0, TAPS, 16):
        print("    " + ", ".join(map(str, taps[at : at + 16])) + ",")
    print(f"ripple {ripple_db(taps):.3f} dB to {PASS_HZ} Hz, aliases at most {alias_db(taps):.1f} dB")


if __name__ == "__main__":
    main()
