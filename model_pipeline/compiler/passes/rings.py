"""Streaming models keep the newest rows in a variable: read it, append the new rows, keep the end. Here the
concatenation itself becomes the memory that lasts, and new rows are pushed into it: nothing else is copied.

A split of such a ring along its channels becomes a ring for each part, only as long as its reader looks back.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from model_pipeline.compiler.ir import DTYPES, Call, Graph, Tensor


def make_rings(graph: Graph, calls: list[Call]) -> list[Call]:
    """The calls with rings in place of variables where that is possible."""
    for read in [c for c in calls if c.operator.name == "READ_VARIABLE"]:
        found = _find(graph, calls, read)
        if found is not None:
            calls = _replace(calls, *found)
    for push in [c for c in calls if c.function == "kws_nn_push" and c.operator.name == "CONCATENATION"]:
        calls = _split(graph, calls, push)
    return calls


def _users(calls: list[Call], tensor: Tensor) -> list[Call]:
    return [call for call in calls if any(t is tensor for t in call.inputs)]


def _is_output(graph: Graph, tensor: Tensor) -> bool:
    return any(t is tensor for t in graph.outputs)


def _find(graph: Graph, calls: list[Call], read: Call) -> tuple[Call, Call, Call, list[Call]] | None:
    """(read, concatenation, assignment, slices that nothing else needs)."""
    variable, old = read.inputs[0], read.outputs[0]
    readers = _users(calls, old)
    writers = [c for c in calls if any(t is variable for t in c.outputs)]
    if len(readers) != 1 or len(writers) != 1 or len(_users(calls, variable)) != 1 or _is_output(graph, old):
        return None
    joined, assign = readers[0], writers[0]
    if joined.operator.name != "CONCATENATION" or joined.params["outer"] != 1 or len(joined.inputs) != 2:
        return None
    new = joined.inputs[1]
    if joined.inputs[0] is not old or new is old or new.data is not None or assign.operator.name != "ASSIGN_VARIABLE":
        return None
    # From the assigned value back to the concatenation, through views only.
    tensor, offset = assign.inputs[0], 0
    passed: list[Call] = []
    while tensor is not joined.outputs[0]:
        view = next((c for c in calls if any(t is tensor for t in c.outputs)), None)
        if view is None or view.function or view.joins:
            return None
        which = next(n for n, t in enumerate(view.outputs) if t is tensor)
        offset += view.offsets[which] if view.offsets else 0
        passed.append(view)
        tensor = view.inputs[0]
    if offset != joined.outputs[0].bytes - variable.bytes or old.bytes != variable.bytes:
        return None
    # What leads to the assignment and nowhere else goes with it.
    unused: list[Call] = []
    for view, reader in zip(passed, [assign, *passed], strict=False):
        if any(_users(calls, t) not in ([], [reader]) or _is_output(graph, t) for t in view.outputs):
            break
        unused.append(view)
    return read, joined, assign, unused


def _replace(calls: list[Call], read: Call, joined: Call, assign: Call, unused: list[Call]) -> list[Call]:
    ring, new, variable = joined.outputs[0], joined.inputs[1], read.inputs[0]
    ring.keeps = True
    if variable.initial is not None:
        before = np.zeros(new.size, DTYPES[new.type])
        before[:] = variable.initial.reshape(-1)[0]  # never read; like the rest, so that a reset is a memset
        ring.initial = np.concatenate([before, variable.initial.reshape(-1)]).reshape(ring.shape)
    gone = {id(c) for c in (read, assign, *unused)}
    push = _push(joined, new, ring)
    return [push if c is joined else c for c in calls if id(c) not in gone]


def _push(call: Call, new: Tensor, ring: Tensor) -> Call:
    return Call(call.operator, "kws_nn_push", "kws_nn_push_t", {"size": ring.bytes, "step": new.bytes}, [new], [ring])


def _split(graph: Graph, calls: list[Call], push: Call) -> list[Call]:
    new, ring = push.inputs[0], push.outputs[0]
    users = _users(calls, ring)
    if len(users) != 1 or _is_output(graph, ring) or users[0].operator.name not in {"SPLIT", "SPLIT_V"}:
        return calls
    split = users[0]
    if len(new.shape) != len(ring.shape):
        return calls
    differing = [a for a, (n, m) in enumerate(zip(split.outputs[0].shape, ring.shape, strict=True)) if n != m]
    if len(differing) != 1 or math.prod(new.shape[: differing[0]]) != 1:
        return calls
    axis = differing[0]
    parts: list[Tensor] = []
    offsets: list[int] = []
    made: list[Call] = []
    drop = {id(split)}
    at = first = 0
    for part in split.outputs:
        shape = (*new.shape[:axis], part.shape[axis], *new.shape[axis + 1 :])
        piece = replace(new, index=-1, shape=shape, name=f"{new.name} (part {len(parts)})")
        kept = part
        readers = _users(calls, part)
        whole = len(readers) != 1 or _is_output(graph, part)
        if not whole and not readers[0].function and len(readers[0].outputs) == 1:
            view = readers[0]
            begin = view.offsets[0] if view.offsets else 0
            if begin + view.outputs[0].bytes == part.bytes and view.outputs[0].bytes >= piece.bytes:
                kept = view.outputs[0]
                drop.add(id(view))
        kept.keeps = True
        if ring.initial is not None:
            values = ring.initial.reshape(ring.shape).take(range(first, first + part.shape[axis]), axis=axis)
            kept.initial = values.reshape(-1)[values.size - kept.size :].reshape(kept.shape)
        parts.append(piece)
        offsets.append(at)
        made.append(_push(push, piece, kept))
        at += piece.bytes
        first += part.shape[axis]
    ring.keeps = False
    view = Call(split.operator, "", "", {}, [new], parts, offsets=offsets)
    result = []
    for call in calls:
        if call is push:
            result += [view, *made]
        elif id(call) not in drop:
            result.append(call)
    return result
