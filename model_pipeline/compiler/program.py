"""What a compiled model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_pipeline.compiler.ir import Call, Graph, Tensor, constant_bytes
from model_pipeline.compiler.passes.place import Placement, kept_tensors
from model_pipeline.compiler.planner import Plan
from model_pipeline.compiler.streaming import Streaming


@dataclass(frozen=True)
class FloatEdge:
    """An input or output (``edge``) that was float32, and how its integers stand for real numbers."""

    edge: str
    name: str
    type: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class LayerRow:
    """A call of the plan. ``offset``: of its output in the arena; ``constant_bytes``: what it takes of flash."""

    call: int
    operator: str
    name: str
    input: list[int]
    output: list[int]
    kernel: str
    macs: int
    constant_bytes: int
    offset: int


@dataclass(eq=False)
class Program:
    """A compiled model. Most have one input and one output."""

    graph: Graph
    calls: list[Call]
    placement: Placement
    plan: Plan
    model_hash: str  # first 16 hex digits of the file's SHA-256
    streaming: Streaming | None = None  # then the input is the newest frames only
    moved: Sequence[tuple[str, Tensor, Tensor]] = ()  # edges that were float32, see passes/edges.py

    @property
    def input(self) -> Tensor:
        """The (first) input."""
        return self.graph.inputs[0]

    @property
    def output(self) -> Tensor:
        """The (first) output."""
        return self.graph.outputs[0]

    @property
    def single(self) -> bool:
        """Whether there is one input and one output."""
        return len(self.graph.inputs) == len(self.graph.outputs) == 1

    @property
    def input_bytes(self) -> int:
        """Of all inputs."""
        return sum(t.bytes for t in self.graph.inputs)

    @property
    def output_bytes(self) -> int:
        """Of all outputs."""
        return sum(t.bytes for t in self.graph.outputs)

    @property
    def float_edges(self) -> list[FloatEdge]:
        """Of each edge that was float32: which, and how its integers stand for real numbers."""
        return [
            FloatEdge(edge, outside.name, inside.type, float(inside.scale), inside.zero_point)
            for edge, outside, inside in self.moved
        ]

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

    def layers(self) -> list[LayerRow]:
        """One row for each call."""
        return [
            LayerRow(
                call=number,
                operator=call.operator.name,
                name=call.outputs[0].name,
                input=list(call.inputs[0].shape),
                output=list(call.outputs[0].shape),
                kernel=call.function,
                macs=call.macs,
                constant_bytes=sum(c.array.nbytes for c in call.constants),
                offset=self.placement.offset(call.outputs[0]),
            )
            for number, call in enumerate(self.calls)
        ]
