"""Measures an int8 model on the clips of a split, in TFLite Micro or in our own compiled engine.

python -m model_pipeline.evaluate --model DIR --data DIR
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model_pipeline.augment import model_input
from model_pipeline.config import DataConfig
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.split import Split
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.manifest import Manifest, load_manifest, save_manifest

Engine = Literal["tflm", "aot"]
ProgressCallback = Callable[[int, int, str], None]
_CHUNK = 100


def evaluate(
    model: Path,
    data: Path,
    split: Split = "testing",
    engine: Engine = "tflm",
    progress: ProgressCallback | None = None,
    *,
    record: bool = False,
    data_config: DataConfig | None = None,
) -> dict[str, Any]:
    """Runs every evaluation clip of ``split`` (see `Dataset.evaluation`) through the model.

    Args:
        model: folder with ``model.tflite`` and ``model.json``.
        record: write the accuracy into ``model.json``.

    Returns:
        ``accuracy``, ``correct``, ``count``, ``interval`` (95 %, Wilson), ``labels``, ``confusion`` (rows: truth),
        ``recall`` by label, and ``clips``: name, label, predicted, output (int8 values) of each.

    Raises:
        KwsError: no model, no data, a keyword that the data lacks, or a model that the engine refuses.
    """
    report = progress or (lambda done, total, text: None)
    manifest = load_manifest(model)
    dataset = Dataset.open(data, manifest.labels[:-2], data_config)
    clips = dataset.evaluation(split)
    if not any(clip.label < dataset.unknown for clip in clips):
        raise KwsError(f"{data} has no {split} clips of {', '.join(dataset.keywords)}")
    run = runner((Path(model) / "model.tflite").read_bytes(), engine)
    outputs = np.empty((len(clips), len(manifest.labels)), np.int8)
    for start in range(0, len(clips), _CHUNK):
        report(start, len(clips), f"{engine}, {split} clips")
        part = clips[start : start + _CHUNK]
        features = model_input(dataset.audio(part), manifest.frontend, manifest.window_frames)
        outputs[start : start + len(part)] = run(features)
    report(len(clips), len(clips), f"{engine}, {split} clips")
    result = {"model": manifest.model_hash, "split": split, "engine": engine, **score(clips, outputs, manifest.labels)}
    if record:
        _record(manifest, Path(model), split, result)
    return result


def score(clips: Sequence[Clip], outputs: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy and confusion of int8 ``outputs`` [n, labels] against the clips' labels."""
    truth = np.array([clip.label for clip in clips], np.int64)
    predicted = outputs.argmax(1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    correct, count = int((truth == predicted).sum()), len(clips)
    totals = confusion.sum(1)
    return {
        "accuracy": correct / count if count else 0.0,
        "correct": correct,
        "count": count,
        "interval": list(wilson(correct, count)),
        "labels": list(labels),
        "confusion": confusion.tolist(),
        "recall": {
            label: (int(confusion[i, i]) / int(totals[i]) if totals[i] else None) for i, label in enumerate(labels)
        },
        "clips": [
            {"name": clip.name, "label": labels[clip.label], "predicted": labels[int(p)], "output": row.tolist()}
            for clip, p, row in zip(clips, predicted, outputs, strict=True)
        ],
    }


def wilson(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927); z = 1.96 gives 95 %."""
    if count == 0:
        return 0.0, 1.0
    p, z2 = correct / count, z * z
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def runner(tflite: bytes, engine: Engine = "tflm") -> Callable[[np.ndarray], np.ndarray]:
    """A function from int8 [n, frames, channels] to int8 [n, labels] that runs the model.

    Raises:
        MissingTool: TFLite Micro is not installed.
        KwsError: the engine refuses the model.
    """
    if engine == "aot":
        from model_pipeline.compiler import compile_model

        host = compile_model(tflite).load_host()
        return lambda x: np.asarray(host.run(x.reshape(len(x), -1)), np.int8).reshape(len(x), -1)
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise MissingTool(
            "tflite_micro is not installed (it exists for Linux on x86_64 alone)",
            hint="pip install 'micro-kws[train]', or --engine aot",
        ) from error
    try:
        interpreter = runtime.Interpreter.from_bytes(tflite)
        shape = tuple(interpreter.get_input_details(0)["shape"])
    except RuntimeError as error:
        raise KwsError(f"TFLite Micro refuses the model: {str(error).splitlines()[0]}") from error

    def run(x: np.ndarray) -> np.ndarray:
        rows = []
        for row in x:
            interpreter.set_input(row.reshape(shape), 0)
            interpreter.invoke()
            rows.append(np.array(interpreter.get_output(0), np.int8).reshape(-1))
        return np.stack(rows)

    return run


def brief(result: dict[str, Any]) -> dict[str, Any]:
    """What the manifest keeps of a result."""
    return {
        "accuracy": round(result["accuracy"], 5),
        "correct": result["correct"],
        "clips": result["count"],
        "interval95": [round(v, 5) for v in result["interval"]],
        "recall": {k: None if v is None else round(v, 4) for k, v in result["recall"].items()},
    }


def _record(manifest: Manifest, model: Path, split: str, result: dict[str, Any]) -> None:
    accuracy = {**manifest.accuracy, split: brief(result)}
    save_manifest(manifest.model_copy(update={"accuracy": accuracy}), model / "model.json")


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    parser = child.parser("Measure an int8 model.", "model", "data", config=False)
    parser.add_argument("--split", default="testing", choices=("training", "validation", "testing"))
    parser.add_argument("--engine", default="tflm", choices=("tflm", "aot"))
    parser.add_argument("--record", action="store_true", help="write the accuracy into model.json")
    a = parser.parse_args(argv)
    return child.main(a, lambda progress: evaluate(a.model, a.data, a.split, a.engine, progress, record=a.record))


if __name__ == "__main__":
    raise SystemExit(main())
