"""From the bytes of a .tflite to `Graph`s, with everything checked that a later stage relies on.

Field numbers are those of the public schema (tensorflow/lite/schema/schema.fbs).
"""

from __future__ import annotations

import numpy as np

from model_pipeline.compiler.flatbuffer import Buffer, Table
from model_pipeline.compiler.ir import DTYPES, TYPE_NAMES, Graph, Operator, Tensor
from model_pipeline.compiler.opcodes import CUSTOM, operator_name
from model_pipeline.errors import KwsError

MAX_FILE = 64 << 20
MAX_ELEMENTS = 1 << 26  # of one tensor; far beyond any microcontroller
MAX_RANK = 8
LIMITS = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767), "INT32": (-(1 << 31), (1 << 31) - 1)}


def read_model(tflite: bytes) -> list[Graph]:
    """Reads all subgraphs; the first one is the main one.

    Raises:
        KwsError: not a .tflite, another schema version, or corrupt (what and where).
    """
    if len(tflite) > MAX_FILE:
        raise KwsError(f"a .tflite of {len(tflite)} bytes is too large; at most {MAX_FILE} are read")
    if tflite.startswith(b"version https://git-lfs"):
        raise KwsError("this is a Git LFS pointer, not the model that it stands for", hint="git lfs pull")
    if len(tflite) < 8 or tflite[4:8] != b"TFL3":
        raise KwsError("not a .tflite file: the identifier TFL3 is missing at byte 4")
    root = Buffer(tflite).root()
    version = root.integer(0, "I")
    if version != 3:
        raise KwsError(f"the .tflite has schema version {version}; only 3 is known")
    codes = [_operator_code(t) for t in root.tables(1)]
    buffers = [_buffer(t) for t in root.tables(4)]
    graphs = [_graph(t, codes, buffers, number) for number, t in enumerate(root.tables(2))]
    if not graphs:
        raise KwsError("corrupt .tflite: it has no subgraph")
    return graphs


def _operator_code(table: Table) -> tuple[int, str]:
    # Old files have the code in a byte (field 0), new ones in an int32 (field 3): the larger one counts.
    code = max(table.integer(0, "b"), table.integer(3, "i"))
    return code, f"CUSTOM {table.text(1)!r}" if code == CUSTOM else operator_name(code)


def _buffer(table: Table) -> bytes:
    if table.integer(1, "Q") > 1 or table.integer(2, "Q") > 1:
        raise KwsError("the .tflite keeps its weights outside the flatbuffer (over 2 GB); that is not supported")
    return table.raw(0)


def _graph(table: Table, codes: list[tuple[int, str]], buffers: list[bytes], number: int) -> Graph:
    tensors = [_tensor(t, buffers, index) for index, t in enumerate(table.tables(0))]

    def pick(indices: np.ndarray, what: str, optional: bool = False) -> list[Tensor | None]:
        found: list[Tensor | None] = []
        for i in (int(v) for v in indices):
            if i == -1 and optional:
                found.append(None)
            elif 0 <= i < len(tensors):
                found.append(tensors[i])
            else:
                raise KwsError(f"corrupt .tflite: {what} refers to tensor {i} of {len(tensors)}")
        return found

    def pick_all(indices: np.ndarray, what: str) -> list[Tensor]:
        return [t for t in pick(indices, what) if t is not None]

    operators = []
    for index, entry in enumerate(table.tables(3)):
        code_index = entry.integer(0, "I")
        if code_index >= len(codes):
            raise KwsError(f"corrupt .tflite: operator {index} has code {code_index} of {len(codes)}")
        code, name = codes[code_index]
        what = f"operator {index} ({name})"
        operators.append(
            Operator(
                index=index,
                code=code,
                name=name,
                inputs=pick(entry.array(1, "i4"), what, optional=True),
                outputs=pick_all(entry.array(2, "i4"), what),
                options_type=entry.integer(3, "B"),
                options=entry.table(4),
            )
        )
    inputs = pick_all(table.array(1, "i4"), "the list of inputs")
    outputs = pick_all(table.array(2, "i4"), "the list of outputs")
    for tensor in [*inputs, *outputs]:
        if not tensor.size:
            raise KwsError(f"the model's {tensor.name!r} has the impossible shape {list(tensor.shape)}")
    graph = Graph(table.text(4) or f"subgraph {number}", tensors, operators, inputs, outputs)
    _check_order(graph)
    return graph


def _tensor(table: Table, buffers: list[bytes], index: int) -> Tensor:
    name = table.text(3)
    what = f"tensor {index} ({name!r})"
    shape = tuple(int(v) for v in table.array(0, "i4"))
    kind = TYPE_NAMES.get(table.integer(1, "b"), f"type {table.integer(1, 'b')}")
    if len(shape) > MAX_RANK:
        raise KwsError(f"{what} has {len(shape)} dimensions; at most {MAX_RANK} are known")
    size = 1
    for length in shape:
        size *= length
        # Tensors without elements stand for what an operator does not use: those that read one are refused (ops).
        if length < 0 or size > MAX_ELEMENTS:
            raise KwsError(f"{what} has the impossible shape {list(shape)}")
    which = table.integer(2, "I")
    if which >= len(buffers):
        raise KwsError(f"corrupt .tflite: {what} lies in buffer {which} of {len(buffers)}")
    data = None
    if buffers[which]:
        if kind not in DTYPES:
            raise KwsError(f"{what} is a constant of type {kind}, which the compiler does not know")
        if len(buffers[which]) != size * DTYPES[kind].itemsize:
            raise KwsError(f"corrupt .tflite: {what} of shape {list(shape)} has {len(buffers[which])} bytes of data")
        data = np.frombuffer(buffers[which], DTYPES[kind]).reshape(shape)
    scales, zero_points, axis = _quantization(table.table(4), what, kind, shape)
    return Tensor(index, name, kind, shape, scales, zero_points, axis, data, bool(table.integer(5, "B")))


def _quantization(
    table: Table | None, what: str, kind: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, int]:
    if table is None:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scales, zero_points = table.array(2, "f4"), table.array(3, "i8")
    axis = table.integer(6, "i")
    if len(scales) != len(zero_points):
        raise KwsError(f"{what} has {len(scales)} scales but {len(zero_points)} zero points")
    if not np.all(np.isfinite(scales) & (scales > 0)):
        raise KwsError(f"{what} has a quantisation scale that is not a finite positive number")
    low, high = LIMITS.get(kind, (-(1 << 63), (1 << 63) - 1))
    if not np.all((zero_points >= low) & (zero_points <= high)):
        raise KwsError(f"{what} has a zero point outside {kind}")
    if len(scales) > 1 and shape == scales.shape:
        axis = 0  # of a bias: TFLite Micro does not look at what files say, which may be another tensor's dimension
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise KwsError(f"{what} of shape {list(shape)} has {len(scales)} scales along dimension {axis}")
    return scales, zero_points, axis


def _check_order(graph: Graph) -> None:
    """Every tensor is written once, before it is read: so there is no cycle."""
    ready = {id(t) for t in graph.inputs}
    if len(ready) != len(graph.inputs):
        raise KwsError("corrupt .tflite: a tensor is an input twice")
    for operator in graph.operators:
        for tensor in operator.inputs:
            if tensor is not None and tensor.data is None and not tensor.is_variable and id(tensor) not in ready:
                raise operator.error(f"reads tensor {tensor.index} ({tensor.name!r}) before anything wrote it")
        for tensor in operator.outputs:
            if id(tensor) in ready or tensor.data is not None:
                raise operator.error(f"writes tensor {tensor.index} ({tensor.name!r}), which has a value already")
            ready.add(id(tensor))
    for tensor in graph.outputs:
        if id(tensor) not in ready:
            raise KwsError(f"the model's output {tensor.index} ({tensor.name!r}) is written by no operator")
