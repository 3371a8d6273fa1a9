"""Firmware images for tests, built once and kept between runs: PlatformIO builds anew only what has changed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from host_tools.image.build import BuildResult, Variant, build
from model_pipeline.config import DetectorConfig, FrontendConfig
from model_pipeline.export import export
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, save_manifest
from model_pipeline.native import FIRMWARE, cache_dir
from tests.support.tflite_builder import ds_cnn

SHIPPED = FIRMWARE / "model"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1"


def image(board: str, *, model: Path = SHIPPED, engine: str = "aot") -> BuildResult:
    """Builds for ``board`` (host: sanitized) in a folder of its own under the cache; test processes take turns."""
    flags = SANITIZE if board == "host" else ""
    key = hashlib.sha256(repr((board, flags, engine)).encode()).hexdigest()[:12]
    with kept_folder(f"firmware-{board}-{key}") as folder:
        return build(board, model, engine, folder, variant=Variant(flags=flags))


@contextlib.contextmanager
def kept_folder(name: str) -> Iterator[Path]:
    """A folder under the cache that one test process at a time has."""
    folder = cache_dir() / "tests" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def small_model(folder: Path, labels: list[str], **changes: Any) -> Path:
    """A generated folder of a random, tiny network for these labels (the last two: unknown and silence)."""
    tflite = ds_cnn(3, channels=8, blocks=2, labels=len(labels))
    values = {
        "name": "small",
        "model_sha256": hashlib.sha256(tflite).hexdigest(),
        "labels": labels,
        "frontend": FrontendConfig(),
        "window_frames": 49,
        "input": Quantization(scale=float(np.float32(26 / 255)), zero_point=-128, shape=[1, 49, 40, 1]),
        "output": Quantization(scale=1 / 256, zero_point=-128, shape=[1, len(labels)]),
        "detector": detector_defaults(DetectorConfig(), len(labels), 20),
    }
    source = folder / "source"
    source.mkdir(parents=True)
    (source / "model.tflite").write_bytes(tflite)
    save_manifest(Manifest(**{**values, **changes}), source / "model.json")
    export(source, folder / "generated")
    return folder / "generated"


def private_copy(result: BuildResult, folder: Path) -> Path:
    """The ELF under a path that no other test process can replace."""
    target = folder / "firmware.elf"
    shutil.copyfile(result.elf, target)
    target.chmod(0o755)
    return target
