"""Training on several devices or machines by `tf.distribute`: the same losses as on one, up to rounding.

Each replica takes its part of every batch; gradients and the statistics of batch normalisation are averaged over all
of them, so every replica holds the same weights at any time. Of several workers only the chief writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import tensorflow as tf

from model_pipeline import child
from model_pipeline.config import DevicesConfig
from model_pipeline.errors import KwsError
from model_pipeline.training.watchdog import Watchdog

_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'"""
)


class Replicas:
    """The devices that a training runs on, here and on other machines."""

    def __init__(self, strategy: tf.distribute.Strategy, worker: int = 0, watchdog: Watchdog | None = None) -> None:
        """
        Args:
            worker: which worker this process is; 0 is the chief.
            watchdog: limits what waits for other workers; None: there are none.
        """
        self.strategy, self.worker, self.watchdog = strategy, worker, watchdog
        self.count: int = strategy.num_replicas_in_sync

    @property
    def workers(self) -> bool:
        """Whether there are other workers."""
        return self.watchdog is not None

    @property
    def chief(self) -> bool:
        """Whether this process writes the results."""
        return self.worker == 0

    def check_batch(self, batch: int) -> None:
        """
        Raises:
            KwsError: a batch has no equal part for each replica.
        """
        if batch % self.count:
            raise KwsError(
                f"a batch of {batch} can't be shared out evenly over {self.count} devices",
                hint=f"--set train.batch={-(-batch // self.count) * self.count}",
            )

    def split(self, array: np.ndarray) -> tf.Tensor | tf.distribute.DistributedValues:
        """The array's equal parts, one for each replica, for `tf.distribute.Strategy.run`. Rows that are left over in
        a last, short batch are dropped."""
        if self.count == 1:
            return tf.constant(array)
        size = len(array) // self.count
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[context.replica_id_in_sync_group * size :][:size])
        )

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A block that waits for the other workers; nothing special where there are none.

        Raises:
            KwsError: one of them went away. Where TensorFlow itself would wait for ever, the process says so and
                ends when the deadline is over.
        """
        if not self.watchdog:
            yield
            return
        with _limit(self.watchdog, what):
            try:
                yield
            except tf.errors.OpError as error:
                raise _gone(f"{what}: {str(error.message).strip().splitlines()[-1][:160]}") from error

    def from_chief(self, data: bytes, what: str) -> bytes:
        """The chief's ``data``, on every worker (each must call it)."""
        if not self.workers:
            return data
        with self.waiting(what):
            length = int(self._sum(np.array([len(data)]))[0])
            if not length:  # TensorFlow 2.21 crashes on an empty collective
                return b""
            mine = np.frombuffer(data, np.uint8) if self.chief else np.zeros(length)
            return self._sum(mine).astype(np.uint8).tobytes()

    def _sum(self, chiefs: np.ndarray) -> np.ndarray:
        """int32 [n] of the chief: the sum over all replicas, where all others give zeros."""
        zeros = np.zeros(len(chiefs), np.int32)
        values = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(zeros if context.replica_id_in_sync_group else chiefs.astype(np.int32))
        )
        return np.asarray(self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))


def open_replicas(settings: DevicesConfig) -> Replicas:
    """The devices that ``settings.strategy`` names. To be called before anything else of TensorFlow runs.

    Raises:
        KwsError: fewer devices than wanted, or no usable ``TF_CONFIG`` for several workers.
    """
    workers = _workers()
    if settings.strategy == "multiworker" or (settings.strategy == "auto" and workers is not None and workers[1] > 1):
        if workers is None:
            raise KwsError("--strategy multiworker needs TF_CONFIG", hint=_EXAMPLE)
        watchdog = Watchdog(settings.worker_deadline_s)
        with _limit(watchdog, "waiting for all workers to start"):
            try:
                strategy = tf.distribute.MultiWorkerMirroredStrategy()
            except (tf.errors.OpError, ValueError, RuntimeError) as error:
                raise KwsError(f"the workers of TF_CONFIG can't be joined: {error}", hint=_EXAMPLE) from error
        return Replicas(strategy, workers[0], watchdog)
    found = tf.config.list_physical_devices("GPU")
    wanted = settings.replicas or max(1, len(found))
    if wanted == 1:
        return Replicas(tf.distribute.get_strategy())
    if found and wanted > len(found):
        raise KwsError(f"devices.replicas={wanted}, but there are {len(found)} GPUs")
    if not found:
        # One CPU as several devices: slower than one, but the way to try it out.
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
        except RuntimeError as error:  # TensorFlow runs already
            raise KwsError(f"devices.replicas={wanted} can't be set up: {error}", hint="begin a new process") from error
    devices = tf.config.list_logical_devices("GPU" if found else "CPU")[:wanted]
    return Replicas(tf.distribute.MirroredStrategy([device.name for device in devices]))


def _workers() -> tuple[int, int] | None:
    """This worker's number and how many there are, from ``TF_CONFIG``; None without it."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
        number = int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or chiefs > 1 or not 0 <= number < chiefs + workers:
            raise ValueError("the task is not a worker of the cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KwsError(f"TF_CONFIG is broken: {error}", hint=_EXAMPLE) from error
    return number, chiefs + workers


def _gone(detail: str) -> KwsError:
    return KwsError(
        f"another worker went away or never came ({detail})",
        hint="start all workers again: training goes on from its last whole epoch",
        exit_code=1,
    )


def _limit(watchdog: Watchdog, what: str) -> AbstractContextManager[None]:
    # TensorFlow's collectives can wait for ever in C++ (they do when the chief is killed at the wrong moment), where
    # no exception reaches.
    return watchdog.limit(*child.error_line(_gone(f"{what}: nothing for {watchdog.seconds:.0f} s")))
