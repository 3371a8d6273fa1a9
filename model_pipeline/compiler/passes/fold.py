"""Does at compile time what only concerns constants."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call


def fold(calls: list[Call]) -> list[Call]:
    """Changes of a constant's shape are taken out: the result is a constant too."""
    kept = []
    for call in calls:
        source = call.inputs[0] if call.inputs else None
        if not call.function and source is not None and source.data is not None:
            call.outputs[0].data = source.data.reshape(call.outputs[0].shape)
        else:
            kept.append(call)
    return kept
