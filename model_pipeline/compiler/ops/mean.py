"""MEAN over any dimensions of a tensor of up to four."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import multiplier_of

CODE = 40
RESOLVER = "AddMean"
MAX_COUNT = 1 << 22  # elements of one mean, so that their sum fits into 32 bits


def lower(operator: Operator) -> Call:
    """Neighbouring dimensions that are kept, or reduced, are merged: at most two of each are left."""
    c.arity(operator, (2,))
    source, target = c.quantized_pair(operator)
    rank = len(source.shape)
    if not 1 <= rank <= 4:
        raise operator.error(f"input has {rank} dimensions; 1 to 4 are known")
    axes = {int(a) + rank if a < 0 else int(a) for a in c.constant(operator, 1, ("INT32",)).reshape(-1)}
    if not all(0 <= a < rank for a in axes):
        raise operator.error(f"an axis lies outside the {rank} dimensions of the input")
    keep_dims = operator.options is not None and operator.options.integer(0, "B") != 0
    kept = tuple(n for a, n in enumerate(source.shape) if a not in axes)
    c.expect_shape(
        operator, target, tuple(1 if a in axes else n for a, n in enumerate(source.shape)) if keep_dims else kept
    )
    count = source.size // target.size
    if count > MAX_COUNT:
        raise operator.error(f"a mean over {count} elements; at most {MAX_COUNT} are known")
    groups = _merge(source.shape, axes)
    keep = [g[1:] for g in groups if not g[0]]
    reduce = [g[1:] for g in groups if g[0]]
    keep = [(1, 0)] * (2 - len(keep)) + keep
    reduce = [(1, 0)] * (2 - len(reduce)) + reduce

    multiplier, shift = multiplier_of(operator, float(source.scale) / float(target.scale))
    # The division by count goes into the multiplier (reference/reduce.h, QuantizedMeanOrSum).
    more = min(count.bit_length() - 1, 32, 31 + shift)
    if more < 0:
        raise operator.error("impossible quantisation: the scales of input and output are too far apart")
    return Call(
        operator,
        "kws_nn_mean",
        "kws_nn_mean_t",
        {
            "keep_n": [n for n, _ in keep],
            "keep_stride": [s for _, s in keep],
            "reduce_n": [n for n, _ in reduce],
            "reduce_stride": [s for _, s in reduce],
            "in_zero_point": source.zero_point,
            "out_zero_point": target.zero_point,
            "multiplier": (multiplier << more) // count,
            "shift": shift - more,
        },
        [source],
        [target],
    )


def _merge(shape: tuple[int, ...], axes: set[int]) -> list[tuple[bool, int, int]]:
    """(reduced?, length, stride) of merged dimensions, outermost first."""
    groups: list[tuple[bool, int, int]] = []
    stride = 1
    for axis in reversed(range(len(shape))):
        reduced = axis in axes
        if groups and groups[0][0] == reduced:
            groups[0] = (reduced, groups[0][1] * shape[axis], groups[0][2])
        else:
            groups.insert(0, (reduced, shape[axis], stride))
        stride *= shape[axis]
    return groups
