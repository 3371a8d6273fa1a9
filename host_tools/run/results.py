"""What the steps of ``kws run`` found, kept a file a step and brought together in results.json."""

from __future__ import annotations

import csv
import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from host_tools.report.results import Results
from host_tools.run.steps import KIND, StepDone
from model_pipeline.config import Config
from model_pipeline.files import read_json, write_json
from model_pipeline.folders import claim_dir
from model_pipeline.manifest import load_manifest

_ENGINE_NAMES = {"tflm": "TensorFlow Lite Micro", "aot": "our own kernels"}


def keep(path: Path, value: object) -> None:
    """Writes a step's one file into its folder, which is the run's."""
    claim_dir(path.parent, KIND, [path.name])
    write_json(path, value)


def collect(config: Config, folder: Path, done: Sequence[StepDone]) -> Results:
    """results.json: the measurement, with what the other steps found."""
    from model_pipeline.evaluate import Evaluation

    results = _read(folder / "measure" / "measure.json")
    manifest = load_manifest(folder / "model")
    checked = Evaluation.model_validate(_read(folder / "check" / "check.json"))
    values = {
        "format": 1,
        "name": config.name,
        "created": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "kws": metadata.version("micro-kws"),
        "computer": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "config": config.model_dump(mode="json"),
        "steps": [o.row().model_dump() for o in done],
        "training": {**_read(folder / "train" / "train.json"), "history": _history(folder / "train" / "log.csv")},
        "model": manifest.model_dump(mode="json", exclude={"frontend"}),
        "host": {
            "engine": _ENGINE_NAMES[checked.engine],
            "accuracy": checked.share.correct(),
            "confusion": checked.confusion,
            "speakers": checked.speakers.model_dump(mode="json"),
        },
        "expect": _read(folder / "expect" / "expect.json"),
        "data_folder": str((folder / "data").resolve()),
        "build": _read(folder / "build" / "build.json"),
        **results,
    }
    return Results.of(values)


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, hint="kws run --fresh makes it anew")


def _history(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream_:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream_)]
