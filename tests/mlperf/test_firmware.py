"""MLPerf Tiny's application, sanitized, as a process: the official runner's expectations, and whatever else is sent."""

from __future__ import annotations

import random
import re
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from host_tools.boards import board_ids, load_board
from host_tools.image import arduino
from host_tools.image.build import Variant, build
from host_tools.image.emulate import start
from host_tools.mlperf.inputs import as_the_model_takes
from host_tools.mlperf.scripts import printed
from model_pipeline.compiler import Program, load_host
from model_pipeline.errors import KwsError
from model_pipeline.export import export
from model_pipeline.mlperf import compiled, write_plan
from tests.support.eembc import BOOT, COMMAND_CHARS, PROFILE, Expected, OfficialRunner, TcpPort, masked
from tests.support.firmware_images import SANITIZE, SHIPPED, kept_folder, private_copy
from tests.support.kws01_inputs import official_inputs
from tests.support.tflite_builder import ds_cnn


@pytest.fixture(scope="module")
def tflite(shared_data: Path) -> bytes:
    return (shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()


@pytest.fixture(scope="module")
def program(tflite: bytes) -> Program:
    return compiled(tflite)


def _image(tflite: bytes, folder: Path) -> Path:
    write_plan(tflite, folder / "model", "model")
    with kept_folder("firmware-mlperf-host") as kept:
        return private_copy(
            build("host", folder / "model", out=kept, variant=Variant("mlperf", flags=SANITIZE)), folder
        )


@pytest.fixture(scope="module")
def kws01(tflite: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _image(tflite, tmp_path_factory.mktemp("kws01"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A firmware for the reader's tests: any network will do."""
    return _image(ds_cnn(3, channels=8, blocks=1, labels=10), tmp_path_factory.mktemp("small"))


SMALL_INPUT = 49 * 40


@contextmanager
def _runner(elf: Path) -> Iterator[OfficialRunner]:
    """The official runner, and what comes before its first command."""
    with start("host", elf) as emulator, TcpPort(emulator.url) as port:
        runner = OfficialRunner(port, patience=6.0)
        assert masked(runner.reply("")) == BOOT
        yield runner
        emulator.check()


def test_the_official_runner_gets_the_plans_values(shared_data, program, kws01):
    _, raw, labels = official_inputs(shared_data, 200)
    inputs = as_the_model_takes(raw, program)
    expected = printed(program, load_host(program).run(inputs))
    with _runner(kws01) as runner:
        assert runner.handshake() == ("micro-kws", PROFILE, "kws01")
        rows = []
        for data in inputs:
            runner.download(data.tobytes())
            rows.append(runner.infer(1, 0)[1])
    got = np.round(np.array(rows) * 1000).astype(int)
    assert np.array_equal(got, expected)
    assert len({tuple(row) for row in expected.tolist()}) > 100  # no constant
    assert np.mean(got.argmax(axis=1) == labels) > 0.88


def test_performance_as_the_official_runner_measures_it(shared_data, program, kws01):
    _, raw, _ = official_inputs(shared_data, 5)
    inputs = as_the_model_takes(raw, program)
    expected = printed(program, load_host(program).run(inputs))
    with _runner(kws01) as runner:
        for data, values in zip(inputs, expected, strict=True):
            runner.download(data.tobytes())
            microseconds, got = runner.infer(20, 3)
            assert microseconds > 0
            assert [round(value * 1000) for value in got] == values.tolist()  # of the last of 20, all of the same input


def _exchange(elf: Path, data: bytes, *, chunk: int = 4096) -> list[str]:
    """All lines that a fresh firmware answers to ``data``, the start's first; laps and results masked."""
    child = subprocess.Popen([elf, "--port", "tcp:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stderr is not None
        match = re.search(r":(\d+)$", child.stdout.readline())
        assert match, child.stderr.read()
        with socket.create_connection(("127.0.0.1", int(match[1]))) as line:
            line.setblocking(False)
            got, sent, ended = b"", 0, False
            while True:
                ready, free, _ = select.select([line], [line] if sent < len(data) else [], [], 60)
                assert ready or free, f"stands still after {sent} bytes"
                if free:
                    sent += line.send(data[sent : sent + chunk])
                if sent == len(data) and not ended:
                    line.shutdown(socket.SHUT_WR)
                    ended = True
                if ready:
                    try:
                        part = line.recv(1 << 16)
                    except ConnectionResetError:
                        part = b""
                    if not part:
                        break
                    got += part
        assert child.poll() is None, child.stderr.read()  # a sanitizer's finding ends it
    finally:
        child.kill()
        child.communicate()
    text = got.decode("ascii")
    assert text.endswith("\r\n")
    return [re.sub(r"^m-results-\[.*\]$", "m-results", line) for line in masked(text.split("\r\n")[:-1])]


def _check(elf: Path, data: bytes, chunk: int = 4096) -> None:
    device = Expected(SMALL_INPUT)
    device.feed(data)
    assert _exchange(elf, data, chunk=chunk) == [*BOOT, "m-ready", *device.lines]


def test_the_answers_of_each_command(small: Path):
    whole = b"db load 1960%" + b"".join(b"db " + b"7f" * 35 + b"%" for _ in range(56))
    _check(
        small,
        b"name%timestamp%profile%nothing%results%infer%db%db load%db load 0%db load -4%db load 12%db 0011%db print%"
        b"db 223344556677889900aabbccddee%db 00%db print%infer 1 0%db load 8%db 0001020304050607%db print%"
        + whole
        + b"infer%infer 3%infer 2 1%infer 0%infer -1%infer x%infer 1 -1%infer 1 x%infer 2x 1y%results%db print%",
    )


def test_help_names_each_command(small: Path):
    lines = _exchange(small, b"help%")
    assert lines[len(BOOT) + 1] == PROFILE and lines[-1] == "m-ready"
    for command in ("name", "profile", "timestamp", "db load N", "db HH..", "db print", "infer [N [W]]", "results"):
        assert sum(line.startswith(command + " ") for line in lines) == 1


@pytest.mark.parametrize("length", [0, 1, 2, COMMAND_CHARS - 1, COMMAND_CHARS, COMMAND_CHARS + 1, 200, 70_000])
def test_a_command_of_any_length(small: Path, length: int):
    _check(small, b"a" * length + b"%name%" + b"db load 60%db " + b"0" * length + b"%db print%")


@pytest.mark.parametrize(
    "count",
    ["1", "1959", "1960", "1961", "27648", "2147483647", "2147483648", "4294967297", "9" * 60, "+5", "-1", "1e3"],
)
def test_a_load_of_any_size(small: Path, count: str):
    _check(small, f"db load {count}%db 1122%db print%db load 4%db 112233%db 445566%db 77%db print%".encode())


_WORDS = [b"name", b"timestamp", b"profile", b"infer", b"results", b"db", b"load", b"print", b"db load", b"db print"]


def _anything(rng: random.Random) -> bytes:
    """Commands, halves of them, and bytes of all kinds; never one that takes long."""
    kind = rng.randrange(9)
    if kind == 0:
        return rng.choice(_WORDS) + b"%"
    if kind == 1:
        return b"db load %d%%" % rng.choice([0, 1, 2, 30, 31, 32, 1959, 1960, 1961, rng.randrange(1 << 40)])
    if kind == 2:
        return b"db " + rng.randbytes(rng.randrange(45)).hex().encode() + b"%"
    if kind == 3:
        return b"infer %d %d%%" % (rng.randrange(-1, 3), rng.randrange(-1, 3))
    if kind == 4:  # no help, whose words are its own, and nothing that could be a long inference
        return bytes(rng.choice(b" dbloaprint0123456789abcdefXYZ-+.\r\n\t") for _ in range(rng.randrange(200)))
    if kind == 5:
        return b" " * rng.randrange(90) + rng.choice(_WORDS) + b" " * rng.randrange(90) + b"%"
    if kind == 6:
        return b"db load 1960%" + b"".join(b"db " + rng.randbytes(35).hex().encode() + b"%" for _ in range(56))
    if kind == 7:
        return b"x" * rng.choice([78, 79, 80, 81, 82, 500]) + b"%"
    return bytes(b for b in rng.randbytes(rng.randrange(120)) if b not in b"i")


@pytest.mark.parametrize("seed", range(24))
def test_whatever_is_sent_no_buffer_is_overrun_and_the_answers_are_the_protocols(small: Path, seed: int):
    rng = random.Random(seed)
    data = b"%" + b"".join(_anything(rng) for _ in range(150)) + b"%"
    _check(small, data, rng.choice([1, 7, 64, 65, 4096]))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_whatever_is_sent_many_times(small: Path, seed: int):
    rng = random.Random(seed)
    _check(small, b"%" + b"".join(_anything(rng) for _ in range(600)) + b"%", rng.choice([1, 7, 64, 65, 4096]))


# ---- for boards

BARE_METAL = [name for name in board_ids() if load_board(name).kws.family in ("stm32", "nrf52")]


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize("energy", [False, True], ids=["performance", "energy"])
@pytest.mark.parametrize("board", BARE_METAL)
def test_each_board_builds_for_both_modes(board: str, energy: bool, tmp_path: Path):
    write_plan(ds_cnn(3, channels=8, blocks=1, labels=10), tmp_path / "model", "small")
    with kept_folder(f"firmware-mlperf-{board}") as kept:
        result = build(board, tmp_path / "model", out=kept, variant=Variant("mlperf", energy))
    assert result.app == "mlperf" and result.engine == "aot"
    assert 0 < result.flash_total < 60_000 and 8192 < result.ram_total < 40_000


def _settings(board: str, mode: str, model: Path) -> dict[str, object]:
    module = arduino.settings()
    kws = load_board(board).kws.model_dump(mode="json", exclude_none=True)
    environ = {"KWS_MODEL_DIR": str(model), "KWS_APP": "mlperf", "KWS_MLPERF_MODE": mode}
    what = module.read(kws, board, environ, arduino.FIRMWARE, lambda name, default: default)
    return dict(pair for pair in what.defines if isinstance(pair, tuple))


@pytest.mark.parametrize("board", BARE_METAL)
def test_the_modes_baud_rates_and_the_timestamps_pin(board: str, tmp_path: Path):
    write_plan(ds_cnn(3, channels=8, blocks=1, labels=10), tmp_path / "model", "small")
    fast, slow = (_settings(board, mode, tmp_path / "model") for mode in ("performance", "energy"))
    assert (fast["KWS_SERIAL_BAUD"], slow["KWS_SERIAL_BAUD"]) == ("115200u", "9600u")
    assert (fast["KWS_MLPERF_ENERGY"], slow["KWS_MLPERF_ENERGY"]) == (0, 1)
    assert (fast.get("KWS_LED_PORT"), fast["KWS_LED_PIN"]) != (slow.get("KWS_LED_PORT"), slow["KWS_LED_PIN"])
    assert not any(name.startswith("KWS_PDM") for name in fast)
    kws = load_board(board).kws
    assert kws.serial is not None and kws.timestamp not in {kws.led, kws.serial.tx, kws.serial.rx, None}


@pytest.mark.qemu
def test_our_part_of_an_arduino_image(tmp_path: Path):
    write_plan(ds_cnn(3, channels=8, blocks=1, labels=10), tmp_path / "model", "small")
    result = arduino.part("nano33ble", tmp_path / "model", app="mlperf")
    assert result.app == "mlperf" and 3_000 < result.flash_total < 60_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"variant": Variant("mlperf", energy=True), "board": "host"}, "no pin"),
        ({"variant": Variant("mlperf"), "board": "disco_f407vg", "engine": "tflm"}, "plan alone"),
        ({"variant": Variant("mlperf", profile=True), "board": "disco_f407vg"}, "plan alone"),
        ({"variant": Variant(energy=True), "board": "disco_f407vg"}, "energy mode"),
        ({"variant": Variant("game"), "board": "disco_f407vg"}, "no application"),
    ],
)
def test_what_can_not_be_built(arguments: dict, words: str, tmp_path: Path):
    with pytest.raises(KwsError, match=words):
        build(model_dir=tmp_path, out=tmp_path / "out", **arguments)


def test_a_streaming_plan_is_refused(tmp_path: Path):
    export(SHIPPED, tmp_path / "model", streaming=7)
    with pytest.raises(KwsError, match="streaming plan"):
        build("host", tmp_path / "model", out=tmp_path / "out", variant=Variant("mlperf"))
