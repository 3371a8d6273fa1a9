"""The firmware with a streaming plan, on the emulated board, against TFLite Micro's windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_tools.check import selftest
from host_tools.check.device import Device, Reference
from host_tools.image import targets
from host_tools.image.build import build
from host_tools.measure import layers as profile
from model_pipeline.compiler import compile_model
from model_pipeline.errors import KwsError
from model_pipeline.export import export
from model_pipeline.listening.calibrate import store
from model_pipeline.manifest import load_manifest
from tests.support.firmware_images import SHIPPED, kept_folder
from tests.support.m4 import requires_m4


@requires_m4
@pytest.mark.slow
def test_streamed_sound_gives_what_windows_give_on_the_emulated_board():
    """Clip mode, which takes whole windows, and continuous mode, result by result."""
    with kept_folder("firmware-streaming-plan") as folder:
        export(SHIPPED, folder / "model", streaming=1)
        done = build("disco_f407vg", folder / "model", out=folder / "build")
        assert done.ram_arena < build_arena_of_window()
        with targets.emulated("disco_f407vg", Path(done.elf)) as link:
            device = Device(link, Reference(SHIPPED), windows=3)
            assert "3 windows equal to" in selftest.exact_inference(device)
            assert "equal to the host's" in selftest.exact_stream(device)


def build_arena_of_window() -> int:
    return compile_model((SHIPPED / "model.tflite").read_bytes()).arena_bytes


@requires_m4
def test_a_hop_takes_a_tenth_of_the_windows_instructions():
    tflite = (SHIPPED / "model.tflite").read_bytes()
    window, plan = compile_model(tflite), compile_model(tflite, hop=1)
    sound = np.random.default_rng(1).integers(-128, 128, (52, 40)).astype(np.int8)
    hop = profile.measure(plan, sound, calls=False)
    whole = profile.measure(window, np.stack([sound[at : at + 49] for at in range(4)]), calls=False)
    assert np.array_equal(hop.outputs[48:], whole.outputs)
    assert hop.total <= whole.total / 10


def test_a_streaming_folder_stays_one_when_it_is_exported_again_or_calibrated(tmp_path):
    export(SHIPPED, tmp_path / "plan", streaming=7)
    plan = {p.name: p.read_bytes() for p in (tmp_path / "plan").iterdir()}
    manifest = load_manifest(tmp_path / "plan")
    assert manifest.streaming == 7 and "#define KWS_AOT_STEP_FRAMES 7" in plan["model_aot.h"].decode()

    assert export(tmp_path / "plan", tmp_path / "again").streaming == 7
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == plan
    store(tmp_path / "again", manifest.detector.model_copy(update={"refractory_samples": 11200}), {})
    assert (tmp_path / "again" / "model_aot.c").read_bytes() == plan["model_aot.c"]
    assert load_manifest(tmp_path / "again").streaming == 7

    assert export(tmp_path / "plan", tmp_path / "whole", streaming=0).streaming == 0
    assert load_manifest(tmp_path / "whole").streaming == 0
    assert "#define KWS_AOT_STEP_FRAMES 0" in (tmp_path / "whole" / "model_aot.h").read_text()


def test_a_hop_that_does_not_divide_the_window_is_refused(tmp_path):
    with pytest.raises(KwsError, match="a hop of 2 frames does not divide") as caught:
        export(SHIPPED, tmp_path / "out", streaming=2)
    assert "1, 7" in caught.value.hint and not (tmp_path / "out").exists()
