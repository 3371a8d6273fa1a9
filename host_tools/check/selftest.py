"""What a device with our firmware must do, as checks that run alike on a board, an emulator and the host port.

The pytest suite in tests/hardware runs them one by one at full length; ``kws selftest`` is the short version.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from host_tools.check.device import Device, Reference, Skipped
from host_tools.link import stream
from host_tools.link.codes import MAX_SAMPLES, RESET_REASONS, Command, Die, ErrorCode, FaultKind
from host_tools.link.events import DeviceRefused, Fault, Result, StreamDone
from host_tools.link.payloads import stream_data
from host_tools.measure.clips import open_dataset
from model_pipeline.errors import CheckFailed, DeviceError, KwsError
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE

if TYPE_CHECKING:
    from host_tools.check.stream import StreamComparison


def hello(device: Device) -> str:
    """The firmware answers, knows its clock and fits its memory."""
    info = device.info()
    if not (info.board and info.model_hash and info.labels):
        raise CheckFailed(f"INFO lacks the board, the model or the labels: {info}")
    if info.stack_bytes and info.stack_used >= info.stack_bytes:
        raise CheckFailed(f"the stack of {info.stack_bytes} bytes is used up")
    core = f", {info.core_hz / 1e6:g} MHz" if info.core_hz else ""
    return f"{info.board}, firmware {info.firmware}, model {info.model_hash} by {info.engine}{core}"


def soak(device: Device) -> str:
    """Frames of all lengths, none lost, none repeated, every sample counted."""
    link = device.link
    link.stats(clear=True)
    rng = np.random.default_rng(device.seed)
    # The largest stride there is: the link is tried here, not the model.
    link.send(Command.STREAM_START, struct.pack("<BBH", stream.CONTINUOUS, 0, 0xFFFF))
    total = 0
    started = time.perf_counter()
    for _ in range(device.frames):
        samples = rng.integers(-32768, 32768, rng.integers(1, MAX_SAMPLES + 1), dtype=np.int16)
        link.send(Command.STREAM_DATA, stream_data(total, samples))
        total += len(samples)
    link.send(Command.STREAM_STOP, struct.pack("<I", total))
    done = link.expect(StreamDone, timeout=60.0, commands=(Command.STREAM_DATA, Command.STREAM_STOP))
    seconds = time.perf_counter() - started
    if done is None:
        raise DeviceError(f"{link.name}: the device never said that the stream was done", hint="reset the board")
    if (done.total, done.dropped) != (total, 0):
        raise CheckFailed(f"{total} samples were sent, {done.total} arrived, {done.dropped} were dropped")
    after = link.stats()
    errors = {k: v for k, v in vars(after).items() if k.startswith("rx_") and k not in ("rx_frames", "rx_bytes") and v}
    if errors or after.tx_dropped:
        raise CheckFailed(f"the device counted {errors or 'dropped frames'}")
    device.expect_clean()
    return f"{device.frames} frames, {total:,} samples, {2 * total / 1000 / seconds:.0f} KB/s"


def exact_inference(device: Device) -> str:
    """Random features give what TFLite Micro gives, value by value."""
    reference = device.needs_reference()
    shape = (reference.manifest.window_frames, reference.manifest.frontend.channels)
    rng = np.random.default_rng(device.seed)
    windows = rng.integers(-128, 128, (device.windows, *shape), dtype=np.int16).astype(np.int8)
    expected = reference.infer(windows)
    for number, (window, wanted) in enumerate(zip(windows, expected, strict=True)):
        found = stream.infer(device.link, window.reshape(-1)).output
        if list(found) != wanted.tolist():
            raise CheckFailed(f"window {number}: the device gives {list(found)}, {reference.engine} {wanted.tolist()}")
    device.expect_clean()
    return f"{len(windows)} windows equal to {reference.engine}"


def exact_stream(device: Device) -> str:
    """Sound through front end, model and detector gives what the host gives, result by result."""
    rng = np.random.default_rng(device.seed)
    loud = np.repeat(rng.uniform(0.0, 0.6, 8), SAMPLE_RATE // 4)
    audio = (rng.standard_normal(len(loud)) * loud * 9000).clip(-32768, 32767).astype(np.int16)
    found = _compare_stream(device, audio)
    return f"{found.equal_inferences} results of {len(audio) / SAMPLE_RATE:.0f} s of sound equal to the host's"


def keywords(device: Device) -> str:
    """Streamed keywords are detected, at the sample where the host detects them."""
    if device.speech is None:
        raise Skipped("no speech to stream (--data DIR)")
    heard = _compare_stream(device, device.speech).detections.device
    if not heard:
        raise CheckFailed("no keyword was detected")
    return f"{len(heard)} detected: {' '.join(label for _, label, _ in heard)}"


def silence_and_noise(device: Device) -> str:
    """Noise without speech is not taken for a keyword."""
    audio = device.noise
    if audio is None:
        rng = np.random.default_rng(device.seed)
        hiss = (rng.standard_normal(2 * SAMPLE_RATE) * 300).astype(np.int16)
        audio = np.concatenate([np.zeros(SAMPLE_RATE, np.int16), hiss])
    heard = _compare_stream(device, audio).detections.device
    if heard:
        raise CheckFailed(f"noise was taken for {heard[0][1]!r}")
    return f"nothing detected in {len(audio) / SAMPLE_RATE:.0f} s"


def overload(device: Device) -> str:
    """An inference every hop and audio as fast as the line takes it: slower, but not one sample unaccounted for."""
    rng = np.random.default_rng(device.seed)
    info = device.info()
    # 30 inferences
    audio = rng.integers(-20000, 20000, info.window_samples + (info.window_frames + 29) * info.hop_samples, np.int16)
    frames = 1 + (len(audio) - info.window_samples) // info.hop_samples
    results, done = 0, None
    for event in stream.stream_continuous(device.link, [audio], stride=1):
        results += isinstance(event, Result)
        done = event if isinstance(event, StreamDone) else done
    stats = device.link.stats()
    if done is None or done.total + done.dropped != len(audio):
        raise CheckFailed(f"{len(audio)} samples were sent, {done} came back")
    if done.dropped == 0 and done.frames != frames:
        raise CheckFailed(f"{frames} frames were due, {done.frames} were made")
    wanted = done.frames - info.window_frames + 1
    if not results == done.inferences == wanted:
        raise CheckFailed(f"{wanted} results were due, {done.inferences} made, {results} arrived")
    lost = done.dropped + stats.audio_dropped + stats.rx_ring_overflow
    device.expect_clean()
    return f"{results} inferences over {len(audio) / SAMPLE_RATE:.1f} s of sound, {lost} samples lost"


def undefined_instruction(device: Device) -> str:
    """A fault ends in a record that the next session gets."""
    fault, reason = _die(device, Die.UNDEFINED)
    if fault.kind not in (FaultKind.HARD, FaultKind.USAGE) or not fault.pc or not fault.cfsr & 0x10000:
        raise CheckFailed(f"the record does not tell of an undefined instruction: {fault}")
    if reason != "fault":
        raise CheckFailed(f"the reset's reason is {reason!r}")
    return _record(fault)


def stack_overflow(device: Device) -> str:
    """The guard at the stack's end catches an overflow."""
    fault, _ = _die(device, Die.STACK)
    if fault.kind != FaultKind.STACK:
        raise CheckFailed(f"the record does not tell of a stack overflow: {fault}")
    return _record(fault)


def watchdog(device: Device) -> str:
    """A main loop that stands still is ended by the watchdog, and the record says where it stood."""
    fault, reason = _die(device, Die.HANG)
    if fault.kind != FaultKind.WATCHDOG or reason != "watchdog":
        raise CheckFailed(f"the record does not tell of the watchdog: {fault}, reason {reason}")
    return _record(fault)


def restart(device: Device) -> str:
    """A commanded reset brings a clean new session: no record, counters at zero."""
    reply = device.restart(30.0)
    if reply.has_fault:
        raise CheckFailed("there is a fault record after a clean reset")
    stats = device.link.stats()
    if stats.rx_missing or stats.rx_malformed or stats.rx_crc:
        raise CheckFailed(f"counters are not clean after a reset: {stats}")
    reason = RESET_REASONS[reply.reset_reason] if reply.reset_reason < len(RESET_REASONS) else reply.reset_reason
    return f"reason: {reason}"


CHECKS: tuple[Callable[[Device], str], ...] = (
    hello,
    soak,
    exact_inference,
    exact_stream,
    keywords,
    silence_and_noise,
    overload,
    restart,
    undefined_instruction,
    stack_overflow,
    watchdog,
)


@dataclass(frozen=True)
class Finding:
    """One check's end. ``state``: "passed", "failed" or "skipped"."""

    name: str
    state: str
    detail: str
    seconds: float


def run(device: Device, progress: ProgressCallback | None = None) -> Iterator[Finding]:
    """All checks in order, each as it ends; a failed one does not stop the others.

    Raises:
        DeviceError: the link went down, or an answer never came: after the finding that says so.
    """
    for number, check in enumerate(CHECKS):
        if progress:
            progress(number, len(CHECKS), check.__name__.replace("_", " "))
        started = time.perf_counter()
        lost: DeviceError | None = None
        try:
            state, detail = "passed", check(device)
        except Skipped as reason:
            state, detail = "skipped", str(reason)
        except (CheckFailed, DeviceRefused) as error:
            state, detail = "failed", str(error)
        except DeviceError as error:
            state, detail, lost = "failed", str(error), error
        yield Finding(check.__name__, state, detail, round(time.perf_counter() - started, 3))
        if lost:
            raise lost


def speech_and_noise(
    folder: Path, reference: Reference, keywords_wanted: int = 2
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Test clips that the host is sure of, each between seconds of quiet; and background noise in which it hears
    nothing. ``folder``: a data folder.

    Raises:
        KwsError: the folder lacks them.
    """
    labels = reference.manifest.labels
    dataset = open_dataset(folder, labels)
    stride = reference.manifest.detector.stride_hops
    quiet = (np.random.default_rng(1).standard_normal(SAMPLE_RATE // 2) * 10).astype(np.int16)
    speech = np.concatenate([quiet, quiet])
    spoken: list[int] = []
    for clip in dataset.clips("testing"):
        if len(spoken) == keywords_wanted:
            break
        if clip.label in spoken or clip.label >= len(labels) - 2:
            continue
        longer = np.concatenate([speech, dataset.audio([clip])[0], quiet])
        if [label for _, label, _ in reference.listen(longer, stride)[1]] == [*spoken, clip.label]:
            speech, spoken = longer, [*spoken, clip.label]
    if len(spoken) < keywords_wanted:
        raise KwsError(f"{folder}: the model is sure of {len(spoken)} of its test clips, {keywords_wanted} are needed")
    for _name, recording in dataset.noise:
        noise = np.asarray(recording[: 3 * SAMPLE_RATE])
        if not reference.listen(noise, stride)[1]:
            return speech, noise
    raise KwsError(f"{folder}: the model hears keywords in all of its noise")


def _compare_stream(device: Device, audio: NDArray[np.int16]) -> StreamComparison:
    """By the detector that the firmware was built with."""
    from host_tools.check.stream import compare

    reference = device.needs_reference()
    device.link.reset_stream()
    found = compare(device.link, reference.recogniser, audio, set_detector=False)
    device.expect_clean()
    if found.first_difference:
        raise CheckFailed(found.first_difference)
    return found


def _die(device: Device, kind: int) -> tuple[Fault, str]:
    try:
        reply = device.restart(60.0, kind)
    except DeviceRefused as error:
        if error.code == ErrorCode.UNSUPPORTED:
            raise Skipped("this port has no such end") from error
        raise
    if not reply.has_fault:
        raise CheckFailed("HELLO says that there is no fault record")
    fault = device.link.expect(Fault, timeout=10.0)
    if fault is None:
        raise CheckFailed("no fault record came")
    again = device.link.hello()
    if again.has_fault:
        raise CheckFailed("the fault record was sent twice")
    reason = reply.reset_reason
    return fault, RESET_REASONS[reason] if reason < len(RESET_REASONS) else str(reason)


def _record(fault: Fault) -> str:
    place = f" at {fault.pc:#010x}" if fault.pc else ""
    return f"{FaultKind.name_of(fault.kind)}{place} after {fault.uptime_ms} ms"
