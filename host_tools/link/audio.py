"""The device's sound at the host: blocks of AUDIO in one line, with every sample that is missing counted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from host_tools.boards import board_ids, load_board
from host_tools.link import stream
from host_tools.link.events import Audio
from host_tools.link.session import Link
from host_tools.link.stream import AS_ADPCM, SEND_AUDIO, SEND_FEATURES
from model_pipeline.errors import DeviceError
from model_pipeline.rate import SAMPLE_RATE

_PCM_BYTES_A_SECOND = 33_800  # of AUDIO as int16
_FEATURES_BYTES_A_SECOND = 5_400  # of FEATURES and RESULT, as docs/protocol.md has it
_SHARE = 0.75  # of a UART that may be asked for: it is polled, and the core waits for it
_SELDOM = 1000  # hops between inferences where nobody asks for their results
_MOST_AT_ONCE = 60 * SAMPLE_RATE  # a gap that is longer is a device's mistake, not a loss
_MOST_LOST = 20  # times as many samples as came, and this many in a row: or a few bytes of a device are megabytes here


class Track:
    """Takes AUDIO and gives samples, with silence for what the link lost, so that positions stay what they are.

    ``position``: of the next sample. ``lost``: samples that the link lost. ``dropped``: samples that the device lost
    before its front end; they have no place in positions.
    """

    def __init__(self) -> None:
        self.position = 0
        self.lost = 0
        self.dropped = 0
        self._came = 0

    def take(self, block: Audio) -> np.ndarray:
        """int16 samples from ``position`` on.

        Raises:
            DeviceError: the block is from before, or from minutes ahead; or nearly all blocks are missing.
        """
        gap = (block.position - self.position) & 0xFFFFFFFF
        self._came += len(block.samples)
        if gap > _MOST_AT_ONCE or self.lost + gap > _MOST_AT_ONCE + _MOST_LOST * self._came:
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


def near(position: int, here: int) -> int:
    """A position of 32 bits as one that does not wrap: the one that is nearest to ``here``."""
    return here + (position - here + 0x80000000) % 0x100000000 - 0x80000000


def audio_flags(link: Link, also: int = 0) -> int:
    """How the device is to send its sound: int16, or ADPCM where its UART is too slow for that and for what else it
    is asked for (``also``). USB and TCP are fast enough."""
    board = link.info().board
    uart = load_board(board).kws.serial if board in board_ids() else None
    needed = _PCM_BYTES_A_SECOND + (_FEATURES_BYTES_A_SECOND if also & SEND_FEATURES else 0)
    if uart is None or link.baud is None:
        return SEND_AUDIO
    return SEND_AUDIO | (AS_ADPCM if needed > _SHARE * link.baud / 10 else 0)


@contextlib.contextmanager
def board_microphone(link: Link, track: Track) -> Iterator[Iterator[np.ndarray]]:
    """The sound of the board's own microphone without an end, int16 blocks; ``track`` counts what is missing.

    Raises:
        NoMicrophone: it has none.
    """
    events = stream.listen(link, _SELDOM, also=audio_flags(link))
    try:
        yield (track.take(event) for event in events if isinstance(event, Audio))
    finally:
        events.close()
