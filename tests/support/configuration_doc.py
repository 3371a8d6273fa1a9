"""Makes docs/configuration.md of the configuration's fields: ``python -m tests.support.configuration_doc``.

A key's words are the comment beside it in model_pipeline/config, or the one above it.
"""

from __future__ import annotations

import inspect
import io
import re
import tokenize
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from model_pipeline.config import Config
from model_pipeline.native import ROOT

TARGET = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

All keys of a TOML file for `kws run`, `kws train` and their like, made from `model_pipeline/config` by
`python -m tests.support.configuration_doc`; a test fails when it is stale. Commented examples:
`model_pipeline/configs/`. `--set SECTION.KEY=VALUE` replaces one. An unknown key is an error that names the nearest.
"""


def render() -> str:
    """The page."""
    parts = [HEAD, "## Top level", *_table(Config)]
    for name, field in Config.model_fields.items():
        model = _model(field.annotation)
        if model:
            parts += _section(name, model)
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, model: type[BaseModel], repeated: bool = False) -> list[str]:
    words = re.sub(r"`([\w.]+)`", r"`\1`", inspect.getdoc(model) or "").replace("\n", " ").replace("``", "`")
    title = f"[[{name}]]" if repeated else f"[{name}]"
    parts = ["", f"## `{title}`", "", words, *_table(model)]
    for key, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner:
            parts += _section(f"{name}.{key}", inner, get_origin(field.annotation) is list)
    return parts


def _table(model: type[BaseModel]) -> list[str]:
    notes = comments(model)
    rows = []
    for key, field in model.model_fields.items():
        if _model(field.annotation):
            continue
        default = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
        shown = "needed" if default is PydanticUndefined else f"`{_toml(default)}`"
        rows.append(
            f"| `{key}` | {_type(field.annotation)}{_limits(field.metadata)} | {shown} | {notes.get(key, '')} |"
        )
    return ["", "| key | type | default | |", "|---|---|---|---|", *rows] if rows else []


def comments(model: type[BaseModel]) -> dict[str, str]:
    """The words of each key: the comment at the end of its line, or else that of the lines above."""
    source = inspect.getsource(model)
    found: dict[str, str] = {}
    above: list[str] = []
    own = {t.start[0]: t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT}
    for number, line in enumerate(source.splitlines(), 1):
        key = re.match(r"    (\w+): ", line)
        comment = own.get(number)
        text = comment.string.lstrip("# ").strip() if comment else ""
        if key and key[1] in model.model_fields:
            found[key[1]] = (text if comment else " ".join(above)).replace("|", "\\|")
            above = []
        elif comment and line.lstrip().startswith("#"):
            above.append(text)
        else:
            above = []
    return found


def _model(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{_toml(a)}`" for a in arguments)
    if origin in (list, tuple):
        return f"list of {_type(arguments[0])}" if origin is list else f"{len(arguments)} × {_type(arguments[0])}"
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    if origin is UnionType or origin is typing.Union:
        return " or ".join(_type(a) for a in arguments)
    return {int: "integer", float: "number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _limits(metadata: list[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{sign} {getattr(m, name):g}" for m in metadata for name, sign in signs.items() if hasattr(m, name)]
    return f", {', '.join(found)}" if found else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k} = {_toml(v)}' for k, v in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) and 1e-4 <= abs(value) < 1e6 else str(value)


if __name__ == "__main__":
    Path(TARGET).write_text(render(), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)} written")
