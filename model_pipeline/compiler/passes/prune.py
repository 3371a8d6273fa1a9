"""Removes operators whose results neither an output nor the next invoke depends on."""

from __future__ import annotations

from model_pipeline.compiler.ir import Graph, Operator

EFFECTS = {"CALL_ONCE", "ASSIGN_VARIABLE"}


def prune(graph: Graph) -> list[Operator]:
    """The operators that are needed, in the file's order."""
    needed = {id(t) for t in graph.outputs}
    kept: list[Operator] = []
    for operator in reversed(graph.operators):
        if operator.name in EFFECTS or any(id(t) in needed for t in operator.outputs):
            needed.update(id(t) for t in operator.inputs if t is not None)
            kept.append(operator)
    return kept[::-1]
