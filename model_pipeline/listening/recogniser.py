"""A model over long audio, as the application on the board runs it in continuous mode (firmware/app/app_stream.c).

The rule: the front end is reset at the start of the stream and gives frame ``f`` (from 0) once sample
``window_samples + f * hop_samples`` is there; that is the position that a result carries. The first inference is at
frame ``window_frames - 1``, when the model's window is full for the first time; the next ones follow every ``stride``
hops.
"""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.compiler import HostPrograms, Program, compile_model
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.features import Frontend, quantize
from model_pipeline.files import read_bytes
from model_pipeline.listening.detector import Detection, levels_of, run_detector
from model_pipeline.listening.wide import NotWide, widen
from model_pipeline.manifest import DetectorDefaults, Look, Manifest, load_manifest
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE

_FLAGS = ("-O3", "-march=native")
_CHUNK = 256  # windows in one call: small enough to see progress and to share out evenly


@dataclass(frozen=True)
class Track:
    """A model's results along a recording.

    ``outputs`` int8 [n, labels]; row ``i`` looks at the window that ends at sample ``first + i * step``;
    ``stride_hops``: hops of the front end between two rows; ``samples``: the recording's length; ``look``: the model's
    second look, and ``levels`` uint8 [n], what it needs beside.
    """

    outputs: NDArray[np.int8]
    first: int
    step: int
    stride_hops: int
    samples: int
    look: Look | None = None
    levels: NDArray[np.uint8] | None = None

    @property
    def positions(self) -> NDArray[np.int64]:
        """Samples at the end of each row's window."""
        return self.first + self.step * np.arange(len(self.outputs), dtype=np.int64)

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return self.samples / SAMPLE_RATE

    def every(self, stride_hops: int) -> Track:
        """The results of a larger stride, which must be a multiple of this one's."""
        factor, rest = divmod(stride_hops, self.stride_hops)
        if rest or factor < 1:
            raise ValueError(f"results of every {self.stride_hops} hops hold none of every {stride_hops}")
        levels = None if self.levels is None else self.levels[::factor]
        return replace(
            self, outputs=self.outputs[::factor], levels=levels, step=self.step * factor, stride_hops=stride_hops
        )

    def detect(self, detector: DetectorDefaults) -> list[Detection]:
        """What the firmware's detector makes of it, at the stride of ``detector``."""
        factor, rest = divmod(detector.stride_hops, self.stride_hops)
        if rest or factor < 1:
            raise ValueError(f"results of every {self.stride_hops} hops hold none of every {detector.stride_hops}")
        return run_detector(detector, self.outputs, self.first, self.step, factor, self.look, self.levels)


class Recogniser:
    """A model folder, ready for long audio: the C front end, and the compiled plan once for each core.

    ``wide``: whether the plan that shares columns between windows is used (see `wide`); it is only if it gives what
    the plan of the firmware gives, tried here on random windows.
    """

    def __init__(self, model: Path, workers: int | None = None, *, wide: bool = True) -> None:
        """
        Args:
            workers: threads; None: one for each core.
            wide: False: always window by window.

        Raises:
            KwsError: no model, or one that the compiler refuses.
            CheckFailed: the two plans do not give the same results.
        """
        self.manifest: Manifest = load_manifest(model)
        program = compile_model(read_bytes(Path(model) / "model.tflite"))
        if program.input.bytes != self.manifest.window_frames * self.manifest.frontend.channels:
            raise KwsError(f"{model}: the model takes {program.input.bytes} values, not those of its manifest")
        if program.output.bytes != len(self.manifest.labels):
            raise KwsError(f"{model}: the model gives {program.output.bytes} values, not those of its manifest")
        # A plan has one static arena, so each thread needs its own copy. Integers: the same at any optimisation.
        count = max(1, workers or os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(count)
        self.wide = False
        self.why_not_wide = "not asked for"
        self.step_frames = program.step_frames  # not 0: the model keeps variables, and must see each frame once
        if self.step_frames:
            self.why_not_wide = "the model keeps variables"
            self._owner = HostPrograms([program], flags=_FLAGS)
            return
        if wide:
            self._use_wide(read_bytes(Path(model) / "model.tflite"), program, count)
        if not self.wide:
            self._owner = HostPrograms([program] * count, flags=_FLAGS)

    def _use_wide(self, tflite: bytes, plain: Program, count: int) -> None:
        frames, channels = self.manifest.window_frames, self.manifest.frontend.channels
        try:
            plan = widen(tflite, frames, _CHUNK)
        except NotWide as reason:
            self.why_not_wide = str(reason)
            return
        self._owner = HostPrograms([plan.program] * count, flags=_FLAGS)
        self._plan = plan
        firmware = HostPrograms([plain])
        rng = np.random.default_rng(1)
        hops = plan.hops
        # Loud and quiet stretches, as random values all over give every window the same mean.
        level = np.repeat(rng.integers(1, 128, frames + hops), 8)[: frames + hops - 1, None]
        probe = (rng.integers(-128, 128, (len(level), channels)) * level // 128).astype(np.int8)
        some = rng.choice(hops, min(16, hops), replace=False)
        expected = firmware.programs[0].run(np.stack([probe[i : i + frames] for i in some]))
        found = self._run_wide(0, probe, 1)[some]
        if not np.array_equal(expected, found):
            raise CheckFailed(
                f"{self.manifest.name}: the compiled plan and the one with shared columns give different results",
                hint="a bug in a kernel or in the compiler; please report it with the model",
            )
        self.wide, self.why_not_wide = True, ""

    @property
    def labels(self) -> list[str]:
        """The outputs' names."""
        return self.manifest.labels

    def features(self, samples: NDArray[np.int16]) -> NDArray[np.int8]:
        """The model's int8 input frames of a whole recording: int16 [n] to int8 [frames, channels]."""
        frames = Frontend(self.manifest.frontend).process(samples)
        manifest = self.manifest
        return quantize(frames, manifest.input.scale, manifest.input.zero_point, manifest.feature_shift)

    def track(
        self, samples: NDArray[np.int16], stride_hops: int | None = None, progress: ProgressCallback | None = None
    ) -> Track:
        """Runs front end and model over int16 [n] from a reset, every ``stride_hops`` (the manifest's if None).

        A recording shorter than one window gives a track without rows.
        """
        manifest = self.manifest
        stride = manifest.detector.stride_hops if stride_hops is None else stride_hops
        if stride < 1:
            raise KwsError("the stride must be at least one hop")
        frames = self.features(samples)
        hop, size = manifest.frontend.hop_samples, manifest.window_frames
        first = manifest.frontend.window_samples + (size - 1) * hop
        if len(frames) < size:
            empty = np.empty((0, len(self.labels)), np.int8)
            return Track(empty, first, stride * hop, stride, len(samples), manifest.look, np.empty(0, np.uint8))
        if self.step_frames:
            return Track(self._steps(frames, stride, progress), first, stride * hop, stride, len(samples))
        count = len(frames) - size + 1
        outputs = np.empty((len(range(0, count, stride)), len(self.labels)), np.int8)
        # In hops; multiples of the stride, so that each chunk begins with a result.
        hops = self._plan.hops if self.wide else _CHUNK
        span = max(hops // stride, 1) * stride if self.wide else hops * stride
        starts = range(0, count, span)
        run = self._run_wide if self.wide else self._run_windows
        lanes = len(self._owner.programs)

        stopped = threading.Event()  # Ctrl-C must not wait for hours of audio

        def lane(which: int) -> None:
            for start in starts[which::lanes]:
                if stopped.is_set():
                    return
                end = min(start + (min(span, hops) if self.wide else span), count)
                rows = run(which, frames[start : end + size - 1], stride)
                outputs[start // stride : start // stride + len(rows)] = rows
                if progress and which == 0:
                    progress(end, count, "")

        try:
            for done in [self._pool.submit(lane, which) for which in range(lanes)]:
                done.result()
        except BaseException:
            stopped.set()
            raise
        newest = manifest.look.frames if manifest.look else manifest.detector.stride_hops
        levels = levels_of(frames, len(outputs), size, stride, min(size, newest))
        return Track(outputs, first, stride * hop, stride, len(samples), manifest.look, levels)

    def _steps(self, frames: NDArray[np.int8], stride: int, progress: ProgressCallback | None) -> NDArray[np.int8]:
        """Results of a model that keeps variables, from its reset, one after the other."""
        step, program = self.step_frames, self._owner.programs[0]
        if stride % step:
            raise KwsError(f"a model that takes {step} frames a step gives no results every {stride}")
        inputs = frames[: len(frames) // step * step].reshape(-1, step * frames.shape[1])
        outputs = np.empty((len(inputs), len(self.labels)), np.int8)
        program.reset()
        for start in range(0, len(inputs), _CHUNK):
            rows = program.run(inputs[start : start + _CHUNK])
            # As the firmware has it: posteriors with a zero point of -128, whatever the model's own.
            outputs[start : start + _CHUNK] = rows if rows.dtype == np.int8 else (rows ^ 0x80).view(np.int8)
            if progress:
                progress(min(start + _CHUNK, len(inputs)), len(inputs), "")
        return outputs[self.manifest.window_frames // step - 1 :: stride // step]

    def _run_windows(self, which: int, frames: NDArray[np.int8], stride: int) -> NDArray[np.int8]:
        # [rows, channels, size] views of the frames, copied in the order [time, channel].
        windows = np.lib.stride_tricks.sliding_window_view(frames, self.manifest.window_frames, axis=0)[::stride]
        return self._owner.programs[which].run(np.ascontiguousarray(windows.transpose(0, 2, 1)))

    def _run_wide(self, which: int, frames: NDArray[np.int8], stride: int) -> NDArray[np.int8]:
        plan, program = self._plan, self._owner.programs[which]
        rows = len(frames) - self.manifest.window_frames + 1
        if rows < plan.hops:  # the recording's end
            frames = np.pad(frames, ((0, plan.hops - rows), (0, 0)))
        size = self.manifest.window_frames + plan.hops - plan.step
        apart = math.gcd(stride, plan.step)  # of the phases in which a result is wanted
        wanted = range(0, plan.step, apart)
        phases = [program.run(frames[phase : phase + size]).reshape(plan.windows, -1) for phase in wanted]
        return np.stack(phases, axis=1).reshape(plan.hops // apart, -1)[: -(-rows // apart) : stride // apart]
