"""Builds the firmware for a board by PlatformIO and says what it takes."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.boards import Board, load_board
from host_tools.image import platformio
from host_tools.image.sizes import sizes
from model_pipeline.errors import KwsError
from model_pipeline.exported import Exported
from model_pipeline.files import atomic_path, held, read_json, sha256_file, write_json
from model_pipeline.folders import check_claim, claim_dir, read_mark
from model_pipeline.manifest import load_manifest
from model_pipeline.native import ROOT, work_dir
from model_pipeline.progress import ProgressCallback
from model_pipeline.strict import Strict

DEFAULT_MODEL = ROOT / "firmware" / "model"
KIND = "kws build"
_PATIENCE_S = 900.0  # with another build in the same folder
_MADE = ("firmware.elf", "firmware.map", "build.json", ".pio/**")
ENGINES = ("aot", "tflm")
APPS = ("kws", "mlperf")  # our own; MLPerf Tiny's (docs/mlperf.md)
PROFILE_FLAGS = "-DKWS_PROFILE -DKWS_AOT_TRACE=kws_app_profile_call"


@dataclass(frozen=True)
class Variant:
    """What is built beside the model.

    Attributes:
        app: "kws", or "mlperf": MLPerf Tiny's, with the compiled plan of the model's folder (a folder of
            `model_pipeline.mlperf` will do).
        energy: of "mlperf": for the energy monitor, at 9600 baud and with timestamps on a pin.
        profile: the firmware keeps what each kernel call took (engine aot; see PROFILE in docs/protocol.md).
        flags: more compiler flags, such as "-fsanitize=address,undefined" (also given to the linker).
    """

    app: str = "kws"
    energy: bool = False
    profile: bool = False
    flags: str = ""

    def check(self, engine: str, board: Board) -> None:
        """
        Raises:
            KwsError: there is no such application, or it can't be built like that.
        """
        if self.profile and engine != "aot":
            raise KwsError(f"engine {engine} can't be profiled by layer", hint="--profile is for engine aot")
        if self.app not in APPS:
            raise KwsError(f"no application {self.app!r}", hint=f"applications: {', '.join(APPS)}")
        if self.app != "mlperf":
            if self.energy:
                raise KwsError("energy mode is MLPerf Tiny's", hint="--app mlperf --energy")
            return
        if engine != "aot" or self.profile:
            raise KwsError(
                "MLPerf Tiny's application runs the compiled plan alone", hint="leave --engine and --profile out"
            )
        if self.energy and board.kws.timestamp is None:
            raise KwsError(
                f"{board.id} has no pin for the energy monitor's timestamps",
                hint=f"name one in boards/{board.id}.json: kws.timestamp",
            )

    def settings(self, engine: str) -> dict[str, str]:
        """The variables by which firmware/platform knows of it."""
        flags = f"{self.flags} {PROFILE_FLAGS}".strip() if self.profile else self.flags
        mode = "energy" if self.energy else "performance"
        return {"KWS_ENGINE": engine, "KWS_EXTRA_FLAGS": flags, "KWS_APP": self.app, "KWS_MLPERF_MODE": mode}


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
    variant: Variant = Variant(),
    progress: ProgressCallback | None = None,
) -> BuildResult:
    """Runs ``pio run`` for ``board`` and writes ``firmware.elf``, ``firmware.map`` and ``build.json`` into ``out``.

    Builds in different ``out`` folders do not disturb each other: each keeps PlatformIO's state in its own ``.pio``.

    Args:
        board: id of a file in boards/.
        model_dir: generated folder (``kws export``); None is the shipped model.
        engine: "aot" or "tflm".
        out: folder for the result; None is build/<board> in the checkout, or in the current folder.
        progress: one step a compiled file.

    Raises:
        MissingTool: no compiler or no PlatformIO; CoreMissing: not the official platform that the board needs.
        KwsError: a wrong board or model, the first error of the compiler, or an image over its budget.
    """
    target = load_board(board)
    if engine not in ENGINES:
        raise KwsError(f"no engine {engine!r}", hint=f"engines: {', '.join(ENGINES)}")
    variant.check(engine, target)
    model = Path(model_dir or DEFAULT_MODEL).resolve()
    if (model / "model.json").is_file():
        load_manifest(model)  # refuses a model.tflite that is not the one described, and a front end that is not ours
    exported = Exported.open(model)
    if variant.app == "mlperf" and exported.step_frames:
        raise KwsError(
            f"{model} is a streaming plan; MLPerf Tiny's inputs are whole windows",
            hint="kws export MODEL --streaming 0, or --model FILE.tflite",
        )
    folder = Path(out or default_out(board, variant.app)).resolve()
    platformio.check_place()
    platformio.check_tools(target)
    claim_dir(folder, KIND, _MADE, ours=_ours)
    state = platformio.made(platformio.state_of(folder))
    with held(state, progress, _PATIENCE_S) as lock:
        staged = platformio.staged(model, state / "model")
        lines = platformio.run(platformio.Work(target, staged, engine, state, variant.settings(engine)), progress, lock)
        built = state / "build" / platformio.environment(target, engine) / "firmware.elf"
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
        app=variant.app,
        missing="",
    )
    write_json(folder / "build.json", result.to_json())
    return result


def default_out(board: str, app: str = "kws") -> Path:
    """Where a build goes that is not told where."""
    return work_dir() / "build" / (board if app == "kws" else f"{board}_{app}")


def check_out(folder: Path) -> None:
    """
    Raises:
        KwsError: ``folder`` holds files of a build's names that no build made, such as another project's ``.pio``.
    """
    check_claim(folder, KIND, _MADE, ours=_ours)


def clean(folder: Path) -> None:
    """Removes PlatformIO's objects of the builds in ``folder``, so that the next compiles everything."""
    if (KIND in read_mark(folder) or _ours(folder)) and (state := platformio.state_of(folder)).is_dir():
        with held(state):
            shutil.rmtree(state, ignore_errors=True)


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
