"""One process of the measurement: ``python -m tests.bench_train.one steps --recipe tiny …``; the result is JSON."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from model_pipeline.config import Config, DevicesConfig, load_config, with_settings
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.features import clip_features
from model_pipeline.manifest import input_scale
from model_pipeline.models import network_of
from model_pipeline.training.clips import FeatureStream, Speech
from model_pipeline.training.distribute import open_replicas
from model_pipeline.training.trainer import Method, Trainer

_CLIPS = 400  # that are there to be drawn from: speed does not depend on what is said in them


def rate(one: Callable[[], int], seconds: float, warm: int = 2) -> float:
    """Examples a second: ``one`` does some and says how many, again and again for so long."""
    for _ in range(warm):
        one()
    begun, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        done += one()
    return done / spent


def stream_of(config: Config) -> FeatureStream:
    """The clips' own input pipeline, as `kws train` has it, over noise as loud as speech."""
    rng = np.random.default_rng(1)
    audio = np.clip(rng.normal(0, 1, (_CLIPS, CLIP_SAMPLES)) * rng.uniform(30, 6000, (_CLIPS, 1)), -32768, 32767)
    labels = rng.integers(0, len(config.keywords) + 1, _CLIPS)
    speech = Speech(audio.astype(np.int16), labels, labels, np.zeros(_CLIPS, bool))
    noise = [rng.normal(0, 500, 60 * 16000).astype(np.int16)]
    return FeatureStream(speech, noise, config, (_CLIPS // 10, _CLIPS // 10), workers=max(1, os.cpu_count() or 1))


def steps(config: Config, replicas: int, seconds: float) -> dict[str, Any]:
    """Steps over batches that are there already; the input pipeline by itself; and both together."""
    devices = open_replicas(DevicesConfig(strategy="mirrored", replicas=replicas))
    frames = config.frames
    with devices.strategy.scope():
        model, _ = network_of(config, "float", frames)
    trainer = Trainer(model, input_scale(config.frontend), Method(1e-4, average=config.train.average), None, devices)
    stream = stream_of(config)
    epochs = stream.epochs(0, 1_000_000)
    batches = itertools.chain.from_iterable(epochs)
    x, y = next(batches)

    def step() -> int:
        trainer.step(x, y)
        return len(y)

    def made() -> int:
        return len(next(batches)[1])

    def both() -> int:
        batch = next(batches)
        trainer.step(*batch)
        return len(batch[1])

    # What is ahead already is used up first, so that nothing is made beside the steps that are measured alone.
    try:
        alone = rate(step, seconds)
        input_rate, together = rate(made, seconds), rate(both, seconds)
    finally:
        epochs.close()  # type: ignore[attr-defined]
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return {"devices": replicas, "kind": kind, "steps": alone, "input": input_rate, "together": together}


def features(config: Config, seconds: float, batch: int = 200) -> dict[str, Any]:
    """Features of clips by the C on this computer's cores and by TensorFlow on its first device, equal bit for bit."""
    from tests.bench_train.features import DeviceFrontend

    rng = np.random.default_rng(2)
    clips = (rng.normal(0, 1, (batch, CLIP_SAMPLES)) * rng.uniform(1, 9000, (batch, 1))).clip(-32768, 32767)
    clips = clips.astype(np.int16)
    on_device = DeviceFrontend(config.frontend)
    equal = bool(np.array_equal(on_device(clips).numpy(), clip_features(config.frontend, clips)))

    def host() -> int:
        return len(clip_features(config.frontend, clips))

    def device() -> int:
        return len(on_device(clips).numpy())

    return {"host": rate(host, seconds), "device": rate(device, seconds), "equal": equal}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["steps", "features"])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--seconds", type=float, required=True)
    a = parser.parse_args()
    config = with_settings(load_config(a.recipe), a.set).of_clips()
    # Each device has the recipe's batch, however many they are.
    config = with_settings(config, [f"train.batch={config.train.batch * a.replicas}"])
    found = steps(config, a.replicas, a.seconds) if a.what == "steps" else features(config, a.seconds)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
