"""Words that hardly anybody recorded, put together of sounds that people said in others.

Of "off" there are 14 recordings, and networks take it for "up". Its vowel and its fricative are in "stop" and in
"four", which hundreds of people said: the vowel of the one with the beginning of the other behind it, or the beginning
of "four" played backwards, is near enough to "off" to be learnt as another word than "up".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from model_pipeline.data.audio import CLIP_SAMPLES, SAMPLE_RATE

_FRAME = SAMPLE_RATE // 100
_VOICED_DB = 10.0  # below the loudest frame under 1 kHz
_FRICATIVE = (int(0.06 * SAMPLE_RATE), int(0.14 * SAMPLE_RATE))  # least and most samples of it
_FADE = int(0.012 * SAMPLE_RATE)
_LOW = butter(4, (80, 1000), "bandpass", fs=SAMPLE_RATE, output="sos")


def voiced(clip: NDArray[np.int16]) -> tuple[int, int]:
    """First sample of the clip's loudest voiced sound, and the one behind its last."""
    low = sosfilt(_LOW, clip.astype(np.float64))[: len(clip) // _FRAME * _FRAME].reshape(-1, _FRAME)
    level = 10 * np.log10(np.mean(low**2, axis=1) + 1.0)
    loud = level >= level.max() - _VOICED_DB
    first = last = int(level.argmax())
    while first > 0 and loud[first - 1]:
        first -= 1
    while last + 1 < len(loud) and loud[last + 1]:
        last += 1
    return first * _FRAME, (last + 1) * _FRAME


def splice(
    vowels: NDArray[np.int16], onsets: NDArray[np.int16], count: int, rng: np.random.Generator
) -> NDArray[np.int16]:
    """``count`` words of a vowel and a fricative, half of each kind.

    Args:
        vowels: clips int16 [n, 16000] whose loudest voiced sound is the vowel ("stop").
        onsets: clips that begin with the fricative ("four").

    Returns:
        int16 [count, 16000]; fewer if no clip has both parts.
    """
    made: list[NDArray[np.int16]] = []
    for _ in range(4 * count):
        if len(made) == count:
            break
        onset = onsets[int(rng.integers(len(onsets)))]
        begin, end = voiced(onset)
        first = max(0, begin - int(rng.integers(*_FRICATIVE)))
        if begin - first < _FRICATIVE[0] or end - begin < 8 * _FRAME:
            continue
        length = int(rng.uniform(0.12, 0.24) * SAMPLE_RATE)
        if len(made) % 2:
            word = onset[first : min(end, begin + length)][::-1].astype(np.float32)
        else:
            vowel = vowels[int(rng.integers(len(vowels)))]
            a, b = voiced(vowel)
            if b - a < 8 * _FRAME:
                continue
            sound, noise = vowel[a:b].astype(np.float32), onset[first:begin].astype(np.float32)
            noise *= _rms(sound) / _rms(onset[begin:end])
            word = _joined(sound, noise)
        made.append(_clip(word, rng))
    return np.stack(made) if made else np.zeros((0, CLIP_SAMPLES), np.int16)


def _joined(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    middle = one[-_FADE:] * ramp[::-1] + other[:_FADE] * ramp
    return np.concatenate([one[:-_FADE], middle, other[_FADE:]])


def _clip(word: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int16]:
    """A word in the middle of a second, faded in and out, over a faint noise."""
    word = word[: CLIP_SAMPLES - SAMPLE_RATE // 10].copy()
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    word[:_FADE] *= ramp
    word[-_FADE:] *= ramp[::-1]
    clip = rng.standard_normal(CLIP_SAMPLES).astype(np.float32) * max(1.0, 0.003 * _rms(word))
    at = (CLIP_SAMPLES - len(word)) // 2
    clip[at : at + len(word)] += word
    return np.clip(np.rint(clip), -32768, 32767).astype(np.int16)


def _rms(samples: NDArray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)) + 1.0)
