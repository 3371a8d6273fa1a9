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


def matrix(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``packed`` of kws_fast_matrix_t.

    Args:
        weights: int8 [out_c, k].
        bias: int64 [out_c], with the input's zero point folded in.
        requantization: int32 [out_c, 3].
        order: int [pairs, 2], the k of each lane; out of range means padding.

    Returns:
        int32 [(out_c + 1) // 2 * (2 * pairs + 8)].
    """
    channels, k = weights.shape
    even = -(-channels // 2) * 2
    doubled = np.zeros((even, k + 1), np.int64)  # the last column is the padding
    doubled[:channels, :k] = 2 * weights.astype(np.int64)
    picked = doubled[:, np.where((order >= 0) & (order < k), order, k)]
    words = pair_words(picked[..., 0], picked[..., 1])  # [even, pairs]
    biases = np.zeros(even, np.int64)
    biases[:channels] = 2 * bias
    table = np.zeros((even, 3), np.int32)
    table[:channels] = requantization
    rows = [
        np.concatenate(
            [biases[c : c + 2].astype(np.int32), words[c : c + 2].T.reshape(-1), table[c : c + 2].reshape(-1)]
        )
        for c in range(0, even, 2)
    ]
    return np.concatenate(rows)


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


def planes(weights: np.ndarray, bias: np.ndarray, requantization: np.ndarray, stride: int) -> np.ndarray:
    """``packed`` of kws_fast_planes_t.

    Args:
        weights: int8 [channels, k_h, k_w].
        bias: int64 [channels], with the input's zero point folded in.
        requantization: int32 [channels, 3].
        stride: along a row, 1 or 2.

    Returns:
        int32, the channels one after the other.
    """
    channels, k_h, k_w = weights.shape
    steps = -(-k_w // 2) if stride == 2 else k_w // 2 + 1
    doubled = np.zeros((channels, k_h, 2 * steps + 1), np.int64)
    doubled[..., 1 : k_w + 1] = 2 * weights.astype(np.int64)
    even = np.zeros((channels, k_h, 2 * steps), np.int64)
    even[..., :k_w] = doubled[..., 1 : k_w + 1]
    kinds = [pair_words(even[..., 0::2], even[..., 1::2])]
    if stride == 1:
        kinds.append(pair_words(doubled[..., 0:-1:2], doubled[..., 1::2]))
    words = np.stack(kinds, axis=-1).reshape(channels, -1)
    return np.concatenate([(2 * bias[:, None]).astype(np.int32), words, requantization], axis=1).reshape(-1)
