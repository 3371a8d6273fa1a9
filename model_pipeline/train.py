"""Trains the float network: ``model.keras``, ``train.json`` and ``log.csv`` in a folder.

    python -m model_pipeline.train --config default --data DIR --out DIR

Training goes on from ``checkpoint.npz`` after a kill at any moment, and Ctrl-C keeps the best model so far.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from model_pipeline.config import Config
from model_pipeline.data.doubts import warnings
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, sha256_file, write_json
from model_pipeline.folders import MARK, claim_dir
from model_pipeline.manifest import input_scale
from model_pipeline.models import network_of
from model_pipeline.models.base import begin_with, path_of
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.training.checkpoint import recipe_key, resume, save
from model_pipeline.training.distribute import Replicas, open_replicas
from model_pipeline.training.journal import Journal
from model_pipeline.training.pool import Pool
from model_pipeline.training.prepare import Prepared, extra_data, hard_pool, prepare
from model_pipeline.training.records import is_sharded
from model_pipeline.training.trainer import Trainer, schedule

CHECKPOINT = "checkpoint.npz"
_FOLDERS = (
    "tensorboard",
    "teacher",
    "extra",
    "pool",
    "talk",
)  # worker-<n> is another process's, with a mark of its own
_MADE = ("model.keras", "train.json", "log.csv", CHECKPOINT, *(f"{folder}/**" for folder in _FOLDERS))


def train(
    config: Config,
    data: str | Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    prepared: Prepared | None = None,
    begin: Callable[[keras.Model], object] | None = None,
    after_epoch: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Trains by ``config`` on ``data``; the weights with the least loss on the validation clips are kept. (Accuracy
    stands long before the loss does: the first epoch that has a clip more right may be far from the best.)

    Of several workers (``config.devices.strategy``) only the chief writes to ``out``; the others keep what they need
    for themselves in ``out/worker-<n>``.

    Args:
        prepared: the data, where it is already read.
        begin: gives the new network the weights to begin with.
        after_epoch: is called when an epoch is written to ``out``; False ends the training there.

    Returns:
        What is in ``train.json``: accuracy on validation, epochs, parameters, MACs, data hash, seconds.

    Raises:
        KwsError: no such data, no clips of a keyword, an unknown architecture, or another worker that went away; or
            ``out`` holds files of these names that no training made.
        KeyboardInterrupt: stopped; the best model so far is in ``out``.
    """
    replicas = open_replicas(config.devices)
    if replicas.workers and config.scenes.examples and not is_sharded(data):
        raise KwsError(
            "several workers can't make the examples of [scenes] together", hint="kws data shard --epochs 1 packs them"
        )
    report = progress or silent
    if not (config.mine.rounds and config.scenes.examples) or prepared:
        return _train(config, data, out, report, replicas, prepared, begin, after_epoch)
    return _rounds(config, data, out, report, replicas)


def _rounds(
    config: Config, data: str | Path, out: Path, report: ProgressCallback, replicas: Replicas
) -> dict[str, Any]:
    """Trains, and then on with what the network falls for, ``config.mine.rounds`` times. Earlier rounds are kept in
    ``out/round<n>``."""
    c = config.mine
    pools: list[Pool] = []
    for number in range(c.rounds + 1):
        place = out if number == c.rounds else out / f"round{number}"

        def say(done: int, total: int, text: str, number: int = number) -> None:
            report(done, total, f"round {number}, {text}" if number else text)

        if number == 0:
            first = config
            if c.begin:
                few = min(c.begin, config.scenes.examples)
                first = config.model_copy(update={"scenes": config.scenes.model_copy(update={"examples": few})})
            # What is made for the first round is what the others need too.
            prepared = prepare(first, data, out, say)
            result = _train(first, data, place, say, replicas, prepared)
            continue
        before = keras.saving.load_model(out / f"round{number - 1}" / "model.keras", compile=False)
        predict = Trainer(before, 1e-3, 0.0, 0.0, 0.0, input_scale(config.frontend), replicas=replicas).logits
        pools.append(hard_pool(config, data, out, number, predict, say))
        changes = {
            "epochs": c.epochs[min(number, len(c.epochs)) - 1],
            "learning_rate": c.learning_rate,
            "warmup_epochs": 0,
        }
        round_config = config.model_copy(update={"train": config.train.model_copy(update=changes)})
        prepared = prepare(round_config, data, out, say, pools)
        begin = functools.partial(_copy_weights, before)
        result = _train(round_config, data, place, say, replicas, prepared, begin)
    return result


def _train(
    config: Config,
    data: str | Path,
    out: Path,
    report: ProgressCallback,
    replicas: Replicas,
    prepared: Prepared | None = None,
    begin: Callable[[keras.Model], object] | None = None,
    after_epoch: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    started = time.monotonic()
    frontend, settings = config.frontend, config.train
    replicas.check_batch(settings.batch)
    made = out if replicas.chief else out / f"worker-{replicas.worker}"
    claim_dir(made, "kws train", _MADE, sources=[data], ours=_ours)
    teacher = _teacher(config, data, out, made, report, replicas) if settings.teacher_width else None
    keras.utils.set_random_seed(settings.seed)
    prepared = prepared or prepare(config, data, made, report)
    with replicas.strategy.scope():
        model, net = network_of(config, "float", prepared.frames)
        if begin:
            begin(model)
        elif settings.base:
            begin_with(path_of(settings.base), model)
    steps = max(1, prepared.stream.clips // settings.batch)
    trainer = Trainer(
        model,
        schedule(settings.learning_rate, settings.warmup_epochs * steps, settings.epochs * steps),
        settings.weight_decay,
        settings.label_smoothing,
        settings.average,
        input_scale(frontend),
        teacher,
        settings.teacher_share,
        settings.temperature,
        replicas,
        prepared.shares(settings.balance),
    )
    key = recipe_key(config, prepared)
    state = resume(out / CHECKPOINT, key, trainer, replicas)
    journal = Journal(out, state["log"]) if replicas.chief else None
    summary: dict[str, Any] = {
        "architecture": settings.architecture,
        "parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        "macs": net.macs,
        "frames": prepared.frames,
        "labels": config.labels,
        "data_hash": prepared.dataset.content_hash(),
        "extra_hash": prepared.extra.content_hash() if prepared.extra else "",
        "data_folder": str(data),
        "resumed_at": state["epoch"],
        "replicas": replicas.count,
        "warnings": warnings(prepared.dataset.speech, config.labels, prepared.dataset.lists),
        "key": key,
    }

    def finish(stopped: bool) -> dict[str, Any]:
        summary.update(
            best_epoch=state["best_epoch"],
            validation_accuracy=state["best"],
            validation_clips=len(prepared.validation[1]),
            validation_loss=state["least"],
            epochs=state["epoch"],
            stopped=stopped,
            seconds=round(time.monotonic() - started + state["seconds"], 1),
        )
        if replicas.chief:
            summary["model_sha256"] = sha256_file(out / "model.keras")
            write_json(out / "train.json", summary)
        return summary

    total = settings.epochs * steps
    try:
        epochs = prepared.stream.epochs(state["epoch"], settings.epochs)
        for epoch, batches in zip(range(state["epoch"], settings.epochs), epochs, strict=True):
            begun, losses = time.monotonic(), []
            for step, batch in enumerate(batches):
                losses.append(trainer.step(*batch))
                best = f", best {100 * state['best']:.1f} %" if state["best"] > 0 else ""
                report(epoch * steps + step, total, f"epoch {epoch + 1}/{settings.epochs}{best}")
            seconds, loss = time.monotonic() - begun, float(np.mean(losses))
            if not math.isfinite(loss):
                raise KwsError("training diverged: the loss is not finite", hint="a lower learning_rate", exit_code=1)
            with trainer.averaged():
                accuracy, cost = trainer.judge(*prepared.validation)
                lower = state["least"] is None or cost <= state["least"]
                better = {"best": accuracy, "least": cost, "best_epoch": epoch + 1} if lower else {}
                if better and replicas.chief:
                    with atomic_path(out / "model.keras") as path:
                        model.save(path)
            state.update(epoch=epoch + 1, **better)
            if journal:
                rate = trainer.learning_rate()
                journal.epoch(
                    epoch + 1,
                    loss=loss,
                    accuracy=accuracy,
                    validation_loss=cost,
                    learning_rate=rate,
                    seconds=seconds,
                    steps=len(losses),
                )
                elapsed = time.monotonic() - started + state["seconds"]
                save(out / CHECKPOINT, key, trainer, {**state, "seconds": elapsed})
            if after_epoch and not after_epoch():
                return finish(stopped=True)
    except KeyboardInterrupt:
        if state["best_epoch"]:
            finish(stopped=True)
        raise
    return finish(stopped=False)


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    target.set_weights(source.get_weights())


def _teacher(
    config: Config, data: str | Path, out: Path, made: Path, report: ProgressCallback, replicas: Replicas
) -> keras.Model:
    """The wide network of the same recipe, trained into ``out/teacher``, or read from there if it was."""
    settings = config.train
    changes: dict[str, Any] = {"width": settings.teacher_width, "epochs": settings.teacher_epochs, "teacher_width": 0.0}
    changes["base"] = ""  # of a narrower network
    wide = config.model_copy(update={"train": settings.model_copy(update=changes)})
    if config.data.extra == "synth" and not is_sharded(data):
        extra_data(config, data, made, report)
        wide = wide.model_copy(update={"data": config.data.model_copy(update={"extra": str(made / "extra")})})
    _train(wide, data, out / "teacher", lambda done, total, text: report(done, total, f"teacher, {text}"), replicas)
    path = out / "teacher" / "model.keras"
    content = replicas.from_chief(path.read_bytes() if replicas.chief else b"", "sharing the teacher")
    with tempfile.TemporaryDirectory() as folder, replicas.strategy.scope():
        copy = Path(folder) / "model.keras"  # only the chief has the file
        copy.write_bytes(content)
        model = keras.saving.load_model(copy, compile=False)
    model.trainable = False
    return model


def _ours(folder: Path) -> bool:
    """A training of before there were marks, or one whose other workers were here before the chief."""
    return (folder / CHECKPOINT).is_file() or (folder / "train.json").is_file() or _of_workers(folder)


def _of_workers(folder: Path) -> bool:
    """Whether all that is in it was made by workers but the chief (`_train`'s ``out/worker-<n>``)."""
    return all(
        path.is_dir() and (path.name.startswith("worker-") or (path.name == "teacher" and _of_workers(path)))
        for path in folder.iterdir()
        if path.name != MARK
    )


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    arguments = child.parser("Train the float network.", "data", "out").parse_args(argv)
    return child.main(
        arguments, lambda progress: train(child.config_of(arguments), arguments.data, arguments.out, progress)
    )


if __name__ == "__main__":
    sys.exit(main())
