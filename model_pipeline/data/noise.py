"""Background noise: made by formula, for data folders that bring none and for synthetic data sets."""

from __future__ import annotations

import numpy as np

from model_pipeline.data.audio import SAMPLE_RATE, to_int16

VOICES = (2, 3, 4, 6, 8, 12)  # at once, in `babbles`
BABBLE_S = 60.0  # of each number of voices, where nothing else is asked for
_BABBLED = 1000  # clips that the voices say; each may come again
KINDS = ("white", "pink", "brown", "hum", "fan", "clicks", "rustle", "tones")


def colored(rng: np.random.Generator, samples: int, exponent: float) -> np.ndarray:
    """Noise with power falling as 1/f^exponent (0 white, 1 pink, 2 brown), float32 [samples], RMS 1."""
    spectrum = rng.standard_normal(samples // 2 + 1) + 1j * rng.standard_normal(samples // 2 + 1)
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20.0)
    return _unit(np.fft.irfft(spectrum * frequency ** (-exponent / 2), samples))


def generate(kind: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """``seconds`` of one of `KINDS` as int16 [n] at 16 kHz with an RMS of about -26 dB of full scale."""
    n = int(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    if kind == "white":
        x = colored(rng, n, 0.0)
    elif kind == "pink":
        x = colored(rng, n, 1.0)
    elif kind == "brown":
        x = colored(rng, n, 2.0)
    elif kind == "hum":  # mains with its harmonics, drifting a little
        mains = 50.0 if rng.random() < 0.5 else 60.0
        drift = np.cumsum(rng.standard_normal(n)) * 1e-5
        x = np.zeros(n)
        for k in range(1, 13):
            x += rng.uniform(0.1, 1.0) / k * np.sin(2 * np.pi * mains * k * t + k * drift + rng.uniform(0, 6.28))
        x = _unit(x) + 0.2 * colored(rng, n, 1.0)
    elif kind == "fan":  # broadband, slowly and periodically louder
        x = colored(rng, n, 1.3) * (1 + 0.4 * np.sin(2 * np.pi * rng.uniform(5, 20) * t)) * (1 + 0.3 * _slow(rng, n))
    elif kind == "clicks":  # keys and knocks: short decaying bursts over a quiet floor
        x = 0.05 * colored(rng, n, 1.0)
        decay = np.exp(-np.arange(800) / rng.uniform(40, 200))
        for start in rng.integers(0, n - 800, max(1, int(4 * seconds))):
            x[start : start + 800] += rng.uniform(1, 8) * decay * rng.standard_normal(800)
    elif kind == "rustle":  # cloth and paper: high noise in gusts
        x = colored(rng, n, -0.3) * np.maximum(0, _slow(rng, n, 6.0)) ** 2 + 0.02 * colored(rng, n, 0.0)
    elif kind == "tones":  # beeps and music-like steps
        pitch = np.repeat(rng.uniform(150, 2500, n // 3200 + 1), 3200)[:n]
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        x = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase) + 0.1 * colored(rng, n, 1.0)
    else:
        raise ValueError(f"no noise of kind {kind}")
    return to_int16(0.05 * _unit(x))


def babble(clips: np.ndarray, seconds: float, rng: np.random.Generator, voices: int = 8) -> np.ndarray:
    """Many voices at once: int16 [seconds * 16000] out of speech ``clips`` int16 [n, samples]."""
    n = int(seconds * SAMPLE_RATE)
    x = np.zeros(n, np.float32)
    for _ in range(voices):
        order = rng.integers(0, len(clips), n // clips.shape[1] + 2)
        line = clips[order].reshape(-1).astype(np.float32)
        start = int(rng.integers(0, clips.shape[1]))
        x += line[start : start + n] / (np.sqrt(np.mean(line**2)) + 1.0)
    return to_int16(0.05 * _unit(x))


def babbles(clips: np.ndarray, seconds: float, rng: np.random.Generator) -> list[np.ndarray]:
    """`babble` of each of `VOICES`, ``seconds`` each: few are words that are nearly understood, many are a room."""
    said = clips[rng.permutation(len(clips))[:_BABBLED]]
    return [babble(said, seconds, rng, voices) for voices in VOICES]


def _slow(rng: np.random.Generator, n: int, hz: float = 1.0) -> np.ndarray:
    """A slowly changing curve of about unit size, its turns about ``hz`` a second."""
    points = rng.standard_normal(max(4, int(n / SAMPLE_RATE * hz) + 2))
    return np.interp(np.linspace(0, len(points) - 1, n), np.arange(len(points)), points)


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / (np.sqrt(np.mean(np.square(x))) + 1e-12)).astype(np.float32)
