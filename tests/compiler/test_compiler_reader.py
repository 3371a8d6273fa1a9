"""A damaged .tflite is refused in one line: no traceback, no hang, no huge allocation."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.compiler import compile_model, emit, load_host
from model_pipeline.compiler.flatbuffer import Buffer
from model_pipeline.compiler.reader import read_model
from model_pipeline.errors import KwsError
from tests.support.tflite_builder import ModelBuilder, Oracle, ds_cnn

SMALL = ds_cnn(2, channels=4, blocks=1)


def attempt(data: bytes) -> None:
    """Compiles or refuses; anything else is a failure."""
    try:
        emit(compile_model(data))
    except KwsError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x10\0\0\0TFL3", b"\0" * 100, b"PK\x03\x04" + b"\0" * 100])
def test_other_files_are_refused(data):
    with pytest.raises(KwsError):
        compile_model(data)


def test_another_schema_version_is_refused():
    b = ModelBuilder()
    b.model.version = 4
    first, out = b.tensor((1, 8), 0.1, 3), b.tensor((1, 8), 0.1, 3)
    b.op("RELU", [first], [out])
    with pytest.raises(KwsError, match="schema version 4"):
        compile_model(b.build([first], [out]))


def test_every_truncation_is_refused_or_harmless():
    for length in range(0, len(SMALL), 7):
        attempt(SMALL[:length])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_are_refused_or_harmless(changes):
    data = bytearray(SMALL)
    for at, value in changes:
        data[at] = value
    attempt(bytes(data))


WORDS = st.one_of(
    st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(SMALL), 4]), st.integers(0, 0xFFFFFFFF)
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) // 4 - 1), WORDS), min_size=1, max_size=3))
def test_changed_words_are_refused_or_harmless(changes):
    """Offsets and lengths are words: this hits them more often than single bytes."""
    data = bytearray(SMALL)
    for at, value in changes:
        struct.pack_into("<I", data, 4 * at, value)
    attempt(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_behind_a_good_head_are_refused(tail):
    attempt(b"\x1c\0\0\0TFL3" + tail)


def test_an_absurd_length_allocates_nothing():
    """Every word in turn becomes a huge length or offset; memory must stay within a few copies of the file."""
    tracemalloc.start()
    try:
        for at in range(0, len(SMALL) - 4, 52):
            data = bytearray(SMALL)
            struct.pack_into("<I", data, at, 0x3FFFFFFF)
            attempt(bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_tables_that_refer_to_each_other_end():
    """A thousand subgraphs that are one subgraph of a thousand tensors: a million tables from a small file."""
    b = ModelBuilder()
    first = b.tensor((1, 1), 0.1, 0)
    for _ in range(1000):
        b.tensor((1, 1), 0.1, 0)
    out = b.tensor((1, 1), 0.1, 0)
    b.op("RELU", [first], [out])
    b.model.subgraphs = b.model.subgraphs * 2
    data = bytearray(b.build([first], [out]))
    # Lengthen the vector of subgraphs over the bytes behind it, all pointing to the first one.
    found = Buffer(bytes(data)).root()._vector(2, 4)
    assert found is not None and found[1] == 2
    start, count = found[0], 1000
    data.extend(bytes(max(0, start + 4 * count - len(data))))
    target = start + struct.unpack_from("<I", data, start)[0]
    assert target > start + 4 * count  # flatbuffers lays children behind: the subgraph itself is not overwritten
    struct.pack_into("<I", data, start - 4, count)
    for slot in range(start, start + 4 * count, 4):
        struct.pack_into("<I", data, slot, target - slot)
    with pytest.raises(KwsError, match="without end"):
        compile_model(bytes(data))


def test_a_name_of_control_characters_is_made_printable():
    b = ModelBuilder()
    first = b.tensor((1, 8), 0.1, 3, name="a\x1b[31m\nb")
    out = b.tensor((1, 8), 0.1, 3, name="*/ #error ")
    b.op("RELU", [first], [out])
    data = b.build([first], [out])
    assert read_model(data)[0].tensors[0].name == "a?[31m?b"
    assert "#error" not in emit(compile_model(data))["model_aot.c"]


def test_a_git_lfs_pointer_is_called_one():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 300568\n"
    with pytest.raises(KwsError, match="Git LFS pointer") as caught:
        compile_model(pointer)
    assert "git lfs pull" in caught.value.hint


def test_a_tensor_without_elements_that_nothing_reads_is_not_in_the_way():
    b = ModelBuilder()
    source, target = b.tensor((1, 4), 0.1, 0), b.tensor((1, 4), 0.1, 0)
    b.tensor((0,), name="intermediate")
    b.op("RELU", [source], [target])
    assert compile_model(b.build([source], [target])).macs == 0


def test_an_operator_that_reads_a_tensor_without_elements_is_named():
    b = ModelBuilder()
    source, target = b.tensor((1, 4), 0.1, 0), b.tensor((1, 4), 0.1, 0)
    b.op("ADD", [source, b.tensor((0,), 0.1, 0, name="nothing")], [target], "AddOptions")
    b.graph.tensors[2].isVariable = True  # read without having been written
    with pytest.raises(KwsError, match=r"operator 0 \(ADD, output 't1'\): 'nothing' has the impossible shape \[0\]"):
        compile_model(b.build([source], [target]))


def test_the_dimension_of_a_biases_scales_is_not_looked_at():
    b = ModelBuilder()
    source = b.tensor((1, 4), 0.1, 0)
    weights = b.tensor((3, 4), np.full(3, 0.01, np.float32), 0, np.ones((3, 4), np.int8), axis=0)
    bias = b.tensor((3,), np.full(3, 0.001, np.float32), 0, np.arange(3, dtype=np.int32), axis=3)
    target = b.tensor((1, 3), 0.1, 0)
    b.op("FULLY_CONNECTED", [source, weights, bias], [target], "FullyConnectedOptions")
    tflite = b.build([source], [target])
    inputs = np.array([[9, -8, 70, 33]], np.int8)
    assert np.array_equal(load_host(compile_model(tflite)).run(inputs), Oracle(tflite).run(inputs, (1, 4)))
