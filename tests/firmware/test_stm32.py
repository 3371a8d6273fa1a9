"""The STM32F4's microphone driver on an emulated Cortex-M4, with a model of the hardware in the place of its registers:
no emulator has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from host_tools.boards import load_board
from host_tools.image.arduino import settings
from model_pipeline.native import FIRMWARE, ROOT
from tests.support.m4 import run_on_m4

SIM = Path(__file__).parent / "stm32_sim"


@pytest.mark.qemu
@pytest.mark.parametrize("optimisation", ["-O2", "-O0"])
def test_microphone(optimisation: str) -> None:
    """All checks are in sim_main.c; a failed one names itself."""
    ports, pdm = FIRMWARE / "ports", FIRMWARE / "core" / "pdm"
    run_on_m4(
        [SIM / "sim_main.c", ports / "stm32/audio.c", pdm / "kws_pdm.c"],
        [SIM, SIM.with_name("sim"), ports, ports / "cortexm", ports / "stm32", pdm, FIRMWARE / "core" / "kws"],
        [optimisation, "-include", str(SIM / "sim.h")],
        timeout=120,
    )


def _uart(board: str, baud: int) -> list[str]:
    """Of a board's file, as the build hands them to the compiler; for an application that wants this rate."""
    module = settings()
    kws = load_board(board).kws.model_dump(mode="json", exclude_none=True)
    kws["serial"]["baud"] = baud
    what = module.read(kws, board, {}, FIRMWARE, lambda name, default: default)
    wanted = ("KWS_UART", "KWS_SERIAL", "KWS_CORE", "KWS_STM32")
    return [flag for flag in module.define_flags(what) if flag.removeprefix("-D").startswith(wanted)]


@pytest.mark.qemu
@pytest.mark.parametrize("baud", [9600, 115200, 500000])
@pytest.mark.parametrize(
    ("board", "bus_hz"), [("disco_f407vg", 42_000_000), ("nucleo_f446re", 45_000_000), ("nucleo_l4r5zi", 120_000_000)]
)
def test_a_baud_rate_is_what_the_registers_say(board: str, bus_hz: int, baud: int) -> None:
    """The divider of an LPUART has 20 bits (RM0432): 9600 baud want its prescaler."""
    ports = FIRMWARE / "ports"
    run_on_m4(
        [SIM / "baud_main.c", ports / "stm32/serial.c"],
        [SIM, SIM.with_name("sim"), ports, ports / "cortexm", ports / "stm32"],
        ["-O1", "-include", str(SIM / "baud.h"), f"-DSIM_HZ={bus_hz}u", *_uart(board, baud)],
        timeout=120,
    )


def test_the_model_is_the_discovery() -> None:
    """The pins and the gain of the simulation are those of the board's file."""
    microphone = json.loads((ROOT / "boards/disco_f407vg.json").read_text())["kws"]["microphone"]
    text = (SIM / "sim.h").read_text()
    values = dict(re.findall(r"#define KWS_(\w+) (\d+)", text))
    pins = {key: f"P{chr(65 + int(values[f'PDM_{n}_PORT']))}{values[f'PDM_{n}_PIN']}" for key, n in
            (("clock", "CLK"), ("data", "DIN"))}  # fmt: skip
    assert pins == {"clock": microphone["clock"], "data": microphone["data"]}
    assert int(values["MICROPHONE_GAIN_Q12"]) == round(4096 * 10 ** (microphone["gain_db"] / 20))
