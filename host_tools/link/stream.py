"""Speech to a device and its answers back: labelled clips one by one, or audio without end."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from host_tools.link.protocol import (
    MAX_SAMPLES,
    Command,
    Event,
    Info,
    Refusal,
    Result,
    StreamDone,
    infer_features,
    stream_data,
)
from host_tools.link.session import Link, Ticket
from host_tools.measure import metrics
from model_pipeline.config import SILENCE, UNKNOWN, DataConfig
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.errors import DeviceError, KwsError

SAMPLE_RATE = 16000
CLIP, CONTINUOUS = 0, 1
SEND_FEATURES, SEND_RESULTS, FROM_MICROPHONE = 1, 2, 4
_LIVE_BLOCK = 160  # 10 ms
ANSWER_S = 60.0  # an emulator on a busy machine is slow; a dead link is noticed much earlier
_PATIENCE_S = 4.0
_DETECTOR_CLIPS = 2  # streamed in one go to see what the detector takes
ProgressCallback = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Heard:
    """A device's answer to one clip. ``response_ms``: from the last sample's being handed to the port to the arrival
    of RESULT; None with the result if it was lost."""

    result: Result | None
    done: StreamDone | None
    response_ms: float | None


def stream_clip(
    link: Link, samples: np.ndarray, *, realtime: bool = False, on_event: Callable[[Event], None] | None = None
) -> Heard:
    """Streams int16 ``samples`` [n] in clip mode and waits for the answer.

    Args:
        realtime: send at the pace of a microphone, in blocks of 10 ms; else as fast as the device takes it.

    Raises:
        DeviceError: the device refuses, stops answering or goes away.
    """
    lost_before = link.counters.lost + link.counters.bad

    def lost() -> bool:
        return link.counters.lost + link.counters.bad > lost_before

    link.send(Command.STREAM_START, struct.pack("<BBH", CLIP, 0, 0))
    last = _send_audio(link, _blocks(samples, _LIVE_BLOCK if realtime else MAX_SAMPLES), realtime)
    link.send(Command.STREAM_STOP, struct.pack("<I", len(samples)))
    result: Result | None = None
    done: StreamDone | None = None
    deadline = time.perf_counter() + ANSWER_S
    while done is None:
        event = link.next_event(_PATIENCE_S)
        if event is None:
            link.stats()  # a lost answer shows as a gap in the numbers once anything later has come
            if lost():
                link.reset_stream()
                break
            if time.perf_counter() > deadline:
                raise DeviceError(f"{link.name}: no result for {ANSWER_S:.0f} s after a clip", hint="reset the board")
        elif isinstance(event, Result):
            result = event
        elif isinstance(event, StreamDone):
            done = event
        elif isinstance(event, Refusal):
            raise DeviceError(f"{link.name}: the device refused {event}")
        elif on_event:
            on_event(event)
    return Heard(result, done, _response_ms(last, result))


def stream_continuous(
    link: Link,
    blocks: Iterable[np.ndarray],
    *,
    stride: int = 0,
    realtime: bool = False,
    results: bool = True,
) -> Generator[Event, None, None]:
    """Streams int16 blocks without end and gives every event as it comes, STREAM_DONE last.

    Closing the generator (or Ctrl-C in it) stops the stream on the device too.
    """
    flags = SEND_RESULTS if results else 0
    link.send(Command.STREAM_START, struct.pack("<BBH", CONTINUOUS, flags, stride))
    position = 0
    stopped = False
    started = time.perf_counter()
    try:
        for block in blocks:
            for part in _blocks(block, MAX_SAMPLES):
                link.send(Command.STREAM_DATA, stream_data(position, part))
                position += len(part)
            while (event := link.next_event(0)) is not None:
                yield _not_refused(link, event)
            if realtime:
                ahead = started + position / SAMPLE_RATE - time.perf_counter()
                while ahead > 0:
                    event = link.next_event(ahead)
                    if event is not None:
                        yield _not_refused(link, event)
                    ahead = started + position / SAMPLE_RATE - time.perf_counter()
        link.send(Command.STREAM_STOP, struct.pack("<I", position))
        stopped = True
        while (event := link.next_event(ANSWER_S)) is not None:
            yield _not_refused(link, event)
            if isinstance(event, StreamDone):
                return
        raise DeviceError(f"{link.name}: the device never said that the stream was done", hint="reset the board")
    finally:
        if not stopped:
            _stop_quietly(link, position)


def listen(link: Link, stride: int = 0) -> Generator[Event, None, None]:
    """The device's own microphone, until the generator is closed.

    Raises:
        DeviceError: the board has none.
    """
    link.send(Command.STREAM_START, struct.pack("<BBH", CONTINUOUS, SEND_RESULTS | FROM_MICROPHONE, stride))
    try:
        while True:
            event = link.next_event(0.5)
            if event is not None:
                yield _not_refused(link, event)
    finally:
        _stop_quietly(link, 0)


def infer(link: Link, values: np.ndarray, timeout: float = ANSWER_S) -> Result:
    """One inference over a window of int8 input values, past the front end.

    Raises:
        DeviceError: refused, or the answer was lost.
    """
    for payload in infer_features(values):
        link.send(Command.INFER_FEATURES, payload)
    result = link.expect(Result, timeout=timeout, commands=(Command.INFER_FEATURES,))
    if result is None:
        raise DeviceError(f"{link.name}: no result for {timeout:.0f} s", hint="reset the board")
    return result


def choose_clips(dataset: Dataset, count: int, split: Any = "testing") -> list[Clip]:
    """``count`` of the split's evaluation clips (all, if there are fewer), spread evenly over the labels and within
    a label over its list; always the same."""
    by_label: dict[int, list[Clip]] = {}
    for clip in dataset.evaluation(split):
        by_label.setdefault(clip.label, []).append(clip)
    if not by_label:
        raise KwsError(f"{dataset.folder} has no clips in its {split} split", hint="kws data info shows the splits")
    shares = _even_shares({label: len(clips) for label, clips in by_label.items()}, count)
    chosen = []
    for label, share in sorted(shares.items()):
        clips = by_label[label]
        chosen += [clips[(2 * i + 1) * len(clips) // (2 * share)] for i in range(share)]
    return chosen


def open_dataset(folder: Any, labels: Sequence[str], config: DataConfig | None = None) -> Dataset:
    """The data folder under a device's labels.

    Raises:
        KwsError: the labels are not keywords followed by unknown and silence, or the folder lacks one.
    """
    if len(labels) < 3 or list(labels[-2:]) != [UNKNOWN, SILENCE]:
        raise KwsError(
            f"the model on the device has the labels {', '.join(labels) or '(none)'}, not keywords, unknown, silence",
            hint="kws stream --wav FILE streams to any model",
        )
    return Dataset.open(folder, labels[:-2], config)


def measure_clips(
    link: Link,
    info: Info,
    dataset: Dataset,
    clips: Sequence[Clip],
    *,
    realtime: int = 0,
    progress: ProgressCallback | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Streams labelled clips and sums up what came back.

    Args:
        realtime: so many of them, spread over all, are streamed a second time at the pace of a microphone, for the
            response time of real use.

    Returns:
        The ``device``, ``ticks``, ``clips``, ``accuracy`` and so on of results.json.
    """
    before = link.stats()
    link.reset_stream()
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    total = len(clips) + min(realtime, len(clips))
    for number, clip in enumerate(clips):
        heard = stream_clip(link, dataset.audio([clip])[0], on_event=on_event)
        rows.append(_row(clip, heard, info))
        if progress:
            right = sum(r["predicted"] == r["label"] for r in rows)
            progress(number + 1, total, f"{right} of {len(rows)} right")
    seconds = time.perf_counter() - started
    paced: list[float] = []
    for number in range(total - len(clips)):
        clip = clips[number * len(clips) // (total - len(clips))]
        heard = stream_clip(link, dataset.audio([clip])[0], realtime=True, on_event=on_event)
        if heard.response_ms is not None:
            paced.append(heard.response_ms)
        if progress:
            progress(len(clips) + number + 1, total, "at a microphone's pace")
    detector = _detector_ticks(link, dataset.audio(clips[:_DETECTOR_CLIPS]))
    after = link.stats()
    return summarize(info, rows, link, before, after, seconds, paced, total, detector)


def summarize(
    info: Info,
    rows: list[dict[str, Any]],
    link: Link,
    before: Any,
    after: Any,
    seconds: float,
    paced: Sequence[float],
    streamed: int,
    detector: Sequence[float] = (),
) -> dict[str, Any]:
    """results.json's part about the device, from one row a clip."""
    known = [r for r in rows if r["predicted"] is not None]
    # A clip whose answer was lost counts as missed: label -1 never is right.
    classes = metrics.classification([r["label"] for r in known], [r["predicted"] for r in known], info.labels)
    classes["accuracy"] = metrics.proportion(classes["accuracy"]["correct"], len(rows))
    answers = len(known) + len(paced)
    # A gap in the numbers was already counted for an answer that got lost on the way.
    missing = max(0, streamed - answers - link.counters.lost - link.counters.bad)
    return {
        "device": info.as_dict(),
        "ticks": metrics.tick_unit(info).as_dict(),
        **classes,
        "cost": {
            "frontend_frame": metrics.spread(
                [r["frontend_ticks"] / r["frontend_frames"] for r in known if r["frontend_frames"]]
            ),
            "frontend_clip": metrics.spread([r["frontend_ticks"] for r in known]),
            "inference": metrics.spread([r["inference_ticks"] for r in known]),
            "detector": metrics.spread(detector),
        },
        "response_ms": {
            "streaming": metrics.spread(list(paced)),
            "paced": list(paced),
            "burst": metrics.spread([r["response_ms"] for r in known if r["response_ms"] is not None]),
        },
        "link": metrics.link_summary(link.report(), before, after, missing),
        "throughput": {
            "seconds": round(seconds, 3),
            "clips_per_second": round(len(rows) / seconds, 3) if seconds else None,
        },
        "clips": rows,
    }


def compare_outputs(results: dict[str, Any], host: np.ndarray) -> dict[str, Any]:
    """Adds to each clip's row the host's int8 ``host_output`` (``host`` [n, labels], same order), and says how many
    are equal value by value."""
    rows = results["clips"]
    differ = []
    for row, output in zip(rows, host, strict=True):
        row["host_output"] = [int(v) for v in output]
        if row["output"] is not None and row["output"] != row["host_output"]:
            differ.append(row["name"])
    compared = sum(row["output"] is not None for row in rows)
    results["agreement"] = {"compared": compared, "equal": compared - len(differ), "differ": differ[:20]}
    return results["agreement"]


def _detector_ticks(link: Link, audio: np.ndarray) -> list[float]:
    """Ticks of the detector for each result; it works in continuous mode only."""
    events = stream_continuous(link, audio)
    return [event.detector_ticks for event in events if isinstance(event, Result)]


def _row(clip: Clip, heard: Heard, info: Info) -> dict[str, Any]:
    row: dict[str, Any] = {"name": clip.name, "label": clip.label, "predicted": None, "output": None}
    if heard.result:
        output = heard.result.output
        if len(output) != len(info.labels):
            raise DeviceError(f"the device gave {len(output)} outputs for {len(info.labels)} labels")
        row |= {"predicted": int(np.argmax(output)), "output": list(output)}
        row |= {key: getattr(heard.result, key) for key in _TICKS}
    row["response_ms"] = heard.response_ms
    return row


_TICKS = ("frontend_ticks", "frontend_frames", "inference_ticks", "detector_ticks")


def _send_audio(link: Link, blocks: Iterable[np.ndarray], realtime: bool) -> Ticket | None:
    started = time.perf_counter()
    position, last = 0, None
    for block in blocks:
        position += len(block)
        if realtime:  # a block is there when its last sample was spoken
            time.sleep(max(0.0, started + position / SAMPLE_RATE - time.perf_counter()))
        last = link.send(Command.STREAM_DATA, stream_data(position - len(block), block))
    return last


def _response_ms(last: Ticket | None, result: Result | None) -> float | None:
    if last is None or result is None:
        return None
    # The writing thread notes the time after the port took the frame, so it may be a moment behind the answer.
    for _ in range(1000):
        if last.written_at is not None:
            return round(max(0.0, result.at - last.written_at) * 1000, 3)
        time.sleep(0.0005)
    return None


def _blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for at in range(0, len(samples), size):
        yield samples[at : at + size]


def _not_refused(link: Link, event: Event) -> Event:
    if isinstance(event, Refusal):
        raise DeviceError(f"{link.name}: the device refused {event}")
    return event


def _stop_quietly(link: Link, position: int) -> None:
    """Ends a stream that is being left early; what went wrong before is the error to show, not this."""
    try:
        link.send(Command.STREAM_STOP, struct.pack("<I", position), timeout=1.0)
        link.drain(2.0)
    except DeviceError:
        return


def _even_shares(available: dict[int, int], count: int) -> dict[int, int]:
    """How many of each label: as even as what is there allows, the first labels taking the rest."""
    shares = dict.fromkeys(available, 0)
    left = min(count, sum(available.values()))
    while left:
        open_labels = [label for label in sorted(available) if shares[label] < available[label]]
        each = max(1, left // len(open_labels))
        for label in open_labels[:left]:
            take = min(each, available[label] - shares[label])
            shares[label] += take
            left -= take
    return {label: share for label, share in shares.items() if share}
