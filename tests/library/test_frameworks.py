"""The libraries for Zephyr, ESP-IDF and Arduino with their own examples: built by the frameworks' rules, against stubs
as strict as they are, and run. Each hears what the host hears.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.library import export_library
from model_pipeline.native import FIRMWARE, ROOT
from tests.library.test_library import heard, listen, sound  # noqa: F401  (a fixture)

TINY = FIRMWARE / "tiny"
STUBS = ROOT / "tests" / "support"
ARDUINO = ROOT / "tests" / "firmware" / "arduino_stub"
needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed (apt-get install cmake)")


def library(folder: Path, flavour: str) -> Path:
    export_library([TINY], folder / "front_door", flavour, "front_door")
    return folder / "front_door"


def configure(source: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", source, "-B", out, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def build(source: Path, out: Path, **environment: str) -> None:
    done = configure(source, out, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["cmake", "--build", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stdout + done.stderr


def kernels_are_fast(out: Path) -> bool:
    """-O2 stands behind the framework's own -Os or -Og for each of the library's files."""
    commands = [c for c in json.loads((out / "compile_commands.json").read_text()) if "/front_door/src/" in c["file"]]
    levels = [[word for word in c["command"].split() if word.startswith("-O")] for c in commands]
    return len(levels) > 5 and all(len(found) == 2 and found[-1] == "-O2" for found in levels)


ZEPHYR = {"Zephyr_DIR": str(STUBS / "zephyr_stub"), "ZEPHYR_BASE": str(STUBS / "zephyr_stub")}


@needs_cmake
def test_zephyrs_sample_hears_what_the_host_hears(tmp_path, sound):  # noqa: F811
    sample = library(tmp_path, "zephyr") / "samples" / "listen"
    build(sample, tmp_path / "build", **ZEPHYR)
    assert kernels_are_fast(tmp_path / "build")
    assert listen(tmp_path / "build" / "zephyr.elf", sound) == heard(TINY, sound)


@needs_cmake
def test_zephyr_leaves_it_out_where_it_is_not_wanted_and_knows_no_other_symbol(tmp_path):
    sample = library(tmp_path, "zephyr") / "samples" / "listen"
    settings = (sample / "prj.conf").read_text()
    (sample / "prj.conf").write_text(settings.replace("CONFIG_FRONT_DOOR=y", "CONFIG_FRONT_DOOR=n"))
    assert configure(sample, tmp_path / "out", **ZEPHYR).returncode == 0
    commands = (tmp_path / "out" / "compile_commands.json").read_text()
    assert "main.c" in commands and "front_door_aot.c" not in commands
    (sample / "prj.conf").write_text(settings + "CONFIG_FRONT_DOR=y\n")
    assert "undefined symbol" in configure(sample, tmp_path / "wrong", **ZEPHYR).stderr


@needs_cmake
def test_idfs_example_hears_what_the_host_hears(tmp_path, sound):  # noqa: F811
    example = library(tmp_path, "esp-idf") / "examples" / "listen"
    build(example, tmp_path / "build", IDF_PATH=str(STUBS / "idf_stub"))
    assert kernels_are_fast(tmp_path / "build")
    assert listen(tmp_path / "build" / "listen.elf", sound) == heard(TINY, sound)


def test_arduinos_sketch_hears_what_the_host_hears(tmp_path, sound):  # noqa: F811
    """As Arduino's builder does it: the sketch with Arduino.h before it, and the library's sources as they lie; then at
    the pace of a microphone."""
    folder = library(tmp_path, "arduino")
    sketch = tmp_path / "listen.cpp"
    sketch.write_text("#include <Arduino.h>\n" + (folder / "examples" / "listen" / "listen.ino").read_text())
    includes = [f"-I{ARDUINO}", f"-I{folder / 'src'}"]
    objects = []
    for path in sorted((folder / "src").glob("*.c")):
        objects.append(str(tmp_path / f"{path.stem}.o"))
        subprocess.run(["gcc", "-std=gnu11", "-Os", "-w", *includes, "-c", str(path), "-o", objects[-1]], check=True)
    command = ["g++", "-std=gnu++14", "-fno-exceptions", "-Wall", "-Wextra", "-Werror", *includes, str(sketch)]
    command += [str(ARDUINO / "arduino_stub.cpp"), *objects, "-o", str(tmp_path / "listen")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    short = sound[: 16000 * 7]
    (tmp_path / "sound.raw").write_bytes(short.tobytes())
    expected = [(label, score) for _, label, score in heard(TINY, np.pad(short, (0, 16000)))]
    environment = {**os.environ, "STUB_PDM": str(tmp_path / "sound.raw")}
    with subprocess.Popen([tmp_path / "listen"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            said, until = b"", time.monotonic() + 20
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.settimeout(0.2)
                while time.monotonic() < until and said.count(b"\n") < len(expected):
                    try:
                        said += line.recv(4096)
                    except TimeoutError:
                        continue
        finally:
            process.terminate()
    rows = [text.split() for text in said.decode().splitlines()]
    assert [(label, int(score)) for label, score in rows] == expected and expected
