"""The nRF52 drivers on an emulated Cortex-M4, with a model of UARTE and PDM in the place of their registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_pipeline.native import FIRMWARE
from tests.support.m4 import run_on_m4

SIM = Path(__file__).parent / "nrf52_sim"
PORTS = FIRMWARE / "ports"


@pytest.mark.qemu
@pytest.mark.parametrize("optimisation", ["-O2", "-O0"])
def test_serial_and_microphone(optimisation: str) -> None:
    """All checks are in sim_main.c; a failed one names itself."""
    run_on_m4(
        [SIM / "sim_main.c", PORTS / "nrf52/serial.c", PORTS / "nrf52/audio.c"],
        [SIM, SIM.with_name("sim"), PORTS, PORTS / "cortexm", PORTS / "nrf52", FIRMWARE / "core" / "kws"],
        [optimisation, "-include", str(SIM / "sim.h")],
        timeout=120,
    )
