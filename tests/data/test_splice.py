"""Words put together of the sounds of others."""

from __future__ import annotations

import numpy as np

from model_pipeline.data.splice import splice, voiced

RATE = 16000


def clip(rng: np.random.Generator, *, hiss_first: bool) -> np.ndarray:
    """A hum of 0.2 s at 0.4 s, with 0.2 s of hiss before it or none."""
    x = rng.standard_normal(RATE) * 3
    t = np.arange(int(0.2 * RATE))
    x[6400:9600] += 6000 * np.sin(2 * np.pi * 200 * t / RATE)
    if hiss_first:
        hiss = np.diff(rng.standard_normal(3201)) * 400  # high frequencies
        x[3200:6400] += hiss
    return np.rint(x).astype(np.int16)


def test_the_voiced_part_is_found():
    first, last = voiced(clip(np.random.default_rng(1), hiss_first=True))
    assert abs(first - 6400) <= 320 and abs(last - 9600) <= 480


def test_a_vowel_comes_first_and_the_hiss_behind_it():
    rng = np.random.default_rng(2)
    vowels = np.stack([clip(rng, hiss_first=False) for _ in range(3)])
    onsets = np.stack([clip(rng, hiss_first=True) for _ in range(3)])
    made = splice(vowels, onsets, 6, np.random.default_rng(3))
    assert made.shape == (6, RATE) and made.dtype == np.int16
    for word in made:
        first, last = voiced(word)
        assert last - first >= 0.1 * RATE
        behind, before = word[last + 400 : last + 1000].astype(float), word[first - 1400 : first - 800].astype(float)
        assert np.std(behind) > 5 * np.std(before)
    assert (made == splice(vowels, onsets, 6, np.random.default_rng(3))).all()


def test_clips_without_such_sounds_give_nothing():
    quiet = np.zeros((2, RATE), np.int16)
    assert len(splice(quiet, quiet, 3, np.random.default_rng(1))) == 0
