"""TensorFlow Lite Micro's interpreter on this computer: what a model's outputs shall be."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import PLAN_FILE
from model_pipeline.packages import pip_install


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
            hint=f"{pip_install(extra='train')}, or --engine aot",
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


def measure_arena(tflite: bytes) -> int:
    """Arena bytes that TensorFlow Lite Micro's interpreter uses for the model on this machine, rounded up to 16.

    A 64-bit host's structures are larger than a board's, so a board needs less, unless its optimised kernels ask for
    scratch memory of their own.

    Raises:
        MissingTool: ``tflite_micro`` is not installed.
        KwsError: TensorFlow Lite Micro refuses the model.
    """
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as error:
        raise MissingTool(
            "tflite_micro is not installed, so the arena of TensorFlow Lite Micro can't be measured",
            hint=f"make setup, or export a folder that has {PLAN_FILE} (every generated one does)",
        ) from error
    with _captured_stderr() as text:
        try:
            interpreter = runtime.Interpreter.from_bytes(tflite)
            interpreter.print_allocations()
        except RuntimeError as error:
            raise KwsError(f"TensorFlow Lite Micro refuses the model: {error}") from error
    found = re.search(r"Arena allocation total (\d+) bytes", "".join(text))
    if not found:
        raise KwsError("this version of tflite_micro does not tell the arena's size as expected")
    return -(-int(found[1]) // 16) * 16


@contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What C code writes to standard error meanwhile is in the list afterwards."""
    text: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield text
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            text.append(file.read().decode("utf-8", "replace"))
