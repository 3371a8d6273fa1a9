"""The firmware's front end, compiled for this machine: the one implementation that training and tools use."""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import FrontendConfig
from model_pipeline.errors import KwsError
from model_pipeline.features.tables import ARRAYS, SCALARS, Tables, tables
from model_pipeline.manifest import feature_quantization, input_scale
from model_pipeline.native import FIRMWARE, shared_library

SOURCES = FIRMWARE / "core" / "frontend"


class _CTables(ctypes.Structure):
    """`kws_fe_tables_t`"""

    _fields_ = [(name, ctypes.c_uint16) for name in SCALARS] + [(name, ctypes.c_void_p) for name in ARRAYS]


@functools.cache
def _library() -> ctypes.CDLL:
    here = Path(__file__).parent
    # batch.c includes kws_frontend.c; vectors never pass between files, so their calling convention is irrelevant.
    sources, flags = [here / "batch.c", here / "lanes.c"], ["-O3", "-Wno-psabi"]
    library = shared_library("frontend", sources, [SOURCES, here], flags, depends=[SOURCES / "kws_frontend.c"])
    library.kws_fe_state_size.restype = ctypes.c_size_t
    library.kws_fe_run.restype = ctypes.c_size_t
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    library.kws_fe_run.argtypes = [pointer, pointer, size, pointer, size]
    library.kws_fe_clips.argtypes = [pointer, pointer, size, size, pointer, size]
    library.kws_fe_quantize_all.argtypes = [pointer, size, ctypes.c_uint32, ctypes.c_int, ctypes.c_int, pointer]
    return library


@functools.lru_cache(maxsize=16)
def _c_tables(config: FrontendConfig) -> tuple[_CTables, Tables]:
    """The C structure, and the arrays that it points into."""
    values = tables(config)
    result = _CTables()
    for name in SCALARS:
        setattr(result, name, values.scalar(name))
    for name in ARRAYS:
        setattr(result, name, getattr(values, name).ctypes.data)
    return result, values


class Frontend:
    """A stream of audio to a stream of frames; keeps its state between calls."""

    def __init__(self, config: FrontendConfig) -> None:
        self.config = config
        self._tables = _c_tables(config)
        self._state = ctypes.create_string_buffer(_library().kws_fe_state_size())
        if _library().kws_fe_init(self._state, ctypes.byref(self._tables[0])):
            raise KwsError(f"the front end does not support {config!r}")
        self._used = 0

    def reset(self) -> None:
        """Forgets samples and noise estimate."""
        _library().kws_fe_reset(self._state)
        self._used = 0

    def process(self, samples: NDArray[np.int16]) -> NDArray[np.uint16]:
        """Feeds int16 [n] samples; gives the frames that became whole, uint16 [frames, channels] in steps of 10/256
        log units (`manifest.FEATURE_STEP`)."""
        samples = _int16(samples, 1)
        total = self._used + len(samples)
        frames = self.config.frames(total)
        out = np.empty((frames, self.config.channels), np.uint16)
        # One frame more than can be, so that all samples are taken.
        got = _library().kws_fe_run(self._state, samples.ctypes.data, len(samples), out.ctypes.data, frames + 1)
        if got != frames:
            raise AssertionError(f"{got} frames where {frames} were due")
        self._used = total - frames * self.config.hop_samples
        return out


def clip_features(config: FrontendConfig, clips: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Features of whole clips, each from a fresh state, on all cores.

    Args:
        clips: int16 [n, samples].

    Returns:
        uint16 [n, frames, channels] with ``frames = config.frames(samples)``.
    """
    clips = _int16(clips, 2)
    count, samples = clips.shape
    frames = config.frames(samples)
    out = np.empty((count, frames, config.channels), np.uint16)
    structure, _ = _c_tables(config)
    library = _library()

    def part(start: int, end: int) -> None:
        if library.kws_fe_clips(
            ctypes.byref(structure), clips[start:].ctypes.data, end - start, samples, out[start:].ctypes.data, frames
        ):
            raise KwsError(f"the front end does not support {config!r}, or there is no memory")

    # ctypes gives up the interpreter lock, so threads are enough.
    workers = min(os.cpu_count() or 1, max(1, count // 16))
    edges = [count * i // workers for i in range(workers + 1)]
    if frames == 0 or count == 0:
        return out
    if workers == 1:
        part(0, count)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(part, edges[:-1], edges[1:]))
    return out


def quantize(features: NDArray[np.uint16], scale: float, zero_point: int = -128, shift: int = 16) -> NDArray[np.int8]:
    """Features as the model's int8 input, by the firmware's own rule (`manifest.feature_quantization`). Any shape."""
    features = np.ascontiguousarray(features, np.uint16)
    out = np.empty(features.shape, np.int8)
    multiplier, shift = feature_quantization(scale, shift)
    _library().kws_fe_quantize_all(features.ctypes.data, features.size, multiplier, shift, zero_point, out.ctypes.data)
    return out


def model_input(audio: NDArray[np.int16], frontend: FrontendConfig, frames: int) -> NDArray[np.int8]:
    """The model's int8 input of whole clips: int16 [n, samples] to int8 [n, frames, channels], made as the firmware
    makes it (the last ``frames`` frames; missing ones in front are the zero point -128)."""
    features = quantize(clip_features(frontend, audio), input_scale(frontend))
    have = features.shape[1]
    if have >= frames:
        return features[:, have - frames :]
    return np.pad(features, ((0, 0), (frames - have, 0), (0, 0)), constant_values=-128)


def _int16(samples: NDArray[np.int16], dimensions: int) -> NDArray[np.int16]:
    if samples.dtype != np.int16 or samples.ndim != dimensions:
        raise ValueError(f"int16 samples of {dimensions} dimensions are needed, not {samples.dtype} {samples.shape}")
    return np.ascontiguousarray(samples)
