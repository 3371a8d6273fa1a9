"""Network architectures, each a small file with a card in its docstring. Imports TensorFlow."""

from __future__ import annotations

from model_pipeline.config import ShapeConfig
from model_pipeline.errors import KwsError
from model_pipeline.models.ds_tcn import ds_tcn
from model_pipeline.models.net import Architecture, Net, build, fold
from model_pipeline.models.tcn import tcn

# Those that suit any front end; `tcn` is one for each shape.
ARCHITECTURES: dict[str, Architecture] = {"ds_tcn": ds_tcn}


def architecture(name: str, shape: ShapeConfig) -> Architecture:
    """The architecture of that name (``shape``: of ``tcn``).

    Raises:
        KwsError: there is none.
    """
    known = {**ARCHITECTURES, "tcn": tcn(shape)}
    if name not in known:
        raise KwsError(f"no architecture {name}", hint=f"there is: {', '.join(sorted(known))}")
    return known[name]


__all__ = ["ARCHITECTURES", "Net", "architecture", "build", "fold"]
