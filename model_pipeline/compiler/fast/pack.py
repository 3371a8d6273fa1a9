"""Constants in the order in which the inner loops of firmware/core/nn/fast read them."""

from __future__ import annotations

import numpy as np


def pair_words(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """int16 lanes as int32 words, ``low`` in bits 0 to 15."""
    word = (low.astype(np.int64) & 0xFFFF) | ((high.astype(np.int64) & 0xFFFF) << 16)
    return word.astype(np.uint32).view(np.int32)


def quad_order(length: int) -> np.ndarray:
    """Where each lane's value comes from when bytes are expanded four by four with SXTB16: 0 2 1 3, 4 6 5 7, ...;
    indices at or beyond ``length`` are padding. int [pairs, 2], pairs even."""
    quads = -(-length // 4)
    return (np.arange(quads)[:, None] * 4 + np.array([0, 2, 1, 3])).reshape(-1, 2)


def matrix16(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``packed`` of kws_fast_matrix_t for matrix16.

    Args:
        weights: int8 [out_c, k].
        bias: int64 [out_c], with the input's zero point folded in.
        requantization: int32 [out_c, 3].
        order: int [pairs, 2], the k of each lane; out of range means padding.

    Returns:
        int32 [(out_c + 1) // 2 * (2 * pairs + 8)].
    """
    lanes, biases, table = _padded(weights, bias, requantization, order)
    words = pair_words(2 * lanes[..., 0], 2 * lanes[..., 1]).reshape(len(lanes) // 2, 2, -1)
    parts = [2 * biases.reshape(-1, 2), words.transpose(0, 2, 1).reshape(len(words), -1), table.reshape(-1, 6)]
    return np.concatenate(parts, axis=1).astype(np.int32).reshape(-1)


def matrix8(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    """As `matrix16` for matrix8; None where two weights do not fit into a lane (both -128).

    Args:
        requantization: the odd channels' rows made for 256 times the sum.

    Returns:
        int32 [(out_c + 1) // 2 * (pairs + 8)].
    """
    lanes, biases, table = _padded(weights, bias, requantization, order)
    both = 256 * lanes[1::2] + lanes[0::2]
    if both.min(initial=0) < -(1 << 15):
        return None
    words = pair_words(both[..., 0], both[..., 1])
    first = (256 * biases[1::2] + biases[0::2]) & 0xFFFFFFFF
    heads = np.stack([np.where(first >> 31, first - (1 << 32), first), biases[0::2]], axis=1)
    return np.concatenate([heads, words, table.reshape(-1, 6)], axis=1).astype(np.int32).reshape(-1)


def _padded(
    weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights int64 [even out_c, pairs, 2] in the lanes' order, biases and table, all with zeros where nothing is."""
    channels, k = weights.shape
    even = -(-channels // 2) * 2
    wide = np.zeros((even, k + 1), np.int64)  # the last column is the padding
    wide[:channels, :k] = weights
    biases = np.zeros(even, np.int64)
    biases[:channels] = bias
    table = np.zeros((even, 3), np.int64)
    table[:channels] = requantization
    return wide[:, np.where((order >= 0) & (order < k), order, k)], biases, table


def depthwise(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray) -> np.ndarray:
    """``packed`` of kws_fast_depthwise_t.

    Args:
        weights: int8 [channels, taps], at least four channels.
        bias: int64 [channels], with the input's zero point folded in.
        requantization: int32 [channels, 3].

    Returns:
        int32 [groups of four * (4 * pairs + 16)].
    """
    channels, taps = weights.shape
    doubled = np.zeros((channels, -(-taps // 2) * 2), np.int64)
    doubled[:, :taps] = 2 * weights.astype(np.int64)
    words = pair_words(doubled[:, 0::2], doubled[:, 1::2])  # [channels, pairs]
    groups = []
    for first in [*range(0, channels - 3, 4), *([channels - 4] if channels % 4 else [])]:
        group = first + np.array([0, 2, 1, 3])
        groups += [(2 * bias[group]).astype(np.int32), words[group].T.reshape(-1), requantization[group].reshape(-1)]
    return np.concatenate(groups)


def planes(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray) -> np.ndarray:
    """``packed`` of kws_fast_planes_t.

    Args:
        weights: int8 [channels, taps], channels a multiple of four.
        bias: int64 [channels], with the input's zero point folded in.
        requantization: int32 [channels, 3].

    Returns:
        int32 [channels // 4 * (16 + taps)].
    """
    channels, taps = weights.shape
    heads = np.concatenate([2 * bias[:, None], requantization], axis=1).astype(np.int32).reshape(-1, 16)
    bytes_ = np.ascontiguousarray(weights.reshape(channels // 4, 4, taps).transpose(0, 2, 1))
    return np.concatenate([heads, bytes_.view("<i4")[..., 0]], axis=1).reshape(-1)
