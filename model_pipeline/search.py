"""The half of `kws search` that holds TensorFlow: networks whose cost is to be measured, and short trainings.

    python -m model_pipeline.search --data DIR --out DIR     (a `child.Worker`: jobs on stdin)

Jobs: ``{"do": "network", "config": TOML, "out": DIR}`` converts an untrained network; ``{"do": "train", "config": TOML,
"out": DIR, "parent": DIR or null}`` trains one, from a trained parent's most important channels if there is one, asking
``{"accuracies": [...]}`` after each epoch whether to go on.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
import numpy as np

from model_pipeline.child import Ask
from model_pipeline.compiler import compile_model
from model_pipeline.compiler.ir import Tensor
from model_pipeline.config import Config, FrontendConfig, load_config
from model_pipeline.errors import KwsError
from model_pipeline.folders import atomic_dir
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, save_manifest
from model_pipeline.models import network_of
from model_pipeline.models.load import load_network
from model_pipeline.outcomes import ShortTraining, Untrained
from model_pipeline.progress import ProgressCallback
from model_pipeline.quantize import convert
from model_pipeline.train import train
from model_pipeline.training.prepare import Prepared, prepare
from model_pipeline.training.prune import prune
from model_pipeline.training.records import ShardStream
from model_pipeline.training.sources import features_of

_RANGES = 8  # random inputs that an untrained network's ranges are measured with


def untrained(config: Config, out: Path) -> Untrained:
    """Writes ``model.tflite`` and ``model.json`` of the configuration's network with random weights into ``out``: it
    costs what the trained one will.

    Raises:
        KwsError: the window is too short for the network, or TensorFlow can't convert it.
    """
    frontend = config.frontend
    frames = config.frames
    network, net = network_of(config, "folded", frames)
    rng = np.random.default_rng(config.train.seed)
    for name in net.convolutions:
        # He and others, arXiv:1502.01852: without normalisation, Keras' own initial weights let depthwise layers fade
        # to nothing, which has no int8 scale.
        kernel = network.get_layer(name).kernel
        inputs = math.prod(kernel.shape[:2] if "depthwise" in name else kernel.shape[:3])
        kernel.assign(rng.normal(0, math.sqrt(2 / inputs), kernel.shape))
    shape = (1, frames, frontend.channels, 1)

    def representative() -> Iterator[list[np.ndarray]]:
        for top in (0.0, 1.0):  # both ends of the front end's range
            yield [np.full(shape, top * frontend.feature_max, np.float32)]
        for _ in range(_RANGES):
            yield [rng.uniform(0, frontend.feature_max, shape).astype(np.float32)]

    tflite = convert(network, representative)
    program = compile_model(tflite)
    manifest = Manifest(
        name=config.name,
        model_sha256=hashlib.sha256(tflite).hexdigest(),
        labels=config.labels,
        frontend=frontend,
        window_frames=frames,
        clip_ms=config.data.clip_ms,
        input=_quantization(program.input),
        output=_quantization(program.output),
        detector=detector_defaults(config.detector, len(config.labels), frontend.hop_ms),
        compile=config.compile,
        architecture=config.train.architecture,
        macs=net.macs,
    )
    with atomic_dir(out, "kws search") as folder:
        (folder / "model.tflite").write_bytes(tflite)
        save_manifest(manifest, folder / "model.json")
    return Untrained(macs=net.macs)


def _quantization(tensor: Tensor) -> Quantization:
    return Quantization(scale=float(tensor.scale), zero_point=tensor.zero_point, shape=list(tensor.shape))


class Trainings:
    """Trainings on one data folder, whose audio is read once."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        self._first: Prepared | None = None
        self._validation: dict[FrontendConfig, tuple[np.ndarray, np.ndarray]] = {}

    def train(
        self,
        config: Config,
        out: Path,
        parent: Path | None,
        progress: ProgressCallback,
        ask: Ask,
        teacher: keras.Model | None = None,
    ) -> ShortTraining:
        """Trains by ``config`` into folder ``out``; goes on where an earlier call was killed.

        Args:
            parent: a folder of an earlier training; its channels that matter most are what the network begins with.
            ask: is told the validation accuracies of all epochs so far, and says whether to go on.
            teacher: as of `model_pipeline.train.train`.

        Returns:
            What it reached, or that it diverged.
        """

        def accuracies() -> list[float]:
            with (out / "log.csv").open(encoding="utf-8", newline="") as stream:
                return [float(row["validation_accuracy"]) for row in csv.DictReader(stream)]

        def begin(model: keras.Model) -> None:
            assert parent is not None
            prune(load_network(parent / "model.keras"), model)

        try:
            train(
                config,
                self.data,
                out,
                progress,
                prepared=self.prepared(config, progress),
                begin=begin if parent else None,
                after_epoch=lambda: bool(ask({"accuracies": accuracies()})),
                teacher=teacher,
            )
        except KwsError as error:
            if error.exit_code != 1:  # what the user must mend
                raise
            return ShortTraining(failed=str(error))
        return ShortTraining(accuracies=accuracies())

    def prepared(self, config: Config, progress: ProgressCallback) -> Prepared:
        """The data as a training by ``config`` reads it. Of [data], [scenes] and [augment] all configurations have the
        same; a front end of its own only where there are no [scenes].

        Raises:
            KwsError: as `prepare`.
        """
        if self._first is None:
            self._first = prepare(config, self.data, self.work, progress)
            self._validation[config.frontend] = self._first.validation
        first = self._first
        frontend, frames = config.frontend, config.frames
        if frontend not in self._validation:
            clips = first.dataset.evaluation("validation")
            self._validation[frontend] = features_of(first.dataset, clips, config, frames)
        stream = copy.copy(first.stream)
        if not isinstance(stream, ShardStream):  # it knows the first one's, which differs in nothing that it reads
            stream.config = config
        return dataclasses.replace(first, frames=frames, stream=stream, validation=self._validation[frontend])


def main(argv: list[str] | None = None) -> int:
    """The command line of the worker process."""
    from model_pipeline import child

    arguments = child.parser(__doc__ or "", "data", "out", config=False).parse_args(argv)
    trainings = Trainings(arguments.data, arguments.out)

    def job(values: dict[str, Any], progress: ProgressCallback, ask: Ask) -> Untrained | ShortTraining:
        config, out = load_config(values["config"]), Path(values["out"])
        if values["do"] == "network":
            return untrained(config, out)
        parent = Path(values["parent"]) if values["parent"] else None
        keras.backend.clear_session()
        return trainings.train(config, out, parent, progress, ask)

    return child.serve(job)


if __name__ == "__main__":
    sys.exit(main())
