"""Makes a damaged .tflite of a good one, the same from the same seed."""

from __future__ import annotations

import math
import struct
from typing import Any

import flatbuffers
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.nn_cases import CASES
from tests.support.nn_cases_more import MORE_CASES
from tests.support.tflite_builder import ds_cnn, schema

WORDS = [0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x3FFFFFFF]
INTEGERS = [-(1 << 31), -(1 << 16), -129, -128, -2, -1, 0, 1, 2, 3, 7, 127, 128, 1 << 15, 1 << 16, (1 << 31) - 1]
REALS = [0.0, -0.0, -1.0, 1e-45, 1e-30, 1e-10, 1.0, 1e10, 3e38, math.inf, -math.inf, math.nan, 1 / 256]
MAX_FIELDS = 4


def seeds(examples: int = 3) -> list[bytes]:
    """Good models: some of every operator that tests draw, and a small network."""
    found: list[bytes] = [ds_cnn(2, channels=4, blocks=1), ds_cnn(3, channels=5, blocks=2, labels=3)]
    strategies = CASES | MORE_CASES
    for number, name in enumerate(sorted(strategies)):
        found += _examples(strategies[name], number, examples)
    return found


def _examples(strategy: Any, number: int, count: int) -> list[bytes]:
    taken: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Any) -> None:
        taken.append(case.tflite)

    collect()
    return taken


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A good file with damaged fields, bytes, words or length, sometimes with both fields and bytes."""
    kind = int(rng.integers(0, 10))
    if kind >= 5:
        data = _fields(data, rng)
        if kind < 9:
            return data
        kind = int(rng.integers(0, 5))
    if kind == 0:
        return data[: int(rng.integers(0, len(data)))]
    if kind == 1:
        return _blocks(data, rng)
    return _bits(data, rng) if kind == 2 else _words(data, rng)


def _bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(0, len(changed)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def _words(data: bytes, rng: np.random.Generator) -> bytes:
    """Offsets, lengths and dimensions are words."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = 4 * int(rng.integers(0, len(changed) // 4))
        choice = int(rng.integers(0, 4))
        if choice == 0:
            value = WORDS[int(rng.integers(0, len(WORDS)))]
        elif choice == 1:
            value = int(rng.integers(0, len(data)))
        elif choice == 2:  # near what it was
            value = struct.unpack_from("<I", changed, at)[0] + int(rng.integers(-8, 9))
        else:  # towards another place: tables that share, or contain, each other
            value = int(rng.integers(0, len(data) // 4)) * 4 - at
        struct.pack_into("<I", changed, at, value & 0xFFFFFFFF)
    return bytes(changed)


def _blocks(data: bytes, rng: np.random.Generator) -> bytes:
    """A block copied over another, doubled or cut out."""
    size = int(rng.integers(1, 1 + min(64, len(data) // 2)))
    at, to = (int(v) for v in rng.integers(0, len(data) - size, 2))
    choice = int(rng.integers(0, 3))
    if choice == 0:
        return data[:to] + data[at : at + size] + data[to + size :]
    if choice == 1:
        return data[:to] + data[at : at + size] + data[to:]
    return data[:at] + data[at + size :]


def _fields(data: bytes, rng: np.random.Generator) -> bytes:
    """A well-formed file that says something else: shapes, types, quantisation, options, constants, wiring."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    for _ in range(int(rng.integers(1, MAX_FIELDS))):
        tensor = graph.tensors[int(rng.integers(0, len(graph.tensors)))]
        operator = graph.operators[int(rng.integers(0, len(graph.operators)))]
        choice = int(rng.integers(0, 9))
        if choice <= 1:
            tensor.shape = _changed(tensor.shape, rng)
        elif choice == 2:
            tensor.type = int(rng.integers(0, 19))
        elif choice == 3 and tensor.quantization is not None:
            _quantization(tensor.quantization, rng)
        elif choice == 4:
            tensor.buffer = int(rng.integers(0, len(model.buffers)))
        elif choice == 5 and operator.builtinOptions is not None:
            _options(operator.builtinOptions, rng)
        elif choice == 6:
            operator.inputs = _wired(operator.inputs, len(graph.tensors), rng)
        elif choice == 7:
            operator.outputs = _wired(operator.outputs, len(graph.tensors), rng)
        else:
            code = model.operatorCodes[int(rng.integers(0, len(model.operatorCodes)))]
            code.builtinCode = int(rng.integers(0, 160))
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (struct.error, TypeError, AttributeError, OverflowError, ValueError):
        return _bits(data, rng)  # what the writer itself refuses
    return bytes(builder.Output())


def _changed(values: Any, rng: np.random.Generator) -> list[int]:
    numbers = [int(v) for v in values] if values is not None else []
    choice = int(rng.integers(0, 4))
    if choice == 0 or not numbers:
        return [*numbers, _integer(rng)]
    if choice == 1:
        return numbers[:-1]
    if choice == 2:
        return [numbers[i] for i in rng.permutation(len(numbers))]
    numbers[int(rng.integers(0, len(numbers)))] = _integer(rng)
    return numbers


def _integer(rng: np.random.Generator) -> int:
    return INTEGERS[int(rng.integers(0, len(INTEGERS)))]


def _quantization(values: Any, rng: np.random.Generator) -> None:
    choice = int(rng.integers(0, 5))
    if choice == 0:
        values.scale = [REALS[int(rng.integers(0, len(REALS)))] for _ in range(int(rng.integers(0, 4)))]
    elif choice == 1 and values.scale is not None:
        scales = [float(s) for s in values.scale]
        if scales:
            scales[int(rng.integers(0, len(scales)))] *= 2.0 ** int(rng.integers(-40, 40))
        values.scale = scales
    elif choice == 2:
        values.zeroPoint = [_integer(rng) for _ in range(int(rng.integers(0, 4)))]
    elif choice == 3 and values.zeroPoint is not None:
        values.zeroPoint = [int(rng.integers(-140, 140)) for _ in values.zeroPoint]
    else:
        values.quantizedDimension = _integer(rng)


def _options(options: Any, rng: np.random.Generator) -> None:
    names = [name for name, value in vars(options).items() if isinstance(value, (int, float))]
    if not names:
        return
    name = names[int(rng.integers(0, len(names)))]
    if isinstance(getattr(options, name), float):
        setattr(options, name, REALS[int(rng.integers(0, len(REALS)))])
    else:
        setattr(options, name, _integer(rng))


def _wired(indices: Any, count: int, rng: np.random.Generator) -> list[int]:
    numbers = [int(v) for v in indices] if indices is not None else []
    if not numbers or int(rng.integers(0, 4)) == 0:
        return [*numbers, int(rng.integers(-1, count))]
    numbers[int(rng.integers(0, len(numbers)))] = int(rng.integers(-1, count + 1))
    return numbers
