"""Depthwise-separable temporal convolution network whose sizes are settings (`ShapeConfig`).

| | |
|---|---|
| input | log-mel, frames x channels |
| front | 3x3 convolution, then depthwise 3x5, both halving frequency: `front` channels |
| collapse | one convolution over all that is left of frequency: `body` channels |
| body | `blocks` blocks: depthwise over `kernel` steps (unpadded), then a residual pointwise layer |
| head | mean over time, 1x1 convolution |
| operators | CONV_2D, DEPTHWISE_CONV_2D, ADD, AVERAGE_POOL_2D, RESHAPE, SOFTMAX |

The first convolution moves by `step` frames. `ds_tcn`, whose card says why it is built so, is this network at given
sizes; `kws search` looks for others.
"""

from __future__ import annotations

import keras

from model_pipeline.config import ShapeConfig
from model_pipeline.errors import KwsError
from model_pipeline.models.net import Architecture, Net


def tcn(shape: ShapeConfig) -> Architecture:
    """The network of ``shape``: [frames, channels, 1] to logits.

    Raises:
        KwsError: (when built) the window is too short for its convolutions.
    """

    def network(net: Net, x: keras.KerasTensor, labels: int, width: float) -> keras.KerasTensor:
        if x.shape[1] < shape.frames:
            raise KwsError(
                f"{shape.blocks} blocks over {shape.kernel} steps need {shape.frames} frames; "
                f"the window has {x.shape[1]}",
                hint="fewer blocks, a shorter kernel, or a shorter hop",
            )
        # Few channels (FrontendConfig allows 4) leave no room for the usual steps along frequency.
        x = net.conv(x, shape.front, (3, 3), (shape.step, 2 if x.shape[2] >= 16 else 1))
        x = net.depthwise(x, (3, min(5, x.shape[2])), (1, 2 if x.shape[2] >= 12 else 1), relu=True)
        x = net.conv(x, shape.body, (1, x.shape[2]))
        for _ in range(shape.blocks):
            x = net.depthwise(x, (shape.kernel, 1))
            x = net.add(x, net.conv(x, x.shape[-1], relu=False))
        x = net.pool(x)
        x = net.dropout(x, 0.1)
        return net.classify(x, labels)

    return network
