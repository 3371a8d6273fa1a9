"""Gives every memory its offset in the arena.

Memories that are in use at the same time must not overlap; the arena's size is to be as small as possible. The
problem is NP-hard; first fit over several orders is near the lower bound for chains of layers. Literature: Y. Pisarchyk
and J. Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020), greedy by size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model_pipeline.compiler.passes.place import Memory

ALIGNMENT = 4  # kernels may load words
MAX_ARENA = 16 << 20


@dataclass(frozen=True)
class Plan:
    """``arena_bytes`` was found; no plan can be below ``lower_bound``: so much is in use during one call."""

    arena_bytes: int
    lower_bound: int


def plan(memories: list[Memory]) -> Plan:
    """Sets ``offset`` of each memory."""
    orders: list[Callable[[Memory], tuple]] = [
        lambda m: (-m.size, m.first),
        lambda m: (-(m.last - m.first), -m.size),
        lambda m: (m.first, -m.size),
        lambda m: (-m.size * (m.last - m.first + 1), m.first),
    ]
    best: tuple[int, list[int]] | None = None
    for order in orders:
        offsets = _first_fit(memories, order)
        top = max((o + _aligned(m.size) for o, m in zip(offsets, memories, strict=True)), default=0)
        if best is None or top < best[0]:
            best = (top, offsets)
    assert best is not None
    for memory, offset in zip(memories, best[1], strict=True):
        memory.offset = offset
    return Plan(best[0], lower_bound(memories))


def lower_bound(memories: list[Memory]) -> int:
    """Bytes in use during the call that needs most."""
    calls = {m.first for m in memories}
    return max((sum(_aligned(m.size_at(c)) for m in memories if m.first <= c <= m.last) for c in calls), default=0)


def _first_fit(memories: list[Memory], order: Callable[[Memory], tuple]) -> list[int]:
    offsets = [-1] * len(memories)
    placed: list[int] = []
    for index in sorted(range(len(memories)), key=lambda i: order(memories[i])):
        memory = memories[index]
        taken = []  # first byte, the one behind the last, and how much of `memory` must not lie between
        for i in placed:
            if memories[i].first <= memory.last and memory.first <= memories[i].last:
                # Memories only shrink: they are largest when both begin to be there.
                both = max(memories[i].first, memory.first)
                end = offsets[i] + _aligned(memories[i].size_at(both))
                taken.append((offsets[i], end, _aligned(memory.size_at(both))))
        ends = sorted({0, *(end for _, end, _ in taken)})
        offsets[index] = next(at for at in ends if all(at + own <= low or at >= high for low, high, own in taken))
        placed.append(index)
    return offsets


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
