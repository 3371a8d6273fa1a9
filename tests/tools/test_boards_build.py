"""Every bare-metal board builds, and a board of a known family is one file more."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from host_tools.boards import ROOT, board_ids, load_board
from host_tools.flash.usb import hello
from host_tools.image import arduino
from host_tools.image.build import BuildResult, build
from host_tools.image.emulate import start

BARE_METAL = [name for name in board_ids() if load_board(name).kws.memory and load_board(name).kws.family != "arduino"]
needs_gcc = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not in PATH")


def _first_words(elf: str) -> tuple[int, int, int]:
    """Load address of the image, initial stack pointer and reset vector."""
    flash = Path(elf).with_suffix(".bin")
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", elf, str(flash)], check=True)
    headers = subprocess.run(["arm-none-eabi-objdump", "-h", elf], check=True, capture_output=True, text=True).stdout
    text = next(line.split() for line in headers.splitlines() if " .text " in line)
    return int(text[4], 16), *struct.unpack("<II", flash.read_bytes()[:8])


def _check_image(result: BuildResult) -> None:
    memory = load_board(result.board).kws.memory
    assert memory is not None
    origin, stack, reset = _first_words(result.elf)
    assert origin == memory.flash_origin
    assert stack == memory.ram_origin + memory.stack_bytes
    assert reset & 1 and origin < reset < origin + result.flash_total
    assert 0 < result.flash_total <= memory.flash_budget
    assert memory.stack_bytes < result.ram_total <= memory.ram_budget


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("board", BARE_METAL)
def test_a_board_builds(board: str, tmp_path: Path) -> None:
    _check_image(build(board, out=tmp_path))


def _add_board(folder: Path, name: str, like: str, build_values: dict[str, Any], **kws: Any) -> None:
    values = json.loads((ROOT / "boards" / f"{like}.json").read_text())
    values["build"] |= build_values
    values["kws"] |= kws
    (folder / f"{name}.json").write_text(json.dumps(values))


@pytest.fixture
def more_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of board files in place of ours, with one new board of each family."""
    folder = tmp_path / "boards"
    folder.mkdir()
    memory = {
        "flash_origin": "0x08000000",
        "flash_bytes": 1048576,
        "ram_origin": "0x20000000",
        "ram_bytes": 131072,
        "flash_budget": 262144,
        "ram_budget": 98304,
        "stack_bytes": 4096,
    }
    _add_board(
        folder,
        "netduino_plus_2",
        "disco_f407vg",
        {"mcu": "stm32f405rgt6"},
        memory=memory,
        clock={"core_hz": 168000000, "crystal_hz": 25000000},
        serial={"peripheral": "USART3", "tx": "PB10", "rx": "PB11", "alternate_function": 7, "baud": 115200},
        led="PA10",
        emulators={"qemu": {"machine": "netduinoplus2", "serial_index": 2}},
    )
    _add_board(
        folder,
        "nucleo_l476rg",
        "nucleo_l4r5zi",
        {"mcu": "stm32l476rgt6", "f_cpu": "80000000L"},
        memory=memory | {"ram_bytes": 98304},
        clock={"core_hz": 80000000, "crystal_hz": 0},
        serial={"peripheral": "USART2", "tx": "PA2", "rx": "PA3", "alternate_function": 7, "baud": 500000},
        led="PA5",
    )
    _add_board(
        folder,
        "nrf52840_dk",
        "nano33ble_uart",
        {},
        memory=memory | {"flash_origin": "0", "ram_bytes": 262144},
        serial={"peripheral": "UARTE0", "tx": "P0.06", "rx": "P0.08", "baud": 1000000},
        microphone=None,
    )
    monkeypatch.setenv("KWS_BOARDS_DIR", str(folder))
    return folder


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("board", ["nucleo_l476rg", "nrf52840_dk"])
def test_a_new_board_is_one_file(board: str, more_boards: Path, tmp_path: Path) -> None:
    _check_image(build(board, out=tmp_path / "out"))


@pytest.mark.qemu
@pytest.mark.slow
def test_a_new_board_runs(more_boards: Path, tmp_path: Path) -> None:
    result = build("netduino_plus_2", out=tmp_path / "out")
    _check_image(result)
    with start("netduino_plus_2", result.elf) as emulator:
        running = hello(emulator.url, 10.0)
    assert (running.board, running.model_hash) == ("netduino_plus_2", result.model_hash)


def test_of_tflm_only_the_kernels_of_the_model_are_built(tmp_path: Path) -> None:
    settings = arduino.settings()
    micro = tmp_path / "tensorflow/lite/micro"
    (micro / "kernels/cmsis_nn").mkdir(parents=True)
    (tmp_path / "signal/kernels").mkdir(parents=True)
    (micro / "micro_mutable_op_resolver.h").write_text(
        "TfLiteStatus AddAdd() {\n return AddBuiltin(Register_ADD()); }\n"
        "TfLiteStatus AddConv2D(const TFLMRegistration& r = Register_CONV_2D()) {}\n"
        "TfLiteStatus AddSub() { return AddBuiltin(Register_SUB()); }\n"
    )
    for name, text in {
        "kernels/add.cc": "TFLMRegistration Register_ADD() {}",
        "kernels/cmsis_nn/conv.cc": "TFLMRegistration Register_CONV_2D() {}\nTFLMRegistration Register_CONV_2D_X() {}",
        "kernels/sub.cc": "TFLMRegistration Register_SUB() {}",
        "kernels/conv_common.cc": "int Register;",
        "../../../signal/kernels/rfft.cc": "TFLMRegistration* Register_RFFT() {}",
    }.items():
        (micro / name).write_text(text)
    resolver = "return resolver->AddAdd() == kTfLiteOk &&\n resolver->AddConv2D() == kTfLiteOk;"
    unused = settings.tflm_unused(tmp_path, resolver)
    assert unused == ["tensorflow/lite/micro/kernels/sub.cc", "signal/kernels/rfft.cc"]
    assert settings.tflm_unused(tmp_path, "resolver->AddNew()") == []  # another tree's resolver: all of it
