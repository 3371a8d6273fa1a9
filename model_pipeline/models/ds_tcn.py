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

import keras

from model_pipeline.config import ShapeConfig
from model_pipeline.models.net import Net
from model_pipeline.models.tcn import tcn


def ds_tcn(net: Net, x: keras.KerasTensor, labels: int, width: float) -> keras.KerasTensor:
    """[frames, channels, 1] to logits."""

    def wide(channels: int) -> int:
        return max(8, round(channels * width / 8) * 8)

    # A short window, as a larger hop gives, has no room for all five blocks.
    blocks = max(0, min(5, (x.shape[1] - 6) // 6))
    return tcn(ShapeConfig(front=wide(16), body=wide(64), blocks=blocks, kernel=7))(net, x, labels, width)
