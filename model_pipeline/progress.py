"""How far a step is: the callback that every long step takes."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int, str], None]  # done, total, and a word about what is being done


def silent(done: int, total: int, text: str) -> None:
    """Shows nothing."""
