"""What front end, inference and detector take on a device, each separately."""

from __future__ import annotations

import time

import numpy as np

from host_tools.link import stream
from host_tools.link.events import Result
from host_tools.link.session import Link
from host_tools.measure import metrics
from host_tools.measure.results import Bench
from model_pipeline.errors import DeviceError
from model_pipeline.progress import ProgressCallback, silent


def bench(link: Link, *, rounds: int = 10, seed: int = 1, progress: ProgressCallback | None = None) -> Bench:
    """Measures ``rounds`` windows of random features, ``rounds`` clips of random sound, and as many seconds of
    continuous sound for the detector.

    Raises:
        DeviceError: the device gives no results.
    """
    report = progress or silent
    info = link.info()
    before = link.stats()
    link.reset_stream()
    rng = np.random.default_rng(seed)
    total = 3 * rounds
    inferences, frames, detector, response = [], [], [], []
    for number in range(rounds):
        report(number, total, "inference on random features")
        values = rng.integers(-128, 128, info.input_bytes, dtype=np.int16).astype(np.int8)
        inferences.append(stream.infer(link, values).inference_ticks)
    started = time.perf_counter()
    sent = 0
    for number in range(rounds):
        report(rounds + number, total, "front end on random sound")
        heard = stream.stream_clip(link, sound(rng))
        sent += 2 * stream.SAMPLE_RATE
        if heard.result is None:
            continue  # counted as lost
        inferences.append(heard.result.inference_ticks)
        if heard.result.frontend_frames:
            frames.append(heard.result.frontend_ticks / heard.result.frontend_frames)
        if heard.response_ms is not None:
            response.append(heard.response_ms)
    seconds = time.perf_counter() - started
    report(2 * rounds, total, "detector on continuous sound")
    for event in stream.stream_continuous(link, (sound(rng) for _ in range(rounds)), stride=1):
        if isinstance(event, Result):
            detector.append(event.detector_ticks)
            report(min(total, 2 * rounds + event.position // stream.SAMPLE_RATE), total, "detector on continuous sound")
    if not frames or not detector:
        raise DeviceError(f"{link.name}: the device gave no results", hint="kws monitor shows what it says")
    report(total, total, "done")
    return Bench.model_validate(
        {
            "device": info.as_dict(),
            "ticks": metrics.tick_unit(info),
            "cost": {
                "frontend_frame": metrics.spread(frames),
                "inference": metrics.spread(inferences),
                "detector": metrics.spread(detector),
            },
            "response_ms": {"burst": metrics.spread(response), "streaming": {"count": 0}},
            "throughput_bytes_per_second": round(sent / seconds),
            "link": metrics.link_summary(link.report(), before, link.stats(), rounds - len(frames)).model_dump(),
        }
    )


def sound(rng: np.random.Generator) -> np.ndarray:
    """One second of noise whose loudness changes as speech's does: int16 [16000]."""
    noise = rng.normal(0, 1, stream.SAMPLE_RATE)
    steps = rng.uniform(-50, -6, 21)  # dB of full scale, every 50 ms
    loudness = 10 ** (np.interp(np.arange(stream.SAMPLE_RATE), np.arange(21) * 800, steps) / 20)
    return np.clip(noise * loudness * 32767 / 3, -32768, 32767).astype(np.int16)
