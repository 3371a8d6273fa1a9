"""What an image takes, by its sections."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from host_tools.boards import Board
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import CONSTANT_PREFIX

_ARENA = re.compile(r"arena", re.I)
_MODEL = re.compile(rf"{CONSTANT_PREFIX}\w+(\.\w+)*|kws_model_data")  # the compiler may number equal names


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
