"""Options and arguments that mean the same wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, for scripts.")]
Board = Annotated[str, typer.Option("--board", "-b", help="Board id; `kws boards` lists them.")]
Baud = Annotated[int | None, typer.Option(help="Baud rate of a serial port.", show_default="500000")]
Model = Annotated[Path, typer.Argument(help="Folder with model.tflite and model.json.", show_default=False)]
Tflite = Annotated[Path, typer.Argument(help="An int8 .tflite file.", show_default=False)]
Data = Annotated[Path, typer.Option("--data", "-d", help="A data folder.", show_default=False)]
MaybeData = Annotated[Path | None, typer.Option("--data", "-d", help="A data folder.", show_default=False)]
