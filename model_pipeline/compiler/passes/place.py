"""Decides which tensors share memory, and when each piece of memory is in use."""

from __future__ import annotations

from dataclasses import dataclass

from model_pipeline.compiler.ir import Call, Graph, Tensor

BEFORE_ALL = -1  # the "call" that writes the model's inputs


@dataclass(eq=False)
class Memory:
    """A piece of RAM for one or more tensors, in use from call ``first`` to call ``last``, both included."""

    name: str
    size: int
    first: int
    last: int
    offset: int = -1


@dataclass(eq=False)
class Placement:
    """Where everything lives: tensors by id() of the `Tensor`, scratch by the number of the call."""

    memories: list[Memory]
    of_tensor: dict[int, Memory]
    of_scratch: dict[int, Memory]


def place(graph: Graph, calls: list[Call]) -> Placement:
    """One memory for each tensor, fewer where a call may write over what it reads."""
    last_use: dict[int, int] = {}
    for number, call in enumerate(calls):
        for tensor in [*call.inputs, *call.outputs]:
            last_use[id(tensor)] = number
    for tensor in [*graph.outputs, *(t for call in calls for t in call.outputs if t.keeps)]:
        last_use[id(tensor)] = len(calls)
    # A memory that a change of shape passes on is in use as long as the result is.
    for call in reversed(calls):
        if not call.function:
            source, target = id(call.inputs[0]), id(call.outputs[0])
            last_use[source] = max(last_use[source], last_use[target])

    placement = Placement([], {}, {})

    def new(name: str, size: int, first: int, last: int) -> Memory:
        memory = Memory(name, size, first, last)
        placement.memories.append(memory)
        return memory

    for tensor in graph.inputs:
        placement.of_tensor[id(tensor)] = new(tensor.name, tensor.bytes, BEFORE_ALL, last_use.get(id(tensor), 0))
    for number, call in enumerate(calls):
        shared = _shared(call, placement.of_tensor, number)
        for which, tensor in enumerate(call.outputs):
            last = last_use[id(tensor)]
            if which in shared:
                memory = shared[which]
                memory.last = max(memory.last, last)
            else:
                memory = new(tensor.name, tensor.bytes, BEFORE_ALL if tensor.keeps else number, last)
            placement.of_tensor[id(tensor)] = memory
        if call.scratch:
            placement.of_scratch[number] = new(f"scratch of call {number}", call.scratch, number, number)
    return placement


def _shared(call: Call, of_tensor: dict[int, Memory], number: int) -> dict[int, Memory]:
    """Outputs that take over an input's memory."""
    if not call.function:
        return {0: of_tensor[id(call.inputs[0])]}
    for source, target in call.in_place:
        tensor: Tensor = call.inputs[source]
        memory = of_tensor.get(id(tensor))
        if memory is None or memory.last != number or memory.size != call.outputs[target].bytes:
            continue
        # Another operand in the same memory but of another shape would be overwritten before it is read.
        others = [t for t in call.inputs if t is not tensor]
        if all(of_tensor.get(id(t)) is not memory for t in others):
            return {target: memory}
    return {}
