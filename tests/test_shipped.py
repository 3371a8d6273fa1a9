"""The models in firmware/: generated for the kernels that are there, inside their limits, and equal to TFLite Micro."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.compiler import constants_by_packing
from model_pipeline.config import load_config
from model_pipeline.evaluate import runner
from model_pipeline.files import kernels_hash
from model_pipeline.manifest import load_manifest

FIRMWARE = Path(__file__).resolve().parent.parent / "firmware"
LIMITS = {"model": ("default", 1_200_000, 40 * 1024), "tiny": ("tiny", 400_000, 40 * 1024)}  # MACs, constants


@pytest.mark.parametrize("name", LIMITS)
def test_a_shipped_model_fits_the_kernels_and_its_limits(name: str) -> None:
    recipe, macs, constants = LIMITS[name]
    folder, config = FIRMWARE / name, load_config(recipe)
    manifest, tflite = load_manifest(folder), (FIRMWARE / name / "model.tflite").read_bytes()
    assert manifest.labels == config.labels and manifest.frontend == config.frontend
    header = (folder / "model_aot.h").read_text(encoding="utf-8")
    assert re.search(r'KWS_AOT_KERNELS "(\w+)"', header)[1] == kernels_hash(FIRMWARE)  # type: ignore[index]
    assert int(re.search(r"KWS_AOT_MACS (\d+)u", header)[1]) <= macs  # type: ignore[index]
    assert constants_by_packing(tflite, 0, None)[manifest.compile.packing] <= constants


@pytest.mark.parametrize("name", LIMITS)
def test_a_shipped_model_is_equal_to_tflite_micro(name: str) -> None:
    pytest.importorskip("tflite_micro", reason="TFLite Micro for this computer is in micro-kws[train]")
    tflite = (FIRMWARE / name / "model.tflite").read_bytes()
    shape = load_manifest(FIRMWARE / name).input.shape
    x = np.random.default_rng(5).integers(-128, 128, (50, *shape[1:3]), np.int8)
    np.testing.assert_array_equal(runner(tflite, "aot")(x), runner(tflite, "tflm")(x))
