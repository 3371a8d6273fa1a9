"""What must hold for every file, damaged or not; and the code of those that compile, under sanitizers."""

from __future__ import annotations

import contextlib
import signal
import warnings
from collections.abc import Iterator
from types import FrameType

import numpy as np

from model_pipeline.compiler import HostPrograms, Program, compile_model, emit
from model_pipeline.compiler.ir import DTYPES
from model_pipeline.config import Packing
from model_pipeline.errors import CheckFailed, KwsError

from .mutate import damaged

LIMIT_S = 20  # for one file; a machine may be busy
MAX_ARENA, MAX_MACS = 1 << 20, 3_000_000  # of programs that are run too


class Failure(Exception):
    """A file did what no file may."""


def case(bases: list[bytes], number: int, seed: int = 0) -> bytes:
    """File ``number``."""
    rng = np.random.default_rng([seed, number])
    return damaged(bases[int(rng.integers(0, len(bases)))], rng)


KERNELS: list[Packing] = ["speed", "size", "portable"]


def attempt(data: bytes, number: int) -> Program | None:
    """Compiles and emits ``data``, some numbers for streams, some for size; None if it was refused as it should be.

    Raises:
        Failure: another exception than KwsError, a message of more than one line, or no end within `LIMIT_S`.
    """
    try:
        with _limited(LIMIT_S), warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy's, of sums that overflow: a user would see them
            program = compile_model(data, KERNELS[number % 3], hop=(0, 0, 0, 1, 2)[number % 5])
            emit(program)
            return program
    except KwsError as error:
        if not str(error) or "\n" in str(error):
            raise Failure(f"the message is not one line: {str(error)!r}") from error
        return None
    except Failure:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Failure(f"{type(error).__name__}: {error}") from error


def run(programs: list[Program], seed: int = 0) -> None:
    """Runs programs on random inputs and extremes, each array on its own, under ASan and UBSan.

    Raises:
        Failure: a sanitizer stopped one, or the compiler's C does not compile.
    """
    rng = np.random.default_rng(seed)
    try:
        for program in HostPrograms(programs, sanitize=True).programs:
            size = program.program.input_bytes
            inputs = rng.integers(-128, 128, (4, size)).astype(np.int8)
            inputs[0], inputs[1] = -128, 127
            many = len(program.program.graph.inputs) > 1
            program.run(inputs if many else inputs.view(DTYPES[program.program.input.type]))
    except (CheckFailed, KwsError) as error:
        raise Failure(f"emitted code: {error}") from error


def worth_running(program: Program) -> bool:
    """Small enough to be run among thousands."""
    return program.arena_bytes <= MAX_ARENA and program.macs <= MAX_MACS


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise Failure(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
