"""Writes the file of a stateful network.

Each ring of the plan is a variable that is read, joined with the newest rows, and assigned what the next step needs.
ESPHome has no SOFTMAX. The probability is that of the word against its strongest rival, ``sigmoid(logit - max(other
logits))``: with one rival that is the softmax, with several a little more than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_pipeline.compiler.ir import DTYPES, TYPE_NAMES, Call, Graph, Operator, Tensor
from model_pipeline.config import STOCK_FRONTEND
from model_pipeline.errors import KwsError

MAX_VARIABLES = 20  # of a model in ESPHome
# What ESPHome's interpreter has.
OPERATORS = {
    "CALL_ONCE", "VAR_HANDLE", "RESHAPE", "READ_VARIABLE", "STRIDED_SLICE", "CONCATENATION", "ASSIGN_VARIABLE",
    "CONV_2D", "MUL", "ADD", "MEAN", "FULLY_CONNECTED", "LOGISTIC", "QUANTIZE", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D",
    "MAX_POOL_2D", "PAD", "PACK", "SPLIT_V",
}  # fmt: skip
_RIVAL_SCALE = 1 / 16  # of differences of logits, as int8: the sigmoid of 8 is 1 but for a third of a step of 1/256
_TYPES = {name: number for number, name in TYPE_NAMES.items()}


class Writer:
    """Makes the file: two subgraphs, the second of which gives every variable its first value."""

    def __init__(self, tflite: bytes, names: ModuleType) -> None:
        self.names = names
        self.source = names.ModelT.InitFromPackedBuf(tflite, 0)
        self.model = names.ModelT()
        self.model.version = 3
        self.model.description = "micro-kws"
        self.model.operatorCodes = []
        self.model.buffers = [names.BufferT()]
        self.main, self.first = self._graph("main"), self._graph("first_values")
        self.model.subgraphs = [self.main, self.first]
        self.known: dict[int, int] = {}  # tensors of `main` by id()
        self.kept: list[Tensor] = []  # so that no id() is given twice
        self.variables = 0

    def write(self, graph: Graph, items: Sequence[Operator | Call], label: int) -> bytes:
        """The bytes of the file."""
        once = self.names.CallOnceOptionsT()
        once.initSubgraphIndex = 1
        self._op(self.main, "CALL_ONCE", [], [], "CallOnceOptions", once)
        source = graph.inputs[0]
        frames = source.size // STOCK_FRONTEND.channels
        given = self._new(
            (1, frames, STOCK_FRONTEND.channels), "INT8", float(source.scale), source.zero_point, "features"
        )
        self._reshape(given, self._tensor(source), source.shape)
        for item in items:
            if isinstance(item, Operator):
                self._operator(item)
            elif item.function:
                self._ring(item.inputs[0], item.outputs[0])
            elif item.operator.name == "VIEW":
                self._first_rows(self._tensor(item.inputs[0]), item.outputs[0])
            else:  # nothing is computed: the same values in another shape
                self._reshape(self._tensor(item.inputs[0]), self._tensor(item.outputs[0]), item.outputs[0].shape)
        result = self._probability(graph.outputs[0], label)
        self.main.inputs, self.main.outputs = [given], [result]
        if self.variables > MAX_VARIABLES:
            raise KwsError(
                f"the network keeps {self.variables} pasts; ESPHome's models have at most {MAX_VARIABLES}",
                hint="a network of fewer layers",
            )
        import flatbuffers

        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # ---- what a network has

    def _operator(self, operator: Operator) -> None:
        if operator.name not in OPERATORS:
            raise operator.error("ESPHome's interpreter does not have this operator")
        old = self.source.subgraphs[0].operators[operator.index]
        options = old.builtinOptions
        if operator.name == "RESHAPE":
            source, target = operator.inputs[0], operator.outputs[0]
            assert source is not None
            self._reshape(self._tensor(source), self._tensor(target), target.shape)
            return
        inputs = [-1 if t is None else self._tensor(t) for t in operator.inputs]
        outputs = [self._tensor(t) for t in operator.outputs]
        version = self.source.operatorCodes[old.opcodeIndex].version
        self._op(self.main, operator.name, inputs, outputs, old.builtinOptionsType, options, version)

    def _ring(self, newest: Tensor, ring: Tensor) -> None:
        """``ring``: what was kept, then ``newest``; all of it but its oldest rows is kept for the next step."""
        axis = next(n for n, (a, b) in enumerate(zip(newest.shape, ring.shape, strict=True)) if a != b)
        shape = tuple(b - a if n == axis else b for n, (a, b) in enumerate(zip(newest.shape, ring.shape, strict=True)))
        name = f"past_{self.variables}"
        self.variables += 1
        quantized = ring.type, float(ring.scale), ring.zero_point
        handle = self._variable(self.main, name)
        old, keep = self._new(shape, *quantized, name), self._new(shape, *quantized, f"{name}_next")
        self._op(self.main, "READ_VARIABLE", [handle], [old], "ReadVariableOptions", None)
        join = self.names.ConcatenationOptionsT()
        join.axis = axis
        self._op(
            self.main, "CONCATENATION", [old, self._tensor(newest)], [self._tensor(ring)], "ConcatenationOptions", join
        )
        begin = [newest.shape[axis] if n == axis else 0 for n in range(len(shape))]
        self._slice(self._tensor(ring), keep, begin, [b + s for b, s in zip(begin, shape, strict=True)])
        self._op(self.main, "ASSIGN_VARIABLE", [handle, keep], [], "AssignVariableOptions", None)
        # A past of nothing: the real value 0.
        dtype = DTYPES[ring.type]
        zeros = self._new(shape, *quantized, f"{name}_first", self.first, np.full(shape, ring.zero_point, dtype))
        self._op(
            self.first, "ASSIGN_VARIABLE", [self._variable(self.first, name), zeros], [], "AssignVariableOptions", None
        )

    def _probability(self, logits: Tensor, label: int) -> int:
        """Of ``label`` against its strongest rival."""
        count = logits.size
        scale, zero = float(logits.scale), logits.zero_point
        flat = self._new((1, count), "INT8", scale, zero, "logits")
        self._reshape(self._tensor(logits), flat, (1, count))
        others = [n for n in range(count) if n != label]
        rows = np.zeros((count - 1, count), np.int8)
        for row, other in enumerate(others):
            rows[row, other], rows[row, label] = 127, -127
        ahead = self._connected(flat, rows, 1 / 127, scale, _RIVAL_SCALE, "rivals_ahead")
        if len(others) > 1:
            plane = self._new((1, len(others), 1, 1), "INT8", _RIVAL_SCALE, 0, "rivals")
            self._reshape(ahead, plane, (1, len(others), 1, 1))
            top = self._new((1, 1, 1, 1), "INT8", _RIVAL_SCALE, 0, "strongest_rival")
            pool = self.names.Pool2DOptionsT()
            pool.padding, pool.filterHeight, pool.filterWidth = self.names.Padding.VALID, len(others), 1
            pool.strideH = pool.strideW = 1
            self._op(self.main, "MAX_POOL_2D", [plane], [top], "Pool2DOptions", pool)
            ahead = self._new((1, 1), "INT8", _RIVAL_SCALE, 0, "strongest")
            self._reshape(top, ahead, (1, 1))
        behind = self._connected(ahead, np.full((1, 1), -127, np.int8), 1 / 127, _RIVAL_SCALE, _RIVAL_SCALE, "ahead")
        sure = self._new((1, 1), "INT8", 1 / 256, -128, "sigmoid")
        self._op(self.main, "LOGISTIC", [behind], [sure], "NONE", None)
        result = self._new((1, 1), "UINT8", 1 / 256, 0, "probability")
        self._op(self.main, "QUANTIZE", [sure], [result], "QuantizeOptions", None)
        return result

    def _connected(
        self, source: int, weights: NDArray[np.int8], scale: float, source_scale: float, out: float, name: str
    ) -> int:
        target = self._new((1, len(weights)), "INT8", out, 0, name)
        matrix = self._new(weights.shape, "INT8", scale, 0, f"{name}_weights", values=weights)
        bias = self._new(
            (len(weights),), "INT32", scale * source_scale, 0, f"{name}_bias", values=np.zeros(len(weights))
        )
        options = self.names.FullyConnectedOptionsT()
        self._op(self.main, "FULLY_CONNECTED", [source, matrix, bias], [target], "FullyConnectedOptions", options, 4)
        return target

    # ---- what a file has

    def _graph(self, name: str) -> Any:
        graph = self.names.SubGraphT()
        graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = name, [], [], [], []
        return graph

    def _tensor(self, tensor: Tensor) -> int:
        """The number in `main` of a tensor of the plan's."""
        if id(tensor) not in self.known:
            self.kept.append(tensor)
            made = self._new(tensor.shape, tensor.type, None, 0, tensor.name or f"t{len(self.main.tensors)}",
                             values=tensor.data)  # fmt: skip
            if len(tensor.scales):
                self._quantize(self.main.tensors[made], tensor.scales, tensor.zero_points, tensor.axis)
            self.known[id(tensor)] = made
        return self.known[id(tensor)]

    def _new(
        self,
        shape: Sequence[int],
        kind: str,
        scale: float | None,
        zero_point: int,
        name: str,
        graph: Any = None,
        values: NDArray[Any] | None = None,
    ) -> int:
        graph = self.main if graph is None else graph
        tensor = self.names.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = list(shape), _TYPES[kind], name, 0
        if values is not None:
            buffer = self.names.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values, DTYPES[kind]).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            self._quantize(tensor, np.array([scale], np.float32), np.array([zero_point], np.int64), 0)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def _quantize(self, tensor: Any, scales: NDArray[Any], zero_points: NDArray[Any], axis: int) -> None:
        tensor.quantization = self.names.QuantizationParametersT()
        tensor.quantization.scale = np.asarray(scales, np.float32)
        tensor.quantization.zeroPoint = np.asarray(zero_points, np.int64)
        tensor.quantization.quantizedDimension = axis

    def _variable(self, graph: Any, name: str) -> int:
        handle = self._new((), "RESOURCE", None, 0, f"{name}_handle", graph)
        options = self.names.VarHandleOptionsT()
        options.container, options.sharedName = "", name
        self._op(graph, "VAR_HANDLE", [], [handle], "VarHandleOptions", options)
        return handle

    def _reshape(self, source: int, target: int, shape: Sequence[int]) -> None:
        wanted = self._new((len(shape),), "INT32", None, 0, "shape", values=np.array(shape))
        options = self.names.ReshapeOptionsT()
        options.newShape = list(shape)
        self._op(self.main, "RESHAPE", [source, wanted], [target], "ReshapeOptions", options)

    def _first_rows(self, source: int, target: Tensor) -> None:
        """As many as ``target`` has."""
        self._slice(source, self._tensor(target), [0] * len(target.shape), target.shape)

    def _slice(self, source: int, target: int, begin: Sequence[int], end: Sequence[int]) -> None:
        rank = len(begin)
        bounds = [
            self._new((rank,), "INT32", None, 0, name, values=np.array(values))
            for name, values in (("begin", begin), ("end", end), ("steps", [1] * rank))
        ]
        options = self.names.StridedSliceOptionsT()
        self._op(self.main, "STRIDED_SLICE", [source, *bounds], [target], "StridedSliceOptions", options, 2)

    def _op(
        self,
        graph: Any,
        name: str,
        inputs: list[int],
        outputs: list[int],
        kind: str | int,
        options: Any,
        version: int = 0,
    ) -> None:
        names = self.names
        code = getattr(names.BuiltinOperator, name)
        version = version or {"CONCATENATION": 2, "LOGISTIC": 2, "QUANTIZE": 2, "MAX_POOL_2D": 2}.get(name, 1)
        codes = [(c.builtinCode, c.version) for c in self.model.operatorCodes]
        if (code, version) not in codes:
            entry = names.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
            self.model.operatorCodes.append(entry)
            codes.append((code, version))
        operator = names.OperatorT()
        operator.opcodeIndex = codes.index((code, version))
        operator.inputs, operator.outputs = inputs, outputs
        number = getattr(names.BuiltinOptions, kind) if isinstance(kind, str) else kind
        if options is None and isinstance(kind, str) and kind != "NONE":
            options = getattr(names, f"{kind}T")()
        operator.builtinOptionsType, operator.builtinOptions = (number, options) if options is not None else (0, None)
        graph.operators.append(operator)
