"""Trains the float network: ``model.keras``, ``train.json`` and ``log.csv`` in a folder.

    python -m model_pipeline.train --config default --data DIR --out DIR

Training goes on from ``checkpoint.npz`` after a kill at any moment, and Ctrl-C keeps the best model so far.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
import numpy as np

from model_pipeline import record
from model_pipeline.config import Config
from model_pipeline.data.doubts import warnings
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, held, sha256_file, write_json
from model_pipeline.folders import MARK, claim_dir
from model_pipeline.manifest import input_scale
from model_pipeline.models import network_of
from model_pipeline.models.base import begin_with, path_of
from model_pipeline.models.load import load_network
from model_pipeline.outcomes import Trained
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.training.checkpoint import State, recipe_key, resume, save
from model_pipeline.training.distribute import Replicas, open_replicas
from model_pipeline.training.examples import hard_pool, more_pool
from model_pipeline.training.index import is_sharded
from model_pipeline.training.journal import Epoch, Journal
from model_pipeline.training.pool import Pool
from model_pipeline.training.prepare import Prepared, prepare
from model_pipeline.training.sources import extra_data
from model_pipeline.training.trainer import Method, Teaching, Trainer, schedule

CHECKPOINT = "checkpoint.npz"
_FOLDERS = (
    "tensorboard",
    "teacher",
    "extra",
    "pool",
    "talk",
    "more",
    "round[0-9]",
    "hard[0-9]",
)  # worker-<n> is another process's, with a mark of its own
_MADE = ("model.keras", "train.json", record.RECORD, "log.csv", CHECKPOINT, *(f"{folder}/**" for folder in _FOLDERS))


def train(
    config: Config,
    data: str | Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    prepared: Prepared | None = None,
    begin: Callable[[keras.Model], object] | None = None,
    after_epoch: Callable[[], bool] | None = None,
    teacher: keras.Model | None = None,
) -> Trained:
    """Trains by ``config`` on ``data``; the weights with the least loss on the validation clips are kept. (Accuracy
    stands long before the loss does: the first epoch that has a clip more right may be far from the best.)

    Of several workers (``config.devices.strategy``) only the chief writes to ``out``; the others keep what they need
    for themselves in ``out/worker-<n>``.

    Args:
        prepared: the data, where it is already read.
        begin: gives the new network the weights to begin with.
        after_epoch: is called when an epoch is written to ``out``; False ends the training there.
        teacher: a trained network whose answers are learnt, instead of one that the recipe asks for.

    Returns:
        What is in ``train.json``.

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
    training = _Training(config, data, out, progress or silent, replicas)
    if not (config.mine.rounds and config.scenes.examples) or prepared:
        return training.run(prepared, begin, after_epoch, teacher)
    return _rounds(training)


def _rounds(whole: _Training) -> Trained:
    """Trains, and then on with what the network falls for, ``config.mine.rounds`` times, and once more with
    ``config.mine.more``. Earlier rounds are kept in ``out/round<n>``."""
    config, data, out = whole.config, whole.data, whole.out
    c = config.mine
    claim_dir(out, "kws train", _MADE, sources=[data], ours=_ours)  # before the first round puts its examples there
    pools: list[Pool] = []
    last = c.rounds + bool(c.more.examples)
    for number in range(last + 1):
        place = out if number == last else out / f"round{number}"

        def say(done: int, total: int, text: str, number: int = number) -> None:
            whole.report(done, total, f"round {number}, {text}" if number else text)

        one = dataclasses.replace(whole, out=place, report=say)
        if number == 0:
            if c.begin:
                few = min(c.begin, config.scenes.examples)
                one.config = config.model_copy(update={"scenes": config.scenes.model_copy(update={"examples": few})})
            # What is made for the first round is what the others need too.
            result = one.run(prepare(one.config, data, out, say))
            continue
        before = load_network(out / f"round{number - 1}" / "model.keras")
        epochs, rate = c.epochs[min(number, len(c.epochs)) - 1], c.learning_rate
        if number > c.rounds:
            pools.append(more_pool(config, data, out, say))
            epochs, rate = c.more.epochs, c.more.learning_rate
        else:
            predict = Trainer(before, input_scale(config.frontend), Method(1e-3), replicas=whole.replicas).logits
            pools.append(hard_pool(config, data, out, number, predict, say))
        changes = {"epochs": epochs, "learning_rate": rate, "warmup_epochs": 0}
        one.config = config.model_copy(update={"train": config.train.model_copy(update=changes)})
        result = one.run(prepare(one.config, data, out, say, pools), functools.partial(_copy_weights, before))
    return result


@dataclass
class _Training:
    """One network's: by ``config`` on ``data`` into ``out``."""

    config: Config
    data: str | Path
    out: Path
    report: ProgressCallback
    replicas: Replicas

    def run(
        self,
        prepared: Prepared | None = None,
        begin: Callable[[keras.Model], object] | None = None,
        after_epoch: Callable[[], bool] | None = None,
        teacher: keras.Model | None = None,
    ) -> Trained:
        """See `train`."""
        self.replicas.check_batch(self.config.train.batch)
        made = self.out if self.replicas.chief else self.out / f"worker-{self.replicas.worker}"
        claim_dir(made, "kws train", _MADE, sources=[self.data], ours=_ours)
        # A killed kws tells its training to end, which then writes the best so far: not while the next one is at work.
        with held(made, self.report):
            return self._run(made, prepared, begin, after_epoch, teacher)

    def _run(
        self,
        made: Path,
        prepared: Prepared | None,
        begin: Callable[[keras.Model], object] | None,
        after_epoch: Callable[[], bool] | None,
        teacher: keras.Model | None,
    ) -> Trained:
        started = time.monotonic()
        config, out, replicas = self.config, self.out, self.replicas
        if teacher is None and config.train.teacher_width:
            teacher = _teacher(self, made)
        keras.utils.set_random_seed(config.train.seed)
        prepared = prepared or prepare(config, self.data, made, self.report)
        trainer, macs = self._trainer(prepared, teacher, begin)
        key = recipe_key(config, prepared)
        state = resume(out / CHECKPOINT, key, trainer, replicas)
        journal = Journal(out, state.log) if replicas.chief else None
        first = state.epoch

        def spent() -> float:
            return time.monotonic() - started + state.seconds

        def finish(stopped: bool) -> Trained:
            result = Trained(
                architecture=config.train.architecture,
                parameters=int(sum(np.prod(w.shape) for w in trainer.model.trainable_weights)),
                macs=macs,
                frames=prepared.frames,
                labels=config.labels,
                data_hash=prepared.dataset.content_hash(),
                extra_hash=prepared.extra.content_hash() if prepared.extra else "",
                data_folder=str(self.data),
                resumed_at=first,
                replicas=replicas.count,
                warnings=warnings(prepared.dataset.speech, config.labels, prepared.dataset.lists),
                key=key,
                best_epoch=state.best_epoch,
                validation_accuracy=state.best,
                validation_clips=len(prepared.validation[1]),
                validation_loss=state.least,
                epochs=state.epoch,
                stopped=stopped,
                seconds=round(spent(), 1),
                model_sha256=sha256_file(out / "model.keras") if replicas.chief else "",
            )
            if replicas.chief:
                write_json(out / "train.json", result.model_dump(mode="json"))
                record.write(_record(config, result), out)
            return result

        try:
            epochs = prepared.stream.epochs(first, config.train.epochs)
            for number, batches in zip(range(first, config.train.epochs), epochs, strict=True):
                epoch = self._epoch(number, batches, trainer, prepared, state)
                if journal:
                    journal.add(epoch)
                    save(out / CHECKPOINT, key, trainer, dataclasses.replace(state, seconds=spent()))
                if after_epoch and not after_epoch():
                    return finish(stopped=True)
        except KeyboardInterrupt:
            if state.best_epoch:
                finish(stopped=True)
            raise
        return finish(stopped=False)

    def _trainer(
        self,
        prepared: Prepared,
        teacher: keras.Model | None,
        begin: Callable[[keras.Model], object] | None,
    ) -> tuple[Trainer, int]:
        """The new network as it begins, and its multiply-accumulates."""
        c, stays = self.config.train, 0.0
        with self.replicas.strategy.scope():
            model, net = network_of(self.config, "float", prepared.frames)
            if begin:
                begin(model)
            elif c.base:
                begin_with(path_of(c.base), model, prepared.head)
                stays = c.base_share
        steps = self._steps(prepared)
        method = Method(
            schedule(c.learning_rate, c.warmup_epochs * steps, c.epochs * steps),
            c.weight_decay,
            c.label_smoothing,
            c.average,
            prepared.shares(c.balance),
            stays,
        )
        teaching = Teaching(c.teacher_share, c.temperature, teacher)
        return Trainer(model, input_scale(self.config.frontend), method, teaching, self.replicas), net.macs

    def _steps(self, prepared: Prepared) -> int:
        return max(1, prepared.stream.clips // self.config.train.batch)

    def _epoch(self, number: int, batches: Iterator[Any], trainer: Trainer, prepared: Prepared, state: State) -> Epoch:
        """Trains epoch ``number``, from 0, and keeps the network if it is the best so far; ``state`` knows."""
        settings, steps = self.config.train, self._steps(prepared)
        begun, losses = time.monotonic(), []
        for step, batch in enumerate(batches):
            losses.append(trainer.step(*batch))
            best = f", best {100 * state.best:.1f} %" if state.best > 0 else ""
            self.report(number * steps + step, settings.epochs * steps, f"epoch {number + 1}/{settings.epochs}{best}")
        seconds, loss = time.monotonic() - begun, float(np.mean(losses))
        if not math.isfinite(loss):
            raise KwsError("training diverged: the loss is not finite", hint="a lower learning_rate", exit_code=1)
        with trainer.averaged():
            accuracy, cost = trainer.judge(*prepared.validation)
            if state.least is None or cost <= state.least:
                state.best, state.least, state.best_epoch = accuracy, cost, number + 1
                if self.replicas.chief:
                    with atomic_path(self.out / "model.keras") as path:
                        trainer.model.save(path)
        state.epoch = number + 1
        return Epoch(number + 1, loss, accuracy, cost, trainer.learning_rate(), seconds, len(losses))


def _record(config: Config, result: Trained) -> record.Record:
    return record.new(
        "training",
        config.name,
        config.model_dump(mode="json"),
        {
            "validation_accuracy": record.Figure.of_accuracy(result.validation_accuracy, result.validation_clips),
            **record.exactly(
                loss=result.validation_loss,
                macs=result.macs,
                parameters=result.parameters,
                epochs=result.epochs,
                seconds=result.seconds,
            ),
        },
        seconds=result.seconds,
        data_hash=result.data_hash,
        model_hash=result.model_sha256[:16],
        whole=not result.stopped,
    )


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    target.set_weights(source.get_weights())


def _teacher(training: _Training, made: Path) -> keras.Model:
    """The wide network of the same recipe, trained into ``out/teacher``, or read from there if it was."""
    config, data, replicas = training.config, training.data, training.replicas
    settings = config.train
    changes: dict[str, Any] = {"width": settings.teacher_width, "epochs": settings.teacher_epochs, "teacher_width": 0.0}
    changes["base"] = ""  # of a narrower network
    wide = config.model_copy(update={"train": settings.model_copy(update=changes)})
    if config.data.extra == "synth" and not is_sharded(data):
        extra_data(config, data, made, training.report)
        wide = wide.model_copy(update={"data": config.data.model_copy(update={"extra": str(made / "extra")})})

    def say(done: int, total: int, text: str) -> None:
        training.report(done, total, f"teacher, {text}")

    folder = training.out / "teacher"
    dataclasses.replace(training, config=wide, out=folder, report=say).run()
    path = folder / "model.keras"
    content = replicas.from_chief(path.read_bytes() if replicas.chief else b"", "sharing the teacher")
    with tempfile.TemporaryDirectory() as temporary, replicas.strategy.scope():
        copy = Path(temporary) / "model.keras"  # only the chief has the file
        copy.write_bytes(content)
        model = load_network(copy)
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
