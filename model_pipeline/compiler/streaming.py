"""Turns the model of a window into one that takes only the newest frames and computes only what they change.

The window moves on by ``hop`` frames at every call. A row of an unpadded convolution along time is then, but for the
newest few, a row of the call before. So each activation is seen as rows (`streaming_rules.Rows`): the newest ``new``
rows are computed, older ones that a later layer looks at wait in a ring. Whatever is not of this kind is computed over
the whole window, taken from a ring. After ``ceil(window / hop)`` calls from a reset every result equals that of the
window's model bit for bit, since every value was made by the same kernel from the same inputs. See
docs/streaming-plan.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from model_pipeline.compiler.ir import Call, Graph, Operator, Params, Tensor
from model_pipeline.compiler.ops import lower
from model_pipeline.compiler.streaming_rules import Rows, Slide, Whole, rule, time_axis
from model_pipeline.errors import KwsError

STATEFUL = "the model keeps its own state: it is a streaming model already"


@dataclass(frozen=True)
class Layer:
    """What became of one operator: ``computed`` of its ``rows`` output rows at each hop (both 0: everything is
    computed anew); ``reason`` where streaming ended, as the rest of a sentence that begins with the operator."""

    operator: Operator
    computed: int
    rows: int
    reason: str = ""


@dataclass(frozen=True)
class StreamedLayer:
    """Rows of an operator's output, and how many of them a call computes; ``reason``: why it is all of them."""

    place: str
    computed: int
    rows: int
    reason: str


@dataclass(frozen=True)
class Streamed:
    """A streaming plan's numbers; see `Streaming`."""

    hop: int
    window: int
    warm_up: int
    layers: list[StreamedLayer]


@dataclass(frozen=True)
class Streaming:
    """A streaming plan's numbers, in feature frames, and its layers."""

    hop: int
    window: int
    layers: list[Layer]

    @property
    def warm_up(self) -> int:
        """Calls after a reset until results equal those of the window's model."""
        return -(-self.window // self.hop)

    def told(self) -> Streamed:
        """Its numbers, for people and scripts."""
        layers = [StreamedLayer(a.operator.place, a.computed, a.rows, a.reason) for a in self.layers]
        return Streamed(self.hop, self.window, self.warm_up, layers)

    @property
    def obstacles(self) -> list[Layer]:
        """The operators at which streaming ends."""
        return [layer for layer in self.layers if layer.reason]


@dataclass(eq=False)
class _Forced(Exception):
    """Operator ``index`` can't stream after all, for ``reason``."""

    index: int
    reason: str


@dataclass(eq=False)
class _Analysis:
    rows: dict[int, Rows] = field(default_factory=dict)  # id(tensor): only of those that stream
    decisions: list[tuple[Operator, Slide | Whole]] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)


def stream(
    graph: Graph, operators: list[Operator], hop: int, frames: int | None = None
) -> tuple[Graph, list[Operator | Call], Streaming]:
    """The streaming form of a graph.

    Args:
        graph: the window's model, one input and one output.
        operators: those to compute, in order.
        hop: feature frames of one call.
        frames: of the window; None if the input's first dimension that is not 1 counts them.

    Returns:
        A graph with an input of ``hop`` frames, its operators with the rings (as calls) between them, and what
        became of each operator.

    Raises:
        KwsError: the hop is not part of the window, or the model keeps its own state.
    """
    first = _input_rows(graph.inputs[0], hop, frames)
    for operator in operators:
        if operator.name in {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}:
            raise operator.error(STATEFUL)
        # Refuses what the rules below rely on.
        if any(t.keeps for t in lower(operator).inputs):
            raise operator.error(STATEFUL)
    forced: dict[int, str] = {}
    while True:
        try:
            analysis = _analyse(graph, operators, first, forced)
            break
        except _Forced as found:
            forced[found.index] = found.reason
    new_graph, items = _Builder(analysis).build(graph)
    return new_graph, items, Streaming(hop, first.total, analysis.layers)


def _input_rows(source: Tensor, hop: int, frames: int | None) -> Rows:
    axis = time_axis(source.shape) if source.shape else 0
    length = source.shape[axis] if source.shape else 1
    total = length if frames is None else frames
    if total < 1 or length % total:
        raise KwsError(f"the model's input {list(source.shape)} is not made of {total} frames")
    if frames is None and axis == len(source.shape) - 1:
        raise KwsError(
            f"the model's input {list(source.shape)} does not say how many frames it has",
            hint="give --frames, the number of feature frames in a window",
        )
    if not 1 <= hop < total:
        raise KwsError(f"a hop of {hop} frames; 1 to {total - 1} is possible in a window of {total}")
    return Rows(axis, total, hop, unit=length // total)


def _analyse(graph: Graph, operators: list[Operator], first: Rows, forced: dict[int, str]) -> _Analysis:
    """Decides for each operator, in order, whether it streams."""
    done = _Analysis({id(graph.inputs[0]): first})
    producer: dict[int, Operator] = {}
    for operator in operators:
        inputs = {n: done.rows[id(t)] for n, t in enumerate(operator.inputs) if t is not None and id(t) in done.rows}
        reason = forced.get(operator.index, "")
        decision: Slide | Whole = Whole("")
        if inputs:
            found = rule(operator, inputs)
            if operator.index in forced:
                found = Whole(forced[operator.index])
            new = next(iter(inputs.values())).new
            if isinstance(found, Slide) and found.total > 1 and new % found.stride:
                text = f"steps by {found.stride} rows, and {new} are new at each hop"
                found = Whole(f"{text}: a hop of {first.new * found.stride // new} would do")
            decision = found
            reason = found.reason if isinstance(found, Whole) else ""
        rows = _rows_after(decision, inputs)
        needed = _first_row(decision, inputs)
        for number, given in inputs.items():
            if given.clean > needed:
                tensor = operator.inputs[number]
                assert tensor is not None
                _blame(tensor, operator, done, producer)
        total = decision.total if isinstance(decision, Slide) else 0
        for tensor in operator.outputs:
            producer[id(tensor)] = operator
            if rows is not None:
                done.rows[id(tensor)] = rows
        done.decisions.append((operator, decision))
        computed = rows.new if rows is not None else total
        done.layers.append(Layer(operator, computed, total, reason))
    target = graph.outputs[0]
    if id(target) in done.rows and done.rows[id(target)].clean > 0:
        _blame(target, None, done, producer)
    return done


def _new_rows(decision: Slide, given: Rows) -> int:
    """Rows of the output that are computed at each hop."""
    return decision.total if decision.total == 1 else min(decision.total, given.new // decision.stride)


def _first_row(decision: Slide | Whole, inputs: dict[int, Rows]) -> int:
    """The first row of its inputs that an operator looks at."""
    if isinstance(decision, Whole) or not inputs:
        return 0
    new = _new_rows(decision, next(iter(inputs.values())))
    return (decision.total - new) * decision.stride + decision.offset


def _rows_after(decision: Slide | Whole, inputs: dict[int, Rows]) -> Rows | None:
    """The rows of the output; None if all of them are computed at every hop."""
    if isinstance(decision, Whole):
        return None
    given = next(iter(inputs.values()))
    new = _new_rows(decision, given)
    if new == decision.total:
        return None
    clean = max(rows.clean for rows in inputs.values())
    clean = max(0, -(-(clean - decision.offset) // decision.stride))
    return Rows(decision.axis, decision.total, new, clean, decision.unit)


def _blame(tensor: Tensor, reader: Operator | None, done: _Analysis, producer: dict[int, Operator]) -> None:
    """``reader`` looks at rows of padding: finds where the padding came from."""
    who = f"operator {reader.index} ({reader.name})" if reader is not None else "the model's output"
    slides = {id(operator): decision for operator, decision in done.decisions}
    while True:
        operator = producer[id(tensor)]
        decision = slides[id(operator)]
        assert isinstance(decision, Slide)
        if decision.offset < 0:
            text = f"pads {-decision.offset} rows in front of the window's, and {who} looks at them"
            raise _Forced(operator.index, text)
        tensor = next(t for t in operator.inputs if t is not None and id(t) in done.rows and done.rows[id(t)].clean > 0)


class _Builder:
    """Makes the new tensors, operators and rings of an analysis."""

    def __init__(self, analysis: _Analysis) -> None:
        self.analysis = analysis
        self.items: list[Operator | Call] = []
        self.newest: dict[int, Tensor] = {}  # by id() of the window's tensor
        self.rings: dict[tuple[int, int], Tensor] = {}  # by id() of the window's tensor, and first row
        self.tensors: list[Tensor] = []

    def build(self, graph: Graph) -> tuple[Graph, list[Operator | Call]]:
        source = graph.inputs[0]
        first = self._resized(source, self.analysis.rows[id(source)].new)
        self.newest[id(source)] = first
        for operator, decision in self.analysis.decisions:
            self._operator(operator, decision)
        target = self._rows_of(graph.outputs[0], 0, None)
        return replace(graph, tensors=self.tensors, operators=[], inputs=[first], outputs=[target]), self.items

    def _operator(self, operator: Operator, decision: Slide | Whole) -> None:
        rows = self.analysis.rows
        given = next((rows[id(t)] for t in operator.inputs if t is not None and id(t) in rows), None)
        if given is None or isinstance(decision, Whole):
            inputs = [None if t is None else self._rows_of(t, 0, None) for t in operator.inputs]
            self.items.append(replace(operator, inputs=inputs))
            return
        new = _new_rows(decision, given)
        first = (decision.total - new) * decision.stride + decision.offset
        last = (decision.total - 1) * decision.stride + decision.offset + decision.span - 1
        inputs = [None if t is None else self._rows_of(t, first, last) for t in operator.inputs]
        outputs = []
        for tensor in operator.outputs:
            made = self._resized(tensor, new) if id(tensor) in rows else tensor
            self.newest[id(tensor)] = made
            outputs.append(made)
        changed = replace(operator, inputs=inputs, outputs=outputs)
        if decision.view:
            assert inputs[0] is not None
            self.items.append(Call(changed, "", "", {}, [inputs[0]], outputs))
        else:
            self.items.append(decision.adapt(changed, last - first + 1) if decision.adapt else changed)

    def _rows_of(self, tensor: Tensor, first: int, last: int | None) -> Tensor:
        """A tensor of rows ``first`` to ``last`` (None: all) of the window's ``tensor``, as of this call."""
        rows = self.analysis.rows.get(id(tensor))
        if rows is None:
            return self.newest.get(id(tensor), tensor)
        last = rows.total - 1 if last is None else last
        source = self.newest[id(tensor)]
        if (first, last) == (rows.total - rows.new, rows.total - 1):
            return source
        ring = self.rings.get((id(tensor), first))
        if ring is None:
            ring = self._resized(tensor, rows.total - first, ring=True)
            self.rings[id(tensor), first] = ring
            sizes: Params = {"size": ring.bytes, "step": source.bytes}
            marker = _marker("RING", source, ring)
            self.items.append(Call(marker, "kws_nn_push", "kws_nn_push_t", sizes, [source], [ring]))
        if last == rows.total - 1:
            return ring
        view = self._resized(tensor, last - first + 1)
        self.items.append(Call(_marker("VIEW", ring, view), "", "", {}, [ring], [view]))
        return view

    def _resized(self, tensor: Tensor, count: int, ring: bool = False) -> Tensor:
        """``tensor`` with ``count`` rows."""
        rows = self.analysis.rows[id(tensor)]
        shape = tuple(count * rows.unit if axis == rows.axis else n for axis, n in enumerate(tensor.shape))
        made = replace(tensor, shape=shape, keeps=ring, name=f"{tensor.name} (ring)" if ring else tensor.name)
        self.tensors.append(made)
        return made


def _marker(name: str, source: Tensor, target: Tensor) -> Operator:
    return Operator(-1, -1, name, [source], [target], 0, None)
