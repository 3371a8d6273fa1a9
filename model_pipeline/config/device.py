"""What runs on the device, and what is measured there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model_pipeline.strict import Strict


class DetectorConfig(Strict):
    """What turns posteriors into events."""

    # False accepts an hour that are wanted: `kws run` then chooses window, thresholds, count, refractory time and
    # stride by voices and recordings that training has not heard. 0: those given here.
    rate: float = Field(0.0, ge=0, le=1000)
    # Hidden units of the second look (`kws look`) that `kws run` teaches the detector before it chooses the rest, on
    # the words and the connected speech that training has heard. 0: none. With `rate`.
    look: int = Field(0, ge=0, le=32)
    # The share of words near the keywords in sound that may fire when they are said alone; keywords are missed for it,
    # and the report says how many. 0: as many as will. With `rate`.
    near_rate: float = Field(0.0, ge=0, lt=1)
    window_ms: int = Field(400, ge=0, le=5000)
    threshold: float = Field(0.7, gt=0, lt=1)
    min_count: int = Field(2, ge=1, le=20)
    refractory_ms: int = Field(800, ge=0, le=10000)
    stride_hops: int = Field(5, ge=1, le=50)  # hops between inferences in continuous mode


Packing = Literal["speed", "size", "portable"]


class CompileConfig(Strict):
    """How the compiler keeps weights in flash (docs/kernels.md)."""

    # speed: as the inner loops want them, two bytes a weight; size: one byte, for a little more time; portable: the
    # plain kernels' layout, one byte.
    packing: Packing = "speed"
    # Bytes; where "speed" would take more, only the layers that gain most keep two bytes. 0: no limit.
    max_constants: int = Field(0, ge=0)


class MeasureConfig(Strict):
    """What is streamed to the device."""

    clips: int = Field(60, ge=1)  # spread evenly over the labels of the test split
    # Of each near word, by held-out voices: of synthetic data at most so many of its test split. 0: they are not tried.
    near_takes: int = Field(4, ge=0)
    # Test keywords said in noise, for misses and false accepts in a stream; 0: none.
    session_keywords: int = Field(400, ge=0)
