"""The compiler on whole models: equal to TFLite Micro layer by layer, planned tightly, refusing what it must."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.mlperf.inputs import as_the_model_takes
from model_pipeline.compiler import HostPrograms, compile_model, emit, load_host
from model_pipeline.compiler.passes.place import Memory
from model_pipeline.compiler.planner import lower_bound, plan
from model_pipeline.errors import KwsError
from tests.support.kws01_inputs import official_inputs
from tests.support.m4 import requires_m4
from tests.support.nn_m4 import run_plans_on_m4
from tests.support.tflite_builder import ModelBuilder, Oracle, ds_cnn, lively_inputs

WINDOW = (1, 49, 40, 1)


@pytest.fixture(scope="module")
def default_like() -> bytes:
    return ds_cnn(1)


@pytest.fixture(scope="module")
def kws01(shared_data: Path) -> bytes:
    return (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()


@pytest.mark.slow
def test_a_ds_cnn_equals_tflite_micro_on_a_thousand_inputs(default_like):
    rng = np.random.default_rng(7)
    random = rng.integers(-128, 128, (500, *WINDOW[1:])).astype(np.int8)
    inputs = np.concatenate([random, lively_inputs(rng, 500, WINDOW)])
    got = load_host(compile_model(default_like)).run(inputs)
    assert np.array_equal(got, Oracle(default_like).run(inputs, WINDOW))
    assert len(np.unique(got, axis=0)) > 400


@requires_m4
def test_a_ds_cnn_equals_tflite_micro_on_a_cortex_m4(default_like):
    inputs = lively_inputs(np.random.default_rng(8), 20, WINDOW)
    done = run_plans_on_m4([(compile_model(default_like), inputs)], timeout=300)
    assert np.array_equal(done.outputs[0], Oracle(default_like).run(inputs, WINDOW))
    # 1.44 M MACs with plain kernels; a change for the worse should not pass unseen.
    assert done.result.per_call("m0") < 25e6


def check_layers(tflite: bytes, inputs: np.ndarray, shape: tuple[int, ...]) -> None:
    program = compile_model(tflite)
    host = load_host(program)
    oracle = Oracle(tflite, all_tensors=True)
    for values in inputs:
        oracle.run(values[None], shape)
        layers = host.layers(values)
        assert len(layers) == len(program.calls)
        for call, layer in zip(program.calls, layers, strict=True):
            assert np.array_equal(layer, oracle.tensor(call.outputs[0].index)), call.operator.place


def test_every_layer_of_a_ds_cnn_equals_tflite_micro(default_like):
    check_layers(default_like, lively_inputs(np.random.default_rng(9), 5, WINDOW), WINDOW)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("kws_ref_model", (1, 49, 10, 1)),
        ("micro_speech_quantized", (1, 1960)),
        ("str_ww_ref", (1, 30, 1, 40)),
    ],
)
def test_every_layer_of_the_mlperf_models_equals_tflite_micro(shared_data, name, shape):
    tflite = (shared_data / "mlperf_tiny" / f"{name}.tflite").read_bytes()
    inputs = np.random.default_rng(10).integers(-128, 128, (3, int(np.prod(shape)))).astype(np.int8)
    check_layers(tflite, inputs, shape)


@pytest.mark.slow
def test_the_official_inputs_of_kws01_equal_tflite_micro(kws01, shared_data):
    _, raw, labels = official_inputs(shared_data)
    program = compile_model(kws01)
    inputs = as_the_model_takes(raw, program)
    inputs = np.concatenate([inputs, raw[:200]])
    got = load_host(program).run(inputs)
    assert np.array_equal(got, Oracle(kws01).run(inputs, (1, 49, 10, 1)))
    assert np.mean(got[:1000].argmax(axis=1) == labels) > 0.9


@requires_m4
def test_kws01_equals_tflite_micro_on_a_cortex_m4(kws01, shared_data):
    program = compile_model(kws01)
    raw = official_inputs(shared_data, 5)[1]
    inputs = as_the_model_takes(raw, program)
    done = run_plans_on_m4([(program, inputs)], timeout=300)
    assert np.array_equal(done.outputs[0], Oracle(kws01).run(inputs, (1, 49, 10, 1)))


@pytest.mark.slow
def test_a_converted_keras_model_equals_tflite_micro(tmp_path):
    """What TensorFlow's converter writes, which the flatbuffer builder may not think of: a residual sum, explicit
    padding, average and maximum pooling, global pooling, a dense layer with a scale for each channel."""
    target = tmp_path / "model.tflite"
    script = tmp_path / "convert.py"
    script.write_text(CONVERT)
    done = subprocess.run([sys.executable, str(script), str(target)], capture_output=True, text=True, timeout=300)
    if done.returncode and "No module named 'tensorflow'" in done.stderr:
        pytest.skip("TensorFlow is not installed")
    assert done.returncode == 0, done.stderr[-2000:]
    tflite = target.read_bytes()
    program = compile_model(tflite)
    names = {call.operator.name for call in program.calls}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "PAD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"} <= names
    inputs = lively_inputs(np.random.default_rng(11), 20, WINDOW)
    got = load_host(program, sanitize=True).run(inputs)
    assert np.array_equal(got, Oracle(tflite).run(inputs, WINDOW))
    check_layers(tflite, inputs[:3], WINDOW)


CONVERT = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
tf.random.set_seed(1)
rng = np.random.default_rng(1)
x = first = layers.Input((49, 40, 1), batch_size=1)
x = layers.Conv2D(8, (5, 4), strides=2, padding="same", use_bias=False)(x)
x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
y = layers.ZeroPadding2D(((1, 1), (0, 2)))(x)
y = layers.DepthwiseConv2D((3, 3), padding="valid")(y)
y = layers.Conv2D(8, 1)(y)
x = layers.ReLU()(layers.Add()([x, y]))
x = layers.MaxPooling2D(2)(x)
x = layers.DepthwiseConv2D((3, 1), dilation_rate=(2, 1), depth_multiplier=2)(x)
x = layers.AveragePooling2D((2, 2), strides=1, padding="same")(x)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Softmax()(layers.Dense(10)(x))
model = tf.keras.Model(first, x)
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([rng.normal(2, 2, (1, 49, 40, 1)).astype(np.float32)] for _ in range(20))
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[1], "wb").write(converter.convert())
"""


def test_compiling_needs_no_tensorflow():
    code = "import sys, model_pipeline.compiler, host_tools.verbs.compile"
    code += "; print([m for m in sys.modules if 'tensor' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_programs_live_side_by_side():
    """Programs with other prefixes share a library and do not disturb each other."""
    models = [ds_cnn(seed, channels=4, blocks=1) for seed in (1, 2)]
    first, second = HostPrograms([compile_model(m) for m in models]).programs
    inputs = lively_inputs(np.random.default_rng(12), 6, WINDOW)
    before = first.run(inputs)
    assert not np.array_equal(before, second.run(inputs))
    assert np.array_equal(before, first.run(inputs))


def test_emitting_twice_gives_the_same(default_like):
    assert emit(compile_model(default_like)) == emit(compile_model(default_like))


def test_equal_constants_are_stored_once():
    b = ModelBuilder()
    weights = np.arange(-8, 8).astype(np.int8).reshape(4, 4)
    w = b.tensor((4, 4), 0.1, 0, weights)
    tensors = [b.tensor((1, 4), 0.1, 0) for _ in range(3)]
    for source, target in itertools.pairwise(tensors):
        b.op("FULLY_CONNECTED", [source, w, -1], [target], "FullyConnectedOptions")
    program = compile_model(b.build(tensors[:1], tensors[-1:]), "portable")
    assert emit(program)["model_aot.c"].count("-8,-7,-6") == 1
    assert program.constant_bytes == 16 + 4 * 4 + 4


def residual(operations: int) -> bytes:
    """x -> a chain of RELUs, then x + chain: the input must outlive the chain."""
    b = ModelBuilder()
    first = current = b.tensor((1, 8), 0.1, 3)
    for _ in range(operations):
        target = b.tensor((1, 8), 0.1, 3)
        b.op("RELU", [current], [target])
        current = target
    out = b.tensor((1, 8), 0.2, -5)
    b.op("ADD", [first, current], [out], "AddOptions")
    return b.build([first], [out])


def test_in_place_calls_spare_what_is_still_needed():
    tflite = residual(3)
    program = compile_model(tflite)
    # The input, and one memory for the whole chain and the sum.
    assert program.arena_bytes == 16
    inputs = np.random.default_rng(13).integers(-128, 128, (50, 8)).astype(np.int8)
    assert np.array_equal(load_host(program).run(inputs), Oracle(tflite).run(inputs, (1, 8)))


def test_a_reshaped_tensor_is_not_overwritten_early():
    """The reshape shares memory with the input, which is read again after an in-place candidate."""
    b = ModelBuilder()
    first = b.tensor((1, 8), 0.1, 3)
    flat = b.tensor((2, 4), 0.1, 3)
    b.op("RESHAPE", [first], [flat], "ReshapeOptions")
    changed = b.tensor((2, 4), 0.05, 1)
    b.op("RELU", [flat], [changed])
    back = b.tensor((1, 8), 0.05, 1)
    b.op("RESHAPE", [changed], [back], "ReshapeOptions")
    out = b.tensor((1, 8), 0.2, -5)
    b.op("ADD", [first, back], [out], "AddOptions")
    tflite = b.build([first], [out])
    inputs = np.random.default_rng(14).integers(-128, 128, (50, 8)).astype(np.int8)
    assert np.array_equal(load_host(compile_model(tflite)).run(inputs), Oracle(tflite).run(inputs, (1, 8)))


def test_what_no_output_needs_is_left_out():
    b = ModelBuilder()
    first, dead, out = (b.tensor((1, 8), 0.1, 3) for _ in range(3))
    b.op("SOFTMAX", [first], [dead], "SoftmaxOptions", beta=1.0)  # would be refused: not 1/256
    b.op("RELU", [first], [out])
    assert [c.operator.name for c in compile_model(b.build([first], [out])).calls] == ["RELU"]


def test_a_change_of_a_constants_shape_is_done_by_the_compiler():
    b = ModelBuilder()
    first = b.tensor((1, 4), 0.1, 3)
    constant = b.tensor((4,), 0.1, 0, np.array([1, -2, 3, -4], np.int8))
    shaped, out = b.tensor((1, 4), 0.1, 0), b.tensor((1, 4), 0.2, 0)
    b.op("RESHAPE", [constant], [shaped], "ReshapeOptions")
    b.op("ADD", [first, shaped], [out], "AddOptions")
    tflite = b.build([first], [out])
    program = compile_model(tflite)
    assert [c.operator.name for c in program.calls] == ["ADD"]
    inputs = np.random.default_rng(15).integers(-128, 128, (20, 4)).astype(np.int8)
    assert np.array_equal(load_host(program).run(inputs), Oracle(tflite).run(inputs, (1, 4)))


MEMORIES = st.lists(
    st.tuples(st.integers(1, 100), st.integers(0, 12), st.integers(0, 5), st.integers(0, 100)).map(
        lambda v: Memory("m", v[0], v[1], v[1] + v[2], shrinks=[(v[1] + 1 + v[2] // 2, v[3])] * (v[3] < v[0]))
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(MEMORIES)
def test_a_plan_never_overlaps_and_knows_its_bound(memories):
    found = plan(memories)
    assert lower_bound(memories) == found.lower_bound <= found.arena_bytes
    for m in memories:
        assert m.offset % 4 == 0 and 0 <= m.offset <= found.arena_bytes - m.size
    for i, a in enumerate(memories):
        for b in memories[:i]:
            for call in range(max(a.first, b.first), min(a.last, b.last) + 1):
                apart = a.offset + a.size_at(call) <= b.offset or b.offset + b.size_at(call) <= a.offset
                assert apart


def test_the_default_models_plan_is_optimal(default_like):
    found = compile_model(default_like).plan
    assert found.arena_bytes == found.lower_bound


def unary(name: str, options: str = "", *, source: dict | None = None, target: dict | None = None, **fields) -> bytes:
    b = ModelBuilder()
    a = b.tensor(**{"shape": (1, 4, 4, 2), "scale": 0.1, "zero_point": 0, **(source or {})})
    c = b.tensor(**{"shape": (1, 4, 4, 2), "scale": 0.1, "zero_point": 0, **(target or {})}, name="result")
    b.op(name, [a], [c], options, **fields)
    return b.build([a], [c])


POOL = {"padding": 1, "strideH": 1, "strideW": 1, "filterHeight": 1, "filterWidth": 1}


@pytest.mark.parametrize(
    ("tflite", "message"),
    [
        (lambda: unary("COS"), r"operator 0 \(COS, output 'result'\).*does not know this operator"),
        (lambda: unary("RELU", source={"dtype": "float32", "scale": None}), r"FLOAT32 and read by operator 0 \(RELU"),
        (lambda: unary("RELU", target={"dtype": "uint8"}), "output .result. is UINT8"),
        (lambda: unary("RELU", target={"shape": (1, 4, 4, 3)}), "operator 0.*output has shape"),
        (lambda: unary("RELU", target={"scale": 1e-30}), "impossible quantisation"),
        (lambda: unary("RELU", source={"scale": float("nan")}), "not a finite positive number"),
        (lambda: unary("RELU", source={"scale": -0.5}), "not a finite positive number"),
        (lambda: unary("RELU", source={"zero_point": 128}), "zero point outside INT8"),
        (lambda: unary("RELU", source={"shape": (1, 0, 4, 2)}), "impossible shape"),
        (lambda: unary("RELU", source={"shape": (1 << 30, 1 << 30)}), "impossible shape"),
        (lambda: unary("RELU", source={"shape": (-1, 4)}), "impossible shape"),
        (lambda: unary("AVERAGE_POOL_2D", "Pool2DOptions", **{**POOL, "strideW": 0}), "stride_w is 0"),
        (lambda: unary("AVERAGE_POOL_2D", "Pool2DOptions", **{**POOL, "filterWidth": 9}), "window of 9 does not fit"),
        (lambda: unary("AVERAGE_POOL_2D", "Pool2DOptions", **{**POOL, "padding": 7}), "padding 7"),
        (lambda: unary("AVERAGE_POOL_2D", "Pool2DOptions", **POOL, fusedActivationFunction=4), "activation TANH"),
        (lambda: unary("AVERAGE_POOL_2D"), "options are missing"),
        (lambda: unary("SOFTMAX", "SoftmaxOptions", beta=1.0), "scale 1/256"),
        (lambda: unary("RESHAPE", "ReshapeOptions", target={"shape": (1, 3)}), "change of shape"),
    ],
)
def test_a_model_outside_the_list_is_refused_by_name_and_place(tflite, message):
    with pytest.raises(KwsError, match=message):
        compile_model(tflite())


def test_a_sum_that_can_overflow_is_refused():
    b = ModelBuilder()
    first, out = b.tensor((1, 4), 0.1, 3), b.tensor((1, 2), 0.1, 3)
    w = b.tensor((2, 4), 0.1, 0, np.full((2, 4), 127, np.int8))
    bias = b.tensor((2,), 0.01, 0, np.array([0, 2**31 - 1], np.int32))
    b.op("FULLY_CONNECTED", [first, w, bias], [out], "FullyConnectedOptions")
    with pytest.raises(KwsError, match="output channel 1 can overflow"):
        compile_model(b.build([first], [out]))


def test_cycles_and_loose_ends_are_refused():
    b = ModelBuilder()
    first, second, out = (b.tensor((1, 8), 0.1, 3) for _ in range(3))
    b.op("ADD", [first, out], [second], "AddOptions")
    b.op("RELU", [second], [out])
    with pytest.raises(KwsError, match="before anything wrote it"):
        compile_model(b.build([first], [out]))
    b = ModelBuilder()
    first, out = (b.tensor((1, 8), 0.1, 3) for _ in range(2))
    b.op("RELU", [first], [first])
    with pytest.raises(KwsError, match="has a value already"):
        compile_model(b.build([first], [out]))
    b = ModelBuilder()
    first, out, other = (b.tensor((1, 8), 0.1, 3) for _ in range(3))
    b.op("RELU", [first], [other])
    with pytest.raises(KwsError, match="written by no operator"):
        compile_model(b.build([first], [out]))


def test_inputs_of_the_wrong_size_or_type_are_refused():
    host = load_host(compile_model(residual(1)))
    with pytest.raises(KwsError, match="not a multiple"):
        host.run(np.zeros((1, 7), np.int8))
    with pytest.raises(KwsError, match="int8"):
        host.run(np.zeros((1, 8), np.float32))


def test_a_process_that_ends_at_once_leaves_no_program_behind(tmp_path: Path):
    """As workers of pools do, and without a run of the garbage collector."""
    code = """
import gc, os, sys
gc.disable()
from model_pipeline.compiler import compile_model, load_host
program = compile_model(open(sys.argv[1], "rb").read())
load_host(program, sanitize=True)
still_in_use = load_host(program)
os._exit(0)
"""
    model, temporary = tmp_path / "model.tflite", tmp_path / "tmp"
    model.write_bytes(residual(1))
    temporary.mkdir()
    subprocess.run([sys.executable, "-c", code, str(model)], check=True, env={**os.environ, "TMPDIR": str(temporary)})
    assert not list(temporary.iterdir())
