"""Voices of piper that the user has downloaded: a folder with ``*.onnx`` and ``*.onnx.json``, as
``python -m piper.download_voices`` leaves them. A voice may hold hundreds of speakers, and has a language of its own.

The package is piper-tts (GPL-3.0), an extra that nothing here depends on: without it, or
without voices, there are none.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.data.audio import resample
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json

_lock = threading.Lock()


def speakers(folder: Path, language: str) -> list[tuple[str, str]]:
    """Every speaker of the voices of a ``language`` ("en", "en-gb") in ``folder``: its name for `say`, and one that is
    short. [] without piper-tts or without voices.

    Raises:
        KwsError: a voice's description can't be read.
    """
    if not importlib.util.find_spec("piper"):
        return []
    found = []
    for path in sorted(folder.glob("*.onnx")):
        description = path.with_name(f"{path.name}.json")
        try:
            values = read_json(description)
            code = str((values.get("language") or {}).get("code") or values["espeak"]["voice"])
            count = int(values["num_speakers"])
        except (KwsError, FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KwsError(f"{description} describes no piper voice", hint="download the voice again") from error
        code = code.replace("_", "-").lower()
        if code == language or code.startswith(f"{language}-"):
            found += [(f"{path}#{number}", f"{path.stem}-{number}") for number in range(max(1, count))]
    return found


def say(name: str, text: str, pitch: float, rate: float) -> np.ndarray | None:
    """``text`` as float32 [n] at 16 kHz; None for a text without sounds.

    Args:
        name: as `speakers` gives it.
        pitch, rate: factors, as in `voices.Utterance`; the length of the throat goes with the pitch.

    Raises:
        KwsError: piper fails.
    """
    path, _, number = name.rpartition("#")
    try:
        with _lock:  # two threads would otherwise both open it
            voice, settings = _open(path)
        # Resampling by `pitch` makes it faster too: that is taken out beforehand.
        length = float(np.clip(pitch / rate, 0.5, 2.0)) * float(voice.config.length_scale)
        speaker = int(number) if voice.config.num_speakers > 1 else None
        chunks = list(voice.synthesize(text, syn_config=settings(speaker_id=speaker, length_scale=length)))
    except Exception as error:  # whatever ONNX Runtime and piper raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KwsError(f"piper failed: {reason}", hint="leave it out of synth.engines") from error
    if not chunks:
        return None
    samples = np.concatenate([np.asarray(chunk.audio_float_array, np.float32) for chunk in chunks])
    return resample(samples, round(chunks[0].sample_rate * pitch))


@functools.lru_cache(maxsize=4)
def _open(path: str) -> tuple[Any, Any]:
    from piper import PiperVoice, SynthesisConfig

    return PiperVoice.load(path), SynthesisConfig
