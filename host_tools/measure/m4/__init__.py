"""Builds a C program for a bare Cortex-M4, runs it in QEMU, and counts its instructions exactly.

The program includes ``m4.h`` (what it may call) and defines ``main``. It reads its input, writes its output and counts
regions; there is no board, no port and no link: for profiles and for tests of the firmware's core.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from model_pipeline.errors import CheckFailed, KwsError, MissingTool
from model_pipeline.native import built, run_compiler

HERE = Path(__file__).resolve().parent
COMPILER = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
CPU = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
CALIBRATION = 2001  # 1000 turns of a loop of two instructions, and one read of the counter


class M4Error(CheckFailed):
    """The program could not be built, faulted, failed, or ran too long. What tools said is in its notes."""


@dataclass(frozen=True)
class M4Result:
    """What a run gave.

    Attributes:
        output: all that t_write() wrote.
        instructions: for each region the guest instructions of all its passes together.
        calls: for each region the number of passes.
        stack: bytes of stack used at most (16 KB are there, or ``stack=``).
        flash: bytes of code, constants and initialised data, start-up code (about 2 KB) included.
        ram: bytes of static data, without the stack.
    """

    output: bytes
    instructions: dict[str, int]
    calls: dict[str, int]
    stack: int
    flash: int
    ram: int

    def per_call(self, name: str) -> float:
        """Mean instructions of one pass of region ``name``."""
        return self.instructions[name] / self.calls[name]


def missing_tool() -> str | None:
    """The first tool that is not installed, or None."""
    return next((tool for tool in (COMPILER, QEMU) if not shutil.which(tool)), None)


def build_for_m4(
    sources: Sequence[Path],
    includes: Sequence[Path] = (),
    flags: Sequence[str] = ("-O2",),
    stack: int = 16 * 1024,
) -> Path:
    """Compiles (C11, or C++17 by the suffix .cc or .cpp) and links; the ELF is kept by the hash of all that made it.

    Raises:
        M4Error: the compiler or the linker refuses.
        MissingTool: there is no compiler for the target.
    """
    sources = [Path(s) for s in sources]
    folders = [Path(f) for f in includes]
    near = {f for f in (*folders, *(s.parent for s in sources)) if f.is_dir()}
    # A test may include a .c file to reach its static functions.
    beside = sorted(h for f in near for pattern in ("*.h", "*.inc", "*.c") for h in f.glob(pattern))
    common = [*CPU, *WARNINGS, "-ffunction-sections", "-fdata-sections", "-g", f"-I{HERE}"]
    common += [f"-I{f}" for f in folders]

    def compile_one(job: tuple[Path, Path]) -> None:
        source, out = job
        if source.suffix in (".cc", ".cpp"):
            language = ["-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
        else:
            language = ["-std=gnu11"]
        # m4.c is compiled alike whatever the flags of the test, or sanitizing flags would break it.
        own = ["-O2"] if source == HERE / "m4.c" else list(flags)
        _call([COMPILER, *common, *language, *own, "-c", str(source), "-o", str(out)])

    def make(elf: Path) -> None:
        link = [COMPILER, *CPU, *flags, "-nostartfiles", f"-T{HERE / 'm4.ld'}", f"-Wl,--defsym=TEST_STACK={stack}"]
        with tempfile.TemporaryDirectory(prefix="m4-") as folder, ThreadPoolExecutor(2) as pool:
            jobs = [(s, Path(folder) / f"{i}.o") for i, s in enumerate([*sources, HERE / "m4.c"])]
            list(pool.map(compile_one, jobs))
            objects = [str(out) for _, out in jobs]
            _call([*link, "-Wl,--gc-sections", *objects, "-lm", "-lc", "-lgcc", "-o", str(elf)])

    reads = [*sources, *beside, HERE / "m4.c", HERE / "m4.h", HERE / "m4.ld"]
    return built(f"m4/{sources[0].stem}.elf", (_version(), list(flags), stack), reads, make)


def run_on_m4(
    sources: Sequence[Path],
    includes: Sequence[Path] = (),
    flags: Sequence[str] = ("-O2",),
    input: bytes = b"",
    timeout: float = 60.0,
    stack: int = 16 * 1024,
) -> M4Result:
    """Builds ``sources`` (see `build_for_m4`) and runs them with ``input`` on QEMU's Cortex-M4F.

    Args:
        timeout: seconds until the run is given up; QEMU does about 50 million guest instructions a second here.

    Raises:
        M4Error: it could not be built, failed, faulted, ran too long, or its instruction counter is off.
        MissingTool: compiler or emulator are not installed.
    """
    _check_tools()
    elf = build_for_m4(sources, includes, flags, stack)
    with tempfile.TemporaryDirectory(prefix="m4-") as folder:
        work = Path(folder)
        (work / "in.bin").write_bytes(input)
        command = [QEMU, "-M", "netduinoplus2", "-nographic", "-monitor", "none", "-serial", "none", "-nodefaults"]
        command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(elf)]
        try:
            done = subprocess.run(
                command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise M4Error(f"{elf.name} ran longer than {timeout} s") from error
        log = (work / "log.txt").read_text() if (work / "log.txt").exists() else ""
        if done.returncode or "\nend " not in log:
            raise M4Error(f"{elf.name} ended with {done.returncode}: {log.strip()} {done.stderr.strip()} ({elf})")
        output = (work / "out.bin").read_bytes()
    instructions: dict[str, int] = {}
    calls: dict[str, int] = {}
    values: dict[str, int] = {}
    for line in log.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "region":
            total, count, name = rest.split(" ", 2)
            instructions[name], calls[name] = int(total), int(count)
        else:
            values[kind] = int(rest)
    if values["calibration"] != CALIBRATION:
        raise M4Error(f"the instruction counter is off: {values['calibration']} for {CALIBRATION}")
    flash, ram = _sizes(elf)
    return M4Result(output, instructions, calls, values["stack"], flash, ram)


def _sizes(elf: Path) -> tuple[int, int]:
    text = subprocess.run([f"{COMPILER[:-3]}size", "-A", str(elf)], capture_output=True, text=True, check=True).stdout
    size = {}
    for line in text.splitlines():
        part = line.split()
        if len(part) == 3 and part[0].startswith("."):
            size[part[0]] = int(part[1])
    data = size.get(".data", 0)
    return size.get(".text", 0) + size.get(".ARM.exidx", 0) + data, data + size.get(".bss", 0)


def _check_tools() -> None:
    if tool := missing_tool():
        package = "gcc-arm-none-eabi libnewlib-arm-none-eabi" if tool == COMPILER else tool
        raise MissingTool(f"{tool} is not in PATH", hint=f"apt-get install {package}")


def _version() -> str:
    _check_tools()
    return subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


def _call(command: list[str]) -> None:
    try:
        run_compiler(command, f"{Path(command[0]).name} refuses a program for the Cortex-M4")
    except KwsError as error:
        raise _with_notes(M4Error(str(error)), error) from None


def _with_notes(error: M4Error, of: KwsError) -> M4Error:
    for note in of.__notes__:
        error.add_note(note)
    return error
