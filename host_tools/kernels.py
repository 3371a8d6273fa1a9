"""The choice of kernels that several verbs offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from model_pipeline.errors import KwsError

if TYPE_CHECKING:  # `kws --help` loads no NumPy
    from model_pipeline.compiler.program import Kernels

Size = Annotated[
    bool, typer.Option("--size/--speed", help="Kernels whose constants take less flash, or those that take less time.")
]
Portable = Annotated[bool, typer.Option("--portable", help="The plain kernels only.")]


def chosen(size: bool, portable: bool) -> Kernels:
    """The compiler's name of the choice.

    Raises:
        KwsError: both are asked for.
    """
    if size and portable:
        raise KwsError("--size and --portable exclude each other", hint="leave one out")
    return "portable" if portable else "small" if size else "fast"
