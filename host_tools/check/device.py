"""What `host_tools.check.selftest` checks: a device with our firmware, and what the host says that it must give."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from host_tools.link.events import DeviceRefused, HelloReply
from host_tools.link.info import Info
from host_tools.link.session import Link
from model_pipeline.errors import CheckFailed, DeviceError, MissingTool
from model_pipeline.files import read_bytes

if TYPE_CHECKING:
    from model_pipeline.listening.recogniser import Recogniser


class Skipped(Exception):
    """The check can't be made here; its text says why."""


@dataclass
class Reference:
    """What the host says a model must give. ``model``: a folder with model.tflite and model.json."""

    model: Path
    model_hash: str = ""
    _run: Callable[[NDArray[np.int8]], NDArray[np.int8]] | None = field(default=None, repr=False)
    engine: str = ""

    def __post_init__(self) -> None:
        from model_pipeline.manifest import load_manifest

        self.manifest = load_manifest(self.model)
        self.model_hash = self.manifest.model_hash

    def infer(self, windows: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8 [n, frames, channels] to int8 [n, labels] by TFLite Micro, or our own plan where it is not installed."""
        if self._run is None:
            from model_pipeline.evaluate import runner

            tflite = read_bytes(self.model / "model.tflite")
            try:
                self._run, self.engine = runner(tflite, "tflm"), "TFLite Micro"
            except MissingTool:
                self._run, self.engine = runner(tflite, "aot"), "our plan on this machine"
        return self._run(windows)

    @functools.cached_property
    def recogniser(self) -> Recogniser:
        """The model over long audio, as the firmware runs it."""
        from model_pipeline.listening.recogniser import Recogniser

        return Recogniser(self.model, workers=1, wide=False)

    def listen(self, audio: NDArray[np.int16], stride: int) -> tuple[NDArray[np.int8], list[tuple[int, int, int]]]:
        """What the host makes of int16 ``audio`` [n]: outputs int8 [results, labels], and detections as (position,
        label, score)."""
        track = self.recogniser.track(audio, stride)
        found = track.detect(self.manifest.detector.model_copy(update={"stride_hops": stride}))
        return track.outputs, [(d.position, d.label, d.score) for d in found]


@dataclass
class Device:
    """An open link and what the checks need to know. ``frames``: length of the soak."""

    link: Link
    reference: Reference | None = None
    frames: int = 1000
    windows: int = 20
    seed: int = 1
    # Opens the link anew after a restart, where the port itself goes and comes with the firmware (native USB).
    reopen: Callable[[], Link] | None = None
    speech: NDArray[np.int16] | None = None  # a stream with keywords in it
    noise: NDArray[np.int16] | None = None  # a stream without

    def info(self) -> Info:
        """What the firmware says of itself."""
        return self.link.info()

    def restart(self, timeout: float, die: int | None = None) -> HelloReply:
        """Restarts the firmware, or ends it by a fault, and opens a new session."""
        try:
            return self.link.restart(timeout, die=die)
        except DeviceRefused:
            raise
        except DeviceError:
            if self.reopen is None:
                raise
            self.link.close()
            self.link = self.reopen()
            if self.link.device is None:
                raise
            return self.link.device

    def expect_clean(self) -> None:
        """Raises CheckFailed if anything was lost, damaged or sent twice since hello."""
        if not self.link.counters.clean:
            raise CheckFailed(f"the link was not clean: {self.link.report()}")

    def needs_reference(self) -> Reference:
        """The reference, if it is of the model on the device.

        Raises:
            Skipped: there is none.
            CheckFailed: it is of another model; what was asked for can't be checked, which is not a pass.
        """
        if self.reference is None:
            raise Skipped("no model folder to compare with")
        running = self.info().model_hash
        if running != self.reference.model_hash:
            raise CheckFailed(
                f"not checked: the device runs model {running}, {self.reference.model} is {self.reference.model_hash} "
                "(--model DIR names the folder that its firmware was built from)"
            )
        return self.reference


def reopener(port: str, baud: int | None = None) -> Callable[[], Link] | None:
    """What opens ``port`` again when its USB device went and came back, perhaps under another name; None for a port
    that stays (a debug probe's, an adapter's, a URL)."""
    from host_tools.boards import board_ids, load_board
    from host_tools.flash import usb as devices

    before = next((d for d in devices.ports() if d.port == port), None)
    ids = [devices.usb_ids(load_board(name)) for name in board_ids()]
    owner = next((i for i in ids if before and i.role(before.usb) == "application"), None)
    if before is None or owner is None:
        return None

    def reopen() -> Link:
        def back() -> devices.Device | None:
            return next(
                (d for d in devices.ports() if d.usb == before.usb and d.serial_number == before.serial_number), None
            )

        time.sleep(1.0)  # the old port is listed until the system has noticed
        found = devices.wait_for(f"the port of {owner.board}", back, 15.0, hint="press reset once")
        return Link.open(found.port or port, 15.0, **({"baud": baud} if baud else {}))

    return reopen
