"""Trains the float network: ``model.keras``, ``train.json`` and ``log.csv`` in a folder.

    python -m model_pipeline.train --config default --data DIR --out DIR

Training goes on from ``checkpoint.npz`` after a kill at any moment, and Ctrl-C keeps the best model so far.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from model_pipeline.augment import FeatureStream, model_input
from model_pipeline.child import ProgressCallback
from model_pipeline.config import Config
from model_pipeline.data.audio import CLIP_SAMPLES
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.synth import synthesize
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, sha256_file, write_json, write_text
from model_pipeline.manifest import input_scale
from model_pipeline.models import architecture, build

CHECKPOINT = "checkpoint.npz"
_READ = 2000  # clips read between two reports of progress


@dataclass
class Prepared:
    """What training and quantisation both need."""

    dataset: Dataset
    extra: Dataset | None
    frames: int
    stream: FeatureStream
    validation: tuple[np.ndarray, np.ndarray]  # int8 [n, frames, channels], int [n]


def train(config: Config, data: Path, out: Path, progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Trains by ``config`` on folder ``data``; the weights that were best on the validation clips are kept.

    Returns:
        What is in ``train.json``: accuracy on validation, epochs, parameters, MACs, data hash, seconds.

    Raises:
        KwsError: no such data, no clips of a keyword, or an unknown architecture.
        KeyboardInterrupt: stopped; the best model so far is in ``out``.
    """
    started = time.monotonic()
    report = progress or (lambda done, total, text: None)
    out.mkdir(parents=True, exist_ok=True)
    teacher = _teacher(config, data, out, report) if config.train.teacher_width else None
    keras.utils.set_random_seed(config.train.seed)
    prepared = prepare(config, data, out, report)
    frontend, settings = config.frontend, config.train
    model, net = build(
        architecture(settings.architecture),
        "float",
        prepared.frames,
        frontend.channels,
        len(config.labels),
        settings.width,
        frontend.feature_max,
    )
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
    )
    key = _key(config, prepared)
    state = _resume(out / CHECKPOINT, key, trainer)
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
        "key": key,
    }

    def finish(stopped: bool) -> dict[str, Any]:
        summary.update(
            best_epoch=state["best_epoch"],
            validation_accuracy=state["best"],
            epochs=state["epoch"],
            stopped=stopped,
            seconds=round(time.monotonic() - started + state["seconds"], 1),
            model_sha256=sha256_file(out / "model.keras"),
        )
        write_json(out / "train.json", summary)
        return summary

    total = settings.epochs * steps
    try:
        epochs = prepared.stream.epochs(state["epoch"], settings.epochs)
        for epoch, batches in zip(range(state["epoch"], settings.epochs), epochs, strict=True):
            begun, losses = time.monotonic(), []
            for step, (x, y) in enumerate(batches):
                losses.append(trainer.step(x, y))
                best = f", best {100 * state['best']:.1f} %" if state["best"] > 0 else ""
                report(epoch * steps + step, total, f"epoch {epoch + 1}/{settings.epochs}{best}")
            loss = float(np.mean(losses))
            if not math.isfinite(loss):
                raise KwsError("training diverged (the loss is no number)", hint="a lower learning_rate", exit_code=1)
            with trainer.averaged():
                accuracy = trainer.accuracy(*prepared.validation)
                state["epoch"] = epoch + 1
                if accuracy >= state["best"]:
                    state.update(best=accuracy, best_epoch=epoch + 1)
                    with atomic_path(out / "model.keras") as path:
                        model.save(path)
            state["log"].append(
                f"{epoch + 1},{loss:.5f},{accuracy:.5f},{trainer.learning_rate():.3g},{time.monotonic() - begun:.1f}"
            )
            write_text(out / "log.csv", "epoch,loss,validation_accuracy,learning_rate,seconds\n" + _lines(state["log"]))
            _save(out / CHECKPOINT, key, trainer, {**state, "seconds": time.monotonic() - started + state["seconds"]})
    except KeyboardInterrupt:
        if state["best_epoch"]:
            finish(stopped=True)
        raise
    return finish(stopped=False)


class Trainer:
    """One model, its optimizer and the moving average of its weights."""

    def __init__(
        self,
        model: keras.Model,
        learning_rate: Any,
        weight_decay: float,
        label_smoothing: float,
        average: float,
        scale: float,
        teacher: keras.Model | None = None,
        teacher_share: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        self.model, self.average, self.scale = model, average, scale
        self.teacher, self.teacher_share, self.temperature = teacher, teacher_share, temperature
        self.optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, clipnorm=5.0)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(model.trainable_variables)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
        self.labels = model.output_shape[-1]
        self.average_weights = [tf.Variable(w.value, trainable=False) for w in model.weights]
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        # Nothing in them depends on a tensor's value; and a killed process would leave AutoGraph's files in /tmp.
        self._step = tf.function(self._train_step, reduce_retracing=True, autograph=False)
        self._predict = tf.function(
            lambda x: model(self._real(x), training=False), reduce_retracing=True, autograph=False
        )

    def _real(self, x: Any) -> Any:
        # What the int8 values stand for, so that training sees exactly what the firmware will.
        return ((tf.cast(x, tf.float32) + 128.0) * self.scale)[..., None]

    def _train_step(self, x: Any, y: Any) -> Any:
        real = self._real(x)
        with tf.GradientTape() as tape:
            logits = self.model(real, training=True)
            loss = self.loss(tf.one_hot(y, self.labels), logits)
            if self.teacher is not None:
                # Hinton and others, arXiv:1503.02531; the square keeps the gradients' size.
                soft = tf.nn.softmax(self.teacher(real, training=False) / self.temperature)
                apart = tf.nn.softmax_cross_entropy_with_logits(soft, logits / self.temperature)
                imitation = self.temperature**2 * tf.reduce_mean(apart)
                loss = (1.0 - self.teacher_share) * loss + self.teacher_share * imitation
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        if self.average:
            self.steps.assign_add(1)
            # A short memory at first, so that the start is soon forgotten.
            count = tf.cast(self.steps, tf.float32)
            keep = tf.minimum(self.average, (1.0 + count) / (10.0 + count))
            for mean, weight in zip(self.average_weights, self.model.weights, strict=True):
                mean.assign(keep * mean + (1.0 - keep) * weight.value)
        return loss

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """One step on int8 [n, frames, channels] and int [n]; returns the loss."""
        return float(self._step(tf.constant(x), tf.constant(y)))

    def averaged(self) -> _Averaged:
        """A block in which the model holds the averaged weights."""
        return _Averaged(self)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, labels] for int8 [n, frames, channels]."""
        parts = [self._predict(tf.constant(x[i : i + 500])).numpy() for i in range(0, len(x), 500)]
        return np.concatenate(parts) if parts else np.zeros((0, self.labels), np.float32)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """The share of right answers, 0 without clips."""
        return float(np.mean(self.logits(x).argmax(1) == y)) if len(y) else 0.0

    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(np.asarray(self.optimizer.learning_rate))

    def variables(self) -> list[Any]:
        """All that a checkpoint must hold."""
        return [*self.model.weights, *self.optimizer.variables, *self.average_weights, self.steps]


class _Averaged:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        self.kept = [np.asarray(w) for w in self.trainer.model.weights]
        if self.trainer.average:
            for weight, mean in zip(self.trainer.model.weights, self.trainer.average_weights, strict=True):
                weight.assign(mean)

    def __exit__(self, *_: object) -> None:
        for weight, value in zip(self.trainer.model.weights, self.kept, strict=True):
            weight.assign(value)


@keras.saving.register_keras_serializable("micro_kws")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly over ``warmup`` steps, then falls along half a cosine to 1 % at ``total``."""

    def __init__(self, peak: float, warmup: int, total: int) -> None:
        self.peak, self.warmup, self.total = peak, warmup, total

    def __call__(self, step: Any) -> Any:
        step = tf.cast(step, tf.float32)
        rise = (step + 1.0) / max(1, self.warmup)
        done = tf.clip_by_value((step - self.warmup) / max(1, self.total - self.warmup), 0.0, 1.0)
        return self.peak * tf.minimum(rise, 0.01 + 0.99 * 0.5 * (1.0 + tf.cos(math.pi * done)))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total}


def schedule(peak: float, warmup: int, total: int) -> WarmCosine:
    """The learning rate of a training of ``total`` steps."""
    return WarmCosine(peak, min(warmup, total // 4), total)


def prepare(config: Config, data: Path, trained: Path, report: Callable[[int, int, str], None]) -> Prepared:
    """Reads the audio of training and the features of validation. ``trained`` is where extra data is made.

    Raises:
        KwsError: no such data, or a keyword without training clips.
    """
    dataset = Dataset.open(data, config.keywords, config.data)
    frames = config.frontend.frames(CLIP_SAMPLES)
    clips = dataset.clips("training")
    counts = np.bincount([c.label for c in clips], minlength=len(config.labels))
    lacking = [word for word, count in zip(config.keywords, counts, strict=False) if not count]
    if lacking:
        raise KwsError(f"{data} has no training clips of {', '.join(lacking)}")
    validation = dataset.evaluation("validation")
    sources = [(dataset, clips)]
    extra = _extra(config, trained, report)
    if extra:
        sources.append((extra, extra.clips("training")))
    everything = [(source, c) for source, part in sources for c in part]
    total = len(everything) + len(validation)
    audio = np.empty((len(everything), CLIP_SAMPLES), np.int16)
    done = 0
    for source, part in sources:
        for start in range(0, len(part), _READ):
            report(done, total, "reading audio")
            some = part[start : start + _READ]
            audio[done : done + len(some)] = source.audio(some)
            done += len(some)
    report(done, total, "reading audio")
    # The same word of a synthesiser and of people counts as two: each is drawn by its own number of clips.
    names = {name: i for i, name in enumerate(sorted({(s is extra, c.word) for s, c in everything}))}
    mean_keyword = float(np.mean(counts[: len(config.keywords)]))
    stream = FeatureStream(
        audio,
        np.array([c.label for _, c in everything]),
        dataset.noise_part("training"),
        config.frontend,
        frames,
        config.train,
        unknown=dataset.unknown,
        words=np.array([names[s is extra, c.word] for s, c in everything]),
        extra=np.array([s is extra for s, _ in everything]),
        extra_share=config.data.extra_share,
        per_epoch=(round(mean_keyword * config.train.unknown_ratio), round(mean_keyword * config.train.silence_ratio)),
        workers=max(1, os.cpu_count() or 1),
    )
    return Prepared(dataset, extra, frames, stream, features_of(dataset, validation, config, frames))


def _teacher(config: Config, data: Path, out: Path, report: Callable[[int, int, str], None]) -> keras.Model:
    """The wide network of the same recipe, trained into ``out/teacher``, or read from there if it was."""
    settings = config.train
    changes: dict[str, Any] = {"width": settings.teacher_width, "epochs": settings.teacher_epochs, "teacher_width": 0.0}
    wide = config.model_copy(update={"train": settings.model_copy(update=changes)})
    if config.data.extra == "synth":
        _extra(config, out, report)
        wide = wide.model_copy(update={"data": config.data.model_copy(update={"extra": str(out / "extra")})})
    train(wide, data, out / "teacher", lambda done, total, text: report(done, total, f"teacher, {text}"))
    model = keras.saving.load_model(out / "teacher" / "model.keras", compile=False)
    model.trainable = False
    return model


def _extra(config: Config, trained: Path, report: Callable[[int, int, str], None]) -> Dataset | None:
    if config.data.extra != "synth":
        return Dataset.open(config.data.extra, config.keywords) if config.data.extra else None
    folder = trained / "extra"
    made = read_description(folder) if folder.is_dir() else {}
    if made.get("settings") != config.synth.model_dump(mode="json") or made.get("keywords") != config.keywords:
        synthesize(config, folder, report)
    return Dataset.open(folder, config.keywords)


def features_of(dataset: Dataset, clips: Sequence[Clip], config: Config, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 [n, frames, channels] and labels int [n] of ``clips`` as they are."""
    features = np.empty((len(clips), frames, config.frontend.channels), np.int8)
    for start in range(0, len(clips), _READ):
        part = clips[start : start + _READ]
        features[start : start + len(part)] = model_input(dataset.audio(part), config.frontend, frames)
    return features, np.array([c.label for c in clips], np.int64)


def _key(config: Config, prepared: Prepared) -> str:
    """What a checkpoint belongs to: another recipe or other data begin anew."""
    later = {"quantization", "qat_epochs", "qat_learning_rate"}  # what `quantize` does is no matter here
    parts = [config.frontend.model_dump(mode="json"), config.train.model_dump(mode="json", exclude=later)]
    hashes = [d.content_hash() for d in (prepared.dataset, prepared.extra) if d]
    text = json.dumps([*parts, config.data.model_dump(mode="json"), config.keywords, hashes])
    return hashlib.sha256(text.encode()).hexdigest()


def _save(path: Path, key: str, trainer: Trainer, state: dict[str, Any]) -> None:
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(trainer.variables())}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, key=np.array(key), state=np.array(json.dumps(state)), **arrays)


def _resume(path: Path, key: str, trainer: Trainer) -> dict[str, Any]:
    state: dict[str, Any] = {"epoch": 0, "best": 0.0, "best_epoch": 0, "log": [], "seconds": 0.0}
    if not path.exists() or not path.with_name("model.keras").exists():
        return state
    try:
        with np.load(path) as saved:
            if str(saved["key"]) != key:
                return state
            values = [saved[f"v{i}"] for i in range(len(trainer.variables()))]
            state.update(json.loads(str(saved["state"])))
    except (OSError, ValueError, KeyError) as error:
        raise KwsError(f"{path} is broken: {error}", hint=f"rm {path} and train again") from error
    for variable, value in zip(trainer.variables(), values, strict=True):
        variable.assign(value)
    return state


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    arguments = child.parser("Train the float network.", "data", "out").parse_args(argv)
    return child.main(
        arguments, lambda progress: train(child.config_of(arguments), arguments.data, arguments.out, progress)
    )


if __name__ == "__main__":
    sys.exit(main())
