"""The kernel of each layer: a fast one where there is one, else the plain one it came with."""

from __future__ import annotations

from collections.abc import Callable

from model_pipeline.compiler.fast import depthwise, elementwise, matrix
from model_pipeline.compiler.fast.layer import Goal
from model_pipeline.compiler.ir import Call, constant_bytes

# What may take a plain kernel's place; the first that can, does.
CHOICES: dict[str, list[Callable[[Call, Goal], Call | None]]] = {
    "kws_nn_conv_2d": [matrix.runs, matrix.windows],
    "kws_nn_depthwise_conv_2d": [matrix.one_channel_depthwise, depthwise.planes, depthwise.taps],
    "kws_nn_fully_connected": [matrix.fully_connected],
    "kws_nn_add": [elementwise.add],
    "kws_nn_average_pool_2d": [elementwise.average_pool],
}


def accelerate(calls: list[Call], goal: Goal = "speed", max_constants: int = 0) -> list[Call]:
    """Each call, or a fast one that does the same.

    Args:
        goal: ``speed`` keeps weights as the inner loops want them, ``size`` at one byte each.
        max_constants: bytes that the constants of ``speed`` may take, if that is possible; 0: any number. Two bytes a
            weight save about as much for each multiplication, so the layers that use a weight most often get them.
    """
    fast = [_fast(call, goal) for call in calls]
    if goal == "size" or not max_constants or constant_bytes(fast) <= max_constants:
        return fast
    chosen = [_fast(call, "size") for call in calls]
    extra = [constant_bytes([f]) - constant_bytes([s]) for f, s in zip(fast, chosen, strict=True)]
    for n in sorted((n for n, more in enumerate(extra) if more > 0), key=lambda n: -fast[n].macs / extra[n]):
        wider = [*chosen[:n], fast[n], *chosen[n + 1 :]]
        if constant_bytes(wider) <= max_constants:
            chosen = wider
    return chosen


def _fast(call: Call, goal: Goal) -> Call:
    for choice in CHOICES.get(call.function, []):
        chosen = choice(call, goal)
        if chosen is not None:
            return chosen
    return call
