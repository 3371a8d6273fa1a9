"""JavaScript for tests: Node from PATH, or the one that Playwright's package carries."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from model_pipeline.native import ROOT

PAGE = ROOT / "host_tools" / "web" / "page"


def node() -> str:
    """The program; the test is skipped where there is none."""
    if found := shutil.which("node"):
        return found
    try:
        from playwright._impl._driver import compute_driver_executable
    except ImportError:
        pytest.skip("no Node: run `make test`, which installs Playwright")
    return str(compute_driver_executable()[0])


def run(script: Path, *arguments: object, timeout: float = 300) -> Any:
    """What ``script`` prints as JSON; its arguments are the page's folder and then these."""
    done = subprocess.run(
        [node(), str(script), PAGE.as_uri(), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None
