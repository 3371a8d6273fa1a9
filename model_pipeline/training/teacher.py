"""Trains the speech embedding on a pool's examples, and writes down what it says of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model_pipeline.config import ScenesConfig
from model_pipeline.files import atomic_path
from model_pipeline.models import speech_embedding
from model_pipeline.models.load import load_network
from model_pipeline.progress import ProgressCallback
from model_pipeline.training.pool import NONE, Answer, Pool
from model_pipeline.training.trainer import schedule

_BATCH = 64
_EPOCH = 250  # steps between two backups


def teach(
    pool: Pool,
    config: ScenesConfig,
    labels: int,
    validation: tuple[NDArray[np.int16], NDArray[np.int64]],
    report: ProgressCallback,
) -> Answer:
    """Trains (or goes on after a kill), then fills ``logits.npy``. ``teacher.keras`` and its accuracy are kept.

    Args:
        validation: int16 [n, samples] and labels [n]; only to be reported.

    Returns:
        What it says of windows: int16 [n, samples] to logits [n, labels].
    """
    model = _train(pool, config, labels, validation, report)
    say = tf.function(lambda x: model(tf.cast(x, tf.float32), training=False), reduce_retracing=True, autograph=False)
    if not pool.state().get("taught"):
        heard = pool.array("heard")
        logits = pool.grow("logits", len(heard), (labels,), np.float16)
        for start in range(0, len(heard), 1000):
            report(start, len(heard), "the teacher's answers")
            logits[start : start + 1000] = _in_parts(say, heard[start : start + 1000])
        logits.flush()
        pool.note(taught=True)
    (pool.folder / "heard.npy").unlink(missing_ok=True)
    return lambda windows: _in_parts(say, speech_embedding.features(windows))


def _in_parts(say: Callable[[NDArray], tf.Tensor], heard: NDArray) -> NDArray[np.float32]:
    return np.concatenate([say(heard[i : i + 50]).numpy() for i in range(0, len(heard), 50)])


def _train(
    pool: Pool,
    config: ScenesConfig,
    labels: int,
    validation: tuple[NDArray[np.int16], NDArray[np.int64]],
    report: ProgressCallback,
) -> keras.Model:
    path = pool.folder / "teacher.keras"
    if path.exists() and "teacher" in pool.state():
        return load_network(path)
    keras.utils.set_random_seed(config.seed)
    model = speech_embedding.speech_embedding(labels, pool.array("heard").shape[1])
    batches = _Batches(pool, labels, min(_EPOCH, config.teacher_steps), config.seed)
    sounds = speech_embedding.features(validation[0]).astype(np.float32), np.eye(labels)[validation[1]]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.03)
    body = [layer for layer in model.layers if layer.name.startswith("body")]
    # Without XLA, which is several times slower for convolutions on a CPU.
    # The head alone first: what it would send back at random would harm the body.
    for layer in body:
        layer.trainable = False
    if not (pool.folder / "teacher.backup").exists():
        model.compile(keras.optimizers.AdamW(2e-3), loss, jit_compile=False)
        model.fit(batches, epochs=1, verbose=0)
    for layer in body[config.teacher_frozen :]:
        layer.trainable = True
    rate = schedule(config.teacher_learning_rate, 100, config.teacher_steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=2.0), loss, metrics=["accuracy"], jit_compile=False
    )
    epochs = max(1, config.teacher_steps // batches.num_batches)
    callbacks = [
        keras.callbacks.BackupAndRestore(str(pool.folder / "teacher.backup")),
        _Progress(batches, epochs, report),
    ]
    history = model.fit(
        batches, epochs=1 + epochs, initial_epoch=1, validation_data=sounds, verbose=0, callbacks=callbacks
    )
    with atomic_path(path) as temporary:
        model.save(temporary)
    accuracy = history.history.get("val_accuracy", [0.0])[-1]
    pool.note(teacher={"source": speech_embedding.source(), "validation_accuracy": round(float(accuracy), 5)})
    return model


class _Batches(keras.utils.PyDataset):
    """Random examples with a hard label; the same ones for the same epoch."""

    def __init__(self, pool: Pool, labels: int, steps: int, seed: int) -> None:
        super().__init__()
        self._num_batches, self.seed, self.epoch = steps, seed, 0
        self.heard, self.hard = pool.array("heard"), pool.array("labels")
        self.index, self.one_hot = np.flatnonzero(self.hard != NONE), np.eye(labels, dtype=np.float32)

    @property
    def num_batches(self) -> int:
        return self._num_batches

    def __getitem__(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([self.seed, self.epoch, step])
        rows = np.sort(rng.choice(self.index, min(_BATCH, len(self.index)), replace=False))
        return self.heard[rows].astype(np.float32), self.one_hot[self.hard[rows]]


class _Progress(keras.callbacks.Callback):
    def __init__(self, batches: _Batches, epochs: int, report: ProgressCallback) -> None:
        super().__init__()
        self.batches, self.total, self.report, self.best = batches, epochs * batches.num_batches, report, ""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.batches.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        done = (self.batches.epoch - 1) * self.batches.num_batches + batch
        self.report(done, self.total, f"teacher{self.best}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if logs:
            self.best = f", validation {100 * logs['val_accuracy']:.1f} %"
