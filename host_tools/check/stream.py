"""Host against device: the same audio through this computer's copy of the firmware's code and through the firmware."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from host_tools.link import stream
from host_tools.link.events import Detection, Result, StreamDone
from host_tools.link.info import Detector
from host_tools.link.session import Link
from model_pipeline.errors import KwsError
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.strict import Strict

_BLOCK = 4000  # samples: 0.25 s
Detected = tuple[int, str, int]  # a detection: its position in samples, label, score


class Detections(Strict):
    """Of one stream, by the two sides."""

    host: list[Detected]
    device: list[Detected]


class StreamComparison(Strict):
    """The same ``samples`` on host and device. ``first_difference``: in words; ``lost``: frames, on the link."""

    equal: bool
    samples: int
    seconds: float
    inferences: int
    equal_inferences: int
    detections: Detections
    first_difference: str | None
    lost: int
    board: str
    engine: str
    model: str


def compare(
    link: Link,
    recogniser: Recogniser,
    samples: NDArray[np.int16],
    detector: DetectorDefaults | None = None,
    progress: ProgressCallback | None = None,
    *,
    set_detector: bool = True,
) -> StreamComparison:
    """Streams int16 ``samples`` [n] in continuous mode and compares every result and every detection.

    Args:
        detector: given to the device first; None: the manifest's.
        set_detector: False: the device keeps the one that it has, which must be ``detector``.

    Raises:
        KwsError: the device has another model.
        DeviceError: it refuses, or goes away.
    """
    manifest = recogniser.manifest
    info = link.info()
    if info.model_hash != manifest.model_hash:
        raise KwsError(
            f"the device runs model {info.model_hash}, not {manifest.model_hash} ({manifest.name})",
            hint="kws flash or kws build with this model first",
        )
    wanted = detector or manifest.detector
    if set_detector:
        numbers = (wanted.window, wanted.min_count, wanted.refractory_samples, tuple(wanted.thresholds), wanted.rest)
        link.set_detector(Detector(*numbers, at=0.0))
    track = recogniser.track(samples, wanted.stride_hops)
    expected = track.detect(wanted)
    lost_before = link.counters.lost + link.counters.bad
    results: list[Result] = []
    detections: list[Detection] = []
    done: StreamDone | None = None
    blocks = _blocks(samples, progress)
    for event in stream.stream_continuous(link, blocks, stride=wanted.stride_hops, results=True):
        if isinstance(event, Result):
            results.append(event)
        elif isinstance(event, Detection):
            detections.append(event)
        elif isinstance(event, StreamDone):
            done = event
    lost = link.counters.lost + link.counters.bad - lost_before
    labels = manifest.labels
    host = [(d.position, labels[d.label], d.score) for d in expected]
    device = [(d.position, labels[d.label] if d.label < len(labels) else "?", d.score) for d in detections]
    outputs = [tuple(int(v) for v in row) for row in track.outputs]
    positions = track.positions.tolist()
    pairs = list(zip(positions, outputs, results, strict=False))
    equal = sum(p == r.position and o == tuple(r.output) for p, o, r in pairs)
    difference = None
    if len(results) != len(outputs):
        difference = f"{len(results)} results from the device, {len(outputs)} on the host"
    elif equal != len(pairs):
        p, o, r = next((p, o, r) for p, o, r in pairs if p != r.position or o != tuple(r.output))
        difference = f"result at sample {p}: host {list(o)}, device {list(r.output)} at sample {r.position}"
    elif host != device:
        difference = next(
            (f"detection: host {h}, device {d}" for h, d in zip(host, device, strict=False) if h != d),
            f"{len(host)} detections on the host, {len(device)} on the device",
        )
    elif done is None or done.total != len(samples) or done.dropped:
        difference = f"the device took {done.total if done else 0} of {len(samples)} samples"
    return StreamComparison(
        equal=difference is None,
        samples=len(samples),
        seconds=len(samples) / SAMPLE_RATE,
        inferences=len(outputs),
        equal_inferences=equal,
        detections=Detections(host=host, device=device),
        first_difference=difference,
        lost=lost,
        board=info.board,
        engine=info.engine,
        model=info.model_hash,
    )


def _blocks(samples: NDArray[np.int16], progress: ProgressCallback | None) -> Iterator[NDArray[np.int16]]:
    for at in range(0, len(samples), _BLOCK):
        if progress:
            progress(at // SAMPLE_RATE, -(-len(samples) // SAMPLE_RATE), f"{at / SAMPLE_RATE:.0f} s of sound")
        yield samples[at : at + _BLOCK]
