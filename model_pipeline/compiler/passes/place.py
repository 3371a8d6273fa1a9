"""Decides which tensors share memory, and when each piece of memory is in use."""

from __future__ import annotations

from dataclasses import dataclass, field

from model_pipeline.compiler.ir import Call, Graph, Tensor

BEFORE_ALL = -1  # the "call" that writes the model's inputs


@dataclass(eq=False)
class Memory:
    """A piece of RAM for one or more tensors, in use from call ``first`` to call ``last``, both included.

    ``shrinks``: (call, bytes), in order: from that call on only so much of its beginning is in use.
    """

    name: str
    size: int
    first: int
    last: int
    offset: int = -1
    shrinks: list[tuple[int, int]] = field(default_factory=list)

    def size_at(self, call: int) -> int:
        """Bytes in use during a call."""
        return next((size for since, size in reversed(self.shrinks) if since <= call), self.size)


@dataclass(eq=False)
class Placement:
    """Where everything lives: tensors by id() of the `Tensor`, scratch by the number of the call."""

    memories: list[Memory]
    of_tensor: dict[int, Memory]
    of_scratch: dict[int, Memory]
    offset_in: dict[int, int]  # by id() of the tensor: its first byte in its memory

    def offset(self, tensor: Tensor) -> int:
        """The first byte in the arena."""
        return self.of_tensor[id(tensor)].offset + self.offset_in[id(tensor)]


def kept_tensors(calls: list[Call]) -> list[Tensor]:
    """Those whose value lasts from one invoke to the next, each once."""
    return list({id(t): t for call in calls for t in [*call.inputs, *call.outputs] if t.keeps}.values())


def place(graph: Graph, calls: list[Call]) -> Placement:
    """One memory for each tensor, fewer where one is a part of another or a call may write over what it reads."""
    parents = _parents(calls)

    def whole(tensor: Tensor) -> tuple[Tensor, int]:
        """The tensor that has the memory, and where in it the given one begins."""
        offset = 0
        while id(tensor) in parents:
            tensor, more = parents[id(tensor)]
            offset += more
        return tensor, offset

    last_use: dict[int, int] = {}  # by id() of the whole
    for number, call in enumerate(calls):
        for tensor in [*call.inputs, *call.outputs]:
            last_use[id(whole(tensor)[0])] = number
    kept = kept_tensors(calls)
    for tensor in [*graph.outputs, *kept]:
        last_use[id(whole(tensor)[0])] = len(calls)

    placement = Placement([], {}, {}, {})

    def new(name: str, size: int, first: int, last: int) -> Memory:
        memory = Memory(name, size, first, last)
        placement.memories.append(memory)
        return memory

    def put(tensor: Tensor, first: int, shared: Memory | None = None) -> None:
        if tensor.data is not None or id(tensor) in placement.of_tensor:
            return
        root, offset = whole(tensor)
        memory = placement.of_tensor.get(id(root))
        if memory is None:
            last = last_use.get(id(root), 0)
            if shared is not None:
                memory = shared
                memory.last = max(memory.last, last)
                if root.bytes < memory.size_at(first):
                    memory.shrinks.append((first + 1, root.bytes))
            else:
                memory = new(root.name, root.bytes, first, last)
            placement.of_tensor[id(root)] = memory
            placement.offset_in[id(root)] = 0
        placement.of_tensor[id(tensor)] = memory
        placement.offset_in[id(tensor)] = offset

    for tensor in [*graph.inputs, *kept]:
        put(tensor, BEFORE_ALL)
    for number, call in enumerate(calls):
        shared = _shared(call, placement, number) if call.function else {}
        for which, tensor in enumerate(call.outputs):
            put(tensor, number, shared.get(which) if id(tensor) not in parents else None)
        if call.scratch:
            placement.of_scratch[number] = new(f"scratch of call {number}", call.scratch, number, number)
    return placement


def _parents(calls: list[Call]) -> dict[int, tuple[Tensor, int]]:
    """By id() of a tensor that has no memory of its own: the tensor it is a part of, and at which byte."""
    parents: dict[int, tuple[Tensor, int]] = {}
    for call in calls:
        if call.function:
            continue
        if call.joins:
            at = 0
            for tensor in call.inputs:
                parents[id(tensor)] = call.outputs[0], at
                at += tensor.bytes
        else:
            offsets = call.offsets or [0] * len(call.outputs)
            for tensor, at in zip(call.outputs, offsets, strict=True):
                parents[id(tensor)] = call.inputs[0], at
    return parents


def _shared(call: Call, placement: Placement, number: int) -> dict[int, Memory]:
    """Outputs that take over an input's memory."""
    of_tensor = placement.of_tensor
    for source, target in call.in_place:
        tensor: Tensor = call.inputs[source]
        memory = of_tensor.get(id(tensor))
        if memory is None or memory.last != number or tensor.bytes != memory.size_at(number):
            continue
        if call.outputs[target].bytes > tensor.bytes:
            continue
        # Another operand in the same memory but of another shape would be overwritten before it is read.
        others = [t for t in call.inputs if t is not tensor]
        if all(of_tensor.get(id(t)) is not memory for t in others):
            return {target: memory}
    return {}
