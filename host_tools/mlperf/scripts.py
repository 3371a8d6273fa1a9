"""The two official scripts for keyword spotting: accuracy (each input once) and performance (five windows)."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from host_tools.mlperf.device import Device
from model_pipeline.compiler import Program
from model_pipeline.errors import DeviceError, KwsError
from model_pipeline.progress import ProgressCallback

WINDOWS = 5
SECONDS = 10.0
LEAST_ITERATIONS = 10
MOST_ITERATIONS = 10_000_000
WARM_UP = 10
TOP1_TARGET = 0.90  # of the closed division, keyword spotting (rules v1.2)
_PROBE = 10
_MARGIN = 1.03  # a window shorter than its 10 s does not count
_TRIES = 3
_LONGEST_S = 6 * 3600  # of this machine's time, of a window


@dataclass(frozen=True)
class Accuracy:
    """Attributes:
    top1: share of inputs whose largest value is that of their class.
    auc: area under the ROC curve, one class against the rest, mean of the classes; None unless each class has an
        input.
    compared: inputs whose values were held against the compiled plan on this machine; None: no model was given.
    different: of these, those with a value that is another than the plan's.
    """

    inputs: int
    correct: int
    top1: float
    auc: float | None
    meets_target: bool
    compared: int | None
    different: int | None


@dataclass(frozen=True)
class Window:
    """One measurement; ``throughput`` in inferences a second by the device's own clock."""

    iterations: int
    microseconds: int
    throughput: float


@dataclass(frozen=True)
class Performance:
    """``throughput``: the median window's."""

    windows: tuple[Window, ...]
    warm_up: int
    seconds: float
    throughput: float


def accuracy(
    device: Device,
    inputs: np.ndarray,
    labels: Sequence[int],
    program: Program | None = None,
    progress: ProgressCallback | None = None,
) -> Accuracy:
    """Downloads each input and runs it once.

    Args:
        inputs: bytes ``[n, size]``, as the device takes them.
        program: the model's compiled plan, run here for comparison.

    Raises:
        DeviceError: the device goes away, or gives results that are not such.
        KwsError: a class is beyond the device's results.
    """
    expected = None if program is None else printed(program, _on_this_machine(program, inputs))
    rows: list[tuple[float, ...]] = []
    different = 0
    for number, data in enumerate(inputs):
        device.load(data.tobytes())
        values = device.infer(1, 0).values
        if rows and len(values) != len(rows[0]):
            raise DeviceError(f"{device.name}: {len(values)} values after {len(rows[0])} an input")
        if max(labels) >= len(values):
            raise KwsError(f"class {max(labels)}, of which the device's {len(values)} values have none")
        rows.append(values)
        if expected is not None:
            different += not _same(values, expected[number])
        if progress is not None:
            progress(number + 1, len(inputs), f"input {number + 1}")
    scores, truth = np.array(rows), np.array(labels)
    correct = int(np.sum(scores.argmax(axis=1) == truth))
    return Accuracy(
        inputs=len(rows),
        correct=correct,
        top1=correct / len(rows),
        auc=area(scores, truth),
        meets_target=correct >= TOP1_TARGET * len(rows),
        compared=None if expected is None else len(rows),
        different=None if expected is None else different,
    )


def performance(
    device: Device,
    inputs: np.ndarray,
    *,
    seconds: float = SECONDS,
    warm_up: int = WARM_UP,
    progress: ProgressCallback | None = None,
) -> Performance:
    """Five windows, each of another input (as far as there are any) and of at least ``seconds`` and ten inferences.

    Raises:
        DeviceError: the device goes away, has no clock, or one that does not go on.
    """
    windows: list[Window] = []
    iterations, wall = LEAST_ITERATIONS, 0.0  # seconds of this machine's an inference
    for number in range(WINDOWS):
        device.load(inputs[number % len(inputs)].tobytes())
        if not windows:
            if progress is not None:
                progress(0, WINDOWS, "how long does one take?")
            started = time.monotonic()
            each = _clocked(device, _PROBE, 1, 0.0).microseconds / _PROBE
            wall = (time.monotonic() - started) / (_PROBE + 1)
            iterations = _enough(seconds, each)
        window = _window(device, iterations, warm_up, seconds, wall)
        iterations = window.iterations
        windows.append(window)
        if progress is not None:
            progress(number + 1, WINDOWS, f"{window.throughput:.3f} inferences/s")
    median = statistics.median(window.throughput for window in windows)
    return Performance(tuple(windows), warm_up, seconds, median)


def _window(device: Device, iterations: int, warm_up: int, seconds: float, wall: float) -> Window:
    for _ in range(_TRIES):
        expected = wall * (iterations + warm_up)
        if expected > _LONGEST_S:  # then its clock says much less than passes here
            raise DeviceError(
                f"{device.name}: by its clock a window of {seconds:g} s would take {expected / 3600:,.0f} hours here",
                hint="a shorter --seconds, or a firmware whose clock is right",
            )
        window = _clocked(device, iterations, warm_up, 3 * expected)
        if window.microseconds >= 1e6 * seconds:
            return window
        iterations = max(iterations + 1, _enough(seconds, window.microseconds / iterations))
    raise DeviceError(f"{device.name}: no window of {seconds:g} s in {_TRIES} tries: its clock is not steady")


def _clocked(device: Device, iterations: int, warm_up: int, extra_s: float) -> Window:
    took = device.infer(iterations, warm_up, extra_s=extra_s).microseconds
    if took is None:
        raise DeviceError(f"{device.name} shows its time on a pin", hint="build without --energy to measure it here")
    if took == 0:
        raise DeviceError(f"{device.name}: its clock stood still for {iterations} inferences")
    return Window(iterations, took, iterations / (took / 1e6))


def _enough(seconds: float, microseconds_each: float) -> int:
    wanted = math.ceil(_MARGIN * seconds * 1e6 / microseconds_each)
    return min(MOST_ITERATIONS, max(LEAST_ITERATIONS, wanted))


def area(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """The official runner's AUC: rows divided by their sum, then for each class the chance that an input of it has a
    larger value than one of the others (equal ones count half), and the mean of the classes; None as `Accuracy` says.

    Args:
        scores: float ``[n, classes]``.
        truth: int ``[n]``.
    """
    classes = scores.shape[1]
    if classes < 2 or set(truth.tolist()) != set(range(classes)):
        return None
    sums = scores.sum(axis=1, keepdims=True)
    scores = scores / np.where(sums > 0, sums, 1.0)
    areas = []
    for label in range(classes):
        _, ranks, counts = np.unique(scores[:, label], return_inverse=True, return_counts=True)
        mean_rank = np.cumsum(counts) - (counts - 1) / 2  # of equal values, from 1
        is_it = truth == label
        positive, negative = int(is_it.sum()), int((~is_it).sum())
        rank_sum = float(mean_rank[ranks.reshape(-1)][is_it].sum())
        areas.append((rank_sum - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(areas))


def printed(program: Program, outputs: np.ndarray) -> np.ndarray:
    """Thousandths, int ``[n, classes]``, that the firmware prints of such outputs: float32, cut off."""
    steps = outputs.reshape(len(outputs), -1).astype(np.int32) - program.output.zero_point
    values = steps.astype(np.float32) * np.float32(program.output.scale)
    return (np.sign(values) * np.floor(np.abs(values) * np.float32(1000))).astype(np.int64)


def _same(values: Sequence[float], expected: np.ndarray) -> bool:
    return [round(value * 1000) for value in values] == expected.tolist()


def _on_this_machine(program: Program, inputs: np.ndarray) -> np.ndarray:
    from model_pipeline.compiler import load_host

    kind = np.int8 if program.input.type == "INT8" else np.uint8
    return load_host(program).run(np.ascontiguousarray(inputs).view(kind))
