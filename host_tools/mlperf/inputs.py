"""The benchmark's data set: a folder of ``.bin`` files, one input each, with the class of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.compiler import Program
from model_pipeline.errors import KwsError
from model_pipeline.pipes import check_regular, read_upto
from model_pipeline.text import shown

LABELS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
TRUTH = "y_labels.csv"
MOST_FILES = 100_000
MOST_CLASSES = 1000
_MOST_BYTES = 1 << 20
_NAME = re.compile(r"[^/\\\0]{1,200}\.bin")
_HINT = "copy datasets/kws01 of github.com/eembc/energyrunner"

# A data set of the same names holds int8(2.97 x MFCC), coefficient by coefficient, where the official one holds what
# the model takes. Found by comparison with the clips (tests/compiler/test_kws01_inputs.py).
MFCC_SCALE = 2.97
COEFFICIENTS, FRAMES = 10, 49


@dataclass(frozen=True)
class Sample:
    """One input: its file, and its class by number."""

    path: Path
    label: int

    def read(self) -> bytes:
        """
        Raises:
            KwsError: the file can't be read, or is empty or far too large.
        """
        try:
            check_regular(self.path)
            data = read_upto(self.path, _MOST_BYTES + 1)
        except OSError as error:
            raise KwsError(f"can't read {self.path}: {error.strerror}") from error
        if not 0 < len(data) <= _MOST_BYTES:
            raise KwsError(f"{self.path} has {len(data)} bytes: not an input of the benchmark", hint=_HINT)
        return data


def samples(folder: Path) -> list[Sample]:
    """All inputs of a folder, or of ``kws01`` in it, in the order of ``y_labels.csv``; without that file by name, and
    the class is the number at its end (``tst_000000_Stop_7.bin``).

    Raises:
        KwsError: there are none, or a line or a name can't be understood.
    """
    folder = folder / "kws01" if (folder / "kws01").is_dir() else folder
    truth = folder / TRUTH
    try:
        if truth.is_file():
            with truth.open(encoding="utf-8", errors="replace") as stream:
                lines = [line for line in stream.read(_MOST_BYTES * 16).splitlines() if line.strip()]
            found = [_of_line(folder, truth, number, line) for number, line in enumerate(lines, 1)]
        else:
            names = sorted(path.name for path in folder.iterdir() if path.suffix == ".bin")
            found = [_of_name(folder, name) for name in names]
    except OSError as error:
        raise KwsError(f"can't read {folder}: {error.strerror}", hint=_HINT) from error
    if not 0 < len(found) <= MOST_FILES:
        raise KwsError(f"{folder} has {len(found)} inputs of the benchmark", hint=_HINT)
    return found


def _of_line(folder: Path, truth: Path, number: int, line: str) -> Sample:
    words = [word.strip() for word in line.split(",")]
    if len(words) < 3 or not _NAME.fullmatch(words[0]) or not re.fullmatch(r"\d{1,4}", words[2]):
        raise KwsError(f"{truth}, line {number}: {shown(line, 80)}", hint="file.bin,12,CLASS")
    return Sample(folder / words[0], _label(int(words[2]), f"{truth}, line {number}"))


def _of_name(folder: Path, name: str) -> Sample:
    match = re.fullmatch(r".*_(\d{1,4})\.bin", name)
    if not match:
        raise KwsError(f"{folder / name} does not end with its class, as in tst_000000_Stop_7.bin", hint=_HINT)
    return Sample(folder / name, _label(int(match[1]), name))


def _label(value: int, where: str) -> int:
    if value >= MOST_CLASSES:
        raise KwsError(f"{shown(where)}: class {value}", hint=f"classes are 0 to {MOST_CLASSES - 1}")
    return value


def as_the_model_takes(data: np.ndarray, program: Program) -> np.ndarray:
    """int8 or uint8 ``[n, 490]``, frame by frame, of int8 ``[n, 490]`` of 2.97 x MFCC, coefficient by coefficient.

    Raises:
        KwsError: these are not 49 frames of 10 coefficients, or the model takes something else.
    """
    if data.shape[1:] != (COEFFICIENTS * FRAMES,) or program.input_bytes != COEFFICIENTS * FRAMES:
        raise KwsError(
            f"inputs of {data.shape[1]} bytes, of which the model takes {program.input_bytes}: "
            f"not {FRAMES} frames of {COEFFICIENTS} coefficients",
            hint="leave --features out",
        )
    mfcc = data.view(np.int8).reshape(-1, COEFFICIENTS, FRAMES).transpose(0, 2, 1) / MFCC_SCALE
    kind = np.int8 if program.input.type == "INT8" else np.uint8
    values = np.round(mfcc / float(program.input.scale)) + program.input.zero_point
    limits = np.iinfo(kind)
    return np.clip(values, limits.min, limits.max).astype(kind).reshape(len(data), -1)
