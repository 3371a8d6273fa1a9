"""Every kernel equals TensorFlow Lite Micro bit for bit: on the host under ASan and UBSan, and on a Cortex-M4."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model_pipeline.compiler import HostPrograms, compile_model
from tests.support.m4 import requires_m4
from tests.support.nn_cases import CASES, Case
from tests.support.nn_cases_more import MORE_CASES
from tests.support.nn_m4 import run_plans_on_m4
from tests.support.tflite_builder import Oracle

# One build a batch: building takes longer than running.
BATCH = 8
ALL_CASES = {**CASES, **MORE_CASES}
# More for a long search: KWS_EXAMPLES=200 pytest tests/compiler/test_kernels.py
EXAMPLES = int(os.environ.get("KWS_EXAMPLES", "6"))
# Without shrinking: each step would build again, and a failure would take minutes to be told.
HOST = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
M4 = settings(HOST, max_examples=max(2, EXAMPLES // 3))


def expected(case: Case) -> np.ndarray:
    return Oracle(case.tflite).run(case.inputs, case.shape)


@pytest.mark.parametrize("name", ALL_CASES)
def test_equals_tflite_micro_under_sanitizers(name):
    @HOST
    @given(st.lists(ALL_CASES[name], min_size=1, max_size=BATCH))
    def check(cases: list[Case]) -> None:
        programs = HostPrograms([compile_model(case.tflite) for case in cases], sanitize=True)
        for case, program in zip(cases, programs.programs, strict=True):
            got, right = program.run(case.inputs), expected(case)
            assert got.dtype == right.dtype and np.array_equal(got, right)

    check()


@requires_m4
@pytest.mark.parametrize("strategies", [CASES, MORE_CASES], ids=["layers", "more"])
def test_equals_tflite_micro_on_a_cortex_m4(strategies):
    @M4
    @given(st.tuples(*(st.lists(strategy, min_size=1, max_size=3) for strategy in strategies.values())))
    def check(groups: tuple[list[Case], ...]) -> None:
        cases = [case for group in groups for case in group]
        outputs = run_plans_on_m4([(compile_model(case.tflite), case.inputs) for case in cases]).outputs
        for case, output in zip(cases, outputs, strict=True):
            assert np.array_equal(output, expected(case))

    check()
