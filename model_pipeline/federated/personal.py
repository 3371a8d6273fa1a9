"""After the rounds: a head for each client. It learns the last layer once more from its own clips, by the steps of
which a device is capable (`model_pipeline.head`: firmware/core/learn), and is measured by those of its clips that no
round has heard."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from model_pipeline.errors import KwsError
from model_pipeline.features import model_input
from model_pipeline.federated.clients import Household
from model_pipeline.federated.local import Learner
from model_pipeline.head import DeviceHead
from model_pipeline.outcomes import FederatedHeads
from model_pipeline.progress import ProgressCallback


def personalise(
    learner: Learner, household: Household, calibration: NDArray[np.int8], report: ProgressCallback
) -> FederatedHeads:
    """Gives each client a copy of ``learner``'s head, and has it learn.

    Args:
        household: of settings with ``held_out``.
        calibration: int8 [n, frames, channels]: the largest of their values before the last layer is the largest that
            an int8 stands for, as after `kws quantize`.

    Raises:
        KwsError: the last layer is not one that a device can teach, or no client has clips on both sides.
    """
    c, frames = household.config.federate, household.config.frames
    before_head, weights, bias = _parts(learner)
    scale = max(float(before_head(calibration).max(initial=0.0)), 1e-6) / 255.0
    accuracies, right, total, mean_clips = list[tuple[float, float]](), np.zeros(2, np.int64), 0, list[int]()
    for place, client in enumerate(household.clients.values()):
        report(place, len(household.clients), "a head for each client")
        if not client.clips or not client.held:
            continue
        speech = household.speech(client.number), household.held(client.number)
        own, held = (_int8(before_head(model_input(s.audio, household.config.frontend, frames)), scale) for s in speech)
        head = DeviceHead(weights, bias, scale, -128)
        rng = np.random.default_rng([c.seed, 8, client.number])
        found = [head.probabilities(held).argmax(1) == speech[1].labels]
        for _ in range(c.head_epochs):
            order = rng.permutation(len(own))
            head.learn(own[order], speech[0].labels[order], c.head_rate)
        found.append(head.probabilities(held).argmax(1) == speech[1].labels)
        accuracies.append((float(found[0].mean()), float(found[1].mean())))
        right += [int(f.sum()) for f in found]
        total += len(held)
        mean_clips.append(len(own))
    if not accuracies:
        raise KwsError("no client has clips to learn its head from and others to be judged by", hint="more clips each")
    before, after = np.array(accuracies).T
    return FederatedHeads(
        clients=len(accuracies),
        clips=float(np.mean(mean_clips)),
        held=total,
        before=float(before.mean()),
        after=float(after.mean()),
        right_before=int(right[0]),
        right_after=int(right[1]),
        better=int((after > before).sum()),
        worse=int((after < before).sum()),
    )


def _parts(learner: Learner) -> tuple[Callable[[NDArray[np.int8]], NDArray], NDArray, NDArray]:
    """From int8 [n, frames, channels] to the real values before the last layer, [n, inputs]; that layer's weights
    [inputs, labels] and bias."""
    head = learner.head
    shape = head.input.shape[1:]
    if len(head.weights) != 2 or int(np.prod(shape)) != shape[-1]:
        raise KwsError("the last layer sees more than one place at a time: a device can't teach it")
    body = keras.Model(learner.model.inputs[0], head.input)
    weights, bias = (np.asarray(w) for w in head.weights)

    def run(x: NDArray[np.int8]) -> NDArray:
        real = ((x.astype(np.float32) + 128.0) * learner.scale)[..., None]
        parts = [np.asarray(body(real[i : i + 256], training=False)) for i in range(0, len(real), 256)]
        return np.concatenate(parts).reshape(len(x), -1)

    return run, weights.reshape(shape[-1], -1), bias


def _int8(values: NDArray, scale: float) -> NDArray[np.int8]:
    """Of real values, which ReLU left at 0 or above."""
    return np.clip(np.rint(values / scale) - 128.0, -128, 127).astype(np.int8)
