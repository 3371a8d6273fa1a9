"""SHAPE: every shape is known, so its result is a constant (passes/fold.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_pipeline.compiler.ir import DTYPES, Call, Operator
from model_pipeline.compiler.ops import _common as c

CODE = 77
RESOLVER = "AddShape"


def lower(operator: Operator) -> Call:
    """The dimensions of the input, as int32 or int64."""
    c.arity(operator, (1,))
    source, target = c.given(operator, 0), operator.outputs[0]
    if target.type not in ("INT32", "INT64"):
        raise operator.error(f"its output is {target.type}; INT32 and INT64 are known")
    c.expect_shape(operator, target, (len(source.shape),))
    value = replace(target, index=-1, data=np.array(source.shape, DTYPES[target.type]))
    return Call(operator, "", "", {}, [value], [target])
