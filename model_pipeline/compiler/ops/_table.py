"""Functions of one 8-bit value: a table of 256 bytes, made here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_pipeline.compiler.ir import DTYPES, Call, Constant, Operator, Tensor

LIMITS = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}


def table_call(operator: Operator, source: Tensor, target: Tensor, function: Callable[[int], int]) -> Call:
    """``function`` of each possible value of the input, limited to the output's type."""
    low, high = LIMITS[target.type]
    first, last = LIMITS[source.type]
    outputs = {value: max(low, min(high, function(value))) for value in range(first, last + 1)}
    table = np.array([outputs[value if value <= last else value - 256] for value in range(256)])
    constant = Constant("table", table.astype(DTYPES[target.type]).view(np.uint8), "uint8_t")
    return Call(
        operator,
        "kws_nn_lookup",
        "kws_nn_lookup_t",
        {"size": source.size, "table": constant},
        [source],
        [target],
        in_place=[(0, 0)],
    )
