"""Trains large networks that have heard much speech on a pool's examples, and writes down what they say of each.

Of several, the answer is the mean of their probabilities: a network that knows more is surer too, and one that is less
sure shows the small one what sounds alike.
"""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from model_pipeline.config import ScenesConfig
from model_pipeline.files import atomic_path
from model_pipeline.training.pool import NONE, Answer, Pool, Report
from model_pipeline.training.trainer import schedule

_BATCH = 64
_EPOCH = 250  # steps between two backups


def heard_by(name: str) -> Any:
    """A teacher's module: FRAMES, BANDS, STEPS, LEARNING_RATE, SOFTNESS, ``features``, ``network`` and ``source``."""
    return importlib.import_module(f"model_pipeline.models.{name}")


def kept(name: str) -> str:
    """The array of a pool with what a teacher hears."""
    return f"heard_{name}"


def teach(
    pool: Pool,
    config: ScenesConfig,
    labels: int,
    validation: tuple[NDArray[np.int16], NDArray[np.int64]],
    report: Report,
) -> Answer:
    """Trains each of ``config.teachers`` (or goes on after a kill), then fills ``logits.npy``.

    ``teacher_<name>.keras`` and accuracies are kept.

    Args:
        validation: int16 [n, 16000] and labels [n]; only to be reported.

    Returns:
        What they say of windows: int16 [n, 16000] to logits [n, labels].
    """
    says = {name: _ready(_train(pool, name, config, labels, validation, report), name) for name in config.teachers}

    def answer(windows: NDArray[np.int16]) -> NDArray[np.float32]:
        return together([_in_parts(say, heard_by(name).features(windows)) for name, say in says.items()])

    if "teacher" not in pool.state():
        right = np.mean(answer(validation[0]).argmax(1) == validation[1])
        source = " and ".join(heard_by(name).source() for name in says)
        pool.note(teacher={"source": source, "validation_accuracy": round(float(right), 5)})
    if not pool.state().get("taught"):
        heard = {name: pool.array(kept(name)) for name in says}
        count = len(pool.array("labels"))
        logits = pool.grow("logits", count, (labels,), np.float16)
        for start in range(0, count, 1000):
            report(start, count, "the teachers' answers")
            rows = slice(start, start + 1000)
            logits[rows] = together([_in_parts(say, heard[name][rows]) for name, say in says.items()])
        logits.flush()
        pool.note(taught=True)
    for name in says:
        (pool.folder / f"{kept(name)}.npy").unlink(missing_ok=True)
    return answer


def together(logits: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logarithm of the mean of the probabilities that logits [n, labels] each stand for."""
    return np.asarray(logsumexp([log_softmax(some, axis=1) for some in logits], axis=0), np.float32) - np.float32(
        np.log(len(logits))
    )


def _ready(model: keras.Model, name: str) -> Any:
    softness = heard_by(name).SOFTNESS
    return tf.function(
        lambda x: model(tf.cast(x, tf.float32), training=False) / softness, reduce_retracing=True, autograph=False
    )


def _in_parts(say: Any, heard: NDArray) -> NDArray[np.float32]:
    return np.concatenate([say(heard[i : i + 50]).numpy() for i in range(0, len(heard), 50)])


def _train(
    pool: Pool,
    name: str,
    config: ScenesConfig,
    labels: int,
    validation: tuple[NDArray[np.int16], NDArray[np.int64]],
    report: Report,
) -> keras.Model:
    path, backup = pool.folder / f"teacher_{name}.keras", pool.folder / f"teacher_{name}.backup"
    module = heard_by(name)  # also makes its layers known
    if path.exists() and name in pool.state().get("teachers", {}):
        return keras.saving.load_model(path, compile=False)
    steps = config.teacher_steps or module.STEPS
    keras.utils.set_random_seed(config.seed)
    model = module.network(labels)
    batches = _Batches(pool, name, labels, min(_EPOCH, steps), config.seed)
    sounds = module.features(validation[0]).astype(np.float32), np.eye(labels)[validation[1]]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.03)
    body = [layer for layer in model.layers if layer.name.startswith("body")]
    # Without XLA, which is several times slower for convolutions on a CPU.
    # The head alone first: what it would send back at random would harm the body.
    for layer in body:
        layer.trainable = False
    if not backup.exists():
        model.compile(keras.optimizers.AdamW(2e-3), loss, jit_compile=False)
        model.fit(batches, epochs=1, verbose=0)
    for layer in body:
        layer.trainable = True
    rate = schedule(config.teacher_learning_rate or module.LEARNING_RATE, 100, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=2.0), loss, metrics=["accuracy"], jit_compile=False
    )
    epochs = max(1, steps // batches.num_batches)
    callbacks = [
        keras.callbacks.BackupAndRestore(str(backup)),
        _Progress(batches, epochs, name.replace("_", " "), report),
    ]
    history = model.fit(
        batches, epochs=1 + epochs, initial_epoch=1, validation_data=sounds, verbose=0, callbacks=callbacks
    )
    with atomic_path(path) as temporary:
        model.save(temporary)
    accuracy = history.history.get("val_accuracy", [0.0])[-1]
    pool.note(teachers={**pool.state().get("teachers", {}), name: {"validation_accuracy": round(float(accuracy), 5)}})
    return model


class _Batches(keras.utils.PyDataset):
    """Random examples with a hard label; the same ones for the same epoch."""

    def __init__(self, pool: Pool, name: str, labels: int, steps: int, seed: int) -> None:
        super().__init__()
        self._num_batches, self.seed, self.epoch = steps, seed, 0
        self.heard, self.hard = pool.array(kept(name)), pool.array("labels")
        self.index, self.one_hot = np.flatnonzero(self.hard != NONE), np.eye(labels, dtype=np.float32)

    @property
    def num_batches(self) -> int:
        return self._num_batches

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        rng = np.random.default_rng([self.seed, self.epoch, step])
        rows = np.sort(rng.choice(self.index, min(_BATCH, len(self.index)), replace=False))
        return self.heard[rows].astype(np.float32), self.one_hot[self.hard[rows]]


class _Progress(keras.callbacks.Callback):
    def __init__(self, batches: _Batches, epochs: int, name: str, report: Report) -> None:
        super().__init__()
        self.batches, self.total, self.report = batches, epochs * batches.num_batches, report
        self.name, self.best = f"teacher {name}", ""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = (self.batches.epoch - 1) * self.batches.num_batches + batch
        self.report(done, self.total, self.name + self.best)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.best = f", validation {100 * logs['val_accuracy']:.1f} %"
