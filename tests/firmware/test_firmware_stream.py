"""The application's stream with a streaming engine: it must say the same as one that takes the whole window."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from host_tools.link.events import Audio
from host_tools.link.stream import AS_ADPCM, SEND_AUDIO
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE

SHIPPED = FIRMWARE / "model"
CORE = FIRMWARE / "core"
FRAMES = load_manifest(SHIPPED).window_frames
STEP = next(n for n in range(2, FRAMES + 1) if FRAMES % n == 0)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")

    def build(step: int) -> Path:
        program = folder / f"step{step}"
        if not program.exists():
            sources = [FIRMWARE / "app/app_stream.c", CORE / "detector/kws_detector.c", SHIPPED / "frontend_tables.c"]
            sources += [FIRMWARE / "app/app_audio.c", CORE / "link/kws_adpcm.c"]
            sources += [CORE / "kws/kws_stream.c", FIRMWARE / "engines/tflm/kws_image.c"]
            sources += [*sorted((CORE / "frontend").glob("*.c")), Path(__file__).parent / "app_stream_driver.c"]
            includes = [CORE / "detector", CORE / "frontend", CORE / "kws", FIRMWARE / "engines/tflm", SHIPPED]
            includes += [FIRMWARE / "app", FIRMWARE / "engines", FIRMWARE / "ports", CORE / "link"]
            command = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
            command += [
                "-fno-sanitize-recover=all",
                f"-DSTEP={step}",
                f"-DKWS_ENGINE_STEP_FRAMES={step}",
                *(f"-I{i}" for i in includes),
                *map(str, sources),
            ]
            subprocess.run([*command, "-o", str(program), "-lm"], check=True)
        return program

    return build


def run(program: Path, *arguments: int, flags: int = 0) -> list[str]:
    done = subprocess.run([program, *map(str, arguments), str(flags)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("mode", [0, 1], ids=["clip", "continuous"])
@pytest.mark.parametrize("samples", [0, 479, 480, 9000, 16000, 70000])
def test_a_streaming_engine_says_the_same(driver, mode, samples):
    whole = run(driver(0), mode, STEP, samples, 1)
    assert run(driver(STEP), mode, STEP, samples, 2) == whole  # other pieces of audio too
    assert run(driver(1), mode, STEP, samples, 3) == whole
    if samples == 70000 and mode:
        assert any(line.startswith("result") for line in whole)
        assert any(line.startswith("detection") for line in whole)


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_any_stride_with_one_frame_a_step(driver, stride):
    assert run(driver(1), 1, stride, 40000, 4) == run(driver(0), 1, stride, 40000, 5)


def test_steps_that_do_not_divide_the_window_are_refused_at_the_start(driver):
    odd = next(n for n in range(2, FRAMES) if FRAMES % n)
    assert subprocess.run([driver(odd), "0", "1", "0", "0", "0"]).returncode == 2


def sent_samples(count: int) -> np.ndarray:
    """What the driver sends."""
    at = np.arange(2 * count, dtype=np.uint64)
    return (((at * 2654435761) & 0xFFFFFFFF) >> 21).astype(np.uint8).view("<i2")


@pytest.mark.parametrize("mode", [0, 1], ids=["clip", "continuous"])
@pytest.mark.parametrize("samples", [0, 1, 239, 240, 241, 70001])
@pytest.mark.parametrize("flags", [SEND_AUDIO, SEND_AUDIO | AS_ADPCM], ids=["int16", "adpcm"])
def test_audio_is_every_sample_once(driver, mode, samples, flags):
    lines = run(driver(1), mode, STEP, samples, 6, flags=flags)
    others = [line for line in lines if not line.startswith("event")]
    assert others == run(driver(1), mode, STEP, samples, 7)  # and changes nothing else
    blocks = [Audio.parse(bytes.fromhex(line.split()[2]), 0.0) for line in lines if line.startswith("event 144 ")]
    rounds = [blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]]
    for found in rounds:  # the second one begins anew
        assert [b.position for b in found] == list(range(0, samples, 240))
        assert all(len(b.samples) == 240 and b.dropped == 0 for b in found[:-1])
        heard = np.concatenate([b.samples for b in found]) if found else np.zeros(0, np.int16)
        assert len(heard) == samples
        if not flags & AS_ADPCM:
            assert np.array_equal(heard, sent_samples(samples))
