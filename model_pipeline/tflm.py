"""TensorFlow Lite Micro's interpreter on this computer: what a model's outputs shall be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_pipeline.errors import KwsError, MissingTool


def tflm(tflite: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """A function from int8 [n, frames, channels] to int8 [n, labels] that runs the model.

    Raises:
        MissingTool: TFLite Micro is not installed.
        KwsError: it refuses the model.
    """
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
