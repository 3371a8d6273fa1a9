"""A head that learns on the device: its C against the same integers in Python and against floating point, under
sanitizers, and counted on the emulated Cortex-M4."""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from model_pipeline.errors import KwsError
from model_pipeline.head import SOURCE, DeviceHead, rate_of
from model_pipeline.native import shared_library
from tests.support.m4 import requires_m4, run_on_m4

MAIN = Path(__file__).with_name("head_main.c")
POLYNOMIAL = (1073741824, -744157487, 257095898, -57151877, 7346532)
LIMIT = 1 << 30
SANITIZED = ("-O1", "-fsanitize=undefined,bounds", "-fsanitize-undefined-trap-on-error")


def _exp_minus(d: int) -> int:
    t = (d * 94548) >> 16
    y = POLYNOMIAL[-1]
    for c in POLYNOMIAL[-2::-1]:
        y = c + ((y * (t & 0xFFFF)) >> 16)
    return y >> min(31, t >> 16)


def twin_run(weights: np.ndarray, bias: np.ndarray, x: np.ndarray, zero_point: int) -> list[int]:
    """`kws_head_run` in Python's integers, which have no end."""
    logits = []
    for row, b in zip(weights.tolist(), bias.tolist(), strict=True):
        total = b + sum(w * (v - zero_point) for w, v in zip(row, x.tolist(), strict=True))
        logits.append(max(-LIMIT, min(LIMIT, total >> 8)))
    e = [_exp_minus(max(logits) - z) for z in logits]
    return [((v << 16) + sum(e) // 2) // sum(e) for v in e]


def twin_step(
    weights: np.ndarray, bias: np.ndarray, x: np.ndarray, zero_point: int, label: int, rate: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, int]:
    """`kws_head_step`: new weights and bias, and the label's probability before."""
    p = twin_run(weights, bias, x, zero_point)
    low, high = -(2**31), 2**31 - 1
    new = weights.astype(object)
    new_bias = bias.astype(object)
    for i in range(len(bias)):
        slope = p[i] - (65536 if i == label else 0)
        for j, v in enumerate(x.tolist()):
            new[i, j] = max(low, min(high, new[i, j] - ((slope * rate[0] * (v - zero_point) + (1 << 23)) >> 24)))
        new_bias[i] = max(low, min(high, new_bias[i] - ((slope * rate[1] + (1 << 15)) >> 16)))
    return new.astype(np.int32), new_bias.astype(np.int32), p[label]


@cache
def _sanitized() -> ctypes.CDLL:
    library = shared_library("kws_head_checked", [SOURCE / "kws_head.c"], [SOURCE], SANITIZED)
    library.kws_head_step.restype = ctypes.c_int32
    return library


def _case(seed: int, inputs: int, labels: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    weights = np.clip(rng.normal(0, spread, (labels, inputs)), -(2**31), 2**31 - 1).astype(np.int32)
    bias = np.clip(rng.normal(0, spread * 50, labels), -(2**31), 2**31 - 1).astype(np.int32)
    return weights, bias, rng.integers(-128, 128, inputs).astype(np.int8), int(rng.integers(-128, 128))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 70),
    st.integers(1, 32),
    st.sampled_from([0.0, 1e3, 1e5, 1e7, 1e12]),
    st.sampled_from([(0, 1), (4000, 200_000), (2**32 - 1, 2**32 - 1)]),
)
@settings(max_examples=60, deadline=None)
def test_a_step_is_pythons_to_the_bit_and_nothing_overflows(
    seed: int, inputs: int, labels: int, spread: float, rate: tuple[int, int]
) -> None:
    from model_pipeline.head import _Head, _Rate

    weights, bias, x, zero_point = _case(seed, inputs, labels, spread)
    label = seed % labels
    expected = twin_step(weights, bias, x, zero_point, label, rate)
    head, library = _Head(), _sanitized()
    pointer = ctypes.byref(head)
    at = [ctypes.c_void_p(a.ctypes.data) for a in (weights, bias)]
    small = ctypes.c_uint16(inputs), ctypes.c_uint8(labels), ctypes.c_int8(zero_point)
    assert library.kws_head_init(pointer, *at, *small) == 0
    said = np.zeros(labels, np.uint32)
    library.kws_head_run(pointer, ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(said.ctypes.data))
    assert said.tolist() == twin_run(weights, bias, x, zero_point)
    assert abs(int(said.sum()) - 65536) <= labels
    found = library.kws_head_step(pointer, ctypes.c_void_p(x.ctypes.data), ctypes.c_uint8(label), _Rate(*rate))
    assert found == expected[2]
    assert np.array_equal(weights, expected[0]) and np.array_equal(bias, expected[1])
    before = weights.copy()
    assert library.kws_head_step(pointer, ctypes.c_void_p(x.ctypes.data), ctypes.c_uint8(labels), _Rate(*rate)) == -1
    assert np.array_equal(weights, before)


def test_a_head_has_a_most_and_a_least() -> None:
    library = _sanitized()
    for inputs, labels in ((0, 4), (1025, 4), (4, 0), (4, 33)):
        none = (None, None, ctypes.c_uint16(inputs), ctypes.c_uint8(labels), ctypes.c_int8(0))
        assert library.kws_head_init(ctypes.create_string_buffer(64), *none) == -1
    with pytest.raises(KwsError):
        DeviceHead(np.zeros((1025, 4)), np.zeros(4), 0.1, 0)
    head = DeviceHead(np.zeros((5, 4)), np.zeros(4), 0.1, 0)
    with pytest.raises(KwsError, match="4 labels"):
        head.learn(np.zeros((1, 5), np.int8), np.array([4]), 0.1)
    for rate in (0.0, -1.0, 1e9):
        with pytest.raises(KwsError, match="learning rate"):
            head.learn(np.zeros((1, 5), np.int8), np.array([0]), rate)


def _float_head(n: int, steps: int) -> tuple[DeviceHead, np.ndarray, np.ndarray, float]:
    """A head after ``steps`` on the device and the same in floating point; and the largest weight."""
    rng = np.random.default_rng(3)
    # A longer step than 1 over the squared length of the inputs (2,000 here) would be chaos, which blows rounding up.
    scale, zero_point, rate = 0.04, -128, 0.0005
    weights, bias = rng.normal(0, 0.3, (n, 10)), rng.normal(0, 0.3, 10)
    x, y = rng.integers(-128, 128, (steps, n)).astype(np.int8), rng.integers(0, 10, steps)
    head = DeviceHead(weights, bias, scale, zero_point)
    for row, label in zip(x, y, strict=True):
        real = scale * (row.astype(float) - zero_point)
        slope = softmax(real @ weights + bias) - np.eye(10)[label]
        weights, bias = weights - rate * np.outer(real, slope), bias - rate * slope
    head.learn(x, y, rate)
    return head, weights, bias, float(np.abs(weights).max())


def test_it_learns_what_floating_point_learns() -> None:
    head, weights, bias, largest = _float_head(60, 200)
    found, found_bias = head.real()
    assert np.abs(found - weights).max() < 2e-3 * largest
    assert np.abs(found_bias - bias).max() < 2e-3 * largest


def test_it_learns_a_task() -> None:
    rng = np.random.default_rng(1)
    middles = rng.integers(-100, 100, (4, 24))
    y = rng.integers(0, 4, 400)
    x = np.clip(middles[y] + rng.normal(0, 40, (400, 24)), -128, 127).astype(np.int8)
    head = DeviceHead(np.zeros((24, 4)), np.zeros(4), 0.02, -128)
    first = head.learn(x[:200], y[:200], 0.02)
    assert np.mean(head.probabilities(x[200:]).argmax(1) == y[200:]) > 0.95
    assert head.learn(x[:200], y[:200], 0.02) > first


@requires_m4
def test_the_board_learns_the_same_and_its_instructions_are_counted() -> None:
    inputs, labels, steps = 60, 10, 8
    weights, bias, _, zero_point = _case(5, inputs, labels, 1e5)
    rng = np.random.default_rng(6)
    x = rng.integers(-128, 128, (steps, inputs)).astype(np.int8)
    y = rng.integers(0, labels, steps).astype(np.uint8)
    rate = rate_of(0.05, 0.04)
    data = struct.pack("<HBbII", inputs, labels, zero_point, rate.weights, rate.bias) + weights.tobytes()
    data += bias.tobytes() + b"".join(bytes([int(label)]) + row.tobytes() for row, label in zip(x, y, strict=True))
    result = run_on_m4([MAIN, SOURCE / "kws_head.c"], [SOURCE], input=data)
    for row, label in zip(x, y, strict=True):
        weights, bias, _ = twin_step(weights, bias, row, zero_point, int(label), (rate.weights, rate.bias))
    assert result.output == weights.tobytes() + bias.tobytes()
    print(f"{result.per_call('step'):.0f} a step, {result.per_call('run'):.0f} a run, {result.stack} B of stack")
    # 600 weights, each read for the logits and again to be moved; docs/federated.md has the figures.
    assert result.per_call("run") < 15_000
    assert result.per_call("step") < 40_000
