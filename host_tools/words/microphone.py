"""This computer's microphone, by sounddevice (PortAudio)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from host_tools import ui
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.packages import pip_install
from model_pipeline.rate import SAMPLE_RATE

BLOCK = 320  # 20 ms


@contextlib.contextmanager
def blocks(overflow: Callable[[], None] | None = None) -> Iterator[Iterator[np.ndarray]]:
    """Opens the microphone and gives its sound without an end: int16 [320] each, 16 kHz. ``overflow`` is called when it
    lost samples; None says so on stderr.

    Raises:
        MissingTool: sounddevice or PortAudio is not installed.
        KwsError: there is no microphone, or it fails.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MissingTool("sounddevice is not installed", hint=pip_install(extra="mic")) from error
    except OSError as error:  # the package is there, its C library is not
        raise MissingTool("PortAudio is not installed", hint="apt-get install libportaudio2") from error

    def read(source: sounddevice.InputStream) -> Iterator[np.ndarray]:
        while True:
            samples, overflowed = source.read(BLOCK)
            if overflowed and overflow:
                overflow()
            elif overflowed:
                ui.err.say("[yellow]the microphone lost samples[/]: this computer is too busy")
            yield samples[:, 0].copy()

    try:
        with sounddevice.InputStream(samplerate=SAMPLE_RATE, channels=1, dtype="int16", blocksize=BLOCK) as source:
            yield read(source)
    except sounddevice.PortAudioError as error:
        raise KwsError(f"no microphone: {error}", hint="python -m sounddevice lists the devices") from error
