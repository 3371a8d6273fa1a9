"""What the compiler's stages hand to each other: a graph as read, and the kernel calls it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_pipeline.compiler.flatbuffer import Table
from model_pipeline.errors import KwsError

# tensorflow/lite/schema/schema.fbs, enum TensorType
TYPE_NAMES = {
    0: "FLOAT32", 1: "FLOAT16", 2: "INT32", 3: "UINT8", 4: "INT64", 5: "STRING", 6: "BOOL", 7: "INT16",
    8: "COMPLEX64", 9: "INT8", 10: "FLOAT64", 11: "COMPLEX128", 12: "UINT64", 13: "RESOURCE", 14: "VARIANT",
    15: "UINT32", 16: "UINT16", 17: "INT4", 18: "BFLOAT16",
}  # fmt: skip
DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype("<f4"), "INT32": np.dtype("<i4"), "UINT8": np.dtype("u1"), "INT64": np.dtype("<i8"),
    "BOOL": np.dtype("u1"), "INT16": np.dtype("<i2"), "INT8": np.dtype("i1"),
}  # fmt: skip


@dataclass(eq=False)
class Tensor:
    """``data`` is None for activations; ``scales``/``zero_points`` are empty for what is not quantised."""

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    scales: np.ndarray  # float32 [1] or [channels]
    zero_points: np.ndarray  # int64, as many
    axis: int  # the dimension that the scales belong to
    data: np.ndarray | None = None
    is_variable: bool = False
    keeps: bool = False  # its value lasts from one invoke to the next
    initial: np.ndarray | None = None  # what a reset makes of a tensor that keeps; None: zeros (its zero point)

    @property
    def size(self) -> int:
        """Elements."""
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1

    @property
    def bytes(self) -> int:
        """Bytes of RAM or flash."""
        return self.size * DTYPES[self.type].itemsize

    @property
    def scale(self) -> np.float32:
        """The one scale of a per-tensor quantised tensor."""
        if len(self.scales) != 1:
            raise KwsError(f"tensor {self.index} ({self.name}) needs exactly one scale, it has {len(self.scales)}")
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The one zero point of a per-tensor quantised tensor."""
        if len(self.zero_points) != 1:
            raise KwsError(f"tensor {self.index} ({self.name}) needs exactly one zero point")
        return int(self.zero_points[0])


@dataclass(eq=False)
class Operator:
    """One operator of a graph, with its options still in the file's form."""

    index: int
    code: int  # enum BuiltinOperator
    name: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options_type: int
    options: Table | None

    @property
    def place(self) -> str:
        """For messages: which operator this is."""
        where = self.outputs[0].name if self.outputs else "no output"
        return f"operator {self.index} ({self.name}, output {where!r})"

    def error(self, text: str) -> KwsError:
        """An error about this operator."""
        return KwsError(f"{self.place}: {text}")


@dataclass(eq=False)
class Graph:
    """One subgraph."""

    name: str
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(eq=False)
class Constant:
    """An array in flash: ``static const ctype <prefix>_<step>_<name>[]``."""

    name: str
    array: np.ndarray
    ctype: str


Params = dict[str, int | list[int] | Constant]  # by the fields of a kernel's C struct


@dataclass(eq=False)
class Call:
    """One kernel call. ``function`` is empty where nothing is computed: the outputs are parts of the input's memory,
    or (``joins``) the inputs were written into the output's.

    The kernel is called as ``function(&params, inputs…, outputs…[, scratch])``. ``params`` maps fields of the C
    struct ``params_type`` to an integer, a list of integers, or a `Constant`.
    """

    operator: Operator
    function: str
    params_type: str
    params: Params
    inputs: list[Tensor]
    outputs: list[Tensor]
    scratch: int = 0  # bytes of RAM needed during the call only
    macs: int = 0
    # (input, output) numbers whose memory may be one: the kernel reads each element before it writes there.
    in_place: list[tuple[int, int]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)  # without a function: byte offset of each part; none: 0
    joins: bool = False
    many: bool = False  # inputs, or several outputs, are passed as an array of pointers

    @property
    def constants(self) -> list[Constant]:
        """The arrays this call keeps in flash."""
        return [v for v in self.params.values() if isinstance(v, Constant)]


def constant_bytes(calls: list[Call]) -> int:
    """Flash for the arrays of these calls, each counted once: weights, biases, multipliers, tables, operands."""
    arrays = {(c.ctype, c.array.tobytes()) for call in calls for c in call.constants}
    arrays |= {(t.type, t.data.tobytes()) for call in calls for t in call.inputs if t.data is not None}
    return sum(len(data) for _, data in arrays)


def check_quantized(tensor: Tensor, what: str, operator: Operator, kind: str = "INT8") -> None:
    """Refuses a tensor that is not ``kind`` with one valid scale and zero point."""
    if tensor.type != kind:
        raise operator.error(f"{what} {tensor.name!r} is {tensor.type}; the compiler knows {kind} here")
    if len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
        raise operator.error(f"{what} {tensor.name!r} needs one scale and one zero point")
