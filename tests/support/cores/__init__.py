"""A library of ``kws export --library cmake --prefix front_door`` as firmware of other cores, in QEMU's boards."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
TOOLS = ("cmake", "arm-none-eabi-gcc", "qemu-system-arm")


@dataclass(frozen=True)
class Core:
    """A core, QEMU's board that has it, and where code and RAM lie there."""

    cpu: str
    machine: str
    code: tuple[int, int]
    ram: tuple[int, int]


_MPS2 = (0, 4 << 20), (0x20000000, 4 << 20)
_SECURE = (0x10000000, 512 << 10), (0x38000000, 512 << 10)
CORES = (
    Core("cortex-m0plus", "microbit", (0, 256 << 10), (0x20000000, 16 << 10)),  # a Cortex-M0, of the same instructions
    Core("cortex-m3", "mps2-an385", *_MPS2),
    Core("cortex-m4", "mps2-an386", *_MPS2),
    Core("cortex-m7", "mps2-an500", *_MPS2),
    Core("cortex-m33", "mps2-an505", *_SECURE),
    Core("cortex-m55", "mps3-an547", (0x10000000, 512 << 10), (0x30000000, 512 << 10)),
)


def missing() -> str:
    """The first tool that is not installed, or ""."""
    return next((tool for tool in TOOLS if not shutil.which(tool)), "")


def machine_flags(core: Core) -> list[str]:
    """For compiler and linker."""
    return [f"-mcpu={core.cpu}", "-mthumb", "-mfloat-abi=soft"]


def link_flags(core: Core) -> list[str]:
    """For the linker alone."""
    places = zip(("CODE_ORIGIN", "CODE_LENGTH", "RAM_ORIGIN", "RAM_LENGTH"), (*core.code, *core.ram), strict=True)
    defined = [f"-Wl,--defsym={name}={value:#x}" for name, value in places]
    return ["-nostartfiles", "--specs=nano.specs", f"-Wl,-T,{HERE / 'core.ld'}", "-Wl,--gc-sections", *defined]


def build(library: Path, core: Core, out: Path) -> Path:
    """The firmware, by CMake: ``library`` is taken in by ``add_subdirectory()``."""
    cpu = " ".join(machine_flags(core))
    link = f"{cpu} {' '.join(link_flags(core))}"
    options = {
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_SYSTEM_PROCESSOR": "arm",
        "CMAKE_C_COMPILER": "arm-none-eabi-gcc",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_C_FLAGS": f"{cpu} -ffunction-sections -fdata-sections",
        "CMAKE_C_FLAGS_RELEASE": "-O2",
        "CMAKE_EXE_LINKER_FLAGS": link,
        "LIBRARY": str(library),
    }
    command = ["cmake", "-S", str(HERE), "-B", str(out), *(f"-D{key}={value}" for key, value in options.items())]
    for step in (command, ["cmake", "--build", str(out)]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return out / "firmware.elf"


def run(core: Core, elf: Path, sound: NDArray[np.int16], folder: Path) -> list[tuple[int, str, int]]:
    """The words that the emulated core hears: position, label, score."""
    (folder / "sound.raw").write_bytes(sound.astype("<i2").tobytes())
    command = ["qemu-system-arm", "-M", core.machine, "-display", "none", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout or done.stderr
    rows = [line.split(" ") for line in text.splitlines() if line]
    return [(int(position), label, int(score)) for position, label, score in rows]
