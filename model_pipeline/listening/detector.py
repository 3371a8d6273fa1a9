"""The firmware's detector (`firmware/core/detector`), compiled for this machine."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.errors import KwsError
from model_pipeline.manifest import DetectorDefaults, Look
from model_pipeline.native import FIRMWARE, shared_library

SOURCES = FIRMWARE / "core" / "detector"
MAX_LABELS, MAX_WINDOW, MAX_COUNT = 32, 32, 255


class LookStruct(ctypes.Structure):
    """`kws_look_t`"""

    _fields_ = [
        ("steps", ctypes.c_uint8),
        ("hidden", ctypes.c_uint8),
        ("shift", ctypes.c_uint8),
        ("out_shift", ctypes.c_uint8),
        ("frames", ctypes.c_uint8),
        ("out_bias", ctypes.c_int32),
        ("weights", ctypes.POINTER(ctypes.c_int8)),
        ("bias", ctypes.POINTER(ctypes.c_int32)),
        ("out", ctypes.POINTER(ctypes.c_int8)),
    ]


class ConfigStruct(ctypes.Structure):
    """`kws_detector_config_t`"""

    _fields_ = [
        ("num_labels", ctypes.c_uint8),
        ("window", ctypes.c_uint8),
        ("min_count", ctypes.c_uint8),
        ("rest", ctypes.c_uint8),
        ("refractory_samples", ctypes.c_uint32),
        ("threshold", ctypes.c_uint8 * MAX_LABELS),
        ("look", ctypes.POINTER(LookStruct)),
    ]


class DetectionStruct(ctypes.Structure):
    """`kws_detection_t`"""

    _fields_ = [("sample_position", ctypes.c_uint32), ("label", ctypes.c_uint8), ("score", ctypes.c_uint8)]


@dataclass(frozen=True, order=True)
class Detection:
    """An event of the detector.

    ``position``: samples since the start of the stream at the end of the window whose result fired. ``score``: the
    smoothed posterior, 0 to 255 (255 is 1 - 1/256).
    """

    position: int
    label: int
    score: int


@functools.cache
def _library() -> ctypes.CDLL:
    sources = [SOURCES / "kws_detector.c", Path(__file__).with_name("batch.c")]
    library = shared_library("detector", sources, [SOURCES], ["-O3"])
    structures = (
        ("kws_det_config_size", ConfigStruct),
        ("kws_det_look_size", LookStruct),
        ("kws_det_detection_size", DetectionStruct),
    )
    for name, structure in structures:
        size = getattr(library, name)
        size.restype = ctypes.c_size_t
        if size() != ctypes.sizeof(structure):
            raise AssertionError(f"{structure.__doc__} has another layout than in kws_detector.h")
    library.kws_det_run.restype = ctypes.c_long
    pointer, size_t, u32 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32
    library.kws_det_run.argtypes = [pointer, pointer, pointer, size_t, size_t, u32, u32, pointer, size_t]
    return library


def run_detector(
    detector: DetectorDefaults,
    outputs: NDArray[np.int8],
    first: int,
    step: int,
    every: int = 1,
    look: Look | None = None,
    levels: NDArray[np.uint8] | None = None,
) -> list[Detection]:
    """Feeds a model's results to a fresh detector.

    Args:
        detector: as in the manifest; its ``stride_hops`` is not looked at.
        outputs: int8 [n, labels], softmax with scale 1/256 and zero point -128.
        first: samples at the end of the first result's window.
        step: samples between two rows of ``outputs``.
        every: uses rows 0, every, 2 * every, …
        look: the manifest's second look, which thresholds are then of.
        levels: uint8 [n], what it needs beside (`levels_of`).

    Raises:
        KwsError: the firmware refuses this configuration (said which fields), or the labels do not agree.
    """
    if outputs.dtype != np.int8 or outputs.ndim != 2:
        raise ValueError(f"int8 [n, labels] is needed, not {outputs.dtype} {outputs.shape}")
    rows, labels = outputs.shape
    if len(detector.thresholds) != labels:
        raise KwsError(f"{len(detector.thresholds)} thresholds for a model of {labels} labels")
    outputs = np.ascontiguousarray(outputs)
    if look and levels is None:
        raise ValueError("a second look needs levels")
    loud = np.ascontiguousarray(np.zeros(0, np.uint8) if levels is None else levels[::every])
    config = as_c(detector, look)
    used = -(-rows // every)
    room = 64 + used // 8
    while True:
        found = (DetectionStruct * room)()
        count = _library().kws_det_run(
            ctypes.byref(config),
            outputs.ctypes.data,
            loud.ctypes.data if look else None,
            labels * every,
            used,
            first,
            step * every,
            found,
            room,
        )
        if count < 0:
            raise KwsError(
                f"the detector refuses window {detector.window}, min_count {detector.min_count}, {labels} labels",
                hint=f"window 1 to {MAX_WINDOW}, min_count 1 to {MAX_COUNT}, 1 to {MAX_LABELS} labels",
            )
        if count <= room:
            return [Detection(d.sample_position, d.label, d.score) for d in found[:count]]
        room = count


def levels_of(frames: NDArray[np.int8], rows: int, window_frames: int, stride: int, newest: int) -> NDArray[np.uint8]:
    """How loud it was at each result, as `kws_detector_step` takes it: the mean over the newest frames of its window.

    Args:
        frames: int8 [n, channels].
        rows: how many results.
        window_frames: frames of the first one's window; each next one's lies ``stride`` further.
    """
    each = (frames.astype(np.int64) + 128).sum(axis=1)
    sums = np.concatenate([[0], np.cumsum(each)])
    ends = window_frames + stride * np.arange(rows)
    return ((sums[ends] - sums[ends - newest]) // (newest * frames.shape[1])).astype(np.uint8)


def as_c(detector: DetectorDefaults, look: Look | None = None) -> ConfigStruct:
    """`kws_detector_config_t` of the manifest's values, which keeps what it points to.

    Raises:
        KwsError: a value has no room in its field.
    """
    labels = len(detector.thresholds)
    limits = (
        ("window", detector.window, MAX_WINDOW),
        ("min_count", detector.min_count, MAX_COUNT),
        ("refractory_samples", detector.refractory_samples, 2**32 - 1),
        ("rest", detector.rest, detector.window - 1),
        ("thresholds", labels, MAX_LABELS),
        ("a threshold", max(detector.thresholds, default=0), 255),
        ("a threshold", 255 - min(detector.thresholds, default=0), 255),
    )
    for name, value, limit in limits:
        if not 0 <= value <= limit:
            raise KwsError(f"the detector's {name} is out of its range (at most {limit})")
    config = ConfigStruct(labels, detector.window, detector.min_count, detector.rest, detector.refractory_samples)
    config.threshold[:labels] = detector.thresholds
    if look:
        config.look = ctypes.pointer(look_as_c(look))
    return config


def look_as_c(look: Look) -> LookStruct:
    """`kws_look_t`, which keeps its arrays."""
    weights, bias, out = look.arrays()
    head = look.steps, look.hidden, look.shift, look.out_shift, look.frames, look.out_bias
    return LookStruct(
        *head,
        ctypes.cast((ctypes.c_int8 * weights.size)(*weights.ravel().tolist()), ctypes.POINTER(ctypes.c_int8)),
        ctypes.cast((ctypes.c_int32 * bias.size)(*bias.tolist()), ctypes.POINTER(ctypes.c_int32)),
        ctypes.cast((ctypes.c_int8 * out.size)(*out.tolist()), ctypes.POINTER(ctypes.c_int8)),
    )


@functools.cache
def logits() -> NDArray[np.int8]:
    """What the second look sees of each posterior 0..255: its logit in steps of 1/20."""
    function = _library().kws_look_logit
    function.restype, function.argtypes = ctypes.c_int8, [ctypes.c_uint8]
    return np.array([function(p) for p in range(256)], np.int8)
