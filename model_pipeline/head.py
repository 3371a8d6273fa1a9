"""The last layer as a device learns it: firmware/core/learn's C, called from Python."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_pipeline.errors import KwsError
from model_pipeline.native import FIRMWARE, shared_library

SOURCE = FIRMWARE / "core" / "learn"
INPUTS, LABELS = 1024, 32  # most, as in kws_head.h
_ONE = 1 << 24


class _Rate(ctypes.Structure):
    _fields_ = [("weights", ctypes.c_uint32), ("bias", ctypes.c_uint32)]


class _Head(ctypes.Structure):
    _fields_ = [
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_uint16),
        ("labels", ctypes.c_uint8),
        ("zero_point", ctypes.c_int8),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    library = shared_library("kws_head", [SOURCE / "kws_head.c"], [SOURCE])
    library.kws_head_step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint8, _Rate]
    library.kws_head_step.restype = ctypes.c_int32
    library.kws_head_run.argtypes = [ctypes.c_void_p] * 3
    library.kws_head_run.restype = None
    library.kws_head_init.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_uint16, ctypes.c_uint8, ctypes.c_int8]
    return library


class DeviceHead:
    """A linear layer with softmax over int8 inputs of real value ``scale`` * (x - ``zero_point``).

    Attributes:
        weights: int32 [labels, inputs]; bias: int32 [labels]; both in 2^-24 of a logit for each step of an input.
    """

    def __init__(
        self, weights: NDArray[np.floating], bias: NDArray[np.floating], scale: float, zero_point: int
    ) -> None:
        """
        Args:
            weights: [inputs, labels] and bias [labels], of the real values.

        Raises:
            KwsError: it is larger than a device's may be, or its scale is not a number.
        """
        inputs, labels = weights.shape
        if not (0 < inputs <= INPUTS and 0 < labels <= LABELS and scale > 0 and np.isfinite(scale)):
            raise KwsError(f"a head of {inputs} inputs, {labels} labels and scale {scale:g} does not fit a device")
        self.scale, self.zero_point = scale, zero_point
        self.weights, self.bias = _fixed(weights.T * scale), _fixed(bias)
        self._head = _Head()
        self._pointer: Any = ctypes.addressof(self._head)
        weights_at, bias_at = self.weights.ctypes.data, self.bias.ctypes.data
        assert _library().kws_head_init(self._pointer, weights_at, bias_at, inputs, labels, zero_point) == 0

    def probabilities(self, features: NDArray[np.int8]) -> NDArray[np.float64]:
        """[n, labels] of int8 [n, inputs]."""
        rows, found = self._rows(features), np.zeros((len(features), len(self.bias)), np.uint32)
        for row, out in zip(rows, found, strict=True):
            _library().kws_head_run(self._pointer, row.ctypes.data, out.ctypes.data)
        return found / 65536.0

    def learn(self, features: NDArray[np.int8], labels: NDArray[np.integer], rate: float) -> float:
        """A step for each row of int8 [n, inputs] towards its label, in turn. Returns the mean probability that the
        labels had before their steps.

        Raises:
            KwsError: there is no such label, or the rate is not above 0 and below what fixed point holds.
        """
        of = rate_of(rate, self.scale)
        found = [
            _library().kws_head_step(self._pointer, row.ctypes.data, int(label), of)
            for row, label in zip(self._rows(features), _labels(labels, len(self.bias)), strict=True)
        ]
        return float(np.mean(found)) / 65536.0 if found else 0.0

    def real(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights [inputs, labels] and bias [labels] of the real values."""
        return self.weights.T / (_ONE * self.scale), self.bias / _ONE

    def _rows(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        if features.dtype != np.int8 or features.ndim != 2 or features.shape[1] != self.weights.shape[1]:
            raise ValueError(f"int8 [n, {self.weights.shape[1]}] is needed, not {features.dtype} {features.shape}")
        return np.ascontiguousarray(features)


def rate_of(rate: float, scale: float) -> _Rate:
    """A learning rate as the device takes it.

    Raises:
        KwsError: it is not above 0, or more than fixed point holds.
    """
    weights, bias = round(rate * scale * scale * (1 << 32)), round(rate * _ONE)
    if not (rate > 0 and 0 < bias < 1 << 32 and weights < 1 << 32):
        raise KwsError(f"a learning rate of {rate:g} can't be had in fixed point")
    return _Rate(weights, bias)


def _labels(labels: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    if len(labels) and not (labels.min() >= 0 and labels.max() < count):
        raise KwsError(f"there are {count} labels, and none is number {labels.min()} or {labels.max()}")
    return labels


def _fixed(values: NDArray[np.floating]) -> NDArray[np.int32]:
    whole = np.rint(np.asarray(values, np.float64) * _ONE)
    return np.ascontiguousarray(np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32))
