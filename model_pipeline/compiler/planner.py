"""Gives every memory its offset in the arena.

Memories that are in use at the same time must not overlap; the arena's size is to be as small as possible. The
problem is NP-hard; first fit over several orders is near the lower bound for chains of layers. Literature: Y. Pisarchyk
and J. Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020), greedy by size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model_pipeline.compiler.passes.place import Memory
from model_pipeline.errors import KwsError

ALIGNMENT = 4  # kernels may load words
MAX_ARENA = 16 << 20
# Pairs of memories that are in use at the same time: this many are planned in some ten seconds. Networks for
# microcontrollers have tens of thousands at the most; only a file that was made to keep us busy has more.
MAX_PAIRS = 1_000_000


@dataclass(frozen=True)
class Plan:
    """``arena_bytes`` was found; no plan can be below ``lower_bound``: so much is in use during one call."""

    arena_bytes: int
    lower_bound: int


def plan(memories: list[Memory]) -> Plan:
    """Sets ``offset`` of each memory.

    Raises:
        KwsError: more of them are in use at once than can be planned in a reasonable time.
    """
    if (pairs := _pairs(memories)) > MAX_PAIRS:
        raise KwsError(
            f"the model keeps too much alive at once: {len(memories):,} memories, {pairs:,} pairs of them overlap in "
            f"time (at most {MAX_PAIRS:,})",
            hint="a chain of layers keeps a few",
        )
    orders: list[Callable[[Memory], tuple]] = [
        lambda m: (-m.size, m.first),
        lambda m: (-(m.last - m.first), -m.size),
        lambda m: (m.first, -m.size),
        lambda m: (-m.size * (m.last - m.first + 1), m.first),
    ]
    best: tuple[int, list[int]] | None = None
    beside = _beside(memories)
    for order in orders:
        offsets = _first_fit(memories, order, beside)
        top = max((o + _aligned(m.size) for o, m in zip(offsets, memories, strict=True)), default=0)
        if best is None or top < best[0]:
            best = (top, offsets)
    assert best is not None
    for memory, offset in zip(memories, best[1], strict=True):
        memory.offset = offset
    return Plan(best[0], lower_bound(memories))


def _pairs(memories: list[Memory]) -> int:
    """How many pairs are in use at the same time: each memory with those that are there when it begins."""
    begins, ends = sorted(m.first for m in memories), sorted(m.last for m in memories)
    ended = pairs = 0
    for there, first in enumerate(begins):
        while ends[ended] < first:
            ended += 1
        pairs += there - ended
    return pairs


def _beside(memories: list[Memory]) -> list[list[int]]:
    """For each memory those that are in use at some time when it is."""
    beside: list[list[int]] = [[] for _ in memories]
    there: list[int] = []
    for index in sorted(range(len(memories)), key=lambda i: memories[i].first):
        there = [i for i in there if memories[i].last >= memories[index].first]
        for i in there:
            beside[i].append(index)
        beside[index] += there
        there.append(index)
    return beside


def lower_bound(memories: list[Memory]) -> int:
    """Bytes in use during the call that needs most."""
    changes: dict[int, int] = {}
    for m in memories:
        sizes = [(m.first, m.size), *((call, size) for call, size in m.shrinks if call <= m.last), (m.last + 1, 0)]
        before = 0
        for call, size in sizes:
            changes[call] = changes.get(call, 0) + _aligned(size) - before
            before = _aligned(size)
    most = now = 0
    for call in sorted(changes):
        now += changes[call]
        most = max(most, now)
    return most


def _first_fit(
    memories: list[Memory], order: Callable[[Memory], tuple], beside: list[list[int]] | None = None
) -> list[int]:
    beside = beside or _beside(memories)
    offsets = [-1] * len(memories)
    for index in sorted(range(len(memories)), key=lambda i: order(memories[i])):
        memory = memories[index]
        taken = []  # first byte, the one behind the last, and how much of `memory` must not lie between
        for i in beside[index]:
            if offsets[i] >= 0:
                # Memories only shrink: they are largest when both begin to be there.
                both = max(memories[i].first, memory.first)
                end = offsets[i] + _aligned(memories[i].size_at(both))
                taken.append((offsets[i], end, _aligned(memory.size_at(both))))
        # The lowest place is that of 0 and the ends which lies in none of the intervals (low - own, high), both
        # left out: by their beginnings, each is looked at once.
        at = 0
        for begin, high in sorted((low - own, high) for low, high, own in taken):
            if begin >= at:
                break
            at = max(at, high)
        offsets[index] = at
    return offsets


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
