"""How soon after a reset the compiled engine begins its first inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_tools.measure import m4
from model_pipeline.compiler.host import KERNELS, kernel_sources
from model_pipeline.export import export
from model_pipeline.image import CORE, GENERATED, core_sources
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE
from tests.support.firmware_images import SHIPPED
from tests.support.m4 import requires_m4
from tests.support.tflite_builder import Oracle

MAIN = Path(__file__).with_name("engine_start_main.c")
AOT = FIRMWARE / "engines" / "aot" / "engine_aot.c"
LIMIT = 10_000  # instructions


@requires_m4
@pytest.mark.parametrize("hop", [0, 1], ids=["window", "streaming"])
def test_the_engine_starts_in_ten_thousand_instructions(hop, tmp_path):
    """Loading, and what only the first inference does; on the plan with the most state, too. ``pytest -s`` shows it."""
    manifest = load_manifest(SHIPPED)
    model = tmp_path / "model"
    export(SHIPPED, model, streaming=hop)
    values = np.random.default_rng(5).integers(-128, 128, (1, np.prod(manifest.input.shape))).astype(np.int8)
    result = m4.run_on_m4(
        [MAIN, AOT, *core_sources(), *(model / f for f in GENERATED), *kernel_sources()],
        [model, FIRMWARE / "engines", *CORE, *KERNELS],
        ["-O2"],
        values.tobytes(),
    )
    outputs = np.frombuffer(result.output, np.int8).reshape(3, -1)
    assert (outputs == outputs[0]).all()
    if not hop:
        expected = Oracle((SHIPPED / "model.tflite").read_bytes()).run(values, tuple(manifest.input.shape))
        assert np.array_equal(outputs[0], expected[0])
    # Nothing is prepared in the first inference: it takes what every later one takes.
    once = result.instructions["first"] - result.instructions["second"]
    assert result.instructions["second"] == result.instructions["third"]
    start = result.instructions["start"] + max(0, once)
    print(
        f"\naot, {f'hop {hop}' if hop else 'window'}: {start:,} instructions to the first inference (at most {LIMIT:,})"
    )
    assert start <= LIMIT
