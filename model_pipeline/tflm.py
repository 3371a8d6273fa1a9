"""TensorFlow Lite Micro's interpreter on this computer: what a model's outputs shall be."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.exported import PLAN_FILE

_MISSING = "tflite_micro is not installed (it exists for Linux on x86_64 alone)"
_LARGE = 16 << 20  # bytes of arena, where no tensor makes room for another


class Interpreter:
    """A model in TensorFlow Lite Micro.

    Args:
        keep: every tensor, for `tensor`; needs a larger arena.
        so, hint: what follows if it is not installed, and what to do.

    Raises:
        MissingTool: ``tflite_micro`` is not installed.
        KwsError: it refuses the model.
    """

    def __init__(self, tflite: bytes, *, keep: bool = False, so: str = "", hint: str = "") -> None:
        try:
            from tflite_micro.python.tflite_micro import runtime
        except ImportError as error:
            raise MissingTool(
                f"{_MISSING}{so}",
                hint=hint or "pip install 'micro-kws[train]'",
            ) from error
        options = {}
        if keep:
            options = {"arena_size": _LARGE, "intrepreter_config": runtime.InterpreterConfig.kPreserveAllTensors}
        try:
            self._interpreter = runtime.Interpreter.from_bytes(tflite, **options)
            self.shape = tuple(int(n) for n in self._interpreter.get_input_details(0)["shape"])
        except RuntimeError as error:
            raise KwsError(f"TensorFlow Lite Micro refuses the model: {str(error).splitlines()[0]}") from error
        self.version = importlib.metadata.version("tflite-micro")

    def run(self, *inputs: np.ndarray) -> None:
        """Invokes the model; each input of its shape and type."""
        for number, values in enumerate(inputs):
            self._interpreter.set_input(values, number)
        self._interpreter.invoke()

    def output(self, number: int = 0) -> np.ndarray:
        """An output of the last run, flat."""
        return np.array(self._interpreter.get_output(number)).reshape(-1)

    def tensor(self, index: int) -> np.ndarray:
        """A tensor of the last run, flat; only with ``keep``."""
        return np.array(self._interpreter.GetTensor(index, 0)["tensor_data"]).reshape(-1)

    def arena_bytes(self) -> int:
        """What the interpreter has used of its arena.

        Raises:
            KwsError: it tells it otherwise than expected.
        """
        with _captured_stderr() as text:
            self._interpreter.print_allocations()
        found = re.search(r"Arena allocation total (\d+) bytes", "".join(text))
        if not found:
            raise KwsError("this version of tflite_micro does not tell the arena's size as expected")
        return int(found[1])


def tflm(tflite: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """A function from int8 [n, frames, channels] to int8 [n, labels] that runs the model.

    Raises:
        MissingTool, KwsError: as `Interpreter`.
    """
    interpreter = Interpreter(tflite, hint="pip install 'micro-kws[train]', or --engine aot")

    def run(x: np.ndarray) -> np.ndarray:
        rows = []
        for row in x:
            interpreter.run(row.reshape(interpreter.shape))
            rows.append(np.asarray(interpreter.output(), np.int8))
        return np.stack(rows)

    return run


def schema() -> ModuleType:
    """The classes of a .tflite's tables, to write one.

    Raises:
        MissingTool: ``tflite_micro``, which brings them, is not installed.
    """
    try:
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated
    except ImportError as error:
        raise MissingTool(f"{_MISSING}, so no .tflite can be written", hint="pip install 'micro-kws[train]'") from error
    return schema_py_generated


def measure_arena(tflite: bytes) -> int:
    """Arena bytes that TensorFlow Lite Micro's interpreter uses for the model on this machine, rounded up to 16.

    A 64-bit host's structures are larger than a board's, so a board needs less, unless its optimised kernels ask for
    scratch memory of their own.

    Raises:
        MissingTool, KwsError: as `Interpreter`.
    """
    hint = f"make setup, or export a folder that has {PLAN_FILE} (every generated one does)"
    so = ", so the arena of TensorFlow Lite Micro can't be measured"
    return -(-Interpreter(tflite, so=so, hint=hint).arena_bytes() // 16) * 16


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
