"""A trial's training, in the process that holds TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from host_tools.search.study import Train
from model_pipeline.child import Worker
from model_pipeline.outcomes import ShortTraining
from model_pipeline.progress import ProgressCallback


def trainer(worker: Worker) -> Train:
    """`Train` by a worker of `model_pipeline.search`."""

    def train(
        folder: Path, parent: Path | None, go_on: Callable[[list[float]], bool], progress: ProgressCallback
    ) -> list[float] | str:
        job = {
            "do": "train",
            "config": str(folder / "config.toml"),
            "out": str(folder / "train"),
            "parent": str(parent) if parent else None,
        }
        ended = worker.call(job, ShortTraining, progress, lambda question: go_on(question["accuracies"]))
        return ended.failed or ended.accuracies or []

    return train
