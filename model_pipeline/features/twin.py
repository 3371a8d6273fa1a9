"""The front end again in NumPy, to be read: what firmware/core/frontend computes, frame by frame, without its tricks.

Every value is equal to the C code's (tests/features/test_frontend_twin.py). int64 holds all intermediate values; where
the hardware's width matters it is said.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import FrontendConfig
from model_pipeline.features.tables import (
    FILTERBANK_BITS,
    NOISE_BITS,
    PCAN_SNR_BITS,
    SMOOTHING_BITS,
    WINDOW_BITS,
    Tables,
    factors,
    hann,
    leaf_order,
    tables,
)

Ints = NDArray[np.int64]
LOG_COEFFICIENT = 45426  # ln 2, 16 fraction bits
PCAN_OUTPUT_BITS = 6


def features(config: FrontendConfig, samples: NDArray[np.int16]) -> NDArray[np.uint16]:
    """int16 [n] samples after a reset to uint16 [frames, channels]."""
    t = tables(config)
    estimate = np.zeros(config.channels, np.int64)
    out = np.empty((config.frames(len(samples)), config.channels), np.uint16)
    for i in range(len(out)):
        start = i * config.hop_samples
        out[i], estimate = frame(t, samples[start : start + config.window_samples], estimate)
    return out


def frame(t: Tables, samples: NDArray[np.int16], estimate: Ints) -> tuple[NDArray[np.uint16], Ints]:
    """One window int16 [window_samples] to its features uint16 [channels] and the next noise estimate [channels]."""
    windowed, shift = window(t.config, samples)
    padded = np.zeros(t.fft_size, np.int64)
    padded[: len(windowed)] = int16(windowed << shift)
    signal = filterbank(t, power(real_fft(padded))) >> shift
    if t.config.noise_reduction or t.config.pcan:
        reduced, estimate = reduce_noise(t, signal, estimate)
        if t.config.noise_reduction:
            signal = reduced
        if t.config.pcan:
            signal = pcan(t, signal, estimate)
    return np.minimum(logarithm(t, signal << t.correction_bits & 0xFFFFFFFF), 0xFFFF).astype(np.uint16), estimate


def window(config: FrontendConfig, samples: NDArray[np.int16]) -> tuple[Ints, int]:
    """The samples under the Hann window, and how far left they can be shifted without overflow.

    -32768 is its own negative in 16 bits, so it never counts as the largest magnitude.
    """
    windowed = (samples.astype(np.int64) * hann(config.window_samples)) >> WINDOW_BITS
    largest = int(np.max(int16(np.abs(windowed)), initial=0))
    return windowed, 15 - largest.bit_length()


def real_fft(x: Ints) -> Ints:
    """int16 [n] to complex int16 [n/2 + 1, 2] of the transform over n, each bin about X/n.

    Even samples are real parts and odd samples imaginary parts of n/2 complex points, whose transform is then
    separated: X[k] = E[k] + exp(-2 pi i k/n) O[k], from Z[k] and the conjugate of Z[n/2 - k].
    """
    n = len(x) // 2
    z = complex_fft(x.reshape(n, 2))
    out = np.zeros((n + 1, 2), np.int64)
    dc = scale(z[0], 2)
    out[0, 0], out[n, 0] = int16(dc[0] + dc[1]), int16(dc[0] - dc[1])
    k = np.arange(1, n // 2 + 1)
    straight = scale(z[k], 2)
    mirrored = scale(int16(z[n - k] * np.array([1, -1])), 2)
    total, difference = int16(straight + mirrored), int16(straight - mirrored)
    odd = multiply(difference, roots(-np.pi * (k / n + 0.5)))
    out[k] = (total + odd) >> 1
    out[n - k] = np.stack([(total - odd)[:, 0], (odd - total)[:, 1]], 1) >> 1
    return out


def complex_fft(z: Ints) -> Ints:
    """Complex int16 [n, 2], n a power of two, decimation in time: radix 4, and one innermost radix 2 where n is an odd
    power. Each butterfly divides its inputs by its radix first, so nothing overflows."""
    n = len(z)
    x = z[leaf_order(n)]
    m = 1
    for radix in reversed(factors(n)):
        k = np.arange(m)
        for block in range(0, n, radix * m):
            part = [scale(x[block + k + i * m], radix) for i in range(radix)]
            twisted = [part[0]]
            twisted += [multiply(part[i], roots(-2 * np.pi * i * k / (radix * m))) for i in range(1, radix)]
            if radix == 2:
                a, b = twisted
                results = [a + b, a - b]
            else:
                a, b, c, d = twisted
                e, f, g, h = int16(a - c), int16(a + c), int16(b + d), int16(b - d)
                minus_i_h = np.stack([h[:, 1], -h[:, 0]], 1)
                results = [f + g, e + minus_i_h, f - g, e - minus_i_h]
            for i, value in enumerate(results):
                x[block + k + i * m] = int16(value)
        m *= radix
    return x


def roots(phase: NDArray[np.float64]) -> Ints:
    """exp(i phase) as [n, 2] with 15 fraction bits, 1.0 being 32767."""
    return np.stack([np.floor(0.5 + 32767 * np.cos(phase)), np.floor(0.5 + 32767 * np.sin(phase))], -1).astype(np.int64)


def scale(x: Ints, divisor: int) -> Ints:
    """x / divisor as a product with floor(32767 / divisor), rounded at bit 15."""
    return (x * (32767 // divisor) + (1 << 14)) >> 15


def multiply(a: Ints, b: Ints) -> Ints:
    """Complex product [n, 2], rounded at bit 15."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imag = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return int16((np.stack([real, imag], -1) + (1 << 14)) >> 15)


def int16(x: Ints) -> Ints:
    """x as 16 bits hold it."""
    return (x + 32768) % 65536 - 32768


def power(spectrum: Ints) -> Ints:
    """Squared magnitudes."""
    return spectrum[:, 0] ** 2 + spectrum[:, 1] ** 2


def filterbank(t: Tables, bins: Ints) -> Ints:
    """Square roots (to the nearest) of the energies under triangular mel filters, [channels].

    Each bin is shared between the two channels whose centres enclose it; the weights of a bin sum to 4096.
    """
    used = bins[t.first_bin : t.end_bin]
    rising = t.weights.astype(np.int64)
    falling = (1 << FILTERBANK_BITS) - rising + np.isin(np.arange(t.first_bin, t.end_bin), t.ties)
    edges = np.concatenate([[0], np.cumsum(t.widths, dtype=np.int64)])
    out = np.empty(len(t.widths) - 1, np.int64)
    for channel in range(len(out)):
        lower, upper = (slice(edges[channel + i], edges[channel + i + 1]) for i in (0, 1))
        out[channel] = root(int(used[lower] @ falling[lower] + used[upper] @ rising[upper]))
    return out


def root(n: int) -> int:
    """The square root to the nearest integer; below 2^32 at most 65535, as the reference's 32-bit branch has it."""
    r = math.isqrt(n)
    return r + (n - r * r > r and not (n < 1 << 32 and r == 0xFFFF))


def reduce_noise(t: Tables, signal: Ints, estimate: Ints) -> tuple[Ints, Ints]:
    """The signal less a slow average of itself, but at least 5 % of it; and the new average, 10 fraction bits.

    Even and odd channels forget at different rates. uint32 throughout.
    """
    rate = np.where(np.arange(len(signal)) % 2 == 0, t.even_smoothing, t.odd_smoothing)
    scaled = (signal << SMOOTHING_BITS) & 0xFFFFFFFF
    estimate = ((scaled * rate + estimate * ((1 << NOISE_BITS) - rate)) >> NOISE_BITS) & 0xFFFFFFFF
    floor = (signal * t.min_signal_remaining) >> NOISE_BITS
    rest = (scaled - np.minimum(estimate, scaled)) >> SMOOTHING_BITS
    return np.maximum(rest, floor), estimate


def pcan(t: Tables, signal: Ints, estimate: Ints) -> Ints:
    """Per-channel amplitude normalisation (Wang et al., "Trainable frontend for robust and far-field keyword
    spotting", 2017): the signal over (noise + 80)^0.95, compressed near zero."""
    out = np.empty_like(signal)
    for i, (value, noise) in enumerate(zip(signal.tolist(), estimate.tolist(), strict=True)):
        snr = (value * pcan_gain(t, noise)) >> t.snr_shift & 0xFFFFFFFF
        if snr < 2 << PCAN_SNR_BITS:
            out[i] = (snr * snr) >> (2 + 2 * PCAN_SNR_BITS - PCAN_OUTPUT_BITS)
        else:
            out[i] = (snr >> (PCAN_SNR_BITS - PCAN_OUTPUT_BITS)) - (1 << PCAN_OUTPUT_BITS)
    return out


def pcan_gain(t: Tables, noise: int) -> int:
    """The gain for a noise estimate: a parabola through three points of each octave."""
    if noise <= 1:
        return int(t.gain_lut[noise])
    octave = noise.bit_length()
    value, slope, curve = (int(v) for v in t.gain_lut[4 * octave - 6 : 4 * octave - 3])
    fraction = (noise << 11 >> octave) & 0x3FF
    product = (((curve * fraction) >> 5) + (slope << 5)) * fraction
    return value + ((product + (1 << 14)) >> 15)


def logarithm(t: Tables, x: Ints) -> Ints:
    """64 ln x; 0 for x <= 1. log2 is the exponent, the mantissa, and what a table of 128 segments adds to it."""
    out = np.zeros_like(x)
    for i, value in enumerate(x.tolist()):
        if value <= 1:
            continue
        exponent = value.bit_length() - 1
        mantissa = (value << 16 >> exponent) & 0xFFFF
        segment, within = mantissa >> 9, mantissa & 0x1FF
        low, high = int(t.log_lut[segment]), int(t.log_lut[segment + 1])
        log2 = (exponent << 16) + mantissa + low + (((high - low) * within) >> 16)
        natural = (LOG_COEFFICIENT * log2 + (1 << 15)) >> 16
        out[i] = ((natural << 6) + (1 << 15)) >> 16
    return out
