"""Makes a base (`models.base`): a small network that learns to say what Google's speech embedding says, of people's
words, connected speech and noise. No example needs a label.

    python -m model_pipeline.training.distill --config base --data DIR --out model_pipeline/models/bases/heard.npz

The targets are `speech_embedding.pooled`, each of unit variance. ``train.teacher_share`` of the loss is how far a
linear head for all words of the synthetic speech (no sentences, no keywords that the examples do not have), fitted on
the embedding, hears other words in what the network says of the embedding; the rest is the mean squared error. The
examples are those of ``[scenes]``; keywords of which it wants no examples are heard nowhere, so that a base for a
benchmark has not heard its words. With ``train.base`` it goes on from a base of the same shape.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path
from model_pipeline.manifest import input_scale
from model_pipeline.models import architecture, build, speech_embedding
from model_pipeline.models.base import Linear, begin_with, path_of, save_body
from model_pipeline.outcomes import Distilled
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.training import head
from model_pipeline.training.augment import vary
from model_pipeline.training.examples import examples
from model_pipeline.training.pool import Kept
from model_pipeline.training.sources import extra_data
from model_pipeline.training.trainer import schedule

_HELD_OUT = 50  # one example in N
_READ = 200  # clips at once


def distill(config: Config, data: Path, out: Path, progress: ProgressCallback = silent) -> Distilled:
    """Trains the body by ``config.train`` on ``config.scenes`` of ``data``, and writes it to ``out``.

    Raises:
        KwsError: no such data, or too little of it. MissingTool: the package with the embedding is not installed.
    """
    keep = Kept((speech_embedding.POOLED,), np.float16, speech_embedding.pooled)
    c = config.train
    with tempfile.TemporaryDirectory(prefix="kws_base_") as temporary:
        pool = examples(config, data, Path(temporary), keep, progress)
        if config.scenes.examples < 2 * _HELD_OUT:
            raise KwsError("too few examples to hold some out", hint="more scenes.examples")
        features, heard = pool.array("features"), np.array(pool.array("heard"), np.float32)
        mean, spread = heard.mean(axis=0), heard.std(axis=0) + np.float32(1e-3)
        targets = (heard - mean) / spread
        unit = Linear(np.diag(spread), mean)  # from targets to what is heard
        words = _vocabulary(config, data, Path(temporary), progress) if c.teacher_share else None
        keras.utils.set_random_seed(c.seed)
        model, net = build(
            architecture(c.architecture, c.shape),
            "float",
            features.shape[1],
            features.shape[2],
            targets.shape[1],
            c.width,
            config.frontend.feature_max,
        )
        if c.base:
            begin_with(path_of(c.base), model, Linear(np.diag(1 / spread), -mean / spread))
        held = np.arange(len(targets)) % _HELD_OUT == 0
        learnt, test = np.flatnonzero(~held), np.flatnonzero(held)
        steps = len(learnt) // c.batch
        rate = schedule(c.learning_rate, c.warmup_epochs * steps, c.epochs * steps)
        optimizer = keras.optimizers.AdamW(rate, weight_decay=c.weight_decay, clipnorm=2.0)
        optimizer.build(model.trainable_variables)
        scale = input_scale(config.frontend)

        said = unit.then(words) if words else None

        def apart(answer: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor | float:
            """How far the words are apart that two rows of targets let one hear; as in `Trainer`."""
            if said is None:
                return 0.0
            ours, theirs = ((x @ said.weights + said.bias) / c.temperature for x in (answer, wanted))
            soft = tf.nn.softmax(theirs)
            entropy = tf.nn.softmax_cross_entropy_with_logits(soft, theirs)
            return c.temperature**2 * tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, ours) - entropy)

        @tf.function(jit_compile=False, autograph=False)
        def step(x: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                answer = model(_input(x, scale), training=True)
                squares, share = tf.reduce_mean(tf.square(answer - wanted)), c.teacher_share if words else 0.0
                loss = (1.0 - share) * squares + share * apart(answer, wanted)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss

        def say(rows: NDArray[np.integer]) -> NDArray[np.float32]:
            return np.asarray(model(_input(tf.constant(np.array(features[rows])), scale), training=False))

        left = 1.0
        for epoch in range(c.epochs):
            rng = np.random.default_rng([c.seed, epoch])
            order = rng.permutation(learnt)
            for number in range(steps):
                some = np.sort(order[number * c.batch : (number + 1) * c.batch])
                x = vary(np.array(features[some]), rng, config.augment, config.frontend)
                step(tf.constant(x), tf.constant(targets[some]))
                progress(epoch * steps + number, c.epochs * steps, f"epoch {epoch + 1}/{c.epochs}, {left:.3f} left")
            left = float(np.mean(np.square(say(test) - targets[test])))
    last = [layer for layer in model.layers if layer.weights][-1]
    kernel, bias = (np.asarray(w, np.float32) for w in last.get_weights())
    # What the body says of the embedding's own values.
    says = Linear(kernel.reshape(-1, targets.shape[1]) * spread, bias * spread + mean)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as made:
        save_body(model, made, says)
    size = int(sum(np.prod(w.shape) for w in model.trainable_weights))
    return Distilled(examples=len(targets), parameters=size, macs=net.macs, unexplained=round(left, 4))


def _vocabulary(config: Config, data: Path, trained: Path, progress: ProgressCallback) -> Linear | None:
    """A head over the embedding for each word that the synthetic speech of ``trained`` says by itself; None without
    any. Keywords of which there shall be no examples are not among them."""
    extra = extra_data(config, data, trained, progress)
    if extra is None:
        return None
    wanted = bool(config.scenes.keywords or config.scenes.synthetic_keywords)
    clips = [clip for clip in extra.speech if wanted or clip.label >= extra.unknown]
    names = sorted({clip.word for clip in clips})
    heard = []
    for first in range(0, len(clips), _READ):
        progress(first, len(clips), "words by themselves")
        heard.append(speech_embedding.pooled(extra.audio(clips[first : first + _READ])))
    labels = np.array([names.index(clip.word) for clip in clips], np.int64)
    return head.fit(np.concatenate(heard), labels, len(names), config.scenes.head_decay)


def _input(x: tf.Tensor, scale: float) -> tf.Tensor:
    return ((tf.cast(x, tf.float32) + 128.0) * scale)[..., None]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    from model_pipeline import child

    arguments = child.parser(__doc__ or "", "data", "out").parse_args(argv)

    def step(progress: ProgressCallback | None) -> Distilled:
        return distill(child.config_of(arguments), arguments.data, arguments.out, progress or silent)

    return child.main(arguments, step)


if __name__ == "__main__":
    sys.exit(main())
