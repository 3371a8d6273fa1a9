"""Keys by the names that they had in older files."""

from __future__ import annotations

import logging
from typing import Any

from model_pipeline.config.training import AugmentConfig, DevicesConfig, QuantizeConfig

_LOG = logging.getLogger("kws")
# Keys that have moved: what older files and command lines call them, and what they are now.
MOVED = {
    **{f"train.{key}": f"augment.{key}" for key in AugmentConfig.model_fields},
    **{f"train.{key}": f"quantize.{key}" for key in QuantizeConfig.model_fields},
    **{f"train.{key}": f"devices.{key}" for key in DevicesConfig.model_fields},
    "train.quantization": "quantize.method",
    "streaming": "hop_frames",
}
del MOVED["train.method"]


def with_moved_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Puts keys of older files where they are now, and notes it.

    Raises:
        ValueError: a key is there by both names.
    """
    if "streaming" in values:
        if "hop_frames" in values:
            raise ValueError("streaming is hop_frames now, which is there too")
        values = {("hop_frames" if key == "streaming" else key): value for key, value in values.items()}
        _LOG.warning("streaming is hop_frames now")
    train = values.get("train")
    if not isinstance(train, dict):
        return values
    old = {key: new for key in train if (new := MOVED.get(f"train.{key}"))}
    if not old:
        return values
    result = {**values, "train": {key: value for key, value in train.items() if key not in old}}
    for key, new in old.items():
        section, _, name = new.partition(".")
        there = result.get(section, {})
        if not isinstance(there, dict) or name in there:
            raise ValueError(f"train.{key} is {new} now, which is there too")
        result[section] = {**there, name: train[key]}
    _LOG.warning("%s", "; ".join(f"train.{key} is {new} now" for key, new in sorted(old.items())))
    return result
