"""Does at compile time what only concerns constants."""

from __future__ import annotations

import numpy as np

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import lower

SHAPES = {"SHAPE", "PACK", "STRIDED_SLICE", "CONCATENATION", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def fold_shapes(operators: list[Operator]) -> list[Operator]:
    """What networks compute of their own shapes, which are fixed, is constants; the operators that are left."""
    kept = []
    for operator in operators:
        constant = all(t is None or t.data is not None for t in operator.inputs)
        if operator.name not in SHAPES or not (constant or operator.name == "SHAPE") or fold([lower(operator)]):
            kept.append(operator)
    return kept


def fold(calls: list[Call]) -> list[Call]:
    """Parts of a constant, or its values in another shape, are constants too."""
    kept = []
    for call in calls:
        source = call.inputs[0] if call.inputs else None
        if not call.function and not call.joins and source is not None and source.data is not None:
            data = source.data.reshape(-1)
            for tensor, offset in zip(call.outputs, call.offsets or [0] * len(call.outputs), strict=True):
                first = offset // data.itemsize
                tensor.data = data[first : first + tensor.size].reshape(tensor.shape)
        elif call.function == "kws_nn_concatenation" and all(t.data is not None for t in call.inputs):
            target, outer = call.outputs[0], call.params["outer"]
            assert isinstance(outer, int)
            parts = [t.data.reshape(outer, -1) for t in call.inputs if t.data is not None]
            target.data = np.concatenate(parts, axis=1).reshape(target.shape)
        else:
            kept.append(call)
    return kept
