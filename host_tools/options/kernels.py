"""The choice of kernels and packing that several verbs offer, and the model that it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from model_pipeline.config import CompileConfig, Packing
from model_pipeline.errors import KwsError
from model_pipeline.files import read_bytes
from model_pipeline.manifest import load_any_manifest


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KM]?)", text.strip().upper())
    if not found:
        raise typer.BadParameter(f"{text!r} is not a number of bytes, such as 40960 or 40K")
    return int(found[1]) << {"": 0, "K": 10, "M": 20}[found[2]]


Size = Annotated[
    bool | None,
    typer.Option(
        "--size/--speed",
        help="Weights that take less flash, or those that take less time.",
        show_default="as model.json says",
    ),
]
Portable = Annotated[bool, typer.Option("--portable", help="The plain kernels only.")]
MaxConstants = Annotated[
    int | None,
    typer.Option(
        parser=_bytes,
        metavar="BYTES",
        help="Of constants at most, such as 40K: only the layers that gain most are packed for speed. 0: any number.",
        show_default="as model.json says",
    ),
]

Frames = Annotated[
    int | None, typer.Option(help="Feature frames of the window, for --streaming of a model with a flat input.")
]


def read(model: Path) -> bytes:
    """The bytes of a .tflite.

    Raises:
        KwsError: it can't be read.
    """
    return read_bytes(model)


def chosen(
    model: Path, size: bool | None = None, portable: bool = False, max_constants: int | None = None
) -> CompileConfig:
    """What the options say, and where they say nothing, the manifest.

    Args:
        model: a folder with ``model.json``, or a .tflite, which may have one beside it.

    Raises:
        KwsError: two packings are asked for, or the manifest is of another model.
    """
    if size is not None and portable:
        raise KwsError(f"{'--size' if size else '--speed'} and --portable exclude each other", hint="leave one out")
    folder = model if model.is_dir() else model.parent
    known = (model.is_dir() or model.name == "model.tflite") and (folder / "model.json").is_file()
    choice = load_any_manifest(folder).compile if known else CompileConfig()
    packing: Packing | None = "portable" if portable else None if size is None else "size" if size else "speed"
    changes = {"packing": packing, "max_constants": max_constants}
    return choice.model_copy(update={key: value for key, value in changes.items() if value is not None})


def wanted(models: Sequence[Path], size: bool | None, max_constants: int | None) -> CompileConfig | None:
    """What the options say for all of ``models``; None where they say nothing."""
    if size is None and max_constants is None:
        return None
    return chosen(models[0], size, max_constants=max_constants)


def constants_line(choice: CompileConfig, size: int, by_packing: Mapping[Packing, int]) -> str:
    """Bytes of constants, for people: of this plan and of the other packings."""
    limit = f", at most {choice.max_constants:,}" if choice.max_constants else ""
    others = ", ".join(f"{name} {other:,}" for name, other in by_packing.items())
    return f"{size:,} B of constants (packed for {choice.packing}{limit}; {others})"
