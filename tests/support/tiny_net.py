"""The settings of a network with every kind of layer, and as few as can be."""

from __future__ import annotations

# TensorFlow takes its time over each layer, on each replica anew.
SMALLEST = [
    'keywords=["rise", "fall"]',
    "train.architecture=tcn",
    "train.shape.front=4",
    "train.shape.body=8",
    "train.shape.blocks=1",
    "train.shape.kernel=3",
]
