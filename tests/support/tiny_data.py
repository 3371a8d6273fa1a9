"""A data folder for tests, made in a second: words are tone glides that a tiny network learns at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

GLIDES = {"rise": (400, 2500), "fall": (2500, 400), "flat": (900, 900)}


def glide(word: str, rng: np.random.Generator, seconds: float = 0.5, rate: int = 16000) -> np.ndarray:
    """float32 [rate]: one second with the word's glide somewhere in it."""
    low, high = (f * rng.uniform(0.9, 1.1) for f in GLIDES[word])
    count = int(seconds * rate)
    phase = 2 * np.pi * np.cumsum(np.geomspace(low, high, count)) / rate
    tone = (np.sin(phase) + 0.5 * np.sin(2 * phase)) * np.hanning(count)
    out = 0.003 * rng.standard_normal(rate)
    start = int(rng.uniform(0.1, 0.9) * (rate - count))
    out[start : start + count] += rng.uniform(0.1, 0.4) * tone
    return out.astype(np.float32)


def make(folder: Path, speakers: int = 40, words: tuple[str, ...] = tuple(GLIDES)) -> Path:
    """``speakers`` clips of each word, one a speaker; a fifth of them for validation, a fifth for testing."""
    rng = np.random.default_rng(5)
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for word in words:
        (folder / word).mkdir(parents=True)
        for speaker in range(speakers):
            name = f"{word}/s{speaker:03d}_nohash_0.wav"
            soundfile.write(folder / name, glide(word, rng), 16000, subtype="PCM_16")
            split = {0: "validation", 1: "testing"}.get(speaker % 5)
            if split:
                lists[split].append(name)
    for split, names in lists.items():
        (folder / f"{split}_list.txt").write_text("".join(f"{n}\n" for n in names))
    return folder
