"""Builds the firmware for a board by PlatformIO and says what it takes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from host_tools.boards import Board, boards_dir, load_board
from model_pipeline.child import start_family
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.files import atomic_path, held, read_json, sha256_file, write_json
from model_pipeline.folders import check_claim, claim_dir, read_mark
from model_pipeline.manifest import load_manifest
from model_pipeline.native import ROOT, cache_dir, make_cache, work_dir
from model_pipeline.packages import pip_install
from model_pipeline.strict import Strict

DEFAULT_MODEL = ROOT / "firmware" / "model"
KIND = "kws build"
_PATIENCE_S = 900.0  # with another build in the same folder
# What a shell, make, SCons ($), the linker (,) or PlatformIO's configuration (% and space) reads as something else.
_UNSAFE = re.compile(r"[^\w./+@=:~^-]")
_MADE = ("firmware.elf", "firmware.map", "build.json", ".pio/**")
ENGINES = ("aot", "tflm")
APPS = ("kws", "mlperf")  # our own; MLPerf Tiny's (docs/mlperf.md)
PROFILE_FLAGS = "-DKWS_PROFILE -DKWS_AOT_TRACE=kws_app_profile_call"
ARDUINO_PLATFORM = "nordicnrf52"
ARDUINO_INSTALL = f'pio pkg install -g -p "{ARDUINO_PLATFORM}@^10"'


class CoreMissing(MissingTool):
    """The board is built by an official platform of PlatformIO's, which is not installed."""


class BuildResult(Strict):
    """A built image. All sizes are bytes, from the ELF's sections and the linker map; for board host they are the
    process's and have no budget (0)."""

    board: str
    engine: str
    model: str  # the model folder
    model_name: str
    model_hash: str
    elf: str
    sha256: str  # of the ELF
    flash_code: int
    flash_constants: int
    flash_data: int  # initial values of variables
    flash_total: int
    flash_budget: int
    ram_data: int  # variables with initial values
    ram_bss: int  # the rest of the variables, without the arena
    ram_arena: int  # activations
    ram_stack: int  # reserved
    ram_total: int
    ram_budget: int
    model_constants: int = 0  # of flash_constants: the plan's weights, biases, multipliers and tables; tflm: its file
    app: str = "kws"
    missing: str = ""  # what the sizes do not count and no image was made without; then elf and sha256 are empty

    def to_json(self) -> dict[str, Any]:
        """As build.json holds it."""
        return self.model_dump(mode="json")


def build(
    board: str,
    model_dir: Path | str | None = None,
    engine: str = "aot",
    out: Path | str | None = None,
    *,
    flags: str = "",
    profile: bool = False,
    app: str = "kws",
    energy: bool = False,
    progress: Any = None,
) -> BuildResult:
    """Runs ``pio run`` for ``board`` and writes ``firmware.elf``, ``firmware.map`` and ``build.json`` into ``out``.

    Builds in different ``out`` folders do not disturb each other: each keeps PlatformIO's state in its own ``.pio``.

    Args:
        board: id of a file in boards/.
        model_dir: generated folder (``kws export``); None is the shipped model.
        engine: "aot" or "tflm".
        out: folder for the result; None is build/<board> in the checkout, or in the current folder.
        flags: more compiler flags, such as "-fsanitize=address,undefined" (also given to the linker).
        profile: the firmware keeps what each kernel call took (engine aot; see PROFILE in docs/protocol.md).
        app: "kws", or "mlperf": MLPerf Tiny's, with the compiled plan in ``model_dir`` (a folder of
            `model_pipeline.mlperf` will do).
        energy: of "mlperf": for the energy monitor, at 9600 baud and with timestamps on a pin.
        progress: ``(done, total, text)`` callback, one step a compiled file.

    Raises:
        MissingTool: no compiler or no PlatformIO; CoreMissing: not the official platform that the board needs.
        KwsError: a wrong board or model, the first error of the compiler, or an image over its budget.
    """
    target = load_board(board)
    if engine not in ENGINES:
        raise KwsError(f"no engine {engine!r}", hint=f"engines: {', '.join(ENGINES)}")
    if profile and engine != "aot":
        raise KwsError(f"engine {engine} can't be profiled by layer", hint="--profile is for engine aot")
    check_app(app, engine, target, profile=profile, energy=energy)
    flags = f"{flags} {PROFILE_FLAGS}".strip() if profile else flags
    model = Path(model_dir or DEFAULT_MODEL).resolve()
    if (model / "model.json").is_file():
        load_manifest(model)  # refuses a model.tflite that is not the one described, and a front end that is not ours
    exported = Exported.open(model)
    if app == "mlperf" and exported.step_frames:
        raise KwsError(
            f"{model} is a streaming plan; MLPerf Tiny's inputs are whole windows",
            hint="kws export MODEL --streaming 0, or --model FILE.tflite",
        )
    folder = Path(out or default_out(board, app)).resolve()
    check_place()
    _check_tools(target)
    claim_dir(folder, KIND, _MADE, ours=_ours)
    environ = {"KWS_ENGINE": engine, "KWS_EXTRA_FLAGS": flags, "KWS_APP": app}
    environ["KWS_MLPERF_MODE"] = "energy" if energy else "performance"
    state = _made(_state(folder))
    with held(state, progress, _PATIENCE_S) as lock:
        lines = _run_platformio(target, _staged(model, state / "model"), engine, state, environ, progress, lock)
        environment = _environment(target, engine)
        built = state / "build" / environment / "firmware.elf"
        if not built.is_file():
            raise KwsError(f"PlatformIO made no {built}: {lines[-1] if lines else 'no output'}")
        elf = folder / "firmware.elf"
        with atomic_path(elf) as temporary:
            shutil.copyfile(built, temporary)
            temporary.chmod(0o755)
        if built.with_name("firmware.map").is_file():  # the official platforms make none
            with atomic_path(folder / "firmware.map") as temporary:
                shutil.copyfile(built.with_name("firmware.map"), temporary)
    result = BuildResult(
        board=board,
        engine=engine,
        model=str(model),
        model_name=exported.name,
        model_hash=exported.model_hash,
        elf=str(elf),
        sha256=hashlib.sha256(elf.read_bytes()).hexdigest(),
        **sizes(elf, target, exported.arena_bytes if engine == "aot" else 0),
        app=app,
        missing="",
    )
    write_json(folder / "build.json", result.to_json())
    return result


def default_out(board: str, app: str = "kws") -> Path:
    """Where a build goes that is not told where."""
    return work_dir() / "build" / (board if app == "kws" else f"{board}_{app}")


def check_app(app: str, engine: str, board: Board, *, profile: bool, energy: bool) -> None:
    """
    Raises:
        KwsError: there is no such application, or it can't be built like that.
    """
    if app not in APPS:
        raise KwsError(f"no application {app!r}", hint=f"applications: {', '.join(APPS)}")
    if app != "mlperf":
        if energy:
            raise KwsError("energy mode is MLPerf Tiny's", hint="--app mlperf --energy")
        return
    if engine != "aot" or profile:
        raise KwsError(
            "MLPerf Tiny's application runs the compiled plan alone", hint="leave --engine and --profile out"
        )
    if energy and board.kws.timestamp is None:
        raise KwsError(
            f"{board.id} has no pin for the energy monitor's timestamps",
            hint=f"name one in boards/{board.id}.json: kws.timestamp",
        )


def check_out(folder: Path) -> None:
    """
    Raises:
        KwsError: ``folder`` holds files of a build's names that no build made, such as another project's ``.pio``.
    """
    check_claim(folder, KIND, _MADE, ours=_ours)


def clean(folder: Path) -> None:
    """Removes PlatformIO's objects of the builds in ``folder``, so that the next compiles everything."""
    if (KIND in read_mark(folder) or _ours(folder)) and (state := _state(folder)).is_dir():
        with held(state):
            shutil.rmtree(state, ignore_errors=True)


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


def _state(folder: Path) -> Path:
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


def _made(state: Path) -> Path:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KwsError(f"can't build in {state.parent}: {error.strerror or error}") from error
    return state


def load_build(folder: Path | str) -> BuildResult:
    """Reads ``build.json`` of a build folder.

    Raises:
        KwsError: there is none, or it is not one of ours.
    """
    path = Path(folder) / "build.json"
    try:
        return BuildResult.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise KwsError(f"no build in {folder}", hint="kws build --board ID --out DIR") from error
    except (OSError, TypeError, ValueError) as error:
        raise KwsError(f"{path}: {error}") from error


def app_of(elf: Path) -> str:
    """Which application an image has, by the build.json beside it; "kws" where there is none of this image."""
    try:
        built = load_build(elf.parent)
        return built.app if Path(built.elf).resolve() == elf.resolve() else "kws"
    except KwsError:
        return "kws"


def _ours(folder: Path) -> bool:
    """A build of before there were marks: build.json tells of the very image beside it, or PlatformIO's folder has a
    model of ours."""
    if (folder / ".pio" / "model" / "model_config.h").is_file():
        return True
    try:
        return load_build(folder).sha256 == sha256_file(folder / "firmware.elf")
    except (KwsError, OSError):
        return False


def _staged(model: Path, stage: Path) -> Path:
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


def _check_tools(board: Board) -> None:
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


def _environment(board: Board, engine: str) -> str:
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


def _run_platformio(
    board: Board, model: Path, engine: str, state: Path, settings: dict[str, str], progress: Any, lock: int
) -> list[str]:
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
        "KWS_MODEL_DIR": str(model),
        "KWS_BOARD": board.id,
        **settings,
    }
    command = [sys.executable, "-m", "platformio", "run", "-d", str(ROOT), "-e", _environment(board, engine)]
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


_ARENA = re.compile(r"arena", re.I)
_MODEL = re.compile(r"kws_aot\d*_c\w+|kws_model_data")


def sizes(elf: Path, board: Board, arena: int) -> dict[str, int]:
    """Sizes by section. ``arena``: of the compiled plans; engine tflm's is what the linker placed under a name with
    "arena" in it. The model's constants are what lies under the emitter's names."""
    prefix = "" if board.kws.family == "host" else "arm-none-eabi-"
    sections = {}
    for line in _tool(prefix + "size", "-A", "-d", str(elf)).splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[0].startswith(".") and parts[1].isdigit():
            sections[parts[0]] = int(parts[1])
    model = 0
    for line in _tool(prefix + "nm", "-S", "-t", "d", str(elf)).splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[2] in "bBdD" and _ARENA.search(parts[3]):
            arena += int(parts[1])
        if len(parts) == 4 and parts[2] in "rR" and _MODEL.fullmatch(parts[3]):
            model += int(parts[1])
    code = sections.get(".text", 0) + sections.get(".plt", 0) + sections.get(".init", 0) + sections.get(".fini", 0)
    constants = sections.get(".rodata", 0) + sections.get(".ARM.exidx", 0)
    data = sections.get(".data", 0)
    bss = sections.get(".bss", 0) + sections.get(".noinit", 0)
    stack = sections.get(".stack", 0)
    memory = board.kws.memory
    return {
        "flash_code": code,
        "flash_constants": constants,
        "flash_data": data,
        "flash_total": code + constants + data,
        "flash_budget": memory.flash_budget if memory else 0,
        "ram_data": data,
        "ram_bss": bss - arena,
        "ram_arena": arena,
        "ram_stack": stack,
        "ram_total": data + bss + stack,
        "ram_budget": memory.ram_budget if memory else 0,
        "model_constants": model,
    }


def _tool(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        package = "binutils-arm-none-eabi" if command[0].startswith("arm") else "binutils"
        raise MissingTool(f"{command[0]} is not in PATH", hint=f"apt-get install {package}") from error
    if done.returncode:
        raise KwsError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}")
    return done.stdout
