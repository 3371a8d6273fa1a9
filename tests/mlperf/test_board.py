"""MLPerf Tiny on the emulated board: the same values as the compiled plan's on this computer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from host_tools.cli import main
from host_tools.image.build import Variant, build
from host_tools.image.emulate import start
from host_tools.mlperf.device import Device
from host_tools.mlperf.inputs import as_the_model_takes
from host_tools.mlperf.scripts import accuracy, performance
from model_pipeline.mlperf import compiled, write_plan
from tests.support.eembc import BOOT, PROFILE, OfficialRunner, TcpPort, masked
from tests.support.firmware_images import kept_folder, private_copy
from tests.support.kws01_inputs import official_inputs

pytestmark = pytest.mark.qemu
BOARD = "disco_f407vg"


@pytest.fixture(scope="module")
def tflite(shared_data: Path) -> bytes:
    return (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()


@pytest.fixture(scope="module")
def elf(tflite: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kws01")
    write_plan(tflite, folder / "model", "kws01")
    with kept_folder(f"firmware-mlperf-{BOARD}-kws01") as kept:
        return private_copy(build(BOARD, folder / "model", out=kept, variant=Variant("mlperf")), folder)


@pytest.mark.slow
def test_both_scripts(shared_data: Path, tflite: bytes, elf: Path):
    program = compiled(tflite)
    _, raw, labels = official_inputs(shared_data, 40)
    inputs = as_the_model_takes(raw, program)
    with start(BOARD, elf) as emulator, Device.open(emulator.url, patience_s=60) as device:
        assert device.identify().profile == PROFILE
        found = accuracy(device, inputs, labels.tolist(), program)
        speed = performance(device, inputs, seconds=2.0)
    assert (found.compared, found.different) == (40, 0) and found.top1 > 0.85
    # Its clock counts instructions at 16 MHz: no two windows differ by what an interrupt takes, and little more.
    assert all(window.microseconds >= 2_000_000 for window in speed.windows)
    rates = [window.throughput for window in speed.windows]
    assert 5 < speed.throughput < 7 and max(rates) / min(rates) < 1.01


@pytest.mark.slow
def test_the_official_runner(shared_data: Path, tflite: bytes, elf: Path):
    inputs = as_the_model_takes(official_inputs(shared_data, 2)[1], compiled(tflite))
    with start(BOARD, elf) as emulator, TcpPort(emulator.url) as port:
        runner = OfficialRunner(port, patience=12.0)
        assert masked(runner.reply("")) == BOOT
        assert runner.handshake() == ("micro-kws", PROFILE, "kws01")
        for data in inputs:
            runner.download(data.tobytes())
            assert runner.infer(3, 1)[0] > 0


@pytest.mark.slow
def test_energy_mode(shared_data: Path, tflite: bytes, tmp_path: Path):
    """No time in the text; the pin is not QEMU's to show."""
    program = compiled(tflite)
    _, raw, labels = official_inputs(shared_data, 3)
    write_plan(tflite, tmp_path / "model", "kws01")
    with kept_folder(f"firmware-mlperf-{BOARD}-energy") as kept:
        image = private_copy(
            build(BOARD, tmp_path / "model", out=kept, variant=Variant("mlperf", energy=True)), tmp_path
        )
    with start(BOARD, image) as emulator, Device.open(emulator.url, patience_s=60) as device:
        device.identify()
        found = accuracy(device, as_the_model_takes(raw, program), labels.tolist(), program)
        assert (found.compared, found.different) == (3, 0)
        assert device.infer(1, 0).microseconds is None


@pytest.mark.long
def test_all_1000_official_inputs(shared_data: Path, tflite: bytes, elf: Path, capsys: pytest.CaptureFixture[str]):
    folder = shared_data / "mlperf_tiny"
    arguments = ["--board", BOARD, "--elf", elf, "-m", folder / "kws_ref_model.tflite", "-d", folder / "kws01_inputs"]
    with pytest.raises(SystemExit) as ended:
        main(["mlperf", *map(str, arguments), "--features", "mfcc", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert not ended.value.code and found["clock"] == "instructions"
    assert found["accuracy"]["inputs"] == 1000 and found["accuracy"]["different"] == 0
    assert np.isclose(found["accuracy"]["top1"], 0.911, atol=0.0015)
