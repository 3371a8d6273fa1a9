"""What a compiled model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_pipeline.compiler.ir import Call, Graph, Tensor, constant_bytes
from model_pipeline.compiler.passes.place import Placement, kept_tensors
from model_pipeline.compiler.planner import Plan
from model_pipeline.compiler.streaming import Streaming


@dataclass(eq=False)
class Program:
    """A compiled model with one input and one output."""

    graph: Graph
    calls: list[Call]
    placement: Placement
    plan: Plan
    model_hash: str  # first 16 hex digits of the file's SHA-256
    streaming: Streaming | None = None  # then the input is the newest frames only

    @property
    def input(self) -> Tensor:
        """The model's input."""
        return self.graph.inputs[0]

    @property
    def output(self) -> Tensor:
        """The model's output."""
        return self.graph.outputs[0]

    @property
    def arena_bytes(self) -> int:
        """RAM for activations."""
        return self.plan.arena_bytes

    @property
    def step_frames(self) -> int:
        """Feature frames that each call takes where every frame must be seen once and in order: by a streaming plan, or
        by a model that keeps variables; 0: a call takes the whole window."""
        if self.streaming:
            return self.streaming.hop
        shape = self.input.shape
        return shape[1] if len(shape) > 2 and kept_tensors(self.calls) else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, padding counted as in the usual formula."""
        return sum(call.macs for call in self.calls)

    @property
    def constant_bytes(self) -> int:
        """Flash for weights, biases, multipliers and tables (not for parameters and code)."""
        return constant_bytes(self.calls)

    def layers(self) -> list[dict[str, Any]]:
        """One row for each call: for tables and JSON."""
        return [
            {
                "call": number,
                "operator": call.operator.name,
                "name": call.outputs[0].name,
                "input": list(call.inputs[0].shape),
                "output": list(call.outputs[0].shape),
                "kernel": call.function,
                "macs": call.macs,
                "constant_bytes": sum(c.array.nbytes for c in call.constants),
                "offset": self.placement.offset(call.outputs[0]),
            }
            for number, call in enumerate(self.calls)
        ]
