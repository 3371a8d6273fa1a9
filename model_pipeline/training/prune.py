"""Structured pruning: a narrower network that starts with the most important channels of a trained one.

Channels that an addition ties together live and die together: all convolutions that write into one of its terms, the
depthwise layers between, their normalisations, and every layer that reads the sum. Imports TensorFlow.
"""

from __future__ import annotations

from collections import defaultdict

import keras
import numpy as np

from model_pipeline.errors import KwsError
from model_pipeline.models.net import BN_EPSILON, norm_of


def channel_groups(model: keras.Model) -> dict[str, tuple[str, str]]:
    """For each convolution of a ``float`` network the groups of its input and its output channels.

    A group is a set of channel axes that must keep the same channels; it has the name of the layer that is its first.
    A depthwise layer's two groups are the same.
    """
    # A layer's input is the very object that the layer before it gave.
    written: dict[int, str] = {}
    tied: dict[str, str] = {}
    convolutions: dict[str, tuple[str, str]] = {}

    def first(group: str) -> str:
        while group in tied:
            group = tied[group]
        return group

    for layer in model.layers:
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        incoming = [written[id(x)] for x in sources if id(x) in written]
        group = incoming[0] if incoming else layer.name
        for other in incoming[1:]:
            if first(other) != first(group):
                tied[first(other)] = first(group)
        if isinstance(layer, keras.layers.Conv2D):
            convolutions[layer.name] = (group, layer.name)
            group = layer.name
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            convolutions[layer.name] = (group, group)
        written[id(layer.output)] = group
    return {name: (first(a), first(b)) for name, (a, b) in convolutions.items()}


def importance(model: keras.Model) -> dict[str, np.ndarray]:
    """How much each channel of each group counts: float64 [channels].

    The L1 norm of the weights that make a channel, times what the batch normalisation multiplies them with
    (H. Li and others, arXiv:1608.08710; Z. Liu and others, arXiv:1708.06519), relative to the layer's mean, summed
    over the layers of the group.
    """
    scores: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(1))
    for name, (_, group) in channel_groups(model).items():
        layer = model.get_layer(name)
        kernel = np.abs(np.asarray(layer.kernel, np.float64))
        channel_axis = 2 if isinstance(layer, keras.layers.DepthwiseConv2D) else 3
        norm = kernel.sum(tuple(axis for axis in range(4) if axis != channel_axis))
        if (normalization := norm_of(model, name)) is not None:
            gamma, _, _, variance = (np.asarray(w, np.float64) for w in normalization.get_weights())
            norm = norm * np.abs(gamma) / np.sqrt(variance + BN_EPSILON)
        scores[group] = scores[group] + norm / max(float(norm.mean()), 1e-12)
    return dict(scores)


def prune(parent: keras.Model, target: keras.Model) -> dict[str, np.ndarray]:
    """Gives ``target``, a ``float`` network of the same layers with fewer channels, the weights of ``parent``.

    Returns:
        For each group of channels the indices of those that were kept, ascending.

    Raises:
        KwsError: ``target`` is not a narrower version of ``parent``.
    """
    groups = channel_groups(parent)
    if channel_groups(target) != groups or target.output_shape != parent.output_shape:
        raise KwsError(f"{target.name} has other layers than {parent.name}, so it can't take over its channels")
    kept: dict[str, np.ndarray] = {}
    for group, score in importance(parent).items():
        count = target.get_layer(group).output.shape[-1]
        if count > len(score):
            raise KwsError(f"{group} has {len(score)} channels; pruning can't make {count} of them")
        kept[group] = np.sort(np.argsort(-score, kind="stable")[:count])
    for name, (before, after) in groups.items():
        source, layer = parent.get_layer(name), target.get_layer(name)
        inputs = kept.get(before, np.arange(source.input.shape[-1]))  # features have no convolution that makes them
        kernel = np.asarray(source.kernel)[:, :, inputs]
        if not isinstance(source, keras.layers.DepthwiseConv2D):
            kernel = kernel[..., kept[after]]
        if kernel.shape != tuple(layer.kernel.shape):
            raise KwsError(
                f"{name} has kernels of {layer.kernel.shape}, not {kernel.shape}: only channels can be pruned"
            )
        layer.kernel.assign(kernel)
        if source.use_bias:
            layer.bias.assign(np.asarray(source.bias)[kept[after]])
        if (normalization := norm_of(parent, name)) is not None:
            values = [np.asarray(w)[kept[after]] for w in normalization.get_weights()]
            target.get_layer(normalization.name).set_weights(values)
    return kept
