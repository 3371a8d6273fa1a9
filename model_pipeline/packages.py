"""What a user types to install a Python package where this runs: hints name the right pip."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from model_pipeline.native import CHECKOUT, ROOT


def pip_install(*packages: str, extra: str = "") -> str:
    """The command that installs ``packages``, or what the project's ``extra`` needs, into this Python.

    In a checkout that is its own virtual environment's pip, under pipx pipx, else ``python -m pip``.
    """
    if "pipx" in Path(sys.prefix).parts and not CHECKOUT:
        if extra:
            return f"pipx install --force 'micro-kws[{extra}]'"
        return f"pipx inject micro-kws {' '.join(packages)}"
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    words = list(packages)
    if extra:
        project = os.path.relpath(ROOT) if Path.cwd().is_relative_to(ROOT) else str(ROOT)
        words = ["-e", f"{project}[{extra}]"] if CHECKOUT else [f"micro-kws[{extra}]"]
    return shlex.join([str(python), "-m", "pip", "install", *words])
