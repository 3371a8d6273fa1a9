"""The constant tables of the front end, and the C source that carries them to the board.

Everything that needs floating point happens here, once, so the board computes with integers only. Where the reference
(TensorFlow Lite's "microfrontend" library) computes in float32, each operation here is rounded to float32 too.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import FrontendConfig
from model_pipeline.ctext import rows

WINDOW_BITS = 12
FILTERBANK_BITS = 12
SMOOTHING_BITS = 10  # fraction bits of the noise estimate
NOISE_BITS = 14  # fraction bits of the smoothing coefficients
EVEN_SMOOTHING = 0.025
ODD_SMOOTHING = 0.06
MIN_SIGNAL_REMAINING = 0.05
PCAN_STRENGTH = 0.95
PCAN_OFFSET = 80.0
PCAN_GAIN_BITS = 21
PCAN_SNR_BITS = 12
LOG_SEGMENTS = 128

f32 = np.float32

# The fields of kws_fe_tables_t in their order: uint16 values, then pointers.
SCALARS = (
    "window_samples",
    "hop_samples",
    "fft_size",
    "num_channels",
    "first_bin",
    "end_bin",
    "flags",
    "correction_bits",
    "snr_shift",
    "even_smoothing",
    "odd_smoothing",
    "min_signal_remaining",
)
ARRAYS = ("order", "window", "twiddles", "super_twiddles", "widths", "weights", "ties", "gain_lut", "log_lut")
NOISE_REDUCTION = 1
PCAN = 2


@dataclass(frozen=True)
class Tables:
    """What `kws_fe_tables_t` holds; arrays are in the order in which the C code walks them.

    Attributes:
        order: input index (complex samples) of every fourth leaf of the FFT; C knows where the three behind it start.
        window: fft_size / 2 pairs of int16 coefficients (12 fraction bits) in FFT leaf order, zero behind the window.
        twiddles: for k in 0..N/4-1 the words exp(-2 pi i k/N), its square and its cube; real part low, imaginary high.
        super_twiddles: N/2 words that separate the spectrum of even and odd samples.
        widths: bins of each of the channels + 1 regions between neighbouring centre frequencies.
        weights: for each bin from first_bin its share (12 fraction bits) in the upper channel of its region; the
            lower channel gets 4096 less this, and one more where the bin is in ``ties``.
        ties: bins where both shares were rounded up; ends with 0xFFFF.
        gain_lut: PCAN's gain as a piecewise quadratic, three values an octave of the noise estimate.
        log_lut: what log2(1 + i/128) exceeds i/128 by, 16 fraction bits.
    """

    config: FrontendConfig
    fft_size: int
    first_bin: int
    end_bin: int
    correction_bits: int
    snr_shift: int
    even_smoothing: int
    odd_smoothing: int
    min_signal_remaining: int
    order: NDArray[np.uint16]
    window: NDArray[np.uint32]
    twiddles: NDArray[np.uint32]
    super_twiddles: NDArray[np.uint32]
    widths: NDArray[np.uint16]
    weights: NDArray[np.uint16]
    ties: NDArray[np.uint16]
    gain_lut: NDArray[np.int16]
    log_lut: NDArray[np.uint16]

    def scalar(self, name: str) -> int:
        """A field of SCALARS."""
        own = {
            "window_samples": self.config.window_samples,
            "hop_samples": self.config.hop_samples,
            "num_channels": self.config.channels,
            "flags": NOISE_REDUCTION * self.config.noise_reduction | PCAN * self.config.pcan,
        }
        return int(own[name] if name in own else getattr(self, name))


@functools.lru_cache(maxsize=16)
def tables(config: FrontendConfig) -> Tables:
    """The tables of ``config``; the stock configuration's equal those that the reference computes."""
    fft_size = config.fft_size
    points = fft_size // 2
    first, widths, weights, unweights = _filterbank(config, points)
    # The FFT divides by fft_size and the filterbank multiplies by sqrt(2^12): this many bits are put back.
    correction = fft_size.bit_length() - 1 - FILTERBANK_BITS // 2
    leaves = leaf_order(points)
    window = np.zeros(fft_size, "<i2")
    window[: config.window_samples] = hann(config.window_samples)
    return Tables(
        config=config,
        fft_size=fft_size,
        first_bin=first,
        end_bin=first + sum(widths),
        correction_bits=correction,
        snr_shift=PCAN_GAIN_BITS - correction - PCAN_SNR_BITS,
        even_smoothing=int(f32(EVEN_SMOOTHING) * f32(1 << NOISE_BITS)),
        odd_smoothing=int(f32(ODD_SMOOTHING) * f32(1 << NOISE_BITS)),
        min_signal_remaining=int(f32(MIN_SIGNAL_REMAINING) * f32(1 << NOISE_BITS)),
        order=np.array(leaves[::4], np.uint16),
        window=window.view("<u4")[leaves].copy(),
        twiddles=np.array(
            [_root(-2 * math.pi * (j * k) / points) for k in range(points // 4) for j in (1, 2, 3)], "u4"
        ),
        super_twiddles=np.array([_root(-math.pi * ((i + 1) / points + 0.5)) for i in range(points // 2)], "u4"),
        widths=np.array(widths, np.uint16),
        weights=np.array(weights, np.uint16),
        ties=np.array([first + i for i, w in enumerate(weights) if w + unweights[i] != 4096] + [0xFFFF], np.uint16),
        gain_lut=np.array(_gain_lut(SMOOTHING_BITS - correction), np.int16),
        log_lut=np.array(_log_lut(), np.uint16),
    )


def hann(size: int) -> NDArray[np.int16]:
    """The window: 0.5 - 0.5 cos(2 pi (i + 0.5)/size), in float32, rounded to 12 fraction bits."""
    step = f32(f32(math.pi) * f32(2.0)) / f32(size)
    values = []
    for i in range(size):
        cosine = f32(math.cos(float(step * f32(i + 0.5))))
        value = f32(0.5) - f32(f32(0.5) * cosine)
        values.append(math.floor(f32(value * f32(1 << WINDOW_BITS)) + f32(0.5)))
    return np.array(values, np.int16)


def factors(points: int) -> list[int]:
    """Radices from the outermost stage to the innermost: fours, then a two if one is left."""
    result = []
    while points > 1:
        radix = 4 if points % 4 == 0 else 2
        result.append(radix)
        points //= radix
    return result


def leaf_order(points: int) -> list[int]:
    """For each place of the FFT's working array the input that starts there (digit reversal)."""
    order = [0]
    for radix in reversed(factors(points)):
        # One level outwards: radix copies of a sub-transform, each of which takes every radix-th input.
        order = [base * radix + digit for digit in range(radix) for base in order]
    return order


def _root(phase: float) -> int:
    real = math.floor(0.5 + 32767 * math.cos(phase))
    imag = math.floor(0.5 + 32767 * math.sin(phase))
    return (imag & 0xFFFF) << 16 | (real & 0xFFFF)


def log1p_f32(x: np.float32) -> np.float32:
    """log(1 + x), x = 0 or x >= 2^-15, with the rounding errors of fdlibm's log1pf (Sun Microsystems, 1993).

    newlib, musl and glibc before 2.41 use that: the reference's weights depend on it, and this host's libm must not
    matter.

    log1p(x) = k ln2 + log(1 + f) with 1 + x = 2^k (1 + f) and sqrt(1/2) < 1 + f < sqrt(2); log(1 + f) by a polynomial
    in (f/(2 + f))^2; all steps in float32.
    """
    one, half = f32(1), f32(0.5)
    x = f32(x)
    k, c, f = 0, f32(0), x
    if x >= f32(0.41421356):
        u = f32(one + x)
        k = math.frexp(float(u))[1] - 1
        # What 1 + x lost by rounding.
        c = f32(f32(one - f32(u - x)) if k > 0 else f32(x - f32(u - one))) / u
        u = f32(math.ldexp(float(u), -k))
        if u.view(np.uint32) & 0x7FFFFF >= 0x3504F7:  # sqrt(2)
            k, u = k + 1, f32(u * half)
        f = f32(u - one)
    low = f32(f32(f32(k) * f32(9.0580006145e-06)) + c)
    high = f32(f32(k) * f32(6.9313812256e-01))
    square = f32(f32(half * f) * f)
    if k and abs(f) < f32(2.0**-20):
        if f == 0:
            return f32(high + low)
        rest = f32(square * f32(one - f32(f32(0.66666666666666666) * f)))
        return f32(high - f32(f32(rest - low) - f))
    s = f32(f / f32(f32(2) + f))
    z = f32(s * s)
    rest = f32(0)
    for coefficient in (0.14798198640, 0.15313838422, 0.18183572590, 0.22222198546, 0.28571429849, 0.4, 0.66666668653):
        rest = f32(z * f32(f32(coefficient) + rest))
    if k == 0:
        return f32(f - f32(square - f32(s * f32(square + rest))))
    return f32(high - f32(f32(square - f32(f32(s * f32(square + rest)) + low)) - f))


def _mel(hz: np.float32) -> np.float32:
    return f32(f32(1127.0) * log1p_f32(f32(f32(hz) / f32(700.0))))


def _filterbank(config: FrontendConfig, points: int) -> tuple[int, list[int], list[int], list[int]]:
    """First bin, width of each region, and the two weights of each bin.

    Region i lies between centre i-1 and centre i; its bins fall to channel i-1 by ``unweights`` and to channel i by
    ``weights`` (channels counted from region 1 on).
    """
    low, high = _mel(f32(config.lower_hz)), _mel(f32(config.upper_hz))
    spacing = f32(high - low) / f32(config.channels + 1)
    centres = [f32(low + f32(spacing * f32(i + 1))) for i in range(config.channels + 1)]
    hz_per_bin = f32(f32(0.5) * f32(config.sample_rate)) / f32(points)
    first = bin_ = int(f32(1.5) + f32(config.lower_hz) / hz_per_bin)
    widths, weights, unweights = [], [], []
    previous = low
    for centre in centres:
        start = bin_
        # The reference refuses a band that reaches the last bin; here it ends before it.
        while bin_ < points and (mel := _mel(f32(bin_) * hz_per_bin)) <= centre:
            weight = f32(centre - mel) / f32(centre - previous)
            scale, half = f32(1 << FILTERBANK_BITS), f32(0.5)
            weights.append(math.floor(f32(weight * scale) + half))
            unweights.append(math.floor(f32(f32(f32(1.0) - weight) * scale) + half))
            bin_ += 1
        widths.append(bin_ - start)
        previous = centre
    return first, widths, weights, unweights


def _gain(x: int, input_bits: int) -> int:
    base = f32(f32(x) / f32(1 << input_bits)) + f32(PCAN_OFFSET)
    power = f32(float(f32(base)) ** -float(f32(PCAN_STRENGTH)))
    gain = f32(f32(1 << PCAN_GAIN_BITS) * power)
    return 32767 if gain > 32767 else int(gain + f32(0.5))


def _gain_lut(input_bits: int) -> list[int]:
    """Values 0 and 1, then for each octave (value, slope, curvature, 0) of a parabola through three points."""
    lut = [_gain(0, input_bits), _gain(1, input_bits)]
    for octave in range(2, 33):
        x0 = 1 << (octave - 1)
        x2 = x0 + x0 - 1 if octave == 32 else 2 * x0
        y0, y1, y2 = (_gain(x, input_bits) for x in (x0, x0 + x0 // 2, x2))
        slope = 4 * (y1 - y0) - (y2 - y0)
        curve = (y2 - y0) - slope
        lut += [y0, _int16(slope), _int16(curve), 0]
    return lut


def _log_lut() -> list[int]:
    steps = [i / LOG_SEGMENTS for i in range(LOG_SEGMENTS + 1)]
    return [round(65536 * (math.log2(1 + x) - x)) for x in steps]


def _int16(value: int) -> int:
    return (value + 32768) % 65536 - 32768


def tables_c(config: FrontendConfig, name: str = "kws_frontend_tables") -> str:
    """``frontend_tables.c``: `const kws_fe_tables_t` of that name for the firmware."""
    values = tables(config)
    types = {"uint16": "uint16_t", "int16": "int16_t", "uint32": "uint32_t"}
    lines = [
        "/* Made by model_pipeline/features/tables.py; do not edit. */",
        '#include "kws_frontend.h"',
        "",
        f"#if KWS_FE_MAX_FFT < {values.fft_size} || KWS_FE_MAX_CHANNELS < {config.channels}",
        f'#error "this front end needs KWS_FE_MAX_FFT={values.fft_size} KWS_FE_MAX_CHANNELS={config.channels}"',
        "#endif",
        "",
    ]
    for field in ARRAYS:
        array = getattr(values, field)
        lines.append(f"static const {types[array.dtype.name]} {field}[{array.size}] = {{")
        lines += [*rows(f"0x{v:x}u" if array.dtype == np.uint32 else v for v in array.tolist()), "};", ""]
    lines.append(f"const kws_fe_tables_t {name} = {{")
    lines += [f"    .{field} = {values.scalar(field)}," for field in SCALARS]
    lines += [f"    .{field} = {field}," for field in ARRAYS]
    return "\n".join([*lines, "};", ""])
