"""How a client sends what it has learnt, in few bytes.

* ``float32``: the weights as they are.
* ``int8``: the difference from the server's weights, a byte each, with a scale for each array; rounded up or down by
  chance, so that the mean over many clients keeps what is less than a step (QSGD; Alistarh and others,
  arXiv:1610.02132).
* ``topk``: the largest differences alone as float16, with the gaps between their places (Aji and Heafield,
  arXiv:1704.05021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config.federated import Upload
from model_pipeline.errors import KwsError

Arrays = list[NDArray[np.float32]]


def encode(
    start: Sequence[NDArray], end: Sequence[NDArray], kind: Upload, top: float, rng: np.random.Generator
) -> bytes:
    """What is sent of weights that were ``start`` and are ``end``, arrays of the same shapes."""
    if kind == "float32":
        return b"".join(np.asarray(array, "<f4").tobytes() for array in end)
    deltas = [
        np.asarray(after, np.float32) - np.asarray(before, np.float32) for before, after in zip(start, end, strict=True)
    ]
    if kind == "int8":
        parts = []
        for delta in deltas:
            scale = np.float32(np.abs(delta).max(initial=0.0) / 127.0)
            steps = delta.ravel() / scale if scale > 0 else np.zeros(delta.size, np.float32)
            whole = np.clip(np.floor(steps + rng.random(steps.size, np.float32)), -127, 127).astype(np.int8)
            parts += [np.array(scale, "<f4").tobytes(), whole.tobytes()]
        return b"".join(parts)
    flat = np.concatenate([delta.ravel() for delta in deltas])
    count = max(1, round(top * flat.size))
    places = np.sort(np.argpartition(np.abs(flat), flat.size - count)[flat.size - count :])
    gaps = np.diff(places, prepend=-1) - 1
    wide = np.array(int(gaps.max() > 0xFFFF), np.uint8)
    values = np.clip(flat[places], -65504, 65504).astype("<f2")
    return wide.tobytes() + gaps.astype("<u4" if wide else "<u2").tobytes() + values.tobytes()


def decode(start: Sequence[NDArray], data: bytes, kind: Upload) -> Arrays:
    """The weights at the other end, of what `encode` gave.

    Raises:
        KwsError: ``data`` is not what arrays of these shapes give, or holds no numbers.
    """
    shapes = [array.shape for array in start]
    sizes = [int(np.prod(shape)) for shape in shapes]
    total = sum(sizes)
    flat: NDArray[np.float32]
    if kind == "topk":
        flat = _sparse(data, total)
    else:
        each, head = (4, 0) if kind == "float32" else (1, 4)
        if len(data) != total * each + head * len(sizes):
            raise _broken(f"{len(data)} bytes for {total} weights")
        parts, at = [], 0
        for size in sizes:
            if kind == "float32":
                parts.append(np.frombuffer(data, "<f4", size, at))
            else:
                parts.append(np.frombuffer(data, np.int8, size, at + 4) * np.frombuffer(data, "<f4", 1, at))
            at += size * each + head
        flat = np.concatenate(parts).astype(np.float32)
    if not np.all(np.isfinite(flat)):
        raise _broken("weights that are not numbers")
    ends = np.cumsum(sizes)
    arrays = [flat[end - size : end].reshape(shape) for size, end, shape in zip(sizes, ends, shapes, strict=True)]
    if kind == "float32":
        return arrays
    return [np.asarray(before, np.float32) + array for before, array in zip(start, arrays, strict=True)]


def _sparse(data: bytes, total: int) -> NDArray[np.float32]:
    if not data or data[0] > 1:
        raise _broken("no beginning")
    width = 4 if data[0] else 2
    count, left = divmod(len(data) - 1, width + 2)
    if left or not 0 < count <= total:
        raise _broken(f"{len(data)} bytes for {total} weights")
    gaps = np.frombuffer(data, "<u4" if data[0] else "<u2", count, 1).astype(np.int64)
    places = np.cumsum(gaps + 1) - 1
    if places[-1] >= total:
        raise _broken("a place beyond the last weight")
    flat = np.zeros(total, np.float32)
    flat[places] = np.frombuffer(data, "<f2", count, 1 + count * width)
    return flat


def _broken(what: str) -> KwsError:
    return KwsError(f"a client sent {what}", exit_code=1)
