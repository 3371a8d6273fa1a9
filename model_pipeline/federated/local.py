"""What a client does in a round, and what the server judges by: the recipe's network and gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.manifest import input_scale
from model_pipeline.models import network_of
from model_pipeline.models.base import begin_with, path_of
from model_pipeline.models.load import load_network
from model_pipeline.training.trainer import Method, Trainer

Examples = tuple[np.ndarray, np.ndarray]  # int8 [n, frames, channels] and labels [n]
_LONGEST_GRADIENT = 5.0  # as in `kws train`


@dataclass(frozen=True)
class Learnt:
    """A client's round: the shared weights at its end; how many examples it heard; mean loss and share of
    right answers while it learnt."""

    weights: list[NDArray[np.float32]]
    examples: int
    loss: float
    accuracy: float


class Learner:
    """One network that stands for any client, or for the server's.

    Attributes:
        shared: names of the weights that travel, in order: all, or the last layer's alone.
        statistics: which of them are what normalisation has seen: no gradients move them, so no optimiser may either.
        variances: those of them that may not fall below 0.
        head: the last layer with weights; ``scale``: of the int8 input.
    """

    def __init__(self, config: Config) -> None:
        """
        Raises:
            KwsError: what it is to begin with has another shape.
        """
        self.config, self.settings = config, config.federate
        keras.utils.set_random_seed(self.settings.seed)
        self.frames = config.frames
        self.model, self.net = network_of(config, "float", self.frames)
        self._begin()
        self.head = [layer for layer in self.model.layers if layer.weights][-1]
        learns = self.head if self.settings.head_only else self.model
        self._shared, self._trained = list(learns.weights), list(learns.trainable_weights)
        self.shared = [weight.path for weight in self._shared]
        learnt = {id(weight) for weight in self._trained}
        self.statistics = [i for i, weight in enumerate(self._shared) if id(weight) not in learnt]
        self.variances = [i for i, name in enumerate(self.shared) if name.endswith("moving_variance")]
        # What a client's momentum has gathered; none is needed without.
        self._moving = [tf.Variable(tf.zeros_like(w.value), trainable=False) for w in self._trained]
        self._anchor = [tf.Variable(np.asarray(w), trainable=False) for w in self._trained]
        self.scale = input_scale(config.frontend)
        known = {id(weight) for weight in self.model.weights}
        self._generators = [variable for variable in self.model.variables if id(variable) not in known]
        self._step = tf.function(self._train_step, reduce_retracing=True, autograph=False)
        self._judge = Trainer(self.model, self.scale, Method(1e-3))

    def _begin(self) -> None:
        begin, base = self.settings.begin, self.config.train.base
        if begin:
            before = load_network(Path(begin) / "model.keras", hint="kws train makes one")
            if [w.shape for w in before.weights] != [w.shape for w in self.model.weights]:
                raise KwsError(f"the network in {begin} has another shape", hint="the recipe that it was trained with")
            self.model.set_weights(before.get_weights())
        elif base:
            begin_with(path_of(base), self.model)

    def weights(self) -> list[NDArray[np.float32]]:
        """The shared weights."""
        return [np.asarray(w).copy() for w in self._shared]

    def put(self, weights: Sequence[NDArray]) -> None:
        """Takes shared weights."""
        for variable, value in zip(self._shared, weights, strict=True):
            variable.assign(value)

    def learn(
        self, start: Sequence[NDArray], examples: Examples, seed: Sequence[int], rate: float, proximal: float = 0.0
    ) -> Learnt:
        """A client's round from the server's weights ``start``.

        Args:
            examples: what the client hears in this round, in each of its epochs in another order.
            seed: of the order of examples and of dropout.
            rate: of its gradient descent.
            proximal: weight of the distance from ``start`` (FedProx; Li and others, arXiv:1812.06127).
        """
        self.put(start)
        for anchor, weight in zip(self._anchor, self._trained, strict=True):
            anchor.assign(weight.value)
        if self.settings.client_momentum:
            for velocity in self._moving:
                velocity.assign(tf.zeros_like(velocity))
        rng = np.random.default_rng(list(seed))
        for generator in self._generators:
            generator.assign(rng.integers(0, 2**31, generator.shape).astype(np.uint32))
        (x, y), losses, right, heard = examples, list[float](), 0, 0
        for _ in range(self.settings.epochs):
            order = rng.permutation(len(y))
            parts = max(1, -(-len(y) // self.settings.batch))
            for index in np.array_split(order, parts):
                if not len(index):
                    continue
                numbers = tf.constant(rate, tf.float32), tf.constant(proximal, tf.float32)
                loss, correct = self._step(tf.constant(x[index]), tf.constant(y[index]), *numbers)
                losses.append(float(loss))
                right += int(correct)
                heard += len(index)
        mean = float(np.mean(losses)) if losses else 0.0
        return Learnt(self.weights(), len(y), mean, right / max(1, heard))

    def _train_step(
        self, x: tf.Tensor, y: tf.Tensor, rate: tf.Tensor, proximal: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        real = ((tf.cast(x, tf.float32) + 128.0) * self.scale)[..., None]
        smoothing, labels = self.config.train.label_smoothing, len(self.config.labels)
        wanted = tf.one_hot(y, labels) * (1.0 - smoothing) + smoothing / labels
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for weight in self._trained:
                tape.watch(weight.value)
            # A head learns on the network as it will run: without dropout, with the statistics of before.
            logits = self.model(real, training=not self.settings.head_only)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, logits))
            whole = loss
            if self.settings.strategy == "fedprox":
                apart = [
                    tf.reduce_sum(tf.square(w.value - a)) for w, a in zip(self._trained, self._anchor, strict=True)
                ]
                whole = loss + proximal / 2.0 * tf.add_n(apart)
        gradients = tape.gradient(whole, [w.value for w in self._trained])
        gradients, _ = tf.clip_by_global_norm(gradients, _LONGEST_GRADIENT)
        momentum = self.settings.client_momentum
        for weight, velocity, gradient in zip(self._trained, self._moving, gradients, strict=True):
            move = velocity.assign(momentum * velocity + gradient) if momentum else gradient
            weight.value.assign_sub(rate * move)
        return loss, tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == y, tf.int32))

    def judge(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Share of right answers and mean cross entropy on int8 [n, frames, channels] and labels [n]."""
        return self._judge.judge(x, y)
