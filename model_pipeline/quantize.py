"""Full int8: ``model.tflite`` and its manifest ``model.json`` from a trained folder.

    python -m model_pipeline.quantize --config default --trained DIR --data DIR --out DIR

``ptq`` converts the folded float network with measured ranges; ``qat`` trains it on with fake quantisation first;
``best`` does both and keeps what is better on the validation clips in TFLite Micro.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import model_pipeline.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import tensorflow as tf

from model_pipeline import record
from model_pipeline.config import Config
from model_pipeline.data.described import TaughtBy
from model_pipeline.errors import KwsError
from model_pipeline.files import damaged, read_json
from model_pipeline.folders import atomic_dir, check_replaceable
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, input_scale, save_manifest
from model_pipeline.models import fold, network_of
from model_pipeline.models.load import load_network
from model_pipeline.models.net import FakeQuant, Net, QuantConv
from model_pipeline.outcomes import Quantized, Trained
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.score import Score, brief, score
from model_pipeline.tflm import tflm
from model_pipeline.training.prepare import Prepared, prepare
from model_pipeline.training.trainer import Method, Teaching, Trainer, schedule

KIND = "kws quantize"
_REPRESENTATIVE = 500


def quantize(
    config: Config,
    trained: Path,
    data: str | Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    prepared: Prepared | None = None,
    teacher: keras.Model | None = None,
) -> Quantized:
    """Makes the int8 model of ``trained`` (`train`'s folder) and writes folder ``out``, whole or not at all.

    Args:
        prepared: the data, where it is already read.
        teacher: whose answers quantisation-aware training learns, instead of the one that ``trained`` had.

    Returns:
        The chosen way, and each way's accuracy on the validation clips (int8, in TFLite Micro).

    Raises:
        KwsError: not a trained folder, or trained for other labels; no such data; a failed conversion; or
            ``out`` holds what this did not make.
    """
    report, started = progress or silent, time.monotonic()
    check_replaceable(out, KIND, sources=[trained, data])
    keras.utils.set_random_seed(config.train.seed)
    model, history = load_trained(config, trained)
    prepared = prepared or prepare(config, data, trained, report)
    ways: dict[str, bytes] = {}
    wanted = config.quantize.method
    if wanted in ("ptq", "best"):
        report(0, 1, "post-training quantisation")
        ways["ptq"] = post_training(config, model, prepared)
    if wanted in ("qat", "best"):
        if teacher is None and config.train.teacher_width:
            teacher = load_network(trained / "teacher" / "model.keras")
        ways["qat"] = aware(config, model, prepared, report, teacher)
    results = {}
    clips = prepared.dataset.evaluation("validation")
    for way, tflite in ways.items():
        report(0, 1, f"{way} on the validation clips, in TFLite Micro")
        outputs = tflm(tflite)(prepared.validation[0]) if clips else np.zeros((0, len(config.labels)), np.int8)
        results[way] = score(clips, outputs, config.labels)
    chosen = max(results, key=lambda way: results[way].correct)
    with atomic_dir(out, KIND, sources=[trained, data]) as folder:
        (folder / "model.tflite").write_bytes(ways[chosen])
        manifest = _manifest(config, prepared, history, ways[chosen], chosen, results)
        save_manifest(manifest, folder / "model.json")
        record.write(_record(config, manifest, results[chosen], len(ways[chosen]), time.monotonic() - started), folder)
    return Quantized(
        quantization=chosen,
        model=manifest.model_hash,
        bytes=len(ways[chosen]),
        validation_clips=len(clips),
        float_validation_accuracy=history.validation_accuracy,
        validation={way: brief(result) for way, result in results.items()},
    )


def load_trained(config: Config, trained: Path) -> tuple[keras.Model, Trained]:
    """The float model of a folder that `train` wrote, and its ``train.json``.

    Raises:
        KwsError: it is none, or its labels are not the configuration's.
    """
    try:
        values = read_json(trained / "train.json", hint="kws train makes one")
    except FileNotFoundError as error:
        raise KwsError(f"{trained} holds no finished training (train.json)", hint="kws train makes one") from error
    with damaged(trained / "train.json", "kws train makes one"):
        history = Trained.model_validate(values)
    if history.labels != config.labels or history.architecture != config.train.architecture:
        raise KwsError(
            f"{trained} was trained for {', '.join(history.labels)} ({history.architecture})",
            hint="use the configuration that it was trained with",
        )
    return load_network(trained / "model.keras", hint="kws train makes one"), history


def post_training(config: Config, model: keras.Model, prepared: Prepared) -> bytes:
    """The folded network, converted with the ranges of some training clips as they are."""
    frontend = config.frontend
    folded, net = network_of(config, "folded", prepared.frames)
    fold(model, folded, net)
    _lean(folded, net, prepared.shares(config.quantize.lean))
    scale = input_scale(frontend)
    examples = prepared.stream.representative(_REPRESENTATIVE)

    def representative() -> Iterator[list[np.ndarray]]:
        # Both ends of the input's range first: its scale must be the front end's.
        shape = (1, prepared.frames, frontend.channels, 1)
        yield [np.zeros(shape, np.float32)]
        yield [np.full(shape, frontend.feature_max, np.float32)]
        for row in examples:
            yield [((row.astype(np.float32) + 128.0) * scale)[None, ..., None]]

    return convert(folded, representative)


def _lean(model: keras.Model, net: Net, shares: np.ndarray | None) -> None:
    """Adds ``shares`` float32 [labels] to the logits."""
    if shares is not None:
        classifier = model.get_layer(net.convolutions[-1])
        classifier.bias.assign(np.asarray(classifier.bias) + shares)


def aware(
    config: Config,
    model: keras.Model,
    prepared: Prepared,
    report: ProgressCallback,
    teacher: keras.Model | None = None,
) -> bytes:
    """Quantisation-aware training, from the float weights on."""
    settings = config.train
    network, net = network_of(config, "qat", prepared.frames)
    fold(model, network, net)
    _lean(network, net, prepared.shares(config.quantize.lean))
    steps = max(1, prepared.stream.clips // settings.batch)
    method = Method(
        schedule(config.quantize.qat_learning_rate, steps // 2, config.quantize.qat_epochs * steps),
        label_smoothing=settings.label_smoothing,
        average=settings.average,
        balance=prepared.shares(settings.balance - config.quantize.lean),
    )
    teaching = Teaching(settings.teacher_share, settings.temperature, teacher)
    trainer = Trainer(network, input_scale(config.frontend), method, teaching)
    quants = [layer for layer in network.layers if isinstance(layer, FakeQuant)]
    for layer in quants:
        layer.momentum = 0.8
    calibrate = tf.function(lambda x: network(trainer._real(x), training=True), autograph=False)
    examples = prepared.stream.representative(_REPRESENTATIVE)
    for start in range(0, len(examples), 50):
        calibrate(tf.constant(examples[start : start + 50]))
    for layer in quants:
        layer.momentum = 0.99
    for variable, weight in zip(trainer.average_weights, network.weights, strict=True):
        variable.assign(weight.value)
    least, kept = math.inf, [np.asarray(w) for w in network.weights]
    total = config.quantize.qat_epochs * steps
    # Epoch numbers beyond the float training's: other draws of the same augmentation.
    first = settings.epochs
    for epoch, batches in enumerate(prepared.stream.epochs(first, first + config.quantize.qat_epochs)):
        for step, batch in enumerate(batches):
            trainer.step(*batch)
            report(epoch * steps + step, total, f"quantisation-aware epoch {epoch + 1}/{config.quantize.qat_epochs}")
        with trainer.averaged():
            loss = trainer.judge(*prepared.validation)[1]
            if loss <= least:
                least, kept = loss, [np.asarray(w) for w in network.weights]
    for weight, value in zip(network.weights, kept, strict=True):
        weight.assign(value)
    for layer in network.layers:
        if isinstance(layer, QuantConv):
            layer.exporting = True
    return convert(network, None)


def convert(model: keras.Model, representative: Callable[[], Iterator[list[np.ndarray]]] | None) -> bytes:
    """A Keras model from features to logits as an int8 .tflite with batch 1 and a softmax at its end.

    Args:
        representative: inputs to measure ranges with; None: the model has fake quantisation in it.

    Raises:
        KwsError: TensorFlow can't convert it.
    """
    # A fixed batch: else RESHAPE brings SHAPE, STRIDED_SLICE and PACK along.
    inputs = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="features")
    whole = keras.Model(inputs, keras.layers.Softmax(name="softmax")(model(inputs)))
    converter = tf.lite.TFLiteConverter.from_keras_model(whole)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if representative is not None:
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with _quiet():
            tflite = converter.convert()
    except Exception as error:  # the converter raises whatever its C++ gave it
        raise KwsError(f"TensorFlow could not convert the network: {str(error).splitlines()[0]}") from error
    return _strip(tflite)


def _strip(tflite: bytes) -> bytes:
    """Without the tensors' long names, which only cost flash."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(tflite))
    flatbuffer_utils.strip_strings(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the converter's C++ prints off the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, source in zip((1, 2), kept, strict=True):
                os.dup2(source, target)
                os.close(source)


def _manifest(
    config: Config,
    prepared: Prepared,
    history: Trained,
    tflite: bytes,
    way: str,
    results: dict[str, Score],
) -> Manifest:
    from tensorflow.lite.tools import flatbuffer_utils

    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(tflite)).subgraphs[0]

    def tensor(index: int) -> Quantization:
        found = graph.tensors[index]
        quantization = found.quantization
        return Quantization(
            scale=float(quantization.scale[0]),
            zero_point=int(quantization.zeroPoint[0]),
            shape=[int(n) for n in found.shape],
        )

    summary, scenes = prepared.dataset.summary(), _scenes(config, prepared)
    source = summary.source
    return Manifest(
        name=config.name,
        model_sha256=hashlib.sha256(tflite).hexdigest(),
        labels=config.labels,
        frontend=config.frontend,
        window_frames=prepared.frames,
        clip_ms=config.data.clip_ms,
        input=tensor(graph.inputs[0]),
        output=tensor(graph.outputs[0]),
        detector=detector_defaults(config.detector, len(config.labels), config.frontend.hop_ms),
        compile=config.compile,
        streaming=config.hop_frames,
        architecture=config.train.architecture,
        parameters=history.parameters,
        macs=history.macs,
        quantization=way,
        training_data={
            "source": source.get("source", config.data.source),
            "name": config.data.name or source.get("name", ""),
            "licence": config.data.licence or source.get("licence", ""),
            "hash": summary.hash,
            "split_rule": summary.split_rule,
            "splits": {name: split.model_dump(mode="json") for name, split in summary.splits.items()},
            "noise_seconds": summary.noise,
            # A path of this machine tells nobody else anything; the hash does.
            "extra": prepared.extra.summary().model_dump(mode="json", exclude={"folder"}) if prepared.extra else {},
            "scenes": scenes.model_dump(mode="json") if scenes else {},
        },
        accuracy={
            "float_validation": history.validation_accuracy,
            "validation": brief(results[way]).model_dump(mode="json"),
            "validation_by_quantization": {w: round(r.accuracy, 5) for w, r in results.items()},
        },
        tools=record.versions(),
    )


def _scenes(config: Config, prepared: Prepared) -> TaughtBy | None:
    """None for a model of single clips."""
    if not config.scenes.examples:
        return None
    return TaughtBy(examples=config.scenes.examples, corpora=prepared.corpora, teacher=prepared.teacher)


def _record(config: Config, manifest: Manifest, result: Score, size: int, seconds: float) -> record.Record:
    return record.new(
        "model",
        config.name,
        config.model_dump(mode="json"),
        {
            "int8_validation_accuracy": record.Figure.of_share(result.share),
            **record.exactly(model_bytes=size, macs=manifest.macs, parameters=manifest.parameters),
        },
        seconds=round(seconds, 1),
        data_hash=manifest.training_data["hash"],
        model_hash=manifest.model_hash,
        origin=manifest.quantization,
    )


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    a = child.parser("Make the int8 model.", "trained", "data", "out").parse_args(argv)
    return child.main(a, lambda progress: quantize(child.config_of(a), a.trained, a.data, a.out, progress))


if __name__ == "__main__":
    sys.exit(main())
