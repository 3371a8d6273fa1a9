"""Renode's command line and its end, with a fake Renode; the real one is used in tests/hardware where it is there."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tools.boards import ROOT, board_ids, load_board
from host_tools.flash.usb import hello
from host_tools.image import renode
from host_tools.image.emulate import start
from model_pipeline.errors import DeviceError, KwsError, MissingTool

WITH_RENODE = [name for name in board_ids() if load_board(name).kws.emulators.renode]

# Takes Renode's arguments, and is the firmware on the port that the script's variable says.
FAKE = """#!{python}
import sys, time
sys.path[:0] = [{root!r}]
steps = [sys.argv[i + 1] for i, a in enumerate(sys.argv) if a == "-e"]
open({log!r}, "w").write("\\n".join(sys.argv[1:]))
{body}
"""
GOOD = """
import socket, subprocess, threading
from tests.support.fake_device import FakeFirmware, _serve
print('(monitor) log "micro-kws runs"', flush=True)
time.sleep(0.3)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
open({pid!r}, "w").write(str(child.pid))
port = int(next(s for s in steps if s.startswith("$port=")).partition("=")[2])
server = socket.create_server(("127.0.0.1", port))
print("12:00:00.0000 [INFO] Script: micro-kws runs", flush=True)
def monitor():
    for line in sys.stdin:
        print("(machine-0) " + line.strip(), flush=True)
        time.sleep(0.05)
        print("done: " + line.strip(), flush=True)
    time.sleep(600)  # as Renode: its input's end is not its own
threading.Thread(target=monitor, daemon=True).start()
while True:
    _serve(FakeFirmware(), server.accept()[0], threading.Event())
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a fake renode on PATH; gives a function that writes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(body: str) -> Path:
        program = folder / "renode"
        log = tmp_path / "arguments"
        text = FAKE.format(python=sys.executable, root=str(ROOT), log=str(log), body=body)
        program.write_text(text.replace("{pid!r}", repr(str(tmp_path / "pid"))))
        program.chmod(0o755)
        return log

    return write


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """Something to run, in a folder with a space."""
    path = tmp_path / "an image" / "firmware.elf"
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF")
    return path


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_machine_is_started_and_ended_with_all_its_children(fake, elf: Path, tmp_path: Path) -> None:
    log = fake(GOOD)
    with start("disco_f407vg", elf, kind="renode") as emulator:
        assert emulator.kind == "renode"
        assert hello(emulator.url).board == "disco_f407vg"
        child = int((tmp_path / "pid").read_text())
        assert _alive(child)
    for _ in range(100):
        if not _alive(child):
            break
        time.sleep(0.05)
    assert not _alive(child) and not _alive(emulator.pid)
    arguments = log.read_text().splitlines()
    assert arguments[:3] == ["--disable-gui", "--plain", "--console"]  # no port of the monitor
    assert "--port" not in arguments and "-P" not in arguments
    steps = [b for a, b in itertools.pairwise(arguments) if a == "-e"]
    assert steps[0] == "$elf=@" + str(elf).replace(" ", "\\ ")
    assert steps[1] == f"$port={emulator.url.rpartition(':')[2]}"
    assert steps[2].startswith("include @") and steps[2].endswith("boards/renode/disco_f407vg.resc")
    assert steps[3] == "start"


def test_the_monitor_is_asked_by_its_input(fake, elf: Path) -> None:
    fake(GOOD)
    with start("disco_f407vg", elf, kind="renode") as emulator:
        assert "done: sysbus.pdm SetInputFile @a" in emulator.monitor("sysbus.pdm SetInputFile @a")
        assert "done: version" in emulator.monitor("version")


def test_renode_ends_with_us_even_if_we_are_killed(fake, elf: Path, tmp_path: Path) -> None:
    """Its children too, although it ignores the end of its input, and a fake that is deaf to SIGTERM."""
    fake("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + GOOD)
    script = (
        "import time\nfrom host_tools.image.emulate import start\n"
        f"with start('disco_f407vg', {str(elf)!r}, kind='renode') as emulator:\n"
        "    print(emulator.pid, flush=True)\n    time.sleep(600)"
    )
    us = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert us.stdout is not None
    renode_pid = int(us.stdout.readline())
    child = int((tmp_path / "pid").read_text())
    assert _alive(renode_pid) and _alive(child)
    us.kill()
    us.communicate()
    for _ in range(400):
        if not (_alive(renode_pid) or _alive(child)):
            break
        time.sleep(0.05)
    assert not _alive(renode_pid) and not _alive(child)


def test_an_error_in_the_script_is_told(fake, elf: Path) -> None:
    fake('print("There was an error executing command: machine LoadPlatformDescription", flush=True); time.sleep(60)')
    with pytest.raises(DeviceError, match="renode: There was an error executing command"), \
         start("disco_f407vg", elf, kind="renode"):  # fmt: skip
        pass


def test_a_renode_that_ends_at_once_is_told(fake, elf: Path) -> None:
    fake('print("it was not meant to be", flush=True); sys.exit(3)')
    with pytest.raises(DeviceError, match="exit code 3: it was not meant to be"), \
         start("disco_f407vg", elf, kind="renode"):  # fmt: skip
        pass


def test_a_renode_that_never_starts_is_given_up(fake, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("time.sleep(60)")
    monkeypatch.setattr(renode, "START_TIMEOUT", 0.5)
    with pytest.raises(DeviceError, match="did not start the machine"), \
         start("disco_f407vg", elf, kind="renode"):  # fmt: skip
        pass


def test_no_renode(fake, elf: Path) -> None:
    with pytest.raises(MissingTool, match="renode is not in PATH") as error, \
         start("nano33ble_uart", elf):  # fmt: skip
        pass
    assert "renode.io" in error.value.hint


def test_a_path_that_the_monitor_would_take_apart() -> None:
    with pytest.raises(KwsError, match="can't take this path"):
        renode.path(Path('/tmp/a";quit;"'))


@pytest.mark.parametrize("board", WITH_RENODE)
def test_the_scripts_agree_with_the_board(board: str) -> None:
    """What a script says twice (sizes, clocks, the UART) is what the board's file says."""
    kws = load_board(board).kws
    assert kws.emulators.renode and kws.memory and kws.clock
    script = (renode.SCRIPTS / kws.emulators.renode.script).read_text()
    assert f"connector Connect {kws.emulators.renode.uart} link" in script
    mips = re.search(r"PerformanceInMips (\d+)", script)
    assert mips and int(mips[1]) * 1_000_000 == kws.clock.core_hz
    vectors = re.search(r"VectorTableOffset (0x[0-9A-Fa-f]+)", script)
    assert vectors and int(vectors[1], 16) == kws.memory.flash_origin
    platform = (renode.SCRIPTS / f"{board}.repl").read_text()
    dwt = re.search(r"DWT @ sysbus 0xE0001000\n +frequency: (\d+)", platform)
    assert dwt and int(dwt[1]) == kws.clock.core_hz
    for name, size in (("sram", kws.memory.ram_bytes), ("flash", kws.memory.flash_bytes)):
        found = re.search(rf"^{name}:\n +size: (0x[0-9A-Fa-f]+)", platform, re.M)
        assert found is None or int(found[1], 16) == size
