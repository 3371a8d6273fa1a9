"""The operators of tests/nn_cases_more.py equal TensorFlow Lite Micro bit for bit, as in tests/test_kernels.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nn_cases import Case
from nn_cases_more import MORE_CASES
from nn_m4 import run_plans_on_m4
from target.m4 import requires_m4
from test_kernels import BATCH, HOST, M4, expected

from model_pipeline.compiler import HostPrograms, compile_model


@pytest.mark.parametrize("name", MORE_CASES)
def test_equals_tflite_micro_under_sanitizers(name):
    @HOST
    @given(st.lists(MORE_CASES[name], min_size=1, max_size=BATCH))
    def check(cases: list[Case]) -> None:
        programs = HostPrograms([compile_model(case.tflite) for case in cases], sanitize=True)
        for case, program in zip(cases, programs.programs, strict=True):
            got, right = program.run(case.inputs), expected(case)
            assert got.dtype == right.dtype and np.array_equal(got, right)

    check()


@requires_m4
def test_equals_tflite_micro_on_a_cortex_m4():
    @M4
    @given(st.tuples(*(st.lists(strategy, min_size=1, max_size=3) for strategy in MORE_CASES.values())))
    def check(groups: tuple[list[Case], ...]) -> None:
        cases = [case for group in groups for case in group]
        outputs = run_plans_on_m4([(compile_model(case.tflite), case.inputs) for case in cases]).outputs
        for case, output in zip(cases, outputs, strict=True):
            assert np.array_equal(output, expected(case))

    check()
