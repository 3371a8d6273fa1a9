"""The device's sound at the host: blocks of AUDIO in one line, with every sample that is missing counted."""

from __future__ import annotations

import numpy as np

from host_tools.link.protocol import Audio
from model_pipeline.errors import DeviceError
from model_pipeline.rate import SAMPLE_RATE

_MOST_AT_ONCE = 60 * SAMPLE_RATE  # a gap that is longer is a device's mistake, not a loss


class Track:
    """Takes AUDIO and gives samples, with silence for what the link lost, so that positions stay what they are.

    ``position``: of the next sample. ``lost``: samples that the link lost. ``dropped``: samples that the device lost
    before its front end; they have no place in positions.
    """

    def __init__(self) -> None:
        self.position = 0
        self.lost = 0
        self.dropped = 0

    def take(self, block: Audio) -> np.ndarray:
        """int16 samples from ``position`` on.

        Raises:
            DeviceError: the block is from before, or from minutes ahead.
        """
        gap = (block.position - self.position) & 0xFFFFFFFF
        if gap > _MOST_AT_ONCE:
            raise DeviceError("the device numbers its samples wrongly", hint="build and flash our firmware")
        self.lost += gap
        self.dropped = block.dropped
        self.position += gap + len(block.samples)
        return np.concatenate([np.zeros(gap, np.int16), block.samples]) if gap else block.samples

    def end(self, total: int) -> None:
        """Counts what is missing at the end of a stream of ``total`` samples (of STREAM_DONE)."""
        gap = (total - self.position) & 0xFFFFFFFF
        if gap <= _MOST_AT_ONCE:
            self.lost += gap
            self.position += gap
