"""Weights as Flower's records, and the names in messages that clients and server agree on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flwr.app import Array, ArrayRecord

ARRAYS, CONFIG, UPDATE, METRICS = "arrays", "config", "update", "metrics"
NUMBER, EXAMPLES, LOSS, ACCURACY = "client", "num-examples", "loss", "accuracy"


def to_record(weights: Sequence[np.ndarray]) -> ArrayRecord:
    """Weights as they travel; their names are numbers, which are short."""
    return ArrayRecord({str(i): Array(np.asarray(w, np.float32)) for i, w in enumerate(weights)})


def from_record(record: ArrayRecord) -> list[np.ndarray]:
    """The weights that `to_record` was given."""
    return [np.array(record[str(i)].numpy(), np.float32) for i in range(len(record))]


def size_of(record: ArrayRecord) -> int:
    """Bytes of a record's arrays."""
    return sum(len(array.data) for array in record.values())
