"""Labelled clips through a device: which, what came back, and whether the host says the same."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from host_tools.link import stream
from host_tools.link.events import Event, Result, Stats
from host_tools.link.info import Info
from host_tools.link.session import Link
from host_tools.measure import metrics
from host_tools.measure.results import Agreement, ClipRow, Measurement
from model_pipeline.config import SILENCE, UNKNOWN, DataConfig
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.split import Split
from model_pipeline.errors import CheckFailed, DeviceError, KwsError
from model_pipeline.files import read_bytes
from model_pipeline.manifest import keywords_of, load_manifest
from model_pipeline.progress import ProgressCallback

_DETECTOR_CLIPS = 2  # streamed in one go to see what the detector takes


def measure_model(
    link: Link,
    model: Path,
    data: Path,
    clips: int,
    paced: int,
    progress: ProgressCallback | None,
    data_config: DataConfig | None = None,
) -> Measurement:
    """Streams ``clips`` test clips, and compares each answer with the model's on the host, value by value.

    Raises:
        DeviceError: the device runs another model.
    """
    manifest = load_manifest(model)
    info = link.info()
    if info.model_hash != manifest.model_hash:
        raise DeviceError(
            f"the device runs model {info.model_hash}, {model} is {manifest.model_hash}", hint="build and flash again"
        )
    dataset = open_dataset(data, info.labels, data_config, manifest.clip_ms)
    chosen = choose_clips(dataset, clips)
    measured = measure_clips(link, info, dataset, chosen, realtime=paced, progress=progress)
    return compare_outputs(measured, host_outputs(model, dataset.audio(chosen)))


def host_engine() -> Literal["tflm", "aot"]:
    """What checks a model here: TensorFlow Lite Micro, or our own kernels where it has no wheel."""
    return "tflm" if importlib.util.find_spec("tflite_micro") else "aot"


def host_outputs(model: Path, audio: np.ndarray) -> np.ndarray:
    """The model's int8 outputs [n, labels] for int16 ``audio`` [n, samples], front end included."""
    from model_pipeline.evaluate import runner
    from model_pipeline.features import model_input

    manifest = load_manifest(model)
    inputs = model_input(audio, manifest.frontend, manifest.window_frames)
    return runner(read_bytes(model / "model.tflite"), host_engine())(inputs)


def choose_clips(dataset: Dataset, count: int, split: Split = "testing") -> list[Clip]:
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


def open_dataset(
    folder: Path, labels: Sequence[str], config: DataConfig | None = None, clip_ms: int | None = None
) -> Dataset:
    """The data folder under a device's labels; it may lack some of the keywords. ``clip_ms``: of its model's clips,
    where that is known.

    Raises:
        KwsError: the labels are not keywords followed by unknown and silence, or the folder has none of them.
    """
    if len(labels) < 3 or list(labels[-2:]) != [UNKNOWN, SILENCE]:
        raise KwsError(
            f"the model on the device has the labels {', '.join(labels) or '(none)'}, not keywords, unknown, silence",
            hint="kws stream --wav FILE streams to any model",
        )
    return Dataset.open(folder, keywords_of(labels), config, some=True, clip_ms=clip_ms)


def measure_clips(
    link: Link,
    info: Info,
    dataset: Dataset,
    clips: Sequence[Clip],
    *,
    realtime: int = 0,
    progress: ProgressCallback | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Measurement:
    """Streams labelled clips and sums up what came back.

    Args:
        realtime: how many of them, spread over all, are streamed a second time at the pace of a microphone, for the
            response time of real use.
    """
    told = _Told(info, link.stats())
    link.reset_stream()
    rows = told.rows
    started = time.perf_counter()
    total = len(clips) + min(realtime, len(clips))
    for number, clip in enumerate(clips):
        heard = stream.stream_clip(link, dataset.audio([clip])[0], on_event=on_event)
        rows.append(_row(clip, heard, info))
        if progress:
            right = sum(row.predicted == row.label for row in rows)
            progress(number + 1, total, f"{right} of {len(rows)} right")
    told.seconds = time.perf_counter() - started
    for number in range(total - len(clips)):
        clip = clips[number * len(clips) // (total - len(clips))]
        heard = stream.stream_clip(link, dataset.audio([clip])[0], realtime=True, on_event=on_event)
        if heard.response_ms is not None:
            told.paced.append(heard.response_ms)
        if progress:
            progress(len(clips) + number + 1, total, "again, at a microphone's pace")
    told.streamed = total
    told.detector = _detector_ticks(link, dataset.audio(clips[:_DETECTOR_CLIPS]))
    return _summary(told, link)


@dataclass
class _Told:
    """What a device told while clips were streamed to it.

    Attributes:
        before: its counters at the start.
        rows: one a clip; ``seconds``: what they took together.
        paced: milliseconds to an answer at a microphone's pace.
        streamed: clips in all.
        detector: its ticks for each result.
    """

    info: Info
    before: Stats
    rows: list[ClipRow] = field(default_factory=list)
    seconds: float = 0.0
    paced: list[float] = field(default_factory=list)
    streamed: int = 0
    detector: list[float] = field(default_factory=list)


def _summary(told: _Told, link: Link) -> Measurement:
    """The whole from one row a clip."""
    info, rows, seconds, paced = told.info, told.rows, told.seconds, told.paced
    after = link.stats()
    heard = [(row, row.predicted) for row in rows if row.predicted is not None]
    known = [row for row, _ in heard]
    # A clip whose answer was lost counts as missed: label -1 never is right.
    classes = metrics.classification([row.label for row in known], [label for _, label in heard], info.labels)
    answers = len(known) + len(paced)
    # A gap in the numbers was already counted for an answer that got lost on the way.
    missing = max(0, told.streamed - answers - link.counters.lost - link.counters.bad)
    frames = [(row.frontend_ticks or 0) / row.frontend_frames for row in known if row.frontend_frames]
    return Measurement.model_validate(
        {
            **classes.model_dump(),
            "accuracy": metrics.proportion(classes.accuracy.correct, len(rows)),
            "device": info.as_dict(),
            "ticks": metrics.tick_unit(info),
            "cost": {
                "frontend_frame": metrics.spread(frames),
                "frontend_clip": metrics.spread([row.frontend_ticks or 0 for row in known]),
                "inference": metrics.spread([row.inference_ticks or 0 for row in known]),
                "detector": metrics.spread(told.detector),
            },
            "response_ms": {
                "streaming": metrics.spread(paced),
                "paced": paced,
                "burst": metrics.spread([row.response_ms for row in known if row.response_ms is not None]),
            },
            "link": metrics.link_summary(link.report(), told.before, after, missing).model_dump(),
            "throughput": {
                "seconds": round(seconds, 3),
                "clips_per_second": round(len(rows) / seconds, 3) if seconds else None,
            },
            "clips": rows,
        }
    )


def compare_outputs(measured: Measurement, host: np.ndarray) -> Measurement:
    """With each clip's int8 output of the host (``host`` [n, labels], same order), and how many are equal value by
    value."""
    rows = [
        row.model_copy(update={"host_output": [int(v) for v in output]})
        for row, output in zip(measured.clips, host, strict=True)
    ]
    compared = [row for row in rows if row.output is not None]
    differ = [row.name for row in compared if row.output != row.host_output]
    agreement = Agreement(compared=len(compared), equal=len(compared) - len(differ), differ=differ[:20])
    return measured.model_copy(update={"clips": rows, "agreement": agreement})


def _detector_ticks(link: Link, audio: np.ndarray) -> list[float]:
    """Ticks of the detector for each result; it works in continuous mode only."""
    events = stream.stream_continuous(link, audio)
    return [event.detector_ticks for event in events if isinstance(event, Result)]


def _row(clip: Clip, heard: stream.ClipReply, info: Info) -> ClipRow:
    found: dict[str, Any] = {"predicted": None, "output": None}
    if heard.result:
        output = heard.result.output
        if len(output) != len(info.labels):
            raise DeviceError(f"the device gave {len(output)} outputs for {len(info.labels)} labels")
        found = {"predicted": int(np.argmax(output)), "output": list(output)}
        found |= {key: getattr(heard.result, key) for key in _TICKS}
    return ClipRow(name=clip.name, label=clip.label, **found, response_ms=heard.response_ms)


_TICKS = ("frontend_ticks", "frontend_frames", "inference_ticks", "detector_ticks")


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


def problems(results: Measurement) -> list[str]:
    """What is wrong with a measurement; empty if it can be relied on."""
    found = []
    link = results.link
    if link.lost or link.repeated:
        found.append(f"{link.lost} frames were lost and {link.repeated} repeated on the link")
    silent = sum(row.predicted is None for row in results.clips)
    if silent:
        found.append(f"the device gave no answer to {silent} of {len(results.clips)} clips")
    agreement = results.agreement
    if agreement and agreement.equal != agreement.compared:
        wrong = agreement.compared - agreement.equal
        found.append(f"{wrong} of {agreement.compared} clips differ between host and device")
    return found


def verdict(results: Measurement, where_to_look: Path | str) -> None:
    """
    Raises:
        CheckFailed: frames were lost, or host and device disagree.
    """
    found = problems(results)
    if found:
        raise CheckFailed("; ".join(found), hint=f"see {where_to_look}")
