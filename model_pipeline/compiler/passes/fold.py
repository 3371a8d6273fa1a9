"""Does at compile time what only concerns constants."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call


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
        else:
            kept.append(call)
    return kept
