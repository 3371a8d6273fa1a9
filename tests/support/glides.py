"""Three words that are glides, two of them keywords, by people and a synthesiser, and scenes of them."""

from __future__ import annotations

import numpy as np

from model_pipeline.config import ScenesConfig
from model_pipeline.training.clips import Speech
from model_pipeline.training.scenes import Scenes, Sounds, Surroundings
from tests.support import tiny_data

UNKNOWN, SILENCE = 2, 3
WORDS = ("rise", "fall", "flat")


def glides() -> Speech:
    """Eight clips a word, two of them synthetic."""
    rng = np.random.default_rng(3)
    clips = [np.round(20000 * tiny_data.glide(w, rng)).astype(np.int16) for w in WORDS for _ in range(8)]
    labels = np.repeat([0, 1, UNKNOWN], 8)
    return Speech(np.array(clips), labels, labels, np.arange(24) % 8 >= 6)


def scenes(speech: Speech, talk: bool = True, **config: float | tuple[float, float]) -> Scenes:
    """Of ``speech``, in noise, with connected speech of it or without."""
    rng = np.random.default_rng(4)
    noise = [Sounds([np.round(500 * rng.standard_normal(16000 * n)).astype(np.int16) for n in (2, 9)])]
    talking = [Sounds([np.concatenate([np.roll(c, 100 * i) for i in range(3) for c in speech.audio[:9]])])]
    return Scenes(speech, UNKNOWN, Surroundings(noise, talking if talk else ()), ScenesConfig.model_validate(config))
