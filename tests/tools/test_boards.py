"""Board files, and what a build makes of them: sizes, budgets, errors in one line."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from host_tools.boards import ROOT, board_ids, load_board
from host_tools.image import build as builder
from host_tools.image import emulate
from model_pipeline.compiler import compile_model
from model_pipeline.errors import DeviceError, KwsError, MissingTool
from model_pipeline.manifest import load_manifest
from tests.support.firmware_images import SHIPPED, image, kept_folder

DISCO = json.loads((ROOT / "boards" / "disco_f407vg.json").read_text())

# Read without the schema: while tests are collected no board may be wrong enough to stop them.
FAMILIES = {p.stem: json.loads(p.read_text())["kws"]["family"] for p in sorted((ROOT / "boards").glob("*.json"))}
BARE_METAL = [name for name, family in FAMILIES.items() if family in ("stm32", "nrf52")]


def changed(path: str, value: object) -> dict:
    """The Discovery's file with one key set, or taken out (value None)."""
    board = json.loads(json.dumps(DISCO))
    *parents, last = path.split(".")
    at = board
    for key in parents:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return board


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """A boards folder of the test's own; the function puts a file there."""
    monkeypatch.setenv("KWS_BOARDS_DIR", str(tmp_path / "boards"))
    (tmp_path / "boards").mkdir()

    def put(name: str, content: dict | str) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "boards" / f"{name}.json").write_text(text)

    return put


def test_all_boards_of_the_project_are_right():
    assert {"disco_f407vg", "host"} <= set(board_ids())
    for name in board_ids():
        board = load_board(name)
        if board.kws.memory:
            assert board.kws.memory.flash_budget <= board.kws.memory.flash_bytes
    assert load_board("disco_f407vg").kws.memory.flash_origin == 0x08000000


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("kws.family", "avr", "kws.family"),
        ("kws.family", None, "kws.family"),
        ("kws.memory", None, "memory is needed"),
        ("kws.memory.flash_origin", "0x08zz", "kws.memory.flash_origin"),
        ("kws.memory.ram_bytes", -1, "kws.memory.ram_bytes"),
        ("kws.memory.ram_budget", 999_999_999, "ram_budget is more than ram_bytes"),
        ("kws.memory.stack_bytes", 1025, "kws.memory.stack_bytes"),
        ("kws.memory.flsh_bytes", 5, "kws.memory.flsh_bytes"),
        ("kws.serial.peripheral", "USART9", "kws.serial.peripheral"),
        ("kws.serial.tx", "PZ2", "kws.serial.tx"),
        ("kws.serial.baud", 300, "kws.serial.baud"),
        ("kws.emulators.qemu.serial_index", "one", "kws.emulators.qemu.serial_index"),
        ("kws.upload", [{"method": "magic"}], "kws.upload.0.method"),
        ("name", None, "name"),
    ],
)
def test_a_wrong_key_is_named(boards, path, value, named):
    boards("mine", changed(path, value))
    with pytest.raises(KwsError, match=named.replace(".", r"\.")) as caught:
        load_board("mine")
    assert "\n" not in str(caught.value) and "mine.json" in str(caught.value)


def test_a_file_that_is_no_json(boards):
    boards("mine", "{ nonsense")
    with pytest.raises(KwsError, match=r"mine\.json"):
        load_board("mine")


def test_an_unknown_board_names_the_known_ones(boards):
    boards("mine", DISCO)
    with pytest.raises(KwsError) as caught:
        load_board("yours")
    assert "mine" in caught.value.hint


def settings_module():
    path = ROOT / "firmware" / "platform" / "builder" / "settings.py"
    spec = importlib.util.spec_from_file_location("kws_platform_settings", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", BARE_METAL)
def test_every_bare_metal_board_gives_settings_without_scons(name):
    settings = settings_module()
    kws = json.loads((ROOT / "boards" / f"{name}.json").read_text())["kws"]
    made = settings.read(kws, name, {}, ROOT / "firmware", lambda key, default: default)
    assert f"-Wl,--defsym=KWS_STACK_BYTES={kws['memory']['stack_bytes']:#x}" in made.linkflags
    assert "-Werror" in made.cflags
    assert "model_aot.c" in made.model_sources and "model_data.cc" not in made.model_sources


def test_engine_tflm_takes_cmsis_nn_where_the_tree_has_it(tmp_path):
    settings = settings_module()
    interpreter = tmp_path / "tensorflow/lite/micro/micro_interpreter.h"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()

    def read():
        environ = {"KWS_ENGINE": "tflm", "KWS_TFLM_DIR": str(tmp_path)}
        return settings.read(DISCO["kws"], "mine", environ, ROOT / "firmware", lambda key, default: default)

    plain = read()
    assert "NDEBUG" in plain.defines and "CMSIS_NN" not in plain.defines
    (tmp_path / "third_party/cmsis_nn").mkdir(parents=True)
    with pytest.raises(settings.SettingsError, match="CMSIS beside CMSIS-NN"):
        read()
    (tmp_path / "third_party/cmsis/CMSIS/Core/Include").mkdir(parents=True)
    fast = read()
    flags = settings.define_flags(fast)
    assert {"-DCMSIS_NN", "-DARM_NN_ENABLE_F16=0", "-DARM_NN_ENABLE_F32=0", "-DNDEBUG"} <= set(flags)
    added = {str(p.relative_to(tmp_path)) for p in set(fast.outside_includes) - set(plain.outside_includes)}
    third = "third_party"
    expected = {"cmsis_nn", "cmsis_nn/Include", "cmsis", "cmsis/CMSIS/Core/Include"}
    assert added == {f"{third}/{folder}" for folder in expected}


def test_settings_name_what_is_wrong(tmp_path):
    settings = settings_module()
    kws, firmware = DISCO["kws"], ROOT / "firmware"

    def read(environ, section=kws):
        return settings.read(section, "mine", environ, firmware, lambda key, default: default)

    with pytest.raises(settings.SettingsError, match="known engines are aot, tflm"):
        read({"KWS_ENGINE": "magic"})
    with pytest.raises(settings.SettingsError, match=r"plan\.json is missing"):
        read({"KWS_MODEL_DIR": str(tmp_path)})
    with pytest.raises(settings.SettingsError, match="set KWS_TFLM_DIR"):
        read({"KWS_ENGINE": "tflm"})
    with pytest.raises(settings.SettingsError, match="no port in firmware/ports"):
        read({}, {**kws, "family": "avr"})


@pytest.mark.qemu
def test_sizes_are_those_of_the_image():
    result = image("disco_f407vg")
    nm = subprocess.run(["arm-none-eabi-nm", result.elf], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[2]: int(line.split()[0], 16) for line in nm.splitlines() if len(line.split()) == 3}
    memory = load_board("disco_f407vg").kws.memory
    assert result.ram_stack == symbols["_stack_top"] - symbols["_stack_bottom"] == memory.stack_bytes
    assert symbols["_stack_bottom"] == memory.ram_origin  # what runs over the stack leaves RAM
    used = symbols["_heap_none"] - memory.ram_origin
    assert 0 <= used - result.ram_total < 64  # alignment between sections
    assert result.ram_total == result.ram_data + result.ram_bss + result.ram_arena + result.ram_stack
    assert result.flash_total == result.flash_code + result.flash_constants + result.flash_data
    assert 20_000 < result.flash_total < memory.flash_budget
    assert result.ram_arena > 1000
    program = compile_model((SHIPPED / "model.tflite").read_bytes(), **load_manifest(SHIPPED).compile.model_dump())
    assert result.model_constants == program.constant_bytes < result.flash_constants
    assert builder.load_build(Path(result.elf).parent) == result
    assert "malloc" not in symbols and "_sbrk" not in symbols  # no heap


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("key", "budget", "what"), [("flash_budget", 32768, "flash budget"), ("ram_budget", 20480, "RAM budget")]
)
def test_a_model_over_the_budget_is_refused_by_the_linker(monkeypatch, key, budget, what):
    with kept_folder("firmware-tight") as folder:
        # A folder that stays: PlatformIO compiles everything anew when its configuration changes.
        monkeypatch.setenv("KWS_BOARDS_DIR", str(folder / "boards"))
        (folder / "boards").mkdir(exist_ok=True)
        (folder / "boards" / "tight.json").write_text(json.dumps(changed(f"kws.memory.{key}", budget)))
        with pytest.raises(KwsError, match=rf"\d+ bytes over the {what} of tight \({budget} bytes\)") as caught:
            builder.build("tight", SHIPPED, out=folder)
        assert caught.value.exit_code == 1 and "memory." in caught.value.hint
        assert not (folder / "firmware.elf").exists()
        assert not (folder / "build.json").exists()


@pytest.mark.qemu
def test_engine_tflm_builds_from_a_tree_of_its_headers(tmp_path, monkeypatch):
    """Against stand-in headers; without a tree, one line says what is needed."""
    monkeypatch.delenv("KWS_TFLM_DIR", raising=False)
    with pytest.raises(MissingTool, match="TensorFlow Lite Micro") as caught:
        builder.build("disco_f407vg", engine="tflm", out=tmp_path / "none")
    assert "KWS_TFLM_DIR" in caught.value.hint
    monkeypatch.setenv("KWS_TFLM_DIR", str(Path(__file__).parents[1] / "support" / "stubs"))
    result = image("disco_f407vg", engine="tflm")
    assert result.engine == "tflm" and result.ram_arena > 1000


def test_a_compiler_error_comes_as_one_line(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in SHIPPED.iterdir():
        if file.name != "model.json":
            (model / file.name).write_bytes(file.read_bytes())
    text = (model / "model_config.h").read_text()
    (model / "model_config.h").write_text(text.replace("#define KWS_MODEL_ID", "#define KWS_OTHER_ID"))
    with (
        kept_folder("firmware-broken") as folder,
        pytest.raises(KwsError, match=r"does not build for host: .*KWS_MODEL_ID") as caught,
    ):
        builder.build("host", model, out=folder)
    assert "\n" not in str(caught.value)


def test_what_a_user_gets_wrong(tmp_path, monkeypatch):
    with pytest.raises(KwsError, match="is not an exported model"):
        builder.build("host", tmp_path)
    with pytest.raises(KwsError, match="no engine 'magic'"):
        builder.build("host", engine="magic")
    with pytest.raises(KwsError, match="no build in"):
        builder.load_build(tmp_path)
    with pytest.raises(KwsError, match="no firmware"), emulate.start("host", tmp_path / "none.elf"):
        pass
    (tmp_path / "broken.elf").write_bytes(b"no ELF at all")
    (tmp_path / "broken.elf").chmod(0o755)
    with pytest.raises(DeviceError, match=r"broken\.elf"), emulate.start("host", tmp_path / "broken.elf"):
        pass
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool) as caught:
        builder.build("disco_f407vg")
    assert "apt-get install" in caught.value.hint
    with pytest.raises(MissingTool) as caught, emulate.start("disco_f407vg", tmp_path / "broken.elf"):
        pass
    assert "qemu-system-arm" in caught.value.hint


@pytest.mark.qemu
@pytest.mark.parametrize("content", [b"", b"no ELF at all" * 10, None], ids=["empty", "text", "of another machine"])
def test_an_image_of_another_machine_is_refused(tmp_path, content):
    path = tmp_path / "broken.elf"
    path.write_bytes(Path(sys.executable).read_bytes() if content is None else content)
    with pytest.raises(KwsError, match=r"broken\.elf is not an ELF for"), emulate.start("disco_f407vg", path):
        pass


@pytest.mark.qemu
def test_an_emulator_that_has_ended_is_noticed(tmp_path):
    with emulate.start("disco_f407vg", image("disco_f407vg").elf) as running:
        running.check()
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait(10)
        with pytest.raises(DeviceError, match=r"qemu of disco_f407vg has ended \(signal SIGKILL\)"):
            running.check()
    running.stop()


def test_the_child_never_outlives_its_parent(tmp_path):
    """Even a parent that is killed takes its emulator along."""
    elf = image("host").elf
    code = (
        "import sys, time; from host_tools.image import emulate\n"
        f"with emulate.start('host', {elf!r}) as e:\n    print(e.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{child}/cmdline").exists():
        if not Path(f"/proc/{child}/cmdline").read_bytes():  # ended, not yet collected
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}/cmdline").exists()


def test_kws_emulate_prints_its_port_and_ends_on_ctrl_c():
    elf = image("host").elf
    command = [sys.executable, "-m", "host_tools.cli", "emulate", "--board", "host", "--elf", elf, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    values = json.loads(process.stdout.readline())
    assert values["url"].startswith("socket://127.0.0.1:")
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(values["pid"], 0)
            time.sleep(0.05)


def test_the_link_of_an_emulator_listens_where_it_is_told(tmp_path):
    elf = Path(image("host").elf)
    wanted = _free()
    with emulate.start("host", elf, tcp_port=wanted) as running:
        assert running.url == f"socket://127.0.0.1:{wanted}"
        assert emulate.free_port(wanted) == 0, "it is taken now"
        with (
            pytest.raises(DeviceError, match=rf"TCP port {wanted} can't be opened"),
            emulate.start("host", elf, tcp_port=wanted),
        ):
            pass


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_kws_boards_as_json():
    done = subprocess.run(
        [sys.executable, "-m", "host_tools.cli", "boards", "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert [b["id"] for b in json.loads(done.stdout)["boards"]] == board_ids()


def test_a_plan_for_other_kernels_is_refused(tmp_path):
    settings = settings_module()
    kws = json.loads((ROOT / "boards" / "host.json").read_text())["kws"]
    model = tmp_path / "model"
    shutil.copytree(ROOT / "firmware" / "model", model)
    read = partial(
        settings.read, kws, "host", {"KWS_MODEL_DIR": str(model)}, ROOT / "firmware", lambda key, default: default
    )
    read()
    plan = model / "plan.json"
    values = json.loads(plan.read_text())
    plan.write_text(json.dumps(values | {"kernels": "x" + values["kernels"][1:]}))
    with pytest.raises(settings.SettingsError, match="other kernels"):
        read()
    del values["kernels"]
    plan.write_text(json.dumps(values))
    with pytest.raises(settings.SettingsError, match="another version"):
        read()
