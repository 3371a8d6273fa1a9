"""Network architectures, each a small file with a card in its docstring. Imports TensorFlow."""

from __future__ import annotations

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras

from model_pipeline.config import Config, ShapeConfig
from model_pipeline.errors import KwsError
from model_pipeline.models.ds_tcn import ds_tcn
from model_pipeline.models.net import Architecture, Form, Net, build, fold
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


def network_of(config: Config, form: Form, frames: int) -> tuple[keras.Model, Net]:
    """The configuration's network in one form, for windows of ``frames``; see `net.build`."""
    return build(
        architecture(config.train.architecture, config.train.shape),
        form,
        frames,
        config.frontend.channels,
        len(config.labels),
        config.train.width,
        config.frontend.feature_max,
    )


__all__ = ["ARCHITECTURES", "Net", "architecture", "build", "fold", "network_of"]
