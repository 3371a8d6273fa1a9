"""Depthwise-separable temporal convolution network, the default.

| | |
|---|---|
| input | log-mel, 49 frames of 20 ms x 40 channels |
| front | 3x3 convolution, then depthwise 3x5, over time and frequency, both halving frequency |
| collapse | one convolution over all that is left of frequency; from there on everything is a sequence |
| body | five blocks: depthwise over 7 frames (unpadded), then a residual pointwise layer |
| head | mean over time, 1x1 convolution |
| size | 1.20 M MACs, 32 k parameters at width 1 |
| operators | CONV_2D, DEPTHWISE_CONV_2D, ADD, AVERAGE_POOL_2D, RESHAPE, SOFTMAX |

Sharing weights along frequency in the front makes it indifferent to a voice's pitch (as BC-ResNet and SparkNet
show); one-dimensional layers after it are cheap. The residual lies around the pointwise layer alone, so that unpadded
convolutions need no cropping of the skip, and every layer can stream.
"""

from __future__ import annotations

from typing import Any

from model_pipeline.models.net import Net


def ds_tcn(net: Net, x: Any, labels: int, width: float) -> Any:
    """[frames, channels, 1] to logits."""

    def wide(channels: int) -> int:
        return max(8, round(channels * width / 8) * 8)

    # Few channels (FrontendConfig allows 4) leave no room for the usual steps along frequency.
    x = net.conv(x, wide(16), (3, 3), (1, 2 if x.shape[2] >= 16 else 1))
    x = net.depthwise(x, (3, min(5, x.shape[2])), (1, 2 if x.shape[2] >= 12 else 1), relu=True)
    x = net.conv(x, wide(64), (1, x.shape[2]))
    for _ in range(5):
        if x.shape[1] < 8:  # a short window, as a larger hop gives
            break
        x = net.depthwise(x, (7, 1))
        x = net.add(x, net.conv(x, x.shape[-1], relu=False))
    x = net.pool(x)
    x = net.dropout(x, 0.1)
    return net.classify(x, labels)
