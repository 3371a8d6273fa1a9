"""`make bench-train`: the front end on a device, and the measurement itself on replicas of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from model_pipeline.config import load_config
from model_pipeline.errors import KwsError
from model_pipeline.features import clip_features
from tests.bench_train.__main__ import Row, _child, rows_of

pytest.importorskip("tensorflow", reason="the training extra is not installed")


def test_the_front_end_on_a_device_is_the_firmwares_bit_for_bit() -> None:
    from tests.bench_train.features import DeviceFrontend

    rng = np.random.default_rng(5)
    loud = np.array([[1], [3], [40], [900], [12000], [60000]])
    clips = np.clip(rng.normal(0, 1, (6, 4000)) * loud, -32768, 32767)
    tones = 32767 * np.sin(np.arange(4000) * np.array([[0.01], [0.3], [3.1]]))
    edges = np.stack([np.zeros(4000), np.full(4000, -32768.0), np.tile([-32768.0, 32767.0], 2000)])
    audio = np.concatenate([clips, tones, edges]).astype(np.int16)
    for recipe in ("default", "tiny"):
        config = load_config(recipe).frontend
        assert np.array_equal(DeviceFrontend(config)(audio).numpy(), clip_features(config, audio))
    with pytest.raises(KwsError, match="neither"):
        DeviceFrontend(config.model_copy(update={"pcan": True}))


def test_shares_of_the_ideal_and_the_limit() -> None:
    found = [
        {"devices": 2, "kind": "GPU", "steps": 1500.0, "input": 1000.0, "together": 900.0},
        {"devices": 1, "kind": "GPU", "steps": 1000.0, "input": 1200.0, "together": 950.0},
        {"devices": 4, "kind": "GPU", "steps": 900.0, "input": 1000.0, "together": 500.0},
    ]
    rows = rows_of(found)
    assert [(r.ideal, r.limit) for r in rows] == [
        (0.75, "the input pipeline"),
        (1.0, "the devices"),
        (0.225, "both, for the cores that they share"),
    ]
    assert isinstance(rows[0], Row)


@pytest.mark.slow
def test_replicas_of_the_cpu_are_measured() -> None:
    small = [f"train.shape.{name}={value}" for name, value in {"front": 4, "body": 8, "blocks": 1, "kernel": 3}.items()]
    row = _child("steps", "--replicas=2", "--recipe=tiny", "--seconds=0.2", *(f"--set={s}" for s in small))
    assert row["devices"] == 2 and row["kind"] in ("CPU", "GPU")
    assert min(row["steps"], row["input"], row["together"]) > 0
