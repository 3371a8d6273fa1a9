"""An exported model and the core that runs it, as one WebAssembly module without imports."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import Exported
from model_pipeline.files import kernels_hash
from model_pipeline.image import CORE, GENERATED, core_sources
from model_pipeline.native import FIRMWARE, built, cache_dir, headers, run_compiler

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
    if exported.models > 1:
        raise KwsError(
            f"{model} has {exported.models} models, and the page hears one",
            hint="kws export each of them by itself; kws live takes several",
        )
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

    def make(target: Path) -> None:
        # Zig keeps a cache of its own, for which a home folder need not be there.
        environ = {"ZIG_GLOBAL_CACHE_DIR": str(cache_dir() / "zig"), **os.environ}
        places = [*(f"-I{folder}" for folder in includes), *map(str, sources), "-o", str(target)]
        run_compiler([*command, *places], "the model could not be built for WebAssembly", environ)

    return built("web/kws.wasm", command, [*sources, *headers(includes)], make).read_bytes()
