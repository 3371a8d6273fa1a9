"""The kernel of each layer: a fast one where there is one, else the plain one it came with."""

from __future__ import annotations

from collections.abc import Callable

from model_pipeline.compiler.fast import depthwise, elementwise, matrix
from model_pipeline.compiler.fast.layer import Goal
from model_pipeline.compiler.ir import Call

# What may take a plain kernel's place; the first that can, does.
CHOICES: dict[str, list[Callable[[Call, Goal], Call | None]]] = {
    "kws_nn_conv_2d": [matrix.runs, matrix.windows],
    "kws_nn_depthwise_conv_2d": [matrix.one_channel_depthwise, depthwise.planes, depthwise.taps],
    "kws_nn_fully_connected": [matrix.fully_connected],
    "kws_nn_add": [elementwise.add],
    "kws_nn_average_pool_2d": [elementwise.average_pool],
}


def accelerate(calls: list[Call], goal: Goal = "speed") -> list[Call]:
    """Each call, or a fast one that does the same.

    Args:
        goal: ``speed`` keeps weights as the inner loops want them, ``size`` at one byte each.
    """
    return [_fast(call, goal) for call in calls]


def _fast(call: Call, goal: Goal) -> Call:
    for choice in CHOICES.get(call.function, []):
        chosen = choice(call, goal)
        if chosen is not None:
            return chosen
    return call
