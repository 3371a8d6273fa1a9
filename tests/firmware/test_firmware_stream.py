"""The application's stream with a streaming engine: it must say the same as one that takes the whole window."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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


def run(program: Path, *arguments: int) -> list[str]:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
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
    assert subprocess.run([driver(odd), "0", "1", "0", "0"]).returncode == 2
