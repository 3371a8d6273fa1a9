"""kws profile and kws compare, and the Cortex-M4's counts that they rest on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host_tools.check import layers as compare
from host_tools.measure import layers as profile
from model_pipeline.compiler import compile_model
from model_pipeline.compiler.ir import Constant
from model_pipeline.errors import KwsError
from model_pipeline.native import ROOT
from tests.support.m4 import requires_m4
from tests.support.tflite_builder import ModelBuilder, ds_cnn

SMALL = ds_cnn(2, channels=4, blocks=1)


def kws(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "host_tools.cli", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "small.tflite"
    path.write_bytes(SMALL)
    return path


@requires_m4
def test_a_profile_adds_up_and_repeats(small):
    program = compile_model(SMALL)
    inputs = profile.load_inputs(None, program, 2)
    result = profile.profile(program, inputs)
    assert result.equal_to_host
    rows = result.layers
    assert [r.operator for r in rows] == [c.operator.name for c in program.calls]
    assert sum(r.cost for r in rows) == pytest.approx(result.cost, rel=0.01)
    assert sum(r.share for r in rows) == pytest.approx(1, abs=0.01)
    convolutions = [r for r in rows if r.operator == "CONV_2D"]
    assert convolutions and all(0.4 < r.per_mac < 10 for r in convolutions)
    assert profile.profile(program, inputs) == result
    assert result.ram_bytes >= program.arena_bytes and result.flash_bytes > program.constant_bytes


@requires_m4
def test_twice_the_work_is_seen_in_its_layer():
    """A dense layer of twice as many outputs takes about twice as many instructions; the other stays as it was."""

    def model(outputs: int) -> bytes:
        b, rng = ModelBuilder(), np.random.default_rng(1)
        current = first = b.tensor((1, 64), 0.05, 0)
        for number, (rows, columns) in enumerate([(64, 64), (outputs, 64)]):
            w = b.tensor((rows, columns), 0.01, 0, rng.integers(-127, 128, (rows, columns)).astype(np.int8))
            target = b.tensor((1, rows), 0.5 + number, 0)
            b.op("FULLY_CONNECTED", [current, w, -1], [target], "FullyConnectedOptions")
            current = target
        return b.build([first], [current])

    def costs(outputs: int) -> list[float]:
        program = compile_model(model(outputs))
        return profile.measure(program, profile.load_inputs(None, program, 1)).calls

    one, two = costs(32), costs(64)
    assert one[0] == pytest.approx(two[0], rel=0.02)
    assert 1.8 < two[1] / one[1] < 2.2


def test_profile_on_the_host_prints_and_draws(small, tmp_path):
    done = kws("profile", str(small), "--target", "host", "--runs", "1", "--plot", str(tmp_path / "p.svg"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["unit"] == "ns" and result["equal_to_host"] and result["cost"] > 0
    assert (tmp_path / "p.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "m7"), "no target 'm7'"),
        (("--streaming", "999"), "a hop of 999 frames"),
        (("--inputs", "/nowhere.npy"), "can't read /nowhere.npy"),
    ],
)
def test_what_profile_refuses(small, arguments, message):
    done = kws("profile", str(small), *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_compare_finds_every_layer_equal(small, tmp_path):
    inputs = np.random.default_rng(3).integers(-128, 128, (2, 49 * 40)).astype(np.int8)
    np.save(tmp_path / "inputs.npy", inputs)
    done = kws("compare", str(small), "--inputs", str(tmp_path / "inputs.npy"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["equal"] and result["inputs"] == 2 and result["layers"] >= 5 and result["values"] > 1000
    done = kws("compare", str(small), "--streaming", "2", "--count", "3")
    assert done.returncode == 0 and done.stdout.startswith("equal")


def test_compare_names_the_first_layer_that_differs():
    """One weight of the second layer is changed behind the compiler's back."""
    program = compile_model(SMALL, "portable")
    call = program.calls[1]
    weights = call.params["weights"]
    assert isinstance(weights, Constant)
    values = weights.array.copy()
    values.reshape(-1)[0] ^= 0x40
    call.params["weights"] = replace(weights, array=values)
    result = compare.compare(SMALL, program, profile.load_inputs(None, program, 2))
    assert not result.equal
    first = result.first_difference
    assert "operator 1 (DEPTHWISE_CONV_2D" in first.operator and first.input == 0
    assert first.ours != first.theirs and 0 < first.differing <= first.size


def test_inputs_of_another_type_or_size_are_refused(tmp_path):
    program = compile_model(SMALL)
    for values in (np.zeros((1, 1960), np.float32), np.zeros(7, np.int8), np.zeros(0, np.int8)):
        np.save(tmp_path / "x.npy", values)
        with pytest.raises(KwsError, match="are needed"):
            profile.load_inputs(tmp_path / "x.npy", program, 1)
