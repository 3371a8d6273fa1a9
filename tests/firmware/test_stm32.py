"""The STM32F4's microphone driver on an emulated Cortex-M4, with a model of the hardware in the place of its registers:
no emulator has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

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


def test_the_model_is_the_discovery() -> None:
    """The pins and the gain of the simulation are those of the board's file."""
    microphone = json.loads((ROOT / "boards/disco_f407vg.json").read_text())["kws"]["microphone"]
    text = (SIM / "sim.h").read_text()
    values = dict(re.findall(r"#define KWS_(\w+) (\d+)", text))
    pins = {key: f"P{chr(65 + int(values[f'PDM_{n}_PORT']))}{values[f'PDM_{n}_PIN']}" for key, n in
            (("clock", "CLK"), ("data", "DIN"))}  # fmt: skip
    assert pins == {"clock": microphone["clock"], "data": microphone["data"]}
    assert int(values["MICROPHONE_GAIN_Q12"]) == round(4096 * 10 ** (microphone["gain_db"] / 20))
