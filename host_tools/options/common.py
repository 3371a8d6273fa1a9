"""Options and arguments that mean the same wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, for scripts.")]
Board = Annotated[str, typer.Option("--board", "-b", help="Board id; `kws boards` lists them.")]
Track = Annotated[
    str | None,
    typer.Option(
        metavar="mlflow", help="Tell MLflow settings and figures: the store of MLFLOW_TRACKING_URI, else ./mlflow.db."
    ),
]
Baud = Annotated[int | None, typer.Option(help="Baud rate of a serial port.", show_default="500000")]
Model = Annotated[Path, typer.Argument(help="Folder with model.tflite and model.json.", show_default=False)]
Tflite = Annotated[Path, typer.Argument(help="An int8 .tflite file.", show_default=False)]
Data = Annotated[Path, typer.Option("--data", "-d", help="A data folder.", show_default=False)]
MaybeData = Annotated[Path | None, typer.Option("--data", "-d", help="A data folder.", show_default=False)]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Model folder to build with (of kws import, quantize or export); again for another one in the same image.",
        show_default="the shipped model",
    ),
]
DumpAudio = Annotated[
    Path | None, typer.Option("--dump-audio", metavar="FILE.wav", help="Keep what the model hears as a WAV.")
]
KeepDetections = Annotated[
    Path | None,
    typer.Option(
        "--keep-detections",
        metavar="DIR",
        help="Keep two seconds around each detection, with its posteriors, for `kws data import`.",
    ),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="WORD=0.8",
        help="Set a word's threshold on the device until it restarts. May be repeated.",
    ),
]
