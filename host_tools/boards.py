"""Boards are data: ``boards/<id>.json`` is a PlatformIO manifest with our section "kws", checked here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json
from model_pipeline.limits import Name
from model_pipeline.native import ROOT
from model_pipeline.strict import Strict


def _number(value: object) -> object:
    """JSON has no hexadecimal numbers; "0x08000000" is one here."""
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a number") from error
    return value


# These go into command lines, scripts of OpenOCD and Renode, and paths: names, and nothing else.
BOARD_ID = r"^[a-z0-9][a-z0-9_]{0,40}$"
_Script = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,60}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,60})?)?$")]
_Chip = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,60})?$")]
Number = Annotated[int, BeforeValidator(_number), Field(ge=0, le=0xFFFFFFFF)]
# PA2 of an STM32, P1.03 of an nRF52.
Pin = Annotated[str, Field(pattern=r"^P([A-I](1[0-5]|[0-9])|[01]\.[0-3][0-9])$")]


class Memory(Strict):
    """Addresses and sizes in bytes. The budgets are enforced by the linker."""

    flash_origin: Number
    flash_bytes: Number
    ram_origin: Number
    ram_bytes: Number
    flash_budget: Number
    ram_budget: Number  # data, bss, arena and stack together
    stack_bytes: Annotated[int, Field(ge=1024, multiple_of=8)]

    @model_validator(mode="after")
    def _within(self) -> Memory:
        if self.flash_budget > self.flash_bytes:
            raise ValueError("flash_budget is more than flash_bytes")
        if self.ram_budget > self.ram_bytes:
            raise ValueError("ram_budget is more than ram_bytes")
        if self.stack_bytes >= self.ram_budget:
            raise ValueError("stack_bytes leaves nothing of ram_budget")
        return self


class Clock(Strict):
    """Hz."""

    core_hz: Number
    crystal_hz: Number  # 0: the internal oscillator is used
    bypass: bool = False  # a clock signal comes in where the crystal would be


class Serial(Strict):
    """The line that the link uses."""

    peripheral: Literal["USART1", "USART2", "USART3", "UART4", "UART5", "USART6", "LPUART1", "UARTE0"]
    tx: Pin
    rx: Pin
    alternate_function: Annotated[int, Field(ge=0, le=15)] = 0  # of family stm32
    baud: Annotated[int, Field(ge=9600, le=4_000_000)]
    through_probe: bool = True  # the probe's USB carries it too; else an adapter does, and the probe's own port is mute


class Usb(Strict):
    """What the board (or its probe) looks like on USB."""

    vid: Number
    pid: Number
    role: Literal["application", "bootloader", "probe"]
    name: Annotated[str, Field(max_length=100)] = ""


class Upload(Strict):
    """One way to flash the board; they are tried in order."""

    method: Literal["openocd", "st-flash", "pyocd", "bossac", "dfu-util", "pio"]
    interface: _Script = ""  # openocd: its script of the probe
    # openocd: where the interface's own default will not do
    transport: Literal["", "swd", "jtag", "hla_swd", "hla_jtag", "dapdirect_swd", "dapdirect_jtag", "swim"] = ""
    target: _Chip = ""  # openocd: its script of the chip; pyocd: its name of the chip


class Qemu(Strict):
    """``qemu-system-arm -M machine``; the link is its serial port number ``serial_index``."""

    machine: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")]  # no options behind a comma
    serial_index: Annotated[int, Field(ge=0, le=7)]


class Renode(Strict):
    """Files in boards/renode and the UART there."""

    script: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}\.resc$")]
    uart: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,60}$")]


class Process(Strict):
    """The firmware is a program of this computer."""


class Emulators(Strict):
    """What can run the board's ELF without the board."""

    qemu: Qemu | None = None
    renode: Renode | None = None
    process: Process | None = None


class Microphone(Strict):
    """What the port's audio input is made of."""

    kind: Literal["pdm", "pdm_i2s"]  # a PDM peripheral; bits by I2S2 and DMA, made into samples by firmware/core/pdm
    clock: Pin
    data: Pin
    power: Pin | None = None  # high: the microphone has power
    gain_db: Annotated[int, Field(ge=-20, le=20)]  # from its full scale to that of the samples; the same on every port


class KwsSection(Strict):
    """The section "kws" of a board file."""

    family: Literal["stm32", "nrf52", "arduino", "host"]
    series: Literal["f4", "l4"] | None = None  # of family stm32; f4 if left out
    cpu: Literal["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m3"] = "cortex-m4"
    memory: Memory | None = None
    clock: Clock | None = None
    serial: Serial | None = None
    led: Pin | None = None
    timestamp: Pin | None = None  # free, at a header: falls where MLPerf's energy monitor starts and ends to measure
    usb: list[Usb] = []
    upload: list[Upload] = []
    emulators: Emulators = Emulators()
    microphone: Microphone | None = None

    @model_validator(mode="after")
    def _bare_metal(self) -> KwsSection:
        # Arduino's serial line is USB, and needs no description.
        needed = {"host": (), "arduino": ("memory", "clock")}.get(self.family, ("memory", "clock", "serial"))
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"{key} is needed for family {self.family}")
        return self


class Board(BaseModel):
    """One board. Keys outside "kws" are PlatformIO's and only looked at where we use them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str = Field(pattern=BOARD_ID)
    name: Name
    url: str
    vendor: str
    kws: KwsSection


def boards_dir() -> Path:
    """``$KWS_BOARDS_DIR``, or boards/ of the project."""
    return Path(os.environ.get("KWS_BOARDS_DIR") or ROOT / "boards")


def board_ids() -> list[str]:
    """The ids of all boards, sorted."""
    return sorted(p.stem for p in boards_dir().glob("*.json"))


def load_board(board_id: str) -> Board:
    """Reads and checks a board file.

    Raises:
        KwsError: no such board, or the file is wrong (the key is named).
    """
    path = boards_dir() / f"{board_id}.json"
    if not re.fullmatch(BOARD_ID, board_id) or not path.is_file():
        raise KwsError(f"no board {board_id!r}", hint=f"known boards: {', '.join(board_ids()) or 'none'}")
    values = read_json(path)
    try:
        return Board.model_validate({**values, "id": board_id})
    except ValidationError as error:
        raise KwsError(f"{path}: {explain(error, Board)}") from error
