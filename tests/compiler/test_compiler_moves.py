"""What only moves costs nothing where placement can do it; variables that make no sense are refused."""

from __future__ import annotations

import numpy as np
import pytest

from model_pipeline.compiler import compile_model, load_host
from model_pipeline.errors import KwsError
from tests.support.nn_cases_more import StatefulBuilder, _slice
from tests.support.tflite_builder import ModelBuilder, Oracle

Q = (np.float32(0.1), 3)


def functions(tflite: bytes) -> list[str]:
    return [call.function for call in compile_model(tflite).calls]


def halves(size: int, again: bool = False) -> bytes:
    """Both halves of the input through a RELU, then side by side; ``again``: the first one twice."""
    b = ModelBuilder()
    source = b.tensor((1, 2 * size), *Q)
    parts = [b.tensor((1, size), *Q) for _ in range(2)]
    axis = b.tensor((), data=np.array(1, np.int32))
    b.op("SPLIT", [axis, source], parts, "SplitOptions", numSplits=2)
    changed = [b.tensor((1, size), *Q) for _ in range(2)]
    for part, result in zip(parts, changed, strict=True):
        b.op("RELU", [part], [result])
    joined = [*changed, *changed[: int(again)]]
    target = b.tensor((1, len(joined) * size), *Q)
    b.op("CONCATENATION", joined, [target], "ConcatenationOptions", axis=1, fusedActivationFunction=0)
    return b.build([source], [target])


@pytest.mark.parametrize(
    ("tflite", "expected"),
    [
        (halves(8), ["", "kws_nn_rescale", "kws_nn_rescale", ""]),
        (halves(5), ["kws_nn_split", "kws_nn_rescale", "kws_nn_rescale", "kws_nn_concatenation"]),
        (halves(8, again=True), ["", "kws_nn_rescale", "kws_nn_rescale", "kws_nn_concatenation"]),
    ],
)
def test_split_and_concatenation_by_placement(tflite, expected):
    program = compile_model(tflite)
    assert [call.function for call in program.calls] == expected
    inputs = np.random.default_rng(1).integers(-128, 128, (20, program.input.size)).astype(np.int8)
    right = Oracle(tflite).run(inputs, program.input.shape)
    assert np.array_equal(load_host(program).run(inputs), right)
    assert np.array_equal(load_host(program, sanitize=True).run(inputs), right)


def delay(channels: int = 4) -> StatefulBuilder:
    """The newest three rows beside the new one; the graph is left open."""
    b = StatefulBuilder()
    new = b.tensor((1, 1, 1, channels), *Q)
    handle = b.variable("state", *Q, np.arange(3 * channels).astype(np.int8).reshape(1, 3, 1, channels))
    old, kept = (b.tensor((1, 3, 1, channels), *Q) for _ in range(2))
    joined = b.tensor((1, 4, 1, channels), *Q)
    b.op("READ_VARIABLE", [handle], [old], "ReadVariableOptions")
    b.op("CONCATENATION", [old, new], [joined], "ConcatenationOptions", axis=1, fusedActivationFunction=0)
    _slice(b, joined, kept, [0, 1, 0, 0], [1, 4, 1, channels])
    b.op("ASSIGN_VARIABLE", [handle, kept], [], "AssignVariableOptions")
    return b


@pytest.mark.parametrize("channels", [4, 3])
def test_a_delay_line_is_one_push(channels):
    tflite = delay(channels).build([0], [4])
    program = compile_model(tflite)
    assert [call.function for call in program.calls] == ["kws_nn_push"]
    inputs = np.random.default_rng(2).integers(-128, 128, (9, channels)).astype(np.int8)
    host = load_host(program)
    first = host.run(inputs)
    assert np.array_equal(first, Oracle(tflite).run(inputs, (1, 1, 1, channels)))
    assert not np.array_equal(first, host.run(inputs))
    host.reset()
    assert np.array_equal(first, host.run(inputs))


def test_what_is_read_before_it_is_needed_is_no_ring():
    """The old rows themselves are the output: the concatenation can't take their place."""
    tflite = delay().build([0], [2])
    assert "kws_nn_push" not in functions(tflite)
    inputs = np.random.default_rng(3).integers(-128, 128, (9, 4)).astype(np.int8)
    assert np.array_equal(load_host(compile_model(tflite)).run(inputs), Oracle(tflite).run(inputs, (1, 1, 1, 4)))


def unknown_handle() -> bytes:
    b = delay()
    other = b.tensor((), dtype="int32")
    b.graph.tensors[other].type = b.graph.tensors[1].type
    b.op("RESHAPE", [1], [other], "ReshapeOptions")
    b.graph.operators.insert(1, b.graph.operators.pop())
    b.graph.operators[2].inputs = [other]
    return b.build([0], [4])


def other_size() -> bytes:
    b = delay()
    b.initial["state"] = np.zeros((1, 2, 1, 4), np.int8)
    return b.build([0], [4])


def other_shape_of_variable() -> bytes:
    b = delay()
    wide = b.tensor((1, 4, 1, 4), *Q)
    b.op("RELU", [4], [wide])
    b.op("ASSIGN_VARIABLE", [1, wide], [], "AssignVariableOptions")
    return b.build([0], [4])


def computed_start() -> bytes:
    b = delay()
    tflite = b.build([0], [4])
    start = b.model.subgraphs[1]
    start.operators[-1].inputs = [start.operators[-1].inputs[1], start.operators[-1].inputs[0]]
    assert tflite
    del b.initial["state"]
    return b.build([0], [4])


def missing_subgraph() -> bytes:
    b = delay()
    b.build([0], [4])
    b.graph.operators[0].builtinOptions.initSubgraphIndex = 7
    del b.initial["state"]
    return b.build([0], [4])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (unknown_handle, "comes from no VAR_HANDLE"),
        (other_size, "initial value of .*state.* has 8 values where 12"),
        (other_shape_of_variable, r"INT8 \[1, 4, 1, 4\] where .*state.* is INT8 \[1, 3, 1, 4\]"),
        (computed_start, "only constants are known as initial values"),
        (missing_subgraph, "it calls subgraph 7 of 2"),
    ],
)
def test_impossible_variables_are_refused(model, message):
    with pytest.raises(KwsError, match=message):
        compile_model(model())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ellipsisMask": 1}, "ellipsis"),
        ({"newAxisMask": 2}, "ellipsis, new axes"),
        ({"offset": True}, "relative ends"),
        ({"shrinkAxisMask": 1}, "lies outside dimension 0"),
        ({"endMask": 0}, "nothing is left of dimension 0"),
    ],
)
def test_slices_that_are_not_known_are_refused(change, message):
    b = ModelBuilder()
    source, target = b.tensor((4, 2), *Q), b.tensor((4, 2), *Q)
    others = [b.tensor((2,), data=np.array(v, np.int32)) for v in ([4, 0], [4, 2], [1, 1])]
    given = {"beginMask": 0, "endMask": 3, **change}
    b.op("STRIDED_SLICE", [source, *others], [target], "StridedSliceOptions", **given)
    with pytest.raises(KwsError, match=message):
        compile_model(b.build([source], [target]))
