"""An exported model and the core that runs it, as one WebAssembly module without imports."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import Exported
from model_pipeline.files import atomic_path, kernels_hash
from model_pipeline.image import CORE, GENERATED, core_sources
from model_pipeline.native import FIRMWARE, cache_dir, make_cache

_HERE = Path(__file__).resolve().parent / "wasm"
_KERNELS = (FIRMWARE / "core" / "nn", FIRMWARE / "core" / "nn" / "fast")
_FLAGS = ("-std=c11", "-O2", "-nostdlib", "-fno-builtin", "-Wall", "-Wextra", "-Werror")
_LINK = ("-Wl,--no-entry", "-Wl,--gc-sections", "-Wl,--strip-all", "-Wl,-z,stack-size=65536")


def compiler() -> list[str]:
    """The command of a C compiler that makes WebAssembly: clang with LLD, or Zig's from PyPI.

    Raises:
        MissingTool: there is neither.
    """
    clang = shutil.which("clang")
    if clang and shutil.which("wasm-ld"):
        return [clang, "--target=wasm32"]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-fno-sanitize=all"]
    raise MissingTool(
        "no compiler for WebAssembly: neither clang with wasm-ld nor Zig is here",
        hint="apt-get install clang lld, or pip install ziglang",
    )


def module(model: Path) -> bytes:
    """The module of a folder of ``kws export``; built once for each content.

    Raises:
        MissingTool: no compiler.
        KwsError: not an exported model, one that was exported for other kernels, or the compiler refuses it.
    """
    exported = Exported.open(model)
    if exported.kernels != kernels_hash(FIRMWARE):
        raise KwsError(
            f"{model} was exported for other kernels than those of this kws", hint=f"kws export {model} --out {model}"
        )
    command = [
        *compiler(),
        *_FLAGS,
        f"-DKWS_FE_MAX_FFT={exported.fft_size}",
        f"-DKWS_FE_MAX_CHANNELS={exported.channels}",
        *_LINK,
    ]
    includes = [_HERE / "libc", *CORE, *_KERNELS, model]
    kernels = [path for folder in _KERNELS for path in sorted(folder.glob("*.c"))]
    sources = [*core_sources(), *kernels, *(model / name for name in GENERATED), _HERE / "kws_web.c"]
    digest = hashlib.sha256(repr(command).encode())
    for path in [*sources, *(header for folder in includes for header in sorted(folder.glob("*.h")))]:
        try:
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
        except OSError as error:
            raise KwsError(f"can't read {path}: {error.strerror}", hint="kws export MODEL --out DIR") from error
    target = cache_dir() / "web" / f"{digest.hexdigest()[:16]}.wasm"
    if not target.is_file():
        make_cache(target.parent)
        with atomic_path(target) as temporary:
            _compile([*command, *(f"-I{folder}" for folder in includes), *map(str, sources), "-o", str(temporary)])
    return target.read_bytes()


def _compile(command: list[str]) -> None:
    # Zig keeps a cache of its own, for which a home folder need not be there.
    environ = {"ZIG_GLOBAL_CACHE_DIR": str(cache_dir() / "zig"), **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise KwsError(f"the model could not be built for WebAssembly: {first}")
