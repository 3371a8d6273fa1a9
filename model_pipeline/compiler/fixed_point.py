"""Fixed-point functions as gemmlowp's fixedpoint.h defines them, on Python's integers.

The compiler evaluates activation functions of 8-bit inputs here, once for each of the 256 values. ``Qn`` is a signed
32-bit number with n integer and 31 - n fraction bits.
"""

from __future__ import annotations

INT32_MAX = (1 << 31) - 1
# e^-(2^i / 4), Q0
_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def wrap(value: int) -> int:
    """The low 32 bits, signed."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def saturate(value: int, bits: int = 32) -> int:
    """Limited to a signed number of this many bits."""
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


def mul_high(a: int, b: int, bits: int = 32) -> int:
    """(a * b * 2) >> bits, to nearest, halves up; saturates (SaturatingRoundingDoublingHighMul)."""
    return saturate((a * b + (1 << (bits - 2))) >> (bits - 1), bits)


def round_shift(a: int, n: int) -> int:
    """a / 2^n to nearest, halves away from zero (RoundingDivideByPOT)."""
    return a if n == 0 else (abs(a) + (1 << (n - 1)) >> n) * (1 if a >= 0 else -1)


def requantize(a: int, multiplier: int, shift: int) -> int:
    """a * multiplier * 2^(shift - 31), rounded twice (MultiplyByQuantizedMultiplier)."""
    return round_shift(mul_high(wrap(a << max(shift, 0)), multiplier), max(-shift, 0))


def exp_negative(a: int, integer_bits: int) -> int:
    """e^a for a <= 0 in Q``integer_bits``, as Q0."""
    if a == 0:
        return INT32_MAX
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    small = (a & (quarter - 1)) - quarter
    x = saturate(small << integer_bits) + (1 << 28)
    x2 = mul_high(x, x)
    x3, x4 = mul_high(x2, x), mul_high(x2, x2)
    tail = round_shift(mul_high(round_shift(x4, 2) + x3, 715827883) + x2, 1)
    result = saturate(1895147668 + mul_high(1895147668, x + tail))
    rest = small - a
    for i, factor in enumerate(_FACTORS):
        if integer_bits > i - 2 and rest & (quarter << i):
            result = mul_high(result, factor)
    return result


def _reciprocal_of_half_sum(a: int) -> int:
    """2 / (1 + a) in Q2 for a in Q0, 0 <= a < 1: three steps of Newton and Raphson."""
    half = (a + INT32_MAX + 1) // 2
    x = 1515870810 + mul_high(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - mul_high(half, x)
        x += saturate(mul_high(x, error) << 2)
    return x


def logistic(a: int, integer_bits: int) -> int:
    """1 / (1 + e^-a), Q``integer_bits`` to Q0."""
    if a == 0:
        return 1 << 30
    x = saturate(_reciprocal_of_half_sum(exp_negative(-abs(a), integer_bits)) << 1)
    return x if a > 0 else INT32_MAX - x


def tanh(a: int, integer_bits: int) -> int:
    """tanh(a), Q``integer_bits`` to Q0."""
    if a == 0:
        return 0
    x = _reciprocal_of_half_sum(exp_negative(-abs(a), integer_bits + 1))
    value = saturate((x - (1 << 29)) << 2)
    return value if a > 0 else -value
