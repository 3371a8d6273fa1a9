"""Networks out of files, which may be anybody's: nothing in one is called but Keras's layers and ours.

Keras's safe mode alone refuses lambdas, and trusts much else: what a file says of classes and sizes is looked at before
Keras sees it.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from model_pipeline.errors import KwsError
from model_pipeline.files import check_archive, damaged, parse_json
from model_pipeline.models import net, speech_embedding

# What `model.save` writes; our layers have no assets.
_PARTS = {"metadata.json", "config.json", "model.weights.h5"}
_LARGEST = 1 << 30  # bytes, unpacked: far beyond any teacher
_LARGEST_CONFIG = 8 << 20
_OURS = "micro_kws>"
_ROOMS = ("layers", "initializers", "regularizers", "constraints", "activations", "models")
_MODULES = {"keras", *(f"keras.{room}" for room in _ROOMS)}
_MODELS = {"keras.src.models.functional", "keras.src.models.sequential"}
# They call what the file says, or read another file.
_CALLERS = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function"}
_MOST = 1 << 16  # of any size that a layer has


def load_network(path: Path, hint: str = "") -> keras.Model:
    """The network in a ``.keras`` file.

    Raises:
        KwsError: it is none, is broken, or holds what no network of ours does.
    """
    hint = hint or f"remove {path} and train again"
    with damaged(path, hint, (OSError, zipfile.BadZipFile, NotImplementedError)):
        names = check_archive(path, _LARGEST)
        if others := sorted(names ^ _PARTS):
            raise ValueError(f"{others[0]!r} is missing, or is not of a network of ours")
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json")
            _check_weights(archive.read("model.weights.h5"))
        _check(parse_json(config, f"config.json in {path}", hint, _LARGEST_CONFIG))
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever its many layers make of it
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise KwsError(f"{path} holds no network: {said[:300]}", hint=hint) from error


def _check(config: dict[str, Any]) -> None:
    """
    Raises:
        ValueError: something that no network of ours has.
    """
    ours = {f"{_OURS}{name}" for module in (net, speech_embedding) for name in vars(module)}
    left: list[Any] = [{key: value for key, value in config.items() if key != "compile_config"}]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [inner for key, inner in value.items() if key != "shared_object_id"]  # an address in memory
            if "class_name" in value:
                _check_class(value, ours)
        elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= _MOST):
            raise ValueError(f"{value!r} is beyond what a layer has")


def _check_weights(content: bytes) -> None:
    """Numbers alone, all in the file itself: HDF5 can name other files, whose bytes would become weights.

    Raises:
        ValueError: there is something else.
    """
    left = _LARGEST
    with h5py.File(io.BytesIO(content), "r") as file:
        groups: list[h5py.Group] = [file]
        seen: set[Any] = set()
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name!r} of its weights lies elsewhere")
                value = group[name]
                place = h5py.h5o.get_info(value.id).addr
                if place in seen:
                    raise ValueError(f"{name!r} of its weights is there twice")
                seen.add(place)
                if isinstance(value, h5py.Group):
                    groups.append(value)
                    continue
                if not isinstance(value, h5py.Dataset) or value.is_virtual or value.external:
                    raise ValueError(f"{name!r} of its weights lies elsewhere")
                left -= value.nbytes
                if value.dtype.kind not in "fiub" or left < 0:
                    raise ValueError(f"{name!r} of its weights is not an array of numbers, or too large")


def _check_class(value: dict[str, Any], ours: set[str]) -> None:
    name, module, registered = (value.get(key) for key in ("class_name", "module", "registered_name"))
    if name == "__keras_tensor__":
        return
    known = module in _MODULES | _MODELS and registered in (None, name)
    own = registered in ours and registered == f"{_OURS}{name}"
    if name in _CALLERS or not (known or own):
        raise ValueError(f"it has {registered or name!r} of {module!r}, which is not loaded")
