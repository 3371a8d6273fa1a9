"""What a model got right on clips: accuracy, confusion, and how speakers differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from model_pipeline.data.dataset import Clip
from model_pipeline.data.voices import group_of
from model_pipeline.intervals import Share, confusion_matrix
from model_pipeline.strict import Strict

_SEVERAL = 5  # clips of a speaker, to speak of his accuracy
_PERCENTILES = (("p10", 10), ("median", 50), ("p90", 90))


class Counts(Strict):
    """Of clips, those that were heard right."""

    correct: int
    clips: int


class Speakers(Strict):
    """How accuracy differs between speakers.

    Attributes:
        count: of speakers.
        several: of them, those with at least five clips; over these are the percentiles of their accuracies (None
            for no such speaker) and ``worst_tenth``, the tenth with the lowest.
        groups: by kind of voice (`voices.group_of`).
    """

    count: int
    several: int
    p10: float | None = None
    median: float | None = None
    p90: float | None = None
    worst_tenth: Counts
    groups: dict[str, Counts]

    @property
    def synthetic(self) -> bool:
        """Whether nobody speaks but voices of a computer."""
        return bool(self.groups) and "people" not in self.groups


class Answer(Strict):
    """What the model said to one clip; ``output``: its int8 values."""

    name: str
    label: str
    predicted: str
    output: list[int]


class Score(Strict):
    """Accuracy over clips: ``interval`` is 95 %, Wilson; ``confusion`` has the truth in rows; ``recall`` is None for a
    label without clips."""

    accuracy: float
    correct: int
    count: int
    interval: tuple[float, float]
    labels: list[str]
    confusion: list[list[int]]
    recall: dict[str, float | None]
    speakers: Speakers
    clips: list[Answer]

    @property
    def share(self) -> Share:
        """Of all clips, those heard right."""
        return Share.of(self.correct, self.count)


class Brief(Strict):
    """What the manifest keeps of a `Score`."""

    accuracy: float
    correct: int
    clips: int
    interval95: tuple[float, float]
    words: dict[str, Counts]
    speakers: Speakers


def score(clips: Sequence[Clip], outputs: np.ndarray, labels: Sequence[str]) -> Score:
    """Accuracy and confusion of int8 ``outputs`` [n, labels] against the clips' labels."""
    truth = np.array([clip.label for clip in clips], np.int64)
    predicted = outputs.argmax(1)
    confusion = confusion_matrix(truth.tolist(), predicted.tolist(), len(labels))
    found = Share.of(int((truth == predicted).sum()), len(clips))
    rows = enumerate(zip(labels, confusion, strict=True))
    return Score(
        accuracy=found.value or 0.0,
        correct=found.count,
        count=found.total,
        interval=(found.low, found.high),
        labels=list(labels),
        confusion=confusion,
        recall={label: Share.of(row[i], sum(row)).value for i, (label, row) in rows},
        speakers=by_speaker(clips, truth == predicted),
        clips=[
            Answer(name=clip.name, label=labels[clip.label], predicted=labels[int(p)], output=row.tolist())
            for clip, p, row in zip(clips, predicted, outputs, strict=True)
        ],
    )


def by_speaker(clips: Sequence[Clip], right: np.ndarray) -> Speakers:
    """How accuracy differs between speakers; ``right`` bool [n] belongs to ``clips`` (silence is left out)."""
    speakers: dict[str, list[bool]] = {}
    for clip, good in zip(clips, right, strict=True):
        if clip.noise < 0:
            speakers.setdefault(clip.speaker, []).append(bool(good))
    several = sorted((v for v in speakers.values() if len(v) >= _SEVERAL), key=lambda v: sum(v) / len(v))
    shares = [sum(v) / len(v) for v in several]
    worst = [good for v in several[: math.ceil(len(several) / 10)] for good in v]
    groups: dict[str, list[bool]] = {}
    for speaker, values in speakers.items():
        groups.setdefault(group_of(speaker), []).extend(values)
    return Speakers(
        count=len(speakers),
        several=len(several),
        **{name: round(float(np.percentile(shares, p)), 4) for name, p in _PERCENTILES if shares},
        worst_tenth=_counts(worst),
        groups={name: _counts(values) for name, values in sorted(groups.items())},
    )


def _counts(values: Sequence[bool]) -> Counts:
    return Counts(correct=sum(values), clips=len(values))


def brief(result: Score) -> Brief:
    """What the manifest keeps of a result."""
    low, high = result.interval
    rows = zip(result.labels, result.confusion, strict=True)
    return Brief(
        accuracy=round(result.accuracy, 5),
        correct=result.correct,
        clips=result.count,
        interval95=(round(low, 5), round(high, 5)),
        words={label: Counts(correct=row[i], clips=sum(row)) for i, (label, row) in enumerate(rows)},
        speakers=result.speakers,
    )
