"""What listening gives, as it stands in JSON: figures of sessions and of connected speech, of near words, and a choice
of the detector."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from model_pipeline.intervals import Rate, Share
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.strict import Strict


class Response(Strict):
    """Time from the end of a word to the sample at which the detector fired, in milliseconds (negative: before the
    word's end), over ``count`` words; None for none. What the board and the link need on top is not in it."""

    count: int
    p5: float | None = None
    median: float | None = None
    p95: float | None = None
    max: float | None = None
    over_400_ms: Share | None = None


class WordFigures(Strict):
    """One keyword in sessions."""

    misses: Share
    false_accepts: Rate
    response_ms: Response


class Confusion(Strict):
    """A word that was taken for a keyword, ``count`` times."""

    said: str
    heard: str
    count: int


class SessionFigures(Strict):
    """Sessions: in all, and for each keyword. ``false_by_cause``: what was said at false accepts."""

    hours: float
    keywords: int
    misses: Share
    false_accepts: Rate
    response_ms: Response
    false_by_cause: dict[str, int]
    false_at_words: list[Confusion]
    words: dict[str, WordFigures]


class Place(Strict):
    """A false accept: which keyword, at which second of which file, and the words said about there (if known)."""

    label: str
    score: int
    file: str
    second: float
    words: str = ""


class FreeFigures(Strict):
    """False accepts where no keyword is said: in all, for each keyword, and where."""

    hours: float
    false_accepts: Rate
    words: dict[str, Rate]
    places: list[Place]


class CorpusFigures(FreeFigures):
    """The same of one corpus. What follows is known where a model is judged on it: what of the corpus the model used
    (``used``), whether these recordings too (``whole``), recordings that were heard and that were set ``aside`` since
    they say a keyword."""

    name: str
    used: list[str] | None = None
    whole: bool = False
    recordings: int = 0
    aside: int = 0
    transcribed: bool = False
    licence: str = ""
    hash: str = ""


class DetPoint(Strict):
    """A point of the curve: all thresholds moved by ``offset`` of 256."""

    offset: int
    misses: Share
    false_accepts: Rate


class Judged(Strict):
    """The figures of one detector.

    Attributes:
        sessions: by SNR in dB as text; "own" for the user's.
        speech: all connected speech; None without any. ``corpora``: each of it.
        det: the curve of each of ``sessions``, where it was asked for.
    """

    sessions: dict[str, SessionFigures]
    speech: FreeFigures | None
    corpora: list[CorpusFigures] = []  # runs of before have none
    noise: FreeFigures | None
    det: dict[str, list[DetPoint]] | None = None


class Heard(Judged):
    """`Judged` of the manifest's detector on a split."""

    split: str
    detector: DetectorDefaults


class Listening(Heard):
    """What `evaluate.evaluate_streaming` gives.

    Attributes:
        absent: keywords that the data has no clip of.
        detections: for each of ``sessions`` and each recording: position in samples, label and score, as the firmware
            reports them.
    """

    model: str
    name: str
    labels: list[str]
    absent: list[str]
    stride_ms: int
    detections: dict[str, dict[str, list[tuple[int, str, int]]]]


class NearWord(Strict):
    """A word said ``takes`` times: at how many any keyword was detected, and which; of a keyword also at how many it
    was itself (``right``)."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    word: str
    takes: int
    fired: Share
    heard: dict[str, int] = Field(alias="as")
    right: Share | None = None


class Near(Strict):
    """What `near.evaluate_near` gives; ``near`` with the words first that fired most often. ``same_sound``: words left
    out since they sound like a keyword, with which."""

    model: str
    name: str
    detector: DetectorDefaults
    takes: int
    keywords: list[NearWord]
    near: list[NearWord]
    same_sound: dict[str, str]
    fired: Share
