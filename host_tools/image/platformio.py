"""PlatformIO as a build calls it: where it works, with which tools, and what its errors mean."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from host_tools.boards import Board, boards_dir
from model_pipeline.child import start_family
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import PLAN_FILE
from model_pipeline.native import ROOT, cache_dir, make_cache
from model_pipeline.packages import pip_install
from model_pipeline.progress import ProgressCallback

# What a shell, make, SCons ($), the linker (,) or PlatformIO's configuration (% and space) reads as something else.
_UNSAFE = re.compile(r"[^\w./+@=:~^-]")
ARDUINO_PLATFORM = "nordicnrf52"
ARDUINO_INSTALL = f'pio pkg install -g -p "{ARDUINO_PLATFORM}@^10"'


class CoreMissing(MissingTool):
    """The board is built by an official platform of PlatformIO's, which is not installed."""


@dataclass(frozen=True)
class Work:
    """What PlatformIO shall do: the sources of ``model`` with ``engine`` for ``board``, in its folder ``state``, with
    these variables of ours in its environment."""

    board: Board
    model: Path
    engine: str
    state: Path
    settings: dict[str, str]


def check_place() -> None:
    """
    Raises:
        KwsError: the project's path has a character that PlatformIO, SCons or the compilers' own command lines read as
            something else.
    """
    if found := _UNSAFE.search(str(ROOT)):
        raise KwsError(
            f"no firmware can be built in {ROOT}: its path holds {found[0]!r}",
            hint="move the project to a path of letters, digits and ._-+",
        )


def state_of(folder: Path) -> Path:
    """PlatformIO's folder for the builds in ``folder``: there, or in the cache where the path is one that its tools
    can't take.

    Raises:
        KwsError: the cache's path is such a one too.
    """
    if not _UNSAFE.search(str(folder)):
        return folder / ".pio"
    state = cache_dir().resolve() / "build" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if found := _UNSAFE.search(str(state)):
        raise KwsError(
            f"no firmware can be built in {folder} nor in the cache {state}: the path holds {found[0]!r}",
            hint="KWS_CACHE=DIR names a cache with letters, digits and ._-+ in its path",
        )
    make_cache(state)
    return state


def made(state: Path) -> Path:
    """That folder, which is there then.

    Raises:
        KwsError: it can't be.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KwsError(f"can't build in {state.parent}: {error.strerror or error}") from error
    return state


def staged(model: Path, stage: Path) -> Path:
    """The model's sources under a path that stays, so that another model does not have everything compiled anew."""
    try:
        stage.mkdir(parents=True, exist_ok=True)
        wanted = {p.name: p for p in model.iterdir() if p.suffix in (".c", ".cc", ".h") or p.name == PLAN_FILE}
        for path in stage.iterdir():
            if path.name not in wanted:
                path.unlink()
        for name, source in wanted.items():
            if not (stage / name).exists() or (stage / name).read_bytes() != source.read_bytes():
                shutil.copyfile(source, stage / name)
    except OSError as error:
        raise KwsError(f"can't build in {stage.parent.parent}: {error.strerror or error}") from error
    return stage


def check_tools(board: Board) -> None:
    """
    Raises:
        MissingTool: no compiler; CoreMissing: not the official platform that the board needs.
    """
    tool, package = "arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"
    if board.kws.family == "host":
        tool, package = "gcc", "gcc"
    if board.kws.family == "arduino":
        installed = (_platformio_home() / "platforms").glob(f"{ARDUINO_PLATFORM}*")  # PlatformIO may add @VERSION
        if not any(p.is_dir() for p in installed):
            raise CoreMissing(
                f"PlatformIO's platform {ARDUINO_PLATFORM}, which builds for {board.id}, is not installed",
                hint=f"{ARDUINO_INSTALL}   (once, with internet)",
            )
        return  # it brings its own compiler
    if not shutil.which(tool):
        raise MissingTool(f"{tool} is not in PATH", hint=f"apt-get install {package}")


def _platformio_home() -> Path:
    """Where the user's own PlatformIO keeps what it fetched."""
    return Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")


def environment(board: Board, engine: str) -> str:
    """The environment of platformio.ini; boards without one of their own use the general [env:board]."""
    text = (ROOT / "platformio.ini").read_text(encoding="utf-8")
    name = board.id if engine == "aot" else f"{board.id}_{engine}"
    if engine != "aot" and f"[env:{name}]" not in text:
        raise KwsError(f"platformio.ini has no environment {name}", hint="the tflm engine has them for some boards")
    own = f"[env:{name}]" in text and boards_dir() == ROOT / "boards"
    return name if own else "board"


# The most telling first: the platform's own words, the compiler's, the linker's.
_FIRST_ERROR = (
    r"^error: (.*)",
    r"^UserSideException: (.*)",
    r"(.*\bfatal error: .*)",
    r"(.*:\d+: (?:error|undefined|multiple).*)",
    r"(.*(?:undefined reference|multiple definition).*)",
    r"(.*\b[Ee]rror\b.*)",
)
_COMPILED = re.compile(r"^(Compiling|Archiving|Indexing|Linking) ")


def run(work: Work, progress: ProgressCallback | None, lock: int) -> list[str]:
    """Runs it, in a family that holds ``lock``; one step of ``progress`` a compiled file.

    Returns:
        What it said.

    Raises:
        MissingTool: PlatformIO or SCons is not installed.
        KwsError: the first error of the compiler, or an image over its budget.
    """
    board, state = work.board, work.state
    environ = {
        **os.environ,
        # Our own platform needs nothing of the user's home; Arduino's is there.
        "PLATFORMIO_CORE_DIR": str(_platformio_home() if board.kws.family == "arduino" else state / "core"),
        "PLATFORMIO_WORKSPACE_DIR": str(state),
        "PLATFORMIO_BUILD_DIR": str(state / "build"),
        "PLATFORMIO_BOARDS_DIR": str(boards_dir()),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
        "KWS_MODEL_DIR": str(work.model),
        "KWS_BOARD": board.id,
        **work.settings,
    }
    command = [sys.executable, "-m", "platformio", "run", "-d", str(ROOT), "-e", environment(work.board, work.engine)]
    try:
        # Else a killed kws leaves SCons and compilers at work in a folder that the next one takes.
        process = start_family(command, lock, environ)
    except OSError as error:
        raise KwsError(f"can't build in {state.parent}: {error.strerror or error}") from error
    lines: list[str] = []
    compiled = 0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if _COMPILED.match(line):
                compiled += 1
                if progress is not None:
                    progress(compiled, max(compiled + 1, 30), Path(line.split()[-1]).name)
        process.wait()
    finally:
        if process.poll() is None:  # Ctrl-C
            process.terminate()
            process.wait()
    if process.returncode:
        raise _build_error(board, lines)
    return lines


def _build_error(board: Board, lines: list[str]) -> KwsError:
    text = "\n".join(lines)
    over = re.search(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes", text)
    memory = board.kws.memory
    if over and memory:
        what, budget = ("flash", memory.flash_budget) if over[1] == "FLASH" else ("RAM", memory.ram_budget)
        return KwsError(
            f"the image is {over[2]} bytes over the {what} budget of {board.id} ({budget} bytes)",
            hint=f"choose a smaller model, or raise memory.{what.lower()}_budget in boards/{board.id}.json",
            exit_code=1,
        )
    if "No module named platformio" in text or "No module named 'platformio'" in text:
        return MissingTool("PlatformIO is not installed", hint=pip_install("platformio", "scons"))
    if "No module named 'SCons'" in text or "HTTPClientError" in text:
        return MissingTool(
            "SCons is not installed, and PlatformIO's registry was not reached", hint=pip_install("scons")
        )
    missing = re.search(r"^error: (engine tflm needs .*): (set .*)", text, re.M)
    if missing:
        return MissingTool(missing[1], hint=missing[2])
    for pattern in _FIRST_ERROR:
        found = re.search(pattern, text, re.M)
        if found:
            return KwsError(f"the firmware does not build for {board.id}: {found[1].strip()}")
    return KwsError(f"the firmware does not build for {board.id}: {lines[-1] if lines else 'PlatformIO said nothing'}")
