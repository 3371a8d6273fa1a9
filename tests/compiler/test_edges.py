"""Where a model begins and ends: float32 edges, several inputs and outputs; and what networks compute of shapes."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from host_tools.check.layers import compare
from model_pipeline.compiler import HostPrograms, compile_model, emit, load_host
from model_pipeline.compiler.host import KERNELS, PLAIN, kernel_objects
from model_pipeline.errors import KwsError
from model_pipeline.export import resolver_header
from model_pipeline.native import host_compiler
from tests.support.nn_cases_more import lstm_model, svdf_model
from tests.support.tflite_builder import ModelBuilder, Oracle

RNG = np.random.default_rng
SCALE = np.float32(0.05)


def dense(b: ModelBuilder, source: int, width: int, out: int, seed: int = 1, name: str = "") -> int:
    rng = RNG(seed)
    weights = b.tensor((out, width), 0.01, 0, rng.integers(-127, 128, (out, width)).astype(np.int8))
    bias = b.tensor((out,), SCALE * np.float32(0.01), 0, rng.integers(-900, 900, out).astype(np.int32))
    target = b.tensor((1, out), 0.1, 3, name=name)
    b.op("FULLY_CONNECTED", [source, weights, bias], [target], "FullyConnectedOptions")
    return target


def float_edges() -> bytes:
    """float32 in, QUANTIZE, a dense layer, DEQUANTIZE, float32 out: the converter's default."""
    b = ModelBuilder()
    first = b.tensor((1, 6), dtype="float32", name="features")
    inside = b.tensor((1, 6), SCALE, -7)
    b.op("QUANTIZE", [first], [inside], "QuantizeOptions")
    logits = dense(b, inside, 6, 4)
    last = b.tensor((1, 4), dtype="float32", name="scores")
    b.op("DEQUANTIZE", [logits], [last], "DequantizeOptions")
    return b.build([first], [last])


def test_a_plan_begins_and_ends_inside_of_float_edges():
    tflite = float_edges()
    program = compile_model(tflite)
    assert (program.input.type, program.output.type) == ("INT8", "INT8")
    assert [call.operator.name for call in program.calls] == ["FULLY_CONNECTED"]
    edges = {e.edge: (e.name, e.scale, e.zero_point) for e in program.float_edges}
    assert edges == {"input": ("features", float(SCALE), -7), "output": ("scores", float(np.float32(0.1)), 3)}
    assert "float32" in emit(program)["model_aot.h"]
    inputs = RNG(1).integers(-128, 128, (9, 6)).astype(np.int8)
    result = compare(tflite, program, inputs)
    assert result.equal and result.values == 9 * 4
    # By hand: the real numbers around the plan are those that TFLite Micro gives.
    real = SCALE * (inputs.astype(np.float32) + 7)
    outside = Oracle(tflite).run(real, (1, 6))
    ours = load_host(program).run(inputs)
    assert np.array_equal(np.float32(0.1) * (ours.astype(np.float32) - 3), outside)


def test_the_tflm_engine_of_a_float_model_says_what_it_takes(tmp_path):
    class Named:
        model_hash = "0" * 16

    text = resolver_header(float_edges(), Named())  # type: ignore[arg-type]
    assert re.search(r'#error ".*int8 input and output', text)


def test_a_float_input_that_is_not_quantised_is_named():
    b = ModelBuilder()
    first = b.tensor((1, 6), dtype="float32", name="features")
    out = b.tensor((1, 6), dtype="float32")
    b.op("RELU", [first], [out])
    with pytest.raises(KwsError, match=r"'features' is FLOAT32 and read by operator 0 \(RELU"):
        compile_model(b.build([first], [out]))


def two_and_two(names: tuple[str, str, str, str] = ("left/a:0", "right b", "sum", "sum")) -> bytes:
    """Two inputs; their sum, and a dense layer of the second."""
    b = ModelBuilder()
    left, right = b.tensor((1, 8), SCALE, -3, name=names[0]), b.tensor((1, 8), SCALE, 5, name=names[1])
    both = b.tensor((1, 8), 0.1, 0, name=names[2])
    b.op("ADD", [left, right], [both], "AddOptions", fusedActivationFunction=0)
    return b.build([left, right], [both, dense(b, right, 8, 3, name=names[3])])


def test_several_inputs_and_outputs_equal_tflite_micro_and_have_names():
    tflite = two_and_two()
    program = compile_model(tflite)
    inputs = RNG(2).integers(-128, 128, (20, 16)).astype(np.int8)
    assert compare(tflite, program, inputs).equal
    header = emit(program)["model_aot.h"]
    for name in ("input_left_a_0", "input_right_b", "output_sum", "output_sum_1"):
        assert f"kws_aot_{name}(void *memory);" in header
    assert "#define KWS_AOT_INPUTS 2u" in header and "#define KWS_AOT_OUTPUT_SUM_1_BYTES 3u" in header
    with pytest.raises(KwsError, match="2 inputs and 2 outputs; a streaming plan needs one of each"):
        compile_model(tflite, hop=1)


def test_named_functions_are_what_the_header_says(tmp_path):
    """A user's program: by name, in C."""
    tflite = two_and_two()
    program = compile_model(tflite)
    for name, text in emit(program).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.c").write_text(
        """#include <stdio.h>
        #include <string.h>
        #include "model_aot.h"
        int main(void) {
          static _Alignas(8) int8_t memory[KWS_AOT_ARENA_BYTES];
          kws_aot_reset(memory);
          memset(kws_aot_input_left_a_0(memory), 10, KWS_AOT_INPUT_LEFT_A_0_BYTES);
          memset(kws_aot_input_right_b(memory), -4, KWS_AOT_INPUT_RIGHT_B_BYTES);
          kws_aot_invoke(memory);
          fwrite(kws_aot_output_sum(memory), 1, KWS_AOT_OUTPUT_SUM_BYTES, stdout);
          fwrite(kws_aot_output_sum_1(memory), 1, KWS_AOT_OUTPUT_SUM_1_BYTES, stdout);
        }"""
    )
    compiler = host_compiler()
    command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", *(f"-I{k}" for k in KERNELS), f"-I{tmp_path}"]
    files = [str(tmp_path / "main.c"), str(tmp_path / "model_aot.c"), *kernel_objects(compiler, PLAIN)]
    subprocess.run([*command, *files, "-o", str(tmp_path / "a")], check=True)
    got = np.frombuffer(subprocess.run([tmp_path / "a"], capture_output=True, check=True).stdout, np.int8)
    given = np.r_[np.full(8, 10), np.full(8, -4)].astype(np.int8)
    assert np.array_equal(got, load_host(program).run(given[None])[0])


@pytest.mark.parametrize("name", ["*/ evil(); /*", "", "9", "é\n#define x", "a" * 300, "int"])
def test_names_from_a_file_are_never_code(name):
    program = compile_model(two_and_two((name, name, name, name)))
    files = emit(program)
    found = re.findall(r"kws_aot_(?:in|out)put_(\S+?)\(void \*memory\);", files["model_aot.h"])
    assert len(found) == 4 and all(re.fullmatch(r"[0-9a-z_]{1,60}", f) for f in found), found
    assert len(set(found[:2])) == len(set(found[2:])) == 2
    assert "evil()" not in "".join(files.values()) and "\n#define x" not in "".join(files.values())
    HostPrograms([program])


def batch_by_shape(fixed: bool = True) -> bytes:
    """RESHAPE to [batch, -1], the batch by SHAPE, STRIDED_SLICE and PACK: a Flatten of no fixed batch."""
    b = ModelBuilder()
    source = b.tensor((1, 2, 3), SCALE, 0)
    shape = b.tensor((3,), dtype="int32")
    b.op("SHAPE", [source], [shape], "ShapeOptions", outType=2)
    ends = [b.tensor((1,), data=np.array(v, np.int32)) for v in ([0], [1], [1])]
    batch = b.tensor((), dtype="int32")
    b.op("STRIDED_SLICE", [shape, *ends], [batch], "StridedSliceOptions", shrinkAxisMask=1)
    rest = b.tensor((), data=np.array(-1, np.int32))
    wanted = b.tensor((2,), dtype="int32")
    b.op("PACK", [batch, rest], [wanted], "PackOptions", axis=0, valuesCount=2)
    flat = b.tensor((1, 6), SCALE, 0)
    b.op("RESHAPE", [source, wanted], [flat], "ReshapeOptions")
    out = dense(b, flat, 6, 4)
    return b.build([source], [wanted if not fixed else out])


def test_what_is_computed_of_shapes_is_constant():
    tflite = batch_by_shape()
    program = compile_model(tflite)
    assert [call.operator.name for call in program.calls if call.function] == ["FULLY_CONNECTED"]
    inputs = RNG(3).integers(-128, 128, (5, 6)).astype(np.int8)
    assert np.array_equal(load_host(program).run(inputs), Oracle(tflite).run(inputs, (1, 2, 3)))


def test_an_output_that_only_shapes_make_is_refused():
    with pytest.raises(KwsError):
        compile_model(batch_by_shape(fixed=False))


def test_a_model_with_a_state_is_a_streaming_model_already():
    tflite, _ = lstm_model(RNG(4), (1, 4, 3, 5), False, 11, 0.0, np.float32(2.0**-13), np.float32(1 / 128), (3, -4))
    svdf, _ = svdf_model(RNG(5), (1, 3, 4, 1, 5), False, (0.05, 0.2, 200.0), (1, 2, 3))
    for model, frames in ((tflite, 4), (svdf, 3)):
        with pytest.raises(KwsError, match="keeps its own state"):
            compile_model(model, hop=1, frames=frames)


def test_a_state_is_forgotten_by_a_reset():
    tflite, shape = lstm_model(
        RNG(6), (1, 4, 3, 5), False, 11, 0.0, np.float32(2.0**-12), np.float32(1 / 128), (3, -40)
    )
    host = load_host(compile_model(tflite))
    inputs = RNG(7).integers(-128, 128, (3, *shape)).astype(np.int8)
    first = host.run(inputs)
    assert not np.array_equal(host.run(inputs), first)
    host.reset()
    assert np.array_equal(host.run(inputs), first)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: o.inputs.__setitem__(9, o.inputs[5]), "it has peephole weights"),
        (lambda o: o.inputs.__setitem__(16, o.inputs[5]), "it has a projection"),
        (lambda o: setattr(o.builtinOptions, "fusedActivationFunction", 1), "activation RELU is not known"),
        (lambda o: o.inputs.__setitem__(1, -1), "input 1 is missing"),
    ],
)
def test_an_lstm_that_is_not_known_is_named_by_its_place(change, said, monkeypatch):
    build = ModelBuilder.build

    def changed(self: ModelBuilder, inputs: list[int], outputs: list[int]) -> bytes:
        change(self.graph.operators[0])
        return build(self, inputs, outputs)

    monkeypatch.setattr(ModelBuilder, "build", changed)
    tflite, _ = lstm_model(RNG(8), (1, 2, 3, 3), False, 11, 0.0, np.float32(2.0**-13), np.float32(1 / 128), (3, -4))
    with pytest.raises(KwsError, match=rf"operator 0 \(UNIDIRECTIONAL_SEQUENCE_LSTM, output 't\d+'\): {said}"):
        compile_model(tflite)
