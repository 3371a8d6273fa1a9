"""Network architectures, each a small file with a card in its docstring. Imports TensorFlow."""

from __future__ import annotations

from model_pipeline.errors import KwsError
from model_pipeline.models.ds_tcn import ds_tcn
from model_pipeline.models.net import Architecture, Net, build, fold

ARCHITECTURES: dict[str, Architecture] = {"ds_tcn": ds_tcn}


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        KwsError: there is none.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise KwsError(f"no architecture {name}", hint=f"there is: {', '.join(sorted(ARCHITECTURES))}") from None


__all__ = ["ARCHITECTURES", "Net", "architecture", "build", "fold"]
