"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("ours", deadline=None)  # a busy computer is not a fault
hypothesis.settings.load_profile("ours")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--port", help="serial port or URL of a board for the tests marked hardware")
    parser.addoption("--baud", type=int, help="its baud rate, if not the usual one")


def pytest_configure() -> None:
    # Started in a shell's background, everything here would ignore Ctrl-C, and so would all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech for development; it is not part of the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here (real speech is never committed)")
    return folder
