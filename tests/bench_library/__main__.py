"""What libraries of `kws export --library cmake` cost, as docs/library.md has it: flash on each core, the state, and
instructions a second on the emulated Cortex-M4; and how large the folders are.

    python -m tests.bench_library
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from host_tools import ui
from host_tools.measure.m4 import run_on_m4
from model_pipeline.library import FLAVOURS, export_library
from model_pipeline.microwakeword import import_model
from model_pipeline.native import FIRMWARE
from tests.support import cores

SECONDS = 2  # that are counted, after one that is not
HERE = Path(__file__).parent


def sound() -> bytes:
    """Noise whose level moves as speech's does."""
    rng = np.random.default_rng(1)
    level = np.repeat(rng.uniform(30, 6000, 40 * (SECONDS + 1)), 400)
    return np.clip(rng.normal(0, 1, len(level)) * level, -32768, 32767).astype("<i2").tobytes()


def state_bytes(elf: Path) -> int:
    """Of the firmware's one state."""
    text = subprocess.run(["arm-none-eabi-nm", "-S", str(elf)], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[1], 16) for line in text.splitlines() if line.endswith(" k"))


def flash_bytes(elf: Path) -> int:
    """Code and constants, with 400 bytes of the program about them."""
    text = subprocess.run(["arm-none-eabi-size", "-A", str(elf)], capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith((".text", ".ARM.exidx")))


def cost(models: Sequence[Path], folder: Path, **options: Any) -> list[int]:
    """Flash on each core, the state on a Cortex-M4, and instructions a second there."""
    library = folder / "library"
    export_library(models, library, "cmake", "front_door", **options)
    flash, state = [], 0
    for core in cores.CORES:
        roomy = replace(
            core, code=(core.code[0], 4 << 20), ram=(core.ram[0], 4 << 20)
        )  # what there is is not asked here
        elf = cores.build(library, roomy, folder / core.cpu)
        flash.append(flash_bytes(elf))
        state = state_bytes(elf) if core.cpu == "cortex-m4" else state
    sources = [*sorted((library / "src").glob("*.c")), HERE / "feed.c"]
    done = run_on_m4(sources, [library / "src"], input=sound(), timeout=300)
    return [*flash, state, round(done.instructions["feed"] / SECONDS)]


def folder_bytes(model: Path, flavour: str, out: Path) -> str:
    """Bytes of all files of a library's folder, and how many these are."""
    export_library([model], out, flavour, "front_door")
    files = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    return f"{sum(files):,} ({len(files)})"


def main() -> None:
    """Prints both tables: a row a library."""
    sizes = Table("library", *FLAVOURS)
    table = Table(
        *("library", *(core.cpu.removeprefix("cortex-") for core in cores.CORES), "state", "instructions a second")
    )
    with tempfile.TemporaryDirectory(prefix="kws-") as scratch, ui.progress("libraries") as progress:
        folder = Path(scratch)
        default, tiny = FIRMWARE / "model", FIRMWARE / "tiny"
        rows: list[tuple[str, list[Path], dict[str, Any]]] = [
            ("firmware/tiny", [tiny], {}),
            ("firmware/model", [default], {}),
            ("firmware/model --streaming 1", [default], {"streaming": 1}),
        ]
        try:
            import pymicro_wakeword
        except ImportError:
            ui.err.say("without pymicro-wakeword's models: it is not installed")
        else:
            there = Path(pymicro_wakeword.__file__).parent / "models"
            for name in ("alexa", "okay_nabu"):
                import_model(there / f"{name}.json", folder / name)
            rows += [
                ("alexa", [folder / "alexa"], {}),
                ("alexa and okay_nabu, one front end", [folder / "alexa", folder / "okay_nabu"], {}),
                ("firmware/tiny and alexa, two front ends", [tiny, folder / "alexa"], {}),
            ]
        for number, (name, models, options) in enumerate(rows):
            progress(number, len(rows), name)
            work = folder / f"row{number}"
            work.mkdir()
            table.add_row(name, *(f"{value:,}" for value in cost(models, work, **options)))
            if len(models) == 1 and not options:
                sizes.add_row(name, *(folder_bytes(models[0], flavour, work / flavour) for flavour in FLAVOURS))
        progress(len(rows), len(rows), "done")
    ui.out.show(table)
    ui.out.show(sizes)


if __name__ == "__main__":
    main()
