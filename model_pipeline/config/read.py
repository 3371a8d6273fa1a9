"""Reads configurations, and says what is wrong with one."""

from __future__ import annotations

import difflib
import logging
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from model_pipeline.config.moved import MOVED
from model_pipeline.config.run import Config
from model_pipeline.errors import KwsError
from model_pipeline.files import read_bytes
from model_pipeline.text import shown

_LOG = logging.getLogger("kws")
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_MOST = 4 << 20  # bytes of a configuration
PROJECT_FILE = "kws.toml"  # in a folder that `kws new` made


def load_config(path: str | Path | None = None, **overrides: object) -> Config:
    """Reads a configuration; ``None`` is the built-in demo, a bare name one of model_pipeline/configs, a folder one
    that `kws new` made.

    Args:
        overrides: top-level keys that replace the file's.

    Raises:
        KwsError: no such file, broken TOML, or a wrong key or value (named).
    """
    source = Path(path) if path is not None else CONFIGS / "demo.toml"
    if source.is_dir():
        source = source / PROJECT_FILE
    if not source.exists() and (CONFIGS / f"{source}.toml").exists():
        source = CONFIGS / f"{source}.toml"
    try:
        if not source.exists():
            raise FileNotFoundError
        values = tomllib.loads(read_bytes(source, _MOST).decode("utf-8-sig"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise KwsError(f"no configuration {source}", hint=f"built-in ones: {known}") from error
    except (OSError, ValueError) as error:  # no TOML, no UTF-8, or a number of 5,000 digits
        raise KwsError(f"can't read {source}: {error}") from error
    except RecursionError as error:
        raise KwsError(f"can't read {source}: it is nested too deeply") from error
    values.update({k: v for k, v in overrides.items() if v is not None})
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("recordings"), str) and data["recordings"]:
        values["data"] = {**data, "recordings": str((source.parent / data["recordings"]).resolve())}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"{source}: {explain(error, Config)}") from error


def with_settings(config: Config, settings: list[str]) -> Config:
    """``config`` with single values replaced: ``["train.epochs=5", "keywords=['on', 'off']"]`` (TOML values; a bare
    word is text).

    Raises:
        KwsError: not ``key=value``, no such key, or a wrong value (named).
    """
    values = config.model_dump(mode="json")
    for setting in settings:
        key, equals, text = setting.partition("=")
        moved = MOVED.get(key.strip())
        if moved:
            _LOG.warning("%s is %s now", key.strip(), moved)
        if not equals:
            raise KwsError(f"setting {shown(key.strip())!r} has no value", hint="as in train.epochs=5")
        *path, last = (moved or key.strip()).split(".")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except ValueError:  # no TOML
            value = text.strip()
        except RecursionError as error:
            raise KwsError(f"setting {key.strip()!r} is nested too deeply") from error
        place: Any = values
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise KwsError(
                f"no setting {key.strip()!r}",
                hint=_meant(Config, key.strip().split("."))
                or "as in train.epochs=5; docs/configuration.md lists the keys",
            )
        place[last] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"settings: {explain(error, Config)}") from error


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """A pydantic error as one line that names each key.

    Args:
        model: what was validated; for a key that it lacks, the most similar one is named.
    """
    parts = []
    for found in error.errors():
        path = [str(p) for p in found["loc"]]
        text = found["msg"].removeprefix("Value error, ")
        meant = _meant(model, path) if model is not None and found["type"] == "extra_forbidden" else ""
        parts.append(f"{'.'.join(path) or 'file'}: {text}{f' ({meant})' if meant else ''}")
    return "; ".join(parts)


def _meant(model: type[BaseModel], path: list[str]) -> str:
    """``did you mean …?`` with the most similar of the model's keys, the same section's first; empty without one."""
    keys = _keys(model)
    *section, last = path
    beside = {key.rpartition(".")[2]: key for key in keys if key.split(".")[:-1] == section}
    near = [beside[name] for name in difflib.get_close_matches(last, beside, n=1)]
    near += [key for key in keys if key.rpartition(".")[2] == last]  # the right name in another section
    near += difflib.get_close_matches(".".join(path), keys, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else ""


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, f"{prefix}{name}.")
    return found
