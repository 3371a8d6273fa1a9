"""Memories in the arena: first fit as it is defined, in time that does not grow with its square, and a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pipeline.compiler import planner
from model_pipeline.compiler.passes.place import Memory
from model_pipeline.errors import KwsError


@st.composite
def memories(draw: st.DrawFn) -> list[Memory]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 8))
        last = draw(st.integers(first, 10))
        size = draw(st.integers(0, 40))
        shrinks = []
        if draw(st.booleans()) and first < last:
            shrinks = [(draw(st.integers(first + 1, last)), draw(st.integers(0, size)))]
        found.append(Memory(str(number), size, first, last, shrinks=shrinks))
    return found


def plain_first_fit(some: list[Memory], order) -> list[int]:
    """The definition: of 0 and the ends of what is placed, the lowest that overlaps nothing."""
    offsets: dict[int, int] = {}
    for index in sorted(range(len(some)), key=lambda i: order(some[i])):
        memory, taken = some[index], []
        for i, offset in offsets.items():
            other = some[i]
            if other.first <= memory.last and memory.first <= other.last:
                both = max(other.first, memory.first)
                end = offset + -(-other.size_at(both) // 4) * 4
                taken.append((offset, end, -(-memory.size_at(both) // 4) * 4))
        ends = sorted({0, *(end for _, end, _ in taken)})
        offsets[index] = next(at for at in ends if all(at + own <= low or at >= high for low, high, own in taken))
    return [offsets[i] for i in range(len(some))]


@given(memories())
def test_first_fit_is_what_it_is_defined_as(some: list[Memory]) -> None:
    def order(m: Memory) -> tuple:
        return (-m.size, m.first)

    assert planner._first_fit(some, order) == plain_first_fit(some, order)


@given(memories())
def test_pairs_are_those_that_are_there_at_the_same_time(some: list[Memory]) -> None:
    pairs = sum(a.first <= b.last and b.first <= a.last for i, a in enumerate(some) for b in some[:i])
    assert planner._pairs(some) == pairs


def test_what_would_take_too_long_is_refused_at_once() -> None:
    alive = [Memory(str(i), 4, i, 100_000) for i in range(50_000)]
    with pytest.raises(KwsError, match="keeps too much alive at once: 50,000 memories"):
        planner.plan(alive)


def test_two_hundred_alive_at_once_are_planned_without_overlap() -> None:
    # Those that end early leave holes, which the later ones must fill: on top of all they would need twice as much.
    early = [Memory(f"early {i}", 64, i, 200) for i in range(100)]
    late = [Memory(f"late {i}", 64, 201 + i, 1000) for i in range(100)]
    through = [Memory(f"through {i}", 4 + 4 * (i % 7), i, 1000) for i in range(100)]
    some = [*early, *late, *through]
    found = planner.plan(some)
    assert found.arena_bytes == planner.lower_bound(some) == sum(m.size for m in [*early, *through])
    for number, one in enumerate(some):
        for other in some[:number]:
            if one.first <= other.last and other.first <= one.last:
                assert one.offset + one.size <= other.offset or other.offset + other.size <= one.offset


@given(memories())
def test_the_lower_bound_is_the_sum_of_the_call_that_needs_most(some: list[Memory]) -> None:
    def used(call: int) -> int:
        return sum(-(-m.size_at(call) // 4) * 4 for m in some if m.first <= call <= m.last)

    assert planner.lower_bound(some) == max((used(call) for call in range(12)), default=0)


def test_a_row_of_a_hundred_thousand_is_planned() -> None:
    # Each with its neighbours alone: work that grows with the square would not come to an end.
    row = [Memory(str(i), 4, i, i + 1) for i in range(100_000)]
    assert planner.plan(row) == planner.Plan(8, 8)
