"""The front end in TensorFlow, for whole clips at once: equal to the firmware's C bit for bit, on any device.

Only to find out where features are made faster. It knows front ends whose frames do not depend on each other (neither
noise reduction nor PCAN), as those of the shipped recipes are. `model_pipeline.features.twin` says what each step is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from model_pipeline.config import FrontendConfig
from model_pipeline.errors import KwsError
from model_pipeline.features.tables import FILTERBANK_BITS, WINDOW_BITS, factors, hann, leaf_order, tables
from model_pipeline.features.twin import LOG_COEFFICIENT, roots


class DeviceFrontend:
    """Called with int16 [n, samples], it gives int32 [n, frames, channels]: `model_pipeline.features.clip_features`."""

    def __init__(self, config: FrontendConfig) -> None:
        """
        Raises:
            KwsError: its frames depend on each other.
        """
        if config.noise_reduction or config.pcan:
            raise KwsError("features on a device know neither noise reduction nor PCAN")
        self.config, self.tables = config, tables(config)
        self.window = np.asarray(hann(config.window_samples), np.int32)
        self.lower, self.upper = _weights(self.tables)
        self.run = tf.function(self._run, reduce_retracing=True, autograph=False)

    def __call__(self, clips: np.ndarray) -> Any:
        return self.run(tf.constant(clips))

    def _run(self, clips: Any) -> Any:
        c, t = self.config, self.tables
        frames = tf.signal.frame(tf.cast(clips, tf.int32), c.window_samples, c.hop_samples)
        windowed = tf.bitwise.right_shift(frames * self.window, WINDOW_BITS)
        # -32768 is its own negative in 16 bits, so it is never the largest.
        largest = tf.reduce_max(_int16(tf.abs(windowed)), axis=-1, keepdims=True)
        shift = 15 - tf.cast(_bits(tf.maximum(largest, 0)), tf.int32)
        padded = tf.pad(
            _int16(tf.bitwise.left_shift(windowed, shift)), [[0, 0], [0, 0], [0, t.fft_size - c.window_samples]]
        )
        spectrum = tf.cast(_real_fft(padded, t.fft_size), tf.int64)[..., t.first_bin : t.end_bin, :]
        power = tf.reduce_sum(spectrum * spectrum, axis=-1)
        # Sums below 2^53 are whole in float64, whatever their order, and matrices are what devices are good at.
        energy = tf.cast(tf.matmul(tf.cast(power, tf.float64), self.lower + self.upper), tf.int64)
        signal = tf.bitwise.right_shift(_root(energy), tf.cast(shift, tf.int64))
        return _logarithm(signal * (1 << t.correction_bits) & 0xFFFFFFFF, t.log_lut)


def _weights(t: Any) -> tuple[np.ndarray, np.ndarray]:
    """float64 [bins, channels] each: what a bin gives to the lower and to the upper channel of its region."""
    bins, channels = t.end_bin - t.first_bin, len(t.widths) - 1
    rising = t.weights.astype(np.float64)
    falling = (1 << FILTERBANK_BITS) - rising + np.isin(np.arange(t.first_bin, t.end_bin), t.ties)
    region = np.repeat(np.arange(channels + 1), t.widths.astype(np.int64))
    lower, upper = np.zeros((bins, channels)), np.zeros((bins, channels))
    for place, (here, up, down) in enumerate(zip(region, rising, falling, strict=True)):
        if here < channels:
            lower[place, here] = down
        if here > 0:
            upper[place, here - 1] = up
    return lower, upper


def _int16(x: Any) -> Any:
    return tf.bitwise.bitwise_and(x + 32768, 0xFFFF) - 32768


def _bits(x: Any) -> Any:
    """int64: the bit length of whole numbers from 0 and below 2^53, by the exponent of float64."""
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.cast(x, tf.float64), tf.int64), 52) - 1022
    return tf.where(tf.cast(x, tf.int64) > 0, exponent, 0)


def _scale(x: Any, divisor: int) -> Any:
    return tf.bitwise.right_shift(x * (32767 // divisor) + (1 << 14), 15)


def _multiply(a: Any, b: np.ndarray) -> Any:
    real, imaginary = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1], a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return _int16(tf.bitwise.right_shift(tf.stack([real, imaginary], -1) + (1 << 14), 15))


def _roots(phase: np.ndarray) -> np.ndarray:
    return roots(phase).astype(np.int32)


def _real_fft(x: Any, size: int) -> Any:
    """int32 [..., size] to [..., size / 2 + 1, 2]."""
    n = size // 2
    z = _complex_fft(tf.reshape(x, tf.concat([tf.shape(x)[:-1], [n, 2]], 0)), n)
    ends = _scale(z[..., :1, :], 2)
    first = tf.stack([_int16(ends[..., 0] + ends[..., 1]), tf.zeros_like(ends[..., 0])], -1)
    last = tf.stack([_int16(ends[..., 0] - ends[..., 1]), tf.zeros_like(ends[..., 0])], -1)
    k = np.arange(1, n // 2 + 1)
    straight = _scale(tf.gather(z, k, axis=-2), 2)
    mirrored = _scale(_int16(tf.gather(z, n - k, axis=-2) * np.array([1, -1], np.int32)), 2)
    total, difference = _int16(straight + mirrored), _int16(straight - mirrored)
    odd = _multiply(difference, _roots(-np.pi * (k / n + 0.5)))
    low = tf.bitwise.right_shift(total + odd, 1)
    high = tf.bitwise.right_shift(tf.stack([(total - odd)[..., 0], (odd - total)[..., 1]], -1), 1)
    # Bin n / 2 is in both: the second one counts, as it does where they are written one after the other.
    return tf.concat([first, low[..., :-1, :], tf.reverse(high, [-2]), last], -2)


def _complex_fft(z: Any, n: int) -> Any:
    x, m = tf.gather(z, np.asarray(leaf_order(n), np.int64), axis=-2), 1
    begin = tf.shape(z)[:-2]
    for radix in reversed(factors(n)):
        x = tf.reshape(x, tf.concat([begin, [n // (radix * m), radix, m, 2]], 0))
        k = np.arange(m)
        twisted = [_scale(x[..., 0, :, :], radix)]
        twisted += [
            _multiply(_scale(x[..., i, :, :], radix), _roots(-2 * np.pi * i * k / (radix * m))) for i in range(1, radix)
        ]
        if radix == 2:
            a, b = twisted
            results = [a + b, a - b]
        else:
            a, b, c, d = twisted
            e, f, g, h = _int16(a - c), _int16(a + c), _int16(b + d), _int16(b - d)
            minus_i_h = tf.stack([h[..., 1], -h[..., 0]], -1)
            results = [f + g, e + minus_i_h, f - g, e - minus_i_h]
        x = _int16(tf.stack(results, -3))
        m *= radix
    return tf.reshape(x, tf.concat([begin, [n, 2]], 0))


def _root(n: Any) -> Any:
    """The square root to the nearest integer, as `twin.root`; float64 is right to one, and whole numbers mend that."""
    r = tf.cast(tf.sqrt(tf.cast(n, tf.float64)), tf.int64)
    r = r - tf.cast(r * r > n, tf.int64)
    r = r + tf.cast((r + 1) * (r + 1) <= n, tf.int64)
    up = (n - r * r > r) & ~((n < 1 << 32) & (r == 0xFFFF))
    return r + tf.cast(up, tf.int64)


def _logarithm(x: Any, table: np.ndarray) -> Any:
    lut = tf.constant(np.asarray(table, np.int64))
    exponent = tf.maximum(_bits(x) - 1, 0)
    mantissa = tf.bitwise.bitwise_and(tf.bitwise.right_shift(x * 65536, exponent), 0xFFFF)
    segment, within = tf.bitwise.right_shift(mantissa, 9), tf.bitwise.bitwise_and(mantissa, 0x1FF)
    low, high = tf.gather(lut, segment), tf.gather(lut, segment + 1)
    log2 = exponent * 65536 + mantissa + low + tf.bitwise.right_shift((high - low) * within, 16)
    natural = tf.bitwise.right_shift(LOG_COEFFICIENT * log2 + (1 << 15), 16)
    value = tf.bitwise.right_shift(natural * 64 + (1 << 15), 16)
    return tf.cast(tf.where(x > 1, tf.minimum(value, 0xFFFF), 0), tf.int32)
