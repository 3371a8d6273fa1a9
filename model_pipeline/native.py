"""Builds the firmware's own C sources into shared libraries for the host, once for each content."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.files import atomic_path

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
    if CHECKOUT:
        return ROOT / ".cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("micro-kws"))


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


def check_owner(folder: Path) -> None:
    """What lies in the cache is run: nobody else may have put it there.

    Raises:
        KwsError: ``folder`` is somebody else's, or everybody may write in it.
    """
    try:
        status = folder.stat()
    except OSError:  # not there yet; `make_cache` tells what else it is
        return
    if os.name != "posix":
        return
    trusted = {os.getuid(), 0, CODE.stat().st_uid}  # who could change our sources too
    everybody = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in trusted or everybody:
        whose = "everybody may write in it" if everybody else "it belongs to somebody else"
        raise KwsError(
            f"the cache {folder} is not used, for programs in it are run: {whose}",
            hint=f"chmod o-w {folder}, or KWS_CACHE=DIR names another folder for it",
        )


def host_compiler() -> str:
    """The host's C compiler.

    Raises:
        MissingTool: there is none.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise MissingTool("no C compiler found", hint="apt-get install gcc")
    return compiler


def run_compiler(command: Sequence[str], refusal: str, environ: dict[str, str] | None = None) -> None:
    """Runs a compiler or a linker.

    Raises:
        KwsError: it refuses: ``refusal`` and its first error; all that it said is in a note.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        error = KwsError(f"{refusal}: {first.strip()}")
        error.add_note(f"{' '.join(command)}\n{done.stderr}")
        raise error


def built(name: str, how: object, reads: Iterable[Path], make: Callable[[Path], object]) -> Path:
    """What ``make(path)`` builds, kept in the cache by the hash of ``how`` (a command, flags) and of the files that it
    reads: a change builds anew, and nothing stale is ever taken. Several may build the same at once.

    Args:
        name: ``folder/stem.suffix`` in the cache; the hash comes before the suffix.

    Raises:
        KwsError: a file can't be read, or the cache can't be written.
    """
    place = cache_dir() / name
    for folder in (cache_dir(), place.parent):
        check_owner(folder)
    digest = hashlib.sha256(repr(how).encode())
    for path in reads:
        try:
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
        except OSError as error:
            raise KwsError(f"can't read {path}: {error.strerror}") from error
    target = place.with_name(f"{place.stem}-{digest.hexdigest()[:16]}{place.suffix}")
    if not target.exists():
        make_cache(target.parent)
        with atomic_path(target) as temporary:
            make(temporary)
    return target


def headers(folders: Iterable[Path]) -> list[Path]:
    """The headers in ``folders``, which what includes them depends on."""
    return [path for folder in folders for path in sorted(Path(folder).glob("*.h"))]


def shared_library(
    name: str,
    sources: Sequence[Path],
    includes: Sequence[Path] = (),
    flags: Sequence[str] = ("-O2",),
    depends: Sequence[Path] = (),
) -> ctypes.CDLL:
    """Compiles C ``sources`` with the host's ``cc`` and loads the result; ``depends``: other files that they include.

    Raises:
        MissingTool: there is no C compiler.
        KwsError: the compiler refuses the sources.
    """
    compiler = host_compiler()
    command = [compiler, "-std=gnu11", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *flags]

    def make(target: Path) -> None:
        places = [*(f"-I{folder}" for folder in includes), *map(str, sources), "-o", str(target), "-lm"]
        run_compiler([*command, *places], f"{compiler} could not build {name}")

    return ctypes.CDLL(str(built(f"native/{name}.so", command, [*sources, *headers(includes), *depends], make)))
