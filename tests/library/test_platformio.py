"""The PlatformIO library, built by PlatformIO as a project's own dependency; its registry is never asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_pipeline.library import export_library
from model_pipeline.native import FIRMWARE, ROOT
from tests.library.test_library import heard, listen, sound  # noqa: F401  (a fixture)
from tests.support import cores

PLATFORM = ROOT / "tests" / "support" / "pio_platform"
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    pytest.importorskip("platformio")
    pytest.importorskip("SCons")
    out = tmp_path_factory.mktemp("pio") / "front_door"
    export_library([FIRMWARE / "model"], out, "platformio", "front_door", streaming=1)
    return out


def build(project: Path, library: Path, settings: str, main: str) -> Path:
    """A project as people have it: a source of its own, and the library by lib_deps."""
    (project / "src").mkdir(parents=True)
    (project / "src" / "main.c").write_text(main)
    (project / "platformio.ini").write_text(
        f"[env:x]\nplatform = symlink://{PLATFORM}\nlib_deps = symlink://{library}\n"
        f"build_flags = -Wall -Wextra -Werror\n{settings}"
    )
    environment = {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(project / "core"),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "http_proxy": "http://127.0.0.1:9",  # whoever asks the registry fails at once
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "platformio", "run", "-d", str(project)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "front_door" in done.stdout  # in its graph of dependencies
    return project / ".pio" / "build" / "x" / "program.elf"


def test_a_project_that_names_it_hears_what_the_host_hears(library, sound, tmp_path):  # noqa: F811
    export_library([FIRMWARE / "model"], tmp_path / "cmake", "cmake", "front_door", streaming=1)
    main = (tmp_path / "cmake" / "example" / "listen.c").read_text()
    program = build(tmp_path / "project", library, "", main)
    short = sound[: 16000 * 12]
    assert listen(program, short) == heard(FIRMWARE / "model", short)


def test_its_example_links(library, tmp_path):
    main = (library / "examples" / "listen" / "src" / "main.c").read_text()
    assert build(tmp_path / "project", library, "", main).is_file()


@pytest.mark.qemu
def test_the_same_on_a_cortex_m4(library, sound, tmp_path):  # noqa: F811
    if tool := cores.missing():
        pytest.skip(f"{tool} is not installed")
    core = next(c for c in cores.CORES if c.cpu == "cortex-m4")
    settings = (
        "custom_prefix = arm-none-eabi-\n"
        f"custom_machine = {' '.join(cores.machine_flags(core))}\n"
        f"custom_link = {' '.join(cores.link_flags(core))}\n"
    )
    elf = build(tmp_path / "project", library, settings, (cores.HERE / "main.c").read_text())
    short = sound[: 16000 * 12]
    assert cores.run(core, elf, short, tmp_path) == heard(FIRMWARE / "model", short)
