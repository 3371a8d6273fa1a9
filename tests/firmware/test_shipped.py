"""The models in firmware/: generated for the kernels that are there, inside their limits, and equal to TFLite Micro."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.compiler import constants_by_packing
from model_pipeline.config import load_config
from model_pipeline.evaluate import runner
from model_pipeline.exported import Exported
from model_pipeline.files import kernels_hash
from model_pipeline.manifest import load_manifest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
ROOT = FIRMWARE.parent
LIMITS = {"model": ("default", 1_200_000, 40 * 1024), "tiny": ("tiny", 400_000, 40 * 1024)}  # MACs, constants


@pytest.mark.parametrize("name", LIMITS)
def test_a_shipped_model_fits_the_kernels_and_its_limits(name: str) -> None:
    recipe, macs, constants = LIMITS[name]
    folder, config = FIRMWARE / name, load_config(recipe)
    manifest, tflite = load_manifest(folder), (FIRMWARE / name / "model.tflite").read_bytes()
    assert manifest.labels == config.labels and manifest.frontend == config.frontend
    plan = Exported.open(folder)
    assert plan.kernels == kernels_hash(FIRMWARE) and plan.model_sha256 == manifest.model_sha256
    assert plan.macs <= macs
    assert constants_by_packing(tflite, 0, None)[manifest.compile.packing] <= constants


@pytest.mark.parametrize("name", LIMITS)
def test_a_shipped_model_is_equal_to_tflite_micro(name: str) -> None:
    pytest.importorskip("tflite_micro", reason="TFLite Micro for this computer is in micro-kws[train]")
    tflite = (FIRMWARE / name / "model.tflite").read_bytes()
    shape = load_manifest(FIRMWARE / name).input.shape
    x = np.random.default_rng(5).integers(-128, 128, (50, *shape[1:3]), np.int8)
    np.testing.assert_array_equal(runner(tflite, "aot")(x), runner(tflite, "tflm")(x))


@pytest.mark.parametrize("page", ["README.md", "docs/accuracy.md", "docs/listening.md", "docs/model-card.md"])
def test_a_page_gives_the_rate_of_unheard_speech_before_any_of_the_corpus_of_training(page: str) -> None:
    """False accepts an hour: what neither training nor calibration has seen is quoted first."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in ("model",) if page == "docs/model-card.md" else LIMITS:
        figures = load_manifest(FIRMWARE / name).accuracy
        other = figures["other_speech"]
        own = next(row for row in figures["streaming"]["corpora"] if row["used"])
        low, high = other["interval95"]
        rate, interval = f"{other['per_hour']:.1f}", f"{low:.1f} to {high:.1f}"
        quoted = re.search(rf"\*\*{re.escape(rate)}(\*\*| false accepts an hour)", text)
        assert quoted and interval in text
        trained = re.escape(f"{own['per_hour']:.1f}")
        corpus = re.search(rf"(?<![\d.,]){trained}\d* (\(|\|)", text)
        assert corpus and quoted.start() < corpus.start()
