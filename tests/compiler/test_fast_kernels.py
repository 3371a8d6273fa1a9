"""The fast kernels equal TensorFlow Lite Micro bit for bit: as portable C on the host under sanitizers, and in assembly
on a Cortex-M4. The cheap requantisation equals the reference's for every sum near a step."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model_pipeline.compiler import HostPrograms, Program, compile_model
from model_pipeline.compiler.fast import depthwise
from model_pipeline.compiler.fast.linear_sum import linear_sum
from model_pipeline.compiler.fast.requantize import requantization, times_256
from model_pipeline.compiler.quant import quantize_multiplier
from model_pipeline.config import Packing
from tests.support.fast_cases import CASES, FastCase
from tests.support.m4 import requires_m4
from tests.support.nn_m4 import run_plans_on_m4
from tests.support.tflite_builder import Oracle

# More for a long search: KWS_EXAMPLES=200 pytest tests/compiler/test_fast_kernels.py
EXAMPLES = int(os.environ.get("KWS_EXAMPLES", "3"))
BOTH: list[Packing] = ["speed", "size"] * 6
SLOW_DRAWS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
# No shrinking: each try is a build.
HOST = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=SLOW_DRAWS,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
)
M4 = settings(HOST, max_examples=max(1, EXAMPLES // 3))


@pytest.fixture(autouse=True)
def planes_wherever_they_can_be(monkeypatch):
    """The shapes here are too small for planes to pay."""
    monkeypatch.setattr(depthwise, "taps_are_cheaper", lambda *_: False)


def compiled(case: FastCase, packing: Packing) -> Program:
    """The program, or a failure where the fast kernel was not taken."""
    program = compile_model(case.tflite, packing)
    names = [(c.function, c.params) for c in program.calls]
    assert any(call.function.startswith(case.kernel) for call in program.calls), names
    return program


@pytest.mark.parametrize("name", CASES)
def test_equals_tflite_micro_under_sanitizers(name):
    @HOST
    @given(st.lists(CASES[name], min_size=8, max_size=12))
    def check(cases: list[FastCase]) -> None:
        programs = HostPrograms(
            [compiled(case, packing) for case, packing in zip(cases, BOTH, strict=False)], sanitize=True
        )
        for case, program in zip(cases, programs.programs, strict=True):
            assert np.array_equal(program.run(case.inputs), Oracle(case.tflite).run(case.inputs, case.shape))

    check()


@requires_m4
@pytest.mark.parametrize("name", CASES)
def test_equals_tflite_micro_on_a_cortex_m4(name):
    @M4
    @given(st.lists(CASES[name], min_size=8, max_size=12))
    def check(cases: list[FastCase]) -> None:
        jobs = [(compiled(case, packing), case.inputs) for case, packing in zip(cases, BOTH, strict=False)]
        outputs = run_plans_on_m4(jobs).outputs
        for case, output in zip(cases, outputs, strict=True):
            assert np.array_equal(output, Oracle(case.tflite).run(case.inputs, case.shape))

    check()


def reference(sums: np.ndarray, multiplier: int, shift: int, zero_point: int) -> np.ndarray:
    """TensorFlow Lite Micro's two roundings, in exact integers."""
    scaled = sums.astype(object) * (1 << max(shift, 0)) * multiplier
    high = np.array([(v + (1 << 30)) >> 31 for v in scaled], object)
    n = max(-shift, 0)
    half = (1 << n) >> 1
    rounded = np.array([(v + half) >> n if v >= 0 else -((-v + half) >> n) for v in high], object)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int64)


@given(
    st.floats(2.0**-22, 0.99), st.one_of(st.just(-128), st.integers(-128, 127)), st.integers(8, 29), st.integers(0, 999)
)
@settings(max_examples=150, deadline=None)
def test_cheap_requantization_is_exact_at_every_step(scale, zero_point, bits, seed):
    multiplier, shift = quantize_multiplier(scale)
    bound = np.array([(1 << bits) - 1])
    found = requantization(np.array([multiplier]), np.array([shift], np.int8), zero_point, -128, 127, bound)
    m, c, n = (int(v) for v in found.table[0])
    # Sums on both sides of where each output value begins, and random ones.
    steps = (np.arange(-256, 257) + 0.5) / scale
    near = (steps[:, None] + np.arange(-3, 4)).round().reshape(-1)
    random = np.random.default_rng(seed).integers(-bound[0], bound[0] + 1, 300)
    sums = np.concatenate([near[np.abs(near) <= bound[0]].astype(np.int64), random, [0, 1, -1, bound[0], -bound[0]]])
    if found.kind == "any":
        assert (shift >= 0 and zero_point != -128) or shift > 0 or bits >= 29 or n > 24 or n + bits >= 29
        return
    offset = c + (sums >> 63 if found.kind == "linear" else 0)
    high = (2 * sums * m + (1 << 31) >> 32) + offset
    assert np.all(np.abs(high) < 1 << 31) and np.all(np.abs(2 * sums) < 1 << 31)
    exact = reference(sums, multiplier, shift, zero_point)
    assert np.array_equal(np.clip(high >> n, -128, 127), exact)
    scaled = times_256(found, zero_point, bound)
    if scaled is None:
        assert bits > 22 or n > 23 or n + 8 + 7 > 30
        return
    m, c, n = (int(v) for v in scaled[0])
    high = (256 * sums * m >> 32) + c + ((sums >> 63) * 128 if found.kind == "linear" else 0)
    assert np.all(np.abs(high) < 1 << 31) and np.all(np.abs(256 * sums) < 1 << 31)
    assert np.array_equal(np.clip(high >> n, -128, 127), exact)


def test_ordinary_layers_get_the_cheap_requantization():
    multiplier, shift = np.array([1 << 30]), np.array([-7], np.int8)
    bound = np.array([1 << 22])
    assert requantization(multiplier, shift, -128, -128, 127, bound).kind == "relu"
    assert requantization(multiplier, shift, 3, -128, 127, bound).kind == "linear"
    assert requantization(multiplier, shift, 3, 3, 127, bound).kind == "any"


def test_a_sum_that_no_linear_function_gives_keeps_the_plain_kernel():
    """Equal scales and half the resolution: halves occur on both sides of zero and go away from it."""
    params = {"zero_point1": 0, "zero_point2": 0, "out_zero_point": 0, "act_min": -128, "act_max": 127}
    factors = {"multiplier1": 1 << 30, "shift1": 0, "multiplier2": 1 << 30, "shift2": 0, "out_multiplier": 1 << 30}
    # twice the scale / (2^20 * 2 * scale) = 2^-20 = 2^30 * 2^(-19 - 31)
    assert linear_sum({**params, **factors, "out_shift": -19}) is None
    # With a ReLU only the upper half is left.
    assert linear_sum({**params, **factors, "out_shift": -19, "out_zero_point": -128}) is not None
