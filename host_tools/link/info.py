"""What a device says of itself (INFO), and the detector's settings in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from host_tools.link.codes import MAX_INFO, InfoTag
from host_tools.link.events import Event
from model_pipeline.limits import LIMITS, check_label, check_labels
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.text import shown

_MAX_TEXT = 64  # characters of a text in INFO


@dataclass(frozen=True)
class Detector(Event):
    """Detector settings, see firmware/core/detector/kws_detector.h."""

    window: int
    min_count: int
    refractory_samples: int
    thresholds: tuple[int, ...]
    rest: int = 0

    def payload(self) -> bytes:
        """The payload of SET_DETECTOR."""
        numbers = (self.window, self.min_count, self.rest, 0, self.refractory_samples, len(self.thresholds))
        return struct.pack("<BBBBIB", *numbers) + bytes(self.thresholds)

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Detector:
        window, count, rest, _, refractory, n = struct.unpack_from("<BBBBIB", payload)
        if len(payload) != 9 + n:
            raise ValueError("detector length")
        return cls(window, count, refractory, tuple(payload[9:]), rest, at=at)


@dataclass(frozen=True)
class Part:
    """One of several models in an image: its labels are the next ``labels`` of the image's."""

    name: str
    labels: int
    role: int  # 0 words, 1 voice
    window: int  # results that its detector averages
    rest: int  # of its thresholds
    hop_samples: int  # of its front end
    stride: int  # hops between its results

    @classmethod
    def parse(cls, value: bytes) -> Part:
        labels, role, window, rest, hop, stride = struct.unpack_from("<BBBBHH", value)
        return cls(shown(value[8:].decode("utf-8", "replace"), _MAX_TEXT), labels, role, window, rest, hop, stride)


@dataclass(frozen=True)
class Info(Event):
    """What the firmware says of itself. Times are ticks of ``timer_source``:
    `host_tools.measure.metrics.tick_unit`."""

    firmware: str = ""
    board: str = ""
    engine: str = ""
    model_hash: str = ""
    labels: tuple[str, ...] = ()
    sample_rate: int = 0
    window_samples: int = 0
    hop_samples: int = 0
    channels: int = 0
    window_frames: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    default_stride: int = 0
    timer_hz: int = 0
    core_hz: int = 0
    calibration_expected: int = 0
    calibration_ticks: int = 0
    timer_source: str = ""
    arena_bytes: int = 0
    macs: int = 0
    stack_bytes: int = 0
    stack_used: int = 0
    free_ram: int = 0
    detector: Detector | None = None
    build: str = ""
    parts: tuple[Part, ...] = ()  # where there are several models
    more: bool = False  # another INFO_REPLY goes on with the labels
    payload: bytes = b""

    def joined(self, rest: Info) -> Info:
        """This reply and the one that goes on with it, as one.

        Raises:
            ValueError: it says nothing new, or all of it is longer than a device's can be.
        """
        if not rest.payload or len(self.payload) + len(rest.payload) > MAX_INFO:
            raise ValueError(f"INFO goes on beyond {MAX_INFO} bytes" if rest.payload else "INFO goes on with nothing")
        return Info.parse(self.payload + rest.payload, rest.at)

    def check(self) -> None:
        """
        Raises:
            ValueError: a number or a label that no firmware of ours has: nothing may be made by it.
        """
        limits = {
            "sample_rate": (SAMPLE_RATE, SAMPLE_RATE),
            "window_samples": (1, LIMITS["SAMPLES"]),
            "hop_samples": (1, LIMITS["SAMPLES"]),
            "channels": (1, LIMITS["CHANNELS"]),
            "window_frames": (1, LIMITS["FRAMES"]),
            "input_bytes": (1, LIMITS["INPUT_BYTES"]),
            "output_bytes": (1, LIMITS["LABELS"]),
            "default_stride": (1, LIMITS["STRIDE_HOPS"]),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, not {least} to {most}")
        if self.input_bytes != self.window_frames * self.channels:
            raise ValueError(f"input_bytes is {self.input_bytes} for {self.window_frames} x {self.channels} values")
        if self.output_bytes != len(self.labels):
            raise ValueError(f"output_bytes is {self.output_bytes} for {len(self.labels)} labels")
        if self.parts and sum(part.labels for part in self.parts) != len(self.labels):
            raise ValueError(f"the models have not {len(self.labels)} labels together")
        at = 0
        for count in [part.labels for part in self.parts] or [len(self.labels)]:
            for label in check_labels(list(self.labels[at : at + count])):
                check_label(label)
            at += count

    def part_of(self, label: int) -> Part | None:
        """The model that ``label`` is of, where there are several."""
        for part in self.parts:
            if label < part.labels:
                return part
            label -= part.labels
        return None

    @classmethod
    def parse(cls, payload: bytes, at: float) -> Info:
        values: dict[str, Any] = {}
        texts = {
            InfoTag.FIRMWARE: "firmware",
            InfoTag.BOARD: "board",
            InfoTag.ENGINE: "engine",
            InfoTag.MODEL_HASH: "model_hash",
            InfoTag.TIMER_SOURCE: "timer_source",
            InfoTag.BUILD: "build",
        }
        numbers = {
            InfoTag.SHAPE: "sample_rate window_samples hop_samples channels window_frames input_bytes output_bytes "
            "default_stride",
            InfoTag.TIMER: "timer_hz core_hz calibration_expected calibration_ticks _",
            InfoTag.MEMORY: "arena_bytes macs stack_bytes stack_used free_ram",
        }
        labels = b""
        offset = 0
        while offset < len(payload):
            tag, length = struct.unpack_from("<BB", payload, offset)
            value = payload[offset + 2 : offset + 2 + length]
            if len(value) != length:
                raise ValueError("INFO field runs past the end")
            offset += 2 + length
            values["more"] = tag == InfoTag.MORE  # stands only at the end of a reply
            if tag in texts:
                values[texts[tag]] = shown(value.decode("utf-8", "replace"), _MAX_TEXT)
            elif tag == InfoTag.LABELS:
                labels += value
            elif tag in numbers:
                names = numbers[tag].split()
                values.update(zip(names, struct.unpack(f"<{len(names)}I", value), strict=True))
            elif tag == InfoTag.PART:
                values["parts"] = (*values.get("parts", ()), Part.parse(value))
            elif tag == InfoTag.DETECTOR:
                values["detector"] = Detector.parse(value, at)
        values.pop("_", None)
        if labels:
            values["labels"] = tuple(labels.decode("utf-8", "replace").split("\n"))
        return cls(**values, payload=payload, at=at)
