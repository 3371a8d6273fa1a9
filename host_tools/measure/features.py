"""How fast this computer makes features, beside librosa's mel spectrogram of the same window, hop and bands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from model_pipeline.config import FrontendConfig
from model_pipeline.features import clip_features
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.strict import Strict


class FeatureSpeed(Strict):
    """One-second clips a second of each way, ``ratio``: the front end on all cores to each of librosa's ways, and
    librosa's version."""

    cores: int
    clips_per_second: dict[str, float]
    ratio: dict[str, float]
    librosa: str
    frontend: FrontendConfig


def bench_features(
    config: FrontendConfig, *, clips: int = 2000, rounds: int = 5, progress: ProgressCallback | None = None
) -> FeatureSpeed:
    """Times the front end and librosa on ``clips`` seconds of noise, each in its fastest of ``rounds``.

    librosa gets each clip by itself, as a loader calls it, and then all in one call; it need take no logarithm and do
    no noise reduction or PCAN, as the front end does.
    """
    import librosa  # slow to import

    report = progress or silent
    audio = np.random.default_rng(1).normal(0, 3000, (clips, config.sample_rate)).astype(np.int16)
    few = (audio[: max(1, clips // 10)] / 32768.0).astype(np.float32)
    settings: dict[str, Any] = {
        "sr": config.sample_rate,
        "n_fft": 1 << (config.window_samples - 1).bit_length(),
        "win_length": config.window_samples,
        "hop_length": config.hop_samples,
        "n_mels": config.channels,
        "fmin": config.lower_hz,
        "fmax": config.upper_hz,
        "center": False,
    }

    def one_by_one() -> None:
        for clip in few:
            librosa.feature.melspectrogram(y=clip, **settings)

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "frontend": (lambda: clip_features(config, audio), len(audio)),
        "librosa_one_by_one": (one_by_one, len(few)),
        "librosa_in_one_call": (lambda: librosa.feature.melspectrogram(y=few, **settings), len(few)),
    }
    rates: dict[str, float] = {}
    for number, (name, (work, count)) in enumerate(ways.items()):
        work()  # loads and builds what is needed
        seconds = []
        for turn in range(rounds):
            report(number * rounds + turn, len(ways) * rounds, name.replace("_", " "))
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        rates[name] = count / min(seconds)
    return FeatureSpeed(
        cores=os.cpu_count() or 1,
        clips_per_second={name: round(rate, 1) for name, rate in rates.items()},
        ratio={way: round(rates["frontend"] / rates[f"librosa_{way}"], 2) for way in ("one_by_one", "in_one_call")},
        librosa=metadata.version("librosa"),
        frontend=config,
    )
