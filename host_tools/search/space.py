"""Which networks there are to choose from."""

from __future__ import annotations

# Lowest, highest, step. Channels are multiples of 4, which the kernels take at once.
SPACE: dict[str, tuple[int, int, int]] = {
    "hop_ms": (10, 30, 5),
    "channels": (16, 40, 4),
    "front": (4, 32, 4),
    "body": (16, 128, 4),
    "blocks": (1, 7, 1),
    "kernel": (3, 9, 2),
    "step": (1, 2, 1),
}


def narrower(params: dict[str, int], shares: tuple[float, float]) -> dict[str, int]:
    """``params`` with these shares of the channels of front and body, in steps of `SPACE`."""
    result = dict(params)
    for name, share in zip(("front", "body"), shares, strict=True):
        low, _, step = SPACE[name]
        result[name] = max(min(low, params[name]), int(params[name] * share) // step * step)
    return result
