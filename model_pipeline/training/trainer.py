"""One step of training, the moving average of the weights, and the schedule of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from model_pipeline.training.distribute import Replicas


class AdamW(keras.optimizers.AdamW):
    """AdamW for gradients that are already the mean over all replicas: they must be before they are clipped, and
    Keras sums them only after that."""

    def _all_reduce_sum_gradients(
        self, grads_and_vars: list[tuple[tf.Tensor, tf.Variable]]
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        return grads_and_vars


@dataclass(frozen=True)
class Method:
    """How a network learns.

    Attributes:
        learning_rate: a number or a schedule of Keras.
        average: how much of the moving average of the weights stays in a step; 0: there is none.
        balance: float32 [labels], what the labels' shares of the examples add to logits; taken out of what is learnt.
        stays: how much of the weights that it began with there is in the `Trainer.averaged` ones, from 0 to 1.
    """

    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    average: float = 0.0
    balance: np.ndarray | None = None
    stays: float = 0.0


@dataclass(frozen=True)
class Teaching:
    """How much of the loss is a teacher's answers, and how soft they are made. ``network``: it is asked anew in each
    step; None: batches that were taught bring its logits along."""

    share: float = 0.0
    temperature: float = 1.0
    network: keras.Model | None = None


class Trainer:
    """One model, its optimizer and the moving average of its weights, on all replicas.

    The model must have been built in the strategy's scope.
    """

    def __init__(
        self,
        model: keras.Model,
        scale: float,
        method: Method,
        teaching: Teaching | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        """
        Args:
            scale: of the int8 input, whose zero point is -128.
        """
        self.model, self.scale, self.method, self.teaching = model, scale, method, teaching or Teaching()
        self.replicas = replicas or Replicas(tf.distribute.get_strategy())
        self.labels = model.output_shape[-1]
        self.balance = np.zeros(self.labels, np.float32) if method.balance is None else method.balance
        with self.replicas.strategy.scope():
            self.optimizer = AdamW(method.learning_rate, weight_decay=method.weight_decay, clipnorm=5.0)
            self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            self.optimizer.build(model.trainable_variables)
            self.average_weights = [tf.Variable(np.asarray(w), trainable=False) for w in model.weights]
            self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.begun = [np.asarray(w) for w in model.weights]
        for layer in model.layers if self.replicas.count > 1 else ():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        # Nothing in them depends on a tensor's value; and a killed process would leave AutoGraph's files in /tmp.
        self._step = tf.function(self._step_of_all, reduce_retracing=True, autograph=False)
        self._predict = tf.function(
            lambda x: model(self._real(x), training=False), reduce_retracing=True, autograph=False
        )

    def _real(self, x: tf.Tensor) -> tf.Tensor:
        # What the int8 values stand for, so that training sees exactly what the firmware will.
        return ((tf.cast(x, tf.float32) + 128.0) * self.scale)[..., None]

    def _step_of_all(self, *batch: tf.Tensor) -> tf.Tensor:
        strategy = self.replicas.strategy
        losses = strategy.run(self._train_step, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    def _train_step(self, x: tf.Tensor, y: tf.Tensor, teacher_logits: tf.Tensor) -> tf.Tensor:
        real = self._real(x)
        with tf.GradientTape() as tape:
            logits = self.model(real, training=True)
            loss = tf.reduce_mean(self._loss(y, logits + self.balance))
            teaching = self.teaching
            if teaching.network is not None:
                # It was trained by the same method, so the labels' shares are out of its answers; others' have them.
                teacher_logits = teaching.network(real, training=False) + self.balance
            if teacher_logits.shape[-1]:
                # Hinton and others, arXiv:1503.02531; the square keeps the gradients' size.
                soft = tf.nn.softmax((teacher_logits - self.balance) / teaching.temperature)
                apart = tf.nn.softmax_cross_entropy_with_logits(soft, logits / teaching.temperature)
                imitation = teaching.temperature**2 * tf.reduce_mean(apart)
                loss = (1.0 - teaching.share) * loss + teaching.share * imitation
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        context = tf.distribute.get_replica_context()
        self.optimizer.apply(context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients), variables)
        if self.method.average:
            self.steps.assign_add(1)
            # A short memory at first, so that the start is soon forgotten.
            count = tf.cast(self.steps, tf.float32)
            keep = tf.minimum(self.method.average, (1.0 + count) / (10.0 + count))
            for mean, weight in zip(self.average_weights, self.model.weights, strict=True):
                mean.assign(keep * mean + (1.0 - keep) * weight.value)
        return loss

    def _loss(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Cross entropy [n] with smoothed labels; 0 where there is no label (-1)."""
        smoothing = self.method.label_smoothing
        smoothed = tf.one_hot(y, self.labels) * (1.0 - smoothing) + smoothing / self.labels
        return tf.where(y >= 0, tf.nn.softmax_cross_entropy_with_logits(smoothed, logits), 0.0)

    def step(self, x: np.ndarray, y: np.ndarray, teacher_logits: np.ndarray | None = None) -> float:
        """One step on int8 [n, frames, channels], int [n] (-1: no label), and float32 [n, labels] or [n, 0], the
        logits of a teacher that are known already: the batch of all replicas. Returns its loss.

        Raises:
            KwsError: another worker went away.
        """
        teacher_logits = np.zeros((len(y), 0), np.float32) if teacher_logits is None else teacher_logits
        with self.replicas.waiting("a training step"):
            return float(self._step(*(self.replicas.split(array) for array in (x, y, teacher_logits))))

    def averaged(self) -> _Averaged:
        """A block in which the model holds the averaged weights, with what stays of those it began with."""
        return _Averaged(self)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, labels] for int8 [n, frames, channels]."""
        parts = [self._predict(tf.constant(x[i : i + 500])).numpy() for i in range(0, len(x), 500)]
        return np.concatenate(parts) if parts else np.zeros((0, self.labels), np.float32)

    def judge(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """The share of right answers and the mean cross entropy, 0 both without clips."""
        if not len(y):
            return 0.0, 0.0
        logits = self.logits(x)
        said = log_softmax(logits, axis=1)[np.arange(len(y)), y]
        return float(np.mean(logits.argmax(1) == y)), float(-said.mean())

    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(np.asarray(self.optimizer.learning_rate))

    def variables(self) -> list[tf.Variable | keras.Variable]:
        """All that a checkpoint must hold."""
        # A model's variables are its weights and the states of its random generators.
        return [*self.model.variables, *self.optimizer.variables, *self.average_weights, self.steps]


class _Averaged:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        trainer, stays = self.trainer, self.trainer.method.stays
        self.kept = [np.asarray(w) for w in trainer.model.weights]
        learnt = [np.asarray(w) for w in trainer.average_weights] if trainer.method.average else self.kept
        for weight, begun, value in zip(trainer.model.weights, trainer.begun, learnt, strict=True):
            weight.assign(stays * begun + (1.0 - stays) * value if stays else value)

    def __exit__(self, *_: object) -> None:
        for weight, value in zip(self.trainer.model.weights, self.kept, strict=True):
            weight.assign(value)


@keras.saving.register_keras_serializable("micro_kws")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly over ``warmup`` steps, then falls along half a cosine to 1 % at ``total``."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rise = (step + 1.0) / max(1, self.warmup)
        done = tf.clip_by_value((step - self.warmup) / max(1, self.total - self.warmup), 0.0, 1.0)
        return self.peak * tf.minimum(rise, 0.01 + 0.99 * 0.5 * (1.0 + tf.cos(math.pi * done)))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def schedule(peak: float, warmup: int, total: int) -> WarmCosine:
    """The learning rate of a training of ``total`` steps."""
    return WarmCosine(peak, min(warmup, total // 4), total)
