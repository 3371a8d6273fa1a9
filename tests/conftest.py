"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

# Before numpy is imported, and for all that tests start. `make test` has a worker for each core already, and threads
# of OpenBLAS spin while they wait for each other: they burn ten times what a product takes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

hypothesis.settings.register_profile("ours", deadline=None)  # a busy computer is not a fault
hypothesis.settings.load_profile("ours")

ROOT = Path(__file__).resolve().parent.parent
CCACHE = ("/usr/lib/ccache", "/usr/lib64/ccache")  # Debian's and Fedora's folder of links with the compilers' names
# What takes longest by itself, longest first: `make test` gives each worker a file at a time, and none shall be left
# with one of these at the end.
LONGEST = """
    tools/test_run_end_to_end tools/test_study web/test_page training/test_training training/test_train
    training/test_notebooks library/test_imported_firmware tools/test_wheel tools/test_boards tools/test_search
    library/test_esphome_project mlperf/test_firmware compiler/test_fast_kernels training/test_scenes
    tools/test_boards_build compiler/test_compiler mlperf/test_runner compiler/test_kws01_inputs tools/test_fuzz
    live/test_live library/test_library listening/test_device web/test_server web/test_engine firmware/test_firmware
    training/test_prune training/test_rounds tools/test_profile tools/test_realtime training/test_bench_train
    training/test_models training/test_shards library/test_frameworks training/test_distill data/test_data_synth
    tools/test_runs
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--port", help="serial port or URL of a board for the tests marked hardware")
    parser.addoption("--baud", type=int, help="its baud rate, if not the usual one")


def pytest_configure() -> None:
    # Started in a shell's background, everything here would ignore Ctrl-C, and so would all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _compile_once()


def _compile_once() -> None:
    """Many tests build the same sources, each in a folder of its own; ccache keeps the objects, if it is installed."""
    paths = os.environ.get("PATH", "").split(os.pathsep)
    folder = next((folder for folder in CCACHE if Path(folder, "cc").exists()), None)
    if folder and folder not in paths:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])
    os.environ.setdefault("CCACHE_DIR", str(ROOT / ".cache" / "ccache"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)
    if "long" not in config.getoption("markexpr"):
        later = pytest.mark.skip(reason="takes minutes: pytest -m long")
        for item in items:
            if "long" in item.keywords:
                item.add_marker(later)
    missing = [tool for tool in ("qemu-system-arm", "arm-none-eabi-gcc") if not shutil.which(tool)]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"{' and '.join(missing)} not in PATH: run `make setup`")
    for item in items:
        if "qemu" in item.keywords:
            item.add_marker(skip)


def _turn(item: pytest.Item) -> int:
    name = item.path.relative_to(ROOT / "tests").with_suffix("").as_posix()
    turns = LONGEST.split()
    return turns.index(name) if name in turns else len(turns)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech for development; it is not part of the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here (real speech is never committed)")
    return folder
