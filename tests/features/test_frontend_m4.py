"""The front end on the emulated Cortex-M4: the same frames, and how many instructions they take."""

from __future__ import annotations

import numpy as np
import pytest

from model_pipeline.config import FrontendConfig
from model_pipeline.features import Frontend
from tests.features.test_frontend import SIGNALS, int16
from tests.support.frontend_profile import STOCK, run, speechlike
from tests.support.m4 import requires_m4

LIMIT = 26_500  # guest instructions of a 10 ms frame, samples in included; TFLite Micro's own takes 82,700


@requires_m4
@pytest.mark.parametrize("flags", [("-O2",), ("-O3",), ("-Os", "-DKWS_FE_PORTABLE")], ids=" ".join)
def test_equals_the_host(flags):
    """All signals of the reference tests (which the host is equal to), in one stream."""
    samples = np.concatenate([int16(SIGNALS[name])[:6400] for name in SIGNALS] + [speechlike(2.0)])
    features, _, _ = run(STOCK, samples, flags)
    np.testing.assert_array_equal(features, Frontend(STOCK).process(samples))


@requires_m4
@pytest.mark.parametrize("flags", [("-O2",), ("-O3",)], ids=" ".join)
def test_instructions(flags):
    for samples in (speechlike(1.0), int16(SIGNALS["every value"]), int16(SIGNALS["quiet noise"])):
        _, size, result = run(STOCK, samples, flags)
        assert result.calls["frame"] == STOCK.frames(len(samples))
        assert result.per_call("frame") + 2 * result.per_call("samples") < LIMIT
        assert size <= 2216
        assert result.stack <= 768


@requires_m4
@pytest.mark.parametrize(
    "config",
    [
        FrontendConfig(),
        FrontendConfig(window_ms=16, hop_ms=8, channels=20),
        FrontendConfig(window_ms=40, channels=64, lower_hz=0, upper_hz=8000),
        FrontendConfig(pcan=False),
        FrontendConfig(noise_reduction=False),
        FrontendConfig(noise_reduction=False, pcan=False, channels=10),
    ],
    ids=["default", "256", "1024", "no pcan", "no noise reduction", "neither"],
)
def test_equals_the_host_in_other_configurations(config):
    samples = np.concatenate([speechlike(0.5), int16(SIGNALS["lowest clicks in little noise"])[:4000]])
    features, _, _ = run(config, samples)
    np.testing.assert_array_equal(features, Frontend(config).process(samples))


@requires_m4
def test_stages_cover_the_frame():
    """The profile in docs/frontend.md counts what a frame is made of, nothing else."""
    samples = speechlike(0.5)
    features, _, staged = run(STOCK, samples, stages=True)
    np.testing.assert_array_equal(features, Frontend(STOCK).process(samples))
    stages = sum(staged.per_call(name) for name in staged.instructions if name not in ("frame", "samples"))
    assert 0.9 < stages / staged.per_call("frame") < 1.0
