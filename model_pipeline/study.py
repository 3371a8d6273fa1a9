"""The half of `kws study` that holds TensorFlow: trainings and quantisations that read their data once.

    python -m model_pipeline.study --data DIR --out DIR     (a `child.Worker`: jobs on stdin)

Jobs: ``{"do": "train", "config": TOML, "out": DIR, "parent": DIR or null, "teacher": FILE or null}`` trains a network,
from a trained parent's most important channels if there is one, taught by a teacher (``model.keras``) if there is one.
``{"do": "quantize", "config": TOML, "trained": DIR, "out": DIR, "teacher": FILE or null}`` makes its int8 model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
from pydantic import BaseModel

from model_pipeline.child import Ask
from model_pipeline.config import load_config
from model_pipeline.models.load import load_network
from model_pipeline.progress import ProgressCallback
from model_pipeline.quantize import quantize
from model_pipeline.search import Trainings


def _teacher(path: str | None) -> keras.Model | None:
    if path is None:
        return None
    model = load_network(Path(path))
    model.trainable = False
    return model


def main(argv: list[str] | None = None) -> int:
    """The command line of the worker process."""
    from model_pipeline import child

    arguments = child.parser(__doc__ or "", "data", "out", config=False).parse_args(argv)
    trainings = Trainings(arguments.data, arguments.out)

    def job(values: dict[str, Any], progress: ProgressCallback, ask: Ask) -> BaseModel:
        config, out = load_config(values["config"]), Path(values["out"])
        if values["do"] == "train":
            keras.backend.clear_session()  # before the teacher is read
            parent = Path(values["parent"]) if values["parent"] else None
            return trainings.train(config, out, parent, progress, lambda _: True, _teacher(values["teacher"]))
        prepared = trainings.prepared(config, progress)
        keras.backend.clear_session()
        trained, teacher = Path(values["trained"]), _teacher(values["teacher"])
        return quantize(config, trained, arguments.data, out, progress, prepared=prepared, teacher=teacher)

    return child.serve(job)


if __name__ == "__main__":
    sys.exit(main())
