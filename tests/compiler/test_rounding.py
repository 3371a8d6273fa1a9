"""At the boundaries of rounding, where random inputs never are, every operator still equals TensorFlow Lite Micro."""

from __future__ import annotations

import importlib.metadata
import os
import tomllib
import zlib

import numpy as np
import pytest

from model_pipeline.compiler import HostPrograms, Program, compile_model, emit, quant
from model_pipeline.compiler.opcodes import operator_name
from model_pipeline.compiler.ops import known_operators
from model_pipeline.native import ROOT
from tests.support.rounding_cases import NOTHING_TO_ROUND, OTHERS, WITH_MULTIPLIER
from tests.support.tflite_builder import Oracle

COUNT = int(os.environ.get("KWS_EXAMPLES", "8"))
SINGLE = 2.0**-24  # the largest relative error of one operation in single precision


def with_multipliers(factor: float, tflite: bytes, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The plain plan, its multipliers wrong by ``factor``."""
    right = quant.quantize_multiplier
    with monkeypatch.context() as patch:
        patch.setattr(quant, "quantize_multiplier", lambda real: right(real * factor))
        return compile_model(tflite, "portable")


@pytest.mark.parametrize("name", [*WITH_MULTIPLIER, *OTHERS])
def test_equals_tflite_micro_at_the_boundaries(name, monkeypatch):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    cases = [{**WITH_MULTIPLIER, **OTHERS}[name](rng) for _ in range(COUNT)]
    plans: dict[str, Program] = {}  # by their C: most operators have one kernel only, and building takes the time

    def plan(program: Program) -> str:
        text = emit(program, "m")["model_aot.c"]
        plans.setdefault(text, program)
        return text

    tries = []
    for case in cases:
        ours = {packing: plan(compile_model(case.tflite, packing)) for packing in ("portable", "speed", "size")}
        mutants = [plan(with_multipliers(1 + sign * SINGLE, case.tflite, monkeypatch)) for sign in (1, -1)]
        tries.append((case, ours, mutants))
    host = dict(zip(plans, HostPrograms(list(plans.values())).programs, strict=True))
    sharp = 0
    for number, (case, ours, mutants) in enumerate(tries):
        right = Oracle(case.tflite).run(case.inputs, case.shape)

        def result(text: str, inputs: np.ndarray = case.inputs) -> np.ndarray:
            host[text].reset()
            return host[text].run(inputs)

        for packing, text in ours.items():
            wrong = int(np.count_nonzero(result(text) != right))
            assert wrong == 0, f"case {number}, {packing}: {wrong} of {right.size} differ"
        sharp += any(np.any(result(text) != right) for text in mutants)
    # A test that multipliers of single precision would pass has seen no boundary.
    if name in WITH_MULTIPLIER:
        assert sharp >= COUNT // 3, f"only {sharp} of {COUNT} cases can tell"


def test_every_operator_is_tried():
    tried = {name.split()[0] for name in [*WITH_MULTIPLIER, *OTHERS]} | NOTHING_TO_ROUND
    assert {operator_name(code) for code in known_operators()} <= tried


def test_equality_is_claimed_for_the_installed_version():
    """TensorFlow Lite Micro's rounding changes between versions: try this file with a new one, then claim that."""
    assert importlib.metadata.version("tflite-micro") == quant.TFLM_VERSION
    for name in ("README.md", "docs/compiler.md"):
        assert quant.TFLM_VERSION in (ROOT / name).read_text(encoding="utf-8"), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(f"tflite-micro=={quant.TFLM_VERSION};" in d for d in project["optional-dependencies"]["train"])
