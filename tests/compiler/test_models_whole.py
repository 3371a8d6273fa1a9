"""Whole models of others, as they are: every layer equals TensorFlow Lite Micro's, on random and on real inputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.compiler import Program, compile_model, load_host
from tests.support import mlperf_tiny
from tests.support.m4 import requires_m4
from tests.support.nn_m4 import run_plans_on_m4
from tests.support.tflite_builder import Oracle

WAKE_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
STEP = (1, 3, 40)


def wake_word(name: str) -> bytes:
    spec = importlib.util.find_spec("pymicro_wakeword")
    if spec is None or spec.origin is None:
        pytest.skip("pymicro-wakeword, which carries the models, is not installed")
    return (Path(spec.origin).parent / "models" / f"{name}.tflite").read_bytes()


def babble(seed: int, steps: int) -> np.ndarray:
    """int8 [steps, 1, 3, 40]: random at first, then something with the long slopes of spectrograms."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-128, 128, (steps, *STEP))
    slow = np.cumsum(rng.normal(0, 12, (steps * 3, 40)), axis=0) + np.cumsum(rng.normal(0, 10, 40))
    inputs[steps // 3 :] = (np.abs(slow) % 250 - 128).reshape(steps, *STEP)[steps // 3 :]
    return np.clip(inputs, -128, 127).astype(np.int8)


def check_layers(program: Program, tflite: bytes, inputs: np.ndarray, shape: tuple[int, ...]) -> None:
    """All steps in turn; tensors that only the plan has (parts of others) have no number."""
    host, oracle = load_host(program), Oracle(tflite, all_tensors=True)
    checked = 0
    for values in inputs:
        oracle.run(values[None], shape)
        for call, layer in zip(program.calls, host.layers(values), strict=True):
            if call.outputs[0].index >= 0:
                expected = oracle.tensor(call.outputs[0].index)
                assert np.array_equal(layer.reshape(-1), expected.reshape(-1)), call.operator.place
                checked += 1
    assert checked > len(inputs) * len(program.calls) * 0.8


@pytest.mark.parametrize("name", WAKE_WORDS)
def test_every_layer_of_a_wake_word_model_over_forty_steps(name):
    tflite = wake_word(name)
    program = compile_model(tflite)
    check_layers(program, tflite, babble(1, 40), STEP)


@pytest.mark.parametrize("name", WAKE_WORDS)
def test_a_wake_word_model_keeps_its_state_in_rings(name):
    """No variable is copied, no split or slice is left, and what outlives a step fits into the arena beside a layer."""
    program = compile_model(wake_word(name))
    moving = {c.operator.name for c in program.calls if c.function and not c.function.startswith("kws_fast_")}
    assert moving <= {"CONCATENATION", "LOGISTIC", "QUANTIZE", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"}
    assert {c.function for c in program.calls if c.operator.name == "CONCATENATION"} <= {"kws_nn_push", ""}
    assert program.plan.arena_bytes == program.plan.lower_bound < 7000


def test_a_wake_word_model_under_sanitizers_and_after_a_reset():
    """A reset is a start: the same inputs give the same outputs, which a state that is kept would change."""
    tflite, inputs = wake_word("hey_jarvis"), babble(2, 60)
    program = compile_model(tflite)
    expected = Oracle(tflite).run(inputs, STEP)
    assert np.array_equal(load_host(program, sanitize=True).run(inputs), expected)
    host = load_host(program)
    assert np.array_equal(host.run(inputs), expected)
    host.reset()
    assert np.array_equal(host.run(inputs), expected)


def test_a_wake_word_model_on_real_speech(shared_data):
    """Through our front end, over several seconds."""
    from model_pipeline.config import FrontendConfig
    from model_pipeline.data.audio import read_clip
    from model_pipeline.features import clip_features, quantize

    files = sorted((shared_data / "speech_commands" / "marvin").glob("*"))[:6]
    audio = np.concatenate([read_clip(f) for f in files])
    features = clip_features(FrontendConfig(hop_ms=10), audio[None])[0]
    tflite = wake_word("hey_jarvis")
    program = compile_model(tflite)
    steps = len(features) // 3
    scale, zero_point = float(program.input.scale), program.input.zero_point
    inputs = quantize(features[: 3 * steps], scale, zero_point).reshape(steps, *STEP)
    got = load_host(program).run(inputs)
    assert steps > 100 and np.array_equal(got, Oracle(tflite).run(inputs, STEP))


@requires_m4
def test_wake_word_models_equal_tflite_micro_on_a_cortex_m4():
    models = [wake_word(name) for name in ("okay_nabu", "hey_jarvis")]
    inputs = babble(3, 30)
    outputs = run_plans_on_m4([(compile_model(m), inputs) for m in models]).outputs
    for tflite, output in zip(models, outputs, strict=True):
        assert np.array_equal(output, Oracle(tflite).run(inputs, STEP))


@pytest.mark.slow
@pytest.mark.parametrize("name", mlperf_tiny.NAMES)
def test_every_layer_of_the_other_mlperf_tiny_models(name):
    tflite, shape = mlperf_tiny.model(name), mlperf_tiny.SHAPES[name]
    rng = np.random.default_rng(4)
    inputs = np.stack([rng.integers(-128, 128, shape).astype(np.int8)] + [mlperf_tiny.sample(rng, shape)] * 3)
    program = compile_model(tflite)
    check_layers(program, tflite, inputs, shape)


@pytest.mark.slow
@requires_m4
@pytest.mark.parametrize("name", mlperf_tiny.NAMES)
def test_the_other_mlperf_tiny_models_on_a_cortex_m4(name):
    tflite, shape = mlperf_tiny.model(name), mlperf_tiny.SHAPES[name]
    inputs = mlperf_tiny.sample(np.random.default_rng(5), shape)[None]
    output = run_plans_on_m4([(compile_model(tflite), inputs)], timeout=300).outputs[0]
    assert np.array_equal(output, Oracle(tflite).run(inputs, shape))
