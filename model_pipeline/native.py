"""Builds the firmware's own C sources into shared libraries for the host, once for each content."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from model_pipeline.errors import KwsError, MissingTool

CODE = Path(__file__).resolve().parent.parent  # what holds the packages
CHECKOUT = (CODE / "firmware").is_dir()
ROOT = (
    CODE if CHECKOUT else Path(__file__).resolve().parent / "project"
)  # firmware/, boards/: a wheel carries them there
FIRMWARE = ROOT / "firmware"


def cache_dir() -> Path:
    """Where built libraries are kept: ``$KWS_CACHE``, or ``.cache`` in a checkout, or the user's cache folder."""
    if wanted := os.environ.get("KWS_CACHE"):
        return Path(wanted)
    return ROOT / ".cache" if CHECKOUT else Path(platformdirs.user_cache_dir("micro-kws"))


def work_dir() -> Path:
    """What results without a folder of their own lie in: the checkout, or outside one the current folder."""
    return ROOT if CHECKOUT else Path.cwd()


def project_file(name: str) -> Path:
    """A file or folder of the project, by its path in a checkout."""
    return CODE / name if (CODE / name).exists() else ROOT / name


def make_cache(folder: Path) -> None:
    """Makes a folder of the cache.

    Raises:
        KwsError: it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise KwsError(
            f"the cache {folder} can't be written: {error.strerror}", hint="KWS_CACHE=DIR names another folder for it"
        ) from error


def shared_library(
    name: str,
    sources: Sequence[Path],
    includes: Sequence[Path] = (),
    flags: Sequence[str] = ("-O2",),
    depends: Sequence[Path] = (),
) -> ctypes.CDLL:
    """Compiles C ``sources`` with the host's ``cc`` and loads the result.

    The file name holds a hash of sources, headers in ``includes``, ``depends`` and flags, so a change builds anew
    and nothing stale is ever loaded.

    Raises:
        MissingTool: there is no C compiler.
        KwsError: the compiler refuses the sources.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise MissingTool("no C compiler found", hint="apt-get install gcc")
    digest = hashlib.sha256(repr((compiler, list(flags))).encode())
    headers = [h for folder in includes for h in sorted(Path(folder).glob("*.h"))]
    for path in [*sources, *headers, *depends]:
        digest.update(f"{Path(path).name}\0".encode())
        digest.update(Path(path).read_bytes())
    target = cache_dir() / "native" / f"{name}-{digest.hexdigest()[:16]}.so"
    if not target.exists():
        make_cache(target.parent)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        command = [compiler, "-std=gnu11", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *flags]
        command += [f"-I{folder}" for folder in includes]
        command += [str(s) for s in sources] + ["-o", str(temporary), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                raise KwsError(f"{compiler} could not build {name}: {first}")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return ctypes.CDLL(str(target))
