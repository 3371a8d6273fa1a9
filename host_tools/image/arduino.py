"""What our part of an Arduino image takes, compiled by the flags of Arduino's core where that core is not installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from host_tools.boards import load_board
from host_tools.image import build as builder
from host_tools.image.sizes import sizes as image_sizes
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import Exported
from model_pipeline.native import FIRMWARE
from model_pipeline.progress import ProgressCallback

# Of the variant ARDUINO_NANO33BLE of ArduinoCore-mbed b4ad4e7 (cflags.txt) and PlatformIO's builder for that core,
# which takes the hardware's floating point away again; without -Os, which our environment's build_unflags removes.
FLAGS = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-mfpu=fpv4-sp-d16", "-std=gnu11", "-funsigned-char"]
FLAGS += ["-fdata-sections", "-ffunction-sections", "-fno-exceptions", "-fomit-frame-pointer"]
_PORT = "port_arduino.cpp"  # needs the core's headers
_MISSING = f"Arduino's core (mbed OS, USB, its stacks and heap) and our {_PORT}"


def settings() -> ModuleType:
    """firmware/platform/builder/settings.py, which belongs to PlatformIO's side."""
    path = FIRMWARE / "platform" / "builder" / "settings.py"
    spec = importlib.util.spec_from_file_location("kws_platform_settings", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def part(
    board: str,
    model_dir: Path | str | None = None,
    engine: str = "aot",
    *,
    app: str = "kws",
    progress: ProgressCallback | None = None,
) -> builder.BuildResult:
    """Sizes of what is ours in the image of an Arduino board: application, front end, engine and model, with what they
    use of newlib. There is no image afterwards; ``missing`` of the result says what it lacks.

    Raises:
        MissingTool: no arm-none-eabi-gcc.
        KwsError: a wrong model or engine, or the compiler's first error.
    """
    target = load_board(board)
    model = Path(model_dir or builder.DEFAULT_MODEL).resolve()
    if not shutil.which("arm-none-eabi-gcc"):
        raise MissingTool("arm-none-eabi-gcc is not in PATH", hint="apt-get install gcc-arm-none-eabi")
    if engine != "aot":
        raise KwsError(f"engine {engine} needs the whole build", hint="--engine aot")
    exported = Exported.open(model)
    module = settings()
    environ = {**os.environ, "KWS_MODEL_DIR": str(model), "KWS_ENGINE": engine, "KWS_APP": app}
    try:
        what = module.read(
            target.kws.model_dump(mode="json", exclude_none=True),
            board,
            environ,
            FIRMWARE,
            lambda name, default: default,
        )
    except module.SettingsError as error:
        raise KwsError(str(error)) from error
    sources = [p for p in module.sources(what, FIRMWARE) if p.name != _PORT]
    with tempfile.TemporaryDirectory(prefix="kws-") as scratch:
        folder = Path(scratch)
        (folder / "kws_build.h").write_text(what.build_header, encoding="utf-8")
        flags = [*FLAGS, *what.cflags, *module.define_flags(what), *(f"-I{p}" for p in (folder, *what.includes))]
        objects = [folder / f"{number}.o" for number in range(len(sources))]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            jobs = [
                pool.submit(_run, "arm-none-eabi-gcc", *flags, "-c", str(source), "-o", str(into))
                for source, into in zip(sources, objects, strict=True)
            ]
            for number, (job, source) in enumerate(zip(jobs, sources, strict=True)):
                job.result()
                if progress is not None:
                    progress(number + 1, len(sources) + 1, source.name)
        elf = folder / "part.elf"
        link = [
            "-nostartfiles",
            "--specs=nano.specs",
            "-Wl,--gc-sections",
            "-Wl,-e,kws_app_init",
            "-Wl,-u,kws_app_poll",
        ]
        link += ["-Wl,--unresolved-symbols=ignore-all", "-Wl,--no-warn-mismatch"]
        _run("arm-none-eabi-gcc", *FLAGS, *link, *map(str, objects), "-o", str(elf))
        sizes = image_sizes(elf, target, exported.arena_bytes)
    return builder.BuildResult(
        board=board,
        engine=engine,
        model=str(model),
        model_name=exported.name,
        model_hash=exported.model_hash,
        elf="",
        sha256="",
        **sizes,
        app=app,
        missing=_MISSING,
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise KwsError(f"our part does not build: {errors[0] if errors else command[-1]}")
