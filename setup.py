"""All metadata is in pyproject.toml; this puts into a wheel what is not a Python package: firmware, boards, models."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# pyproject.toml tells the firmware its version.
PROJECT = (
    "firmware",
    "boards",
    "platformio.ini",
    "pyproject.toml",
)  # where model_pipeline/native.py looks outside a checkout


class BuildWithProject(build_py):
    """Copies the firmware's sources beside the pipeline, unless the installation is editable."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        here = Path(__file__).resolve().parent
        target = Path(self.build_lib) / "model_pipeline" / "project"
        for name in PROJECT:
            source = here / name
            if source.is_dir():
                shutil.copytree(
                    source, target / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".pio")
                )
            else:
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": BuildWithProject})
