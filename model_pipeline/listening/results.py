"""What listening gives, as it stands in JSON: figures of sessions and of connected speech, of near words, and a choice
of the detector."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from model_pipeline.data.described import UsedCorpus
from model_pipeline.intervals import Rate, Share
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.strict import Sparse, Strict


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
    """What `evaluate.evaluate_listening` gives.

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
    """What `near.evaluate_near` gives; ``near`` with the words first that fired most often. ``takes``: of each near
    word, at most. ``same_sound``: words left out since they sound like a keyword, with which."""

    model: str
    name: str
    detector: DetectorDefaults
    takes: int
    keywords: list[NearWord]
    near: list[NearWord]
    same_sound: dict[str, str]
    fired: Share


class RateKept(Strict):
    """A rate of false accepts as the manifest has it."""

    hours: float
    false_accepts: int
    per_hour: float
    interval95: tuple[float, float]

    @classmethod
    def of(cls, rate: Rate) -> RateKept:
        """It, rounded."""
        return cls(
            hours=rate.hours,
            false_accepts=rate.count,
            per_hour=round(rate.per_hour or 0.0, 3),
            interval95=(round(rate.low, 3), round(rate.high or 0.0, 3)),
        )


class CorpusKept(Strict):
    """One corpus, as the manifest has it: `CorpusFigures`, and `RateKept`."""

    name: str
    used: list[str] | None
    aside: int
    hash: str
    hours: float
    false_accepts: int
    per_hour: float
    interval95: tuple[float, float]


class ResponseKept(Strict):
    """Of a word, in milliseconds, as the manifest has it."""

    median: float | None
    p95: float | None


class SessionKept(Strict):
    """Sessions of one SNR, as the manifest has them; ``misses``: the share of the keywords."""

    keywords: int
    misses: float
    interval95: tuple[float, float]
    false_accepts_per_hour: float
    response_ms: ResponseKept


class ListeningKept(Sparse):
    """What the manifest keeps of `Heard` (``accuracy.streaming``). In JSON each of ``sessions`` is a key:
    ``sessions_10_db``, ``own_sessions``."""

    split: str
    detector: DetectorDefaults
    sessions: dict[str, SessionKept]
    speech: RateKept | None
    noise: RateKept | None
    corpora: list[CorpusKept] | None

    @model_serializer(mode="wrap")
    def _there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = write(self)
        names = {snr: f"sessions_{snr}_db" if snr != "own" else "own_sessions" for snr in self.sessions}
        head = {key: values.pop(key) for key in ("split", "detector")}
        sessions = {names[snr]: session for snr, session in values.pop("sessions").items()}
        return {**head, **sessions, **{key: value for key, value in values.items() if value is not None}}


class UnheardKept(Strict):
    """False accepts on all corpora of which neither training nor calibration has heard anything, as the manifest has
    them (``accuracy.other_speech``)."""

    what: str
    detector: DetectorDefaults
    hours: float
    false_accepts: int
    per_hour: float
    interval95: tuple[float, float]


class Wished(Strict):
    """What a calibration was asked for: false accepts an hour, milliseconds to an answer, SNR of the sessions, and the
    share of near words that may fire (0: as many as will)."""

    rate: float
    response_ms: float
    snr_db: list[float]
    near: float = 0.0


class LeftOut(Strict):
    """False accepts on a corpus (or part of the only one) of a detector that was chosen on the others."""

    name: str
    hours: float
    false_accepts: float


class NearCost(Strict):
    """What it costs that few near words fire: one ``threshold`` of 256 for all words, the share of ``near`` words that
    fire at it, the ``errors`` of the keywords in the sessions, and false accepts an hour where it was chosen."""

    near: float
    errors: float
    false_accepts_per_hour: float
    threshold: int

    def wrong(self, said: int) -> float:
        """The share of ``said`` keywords that are missed, late or wrong, 1 at most: false accepts of the sessions are
        errors too."""
        return min(1.0, self.errors / max(1, said))


class Expected(Strict):
    """What is expected of the detector that was chosen.

    Attributes:
        errors: of the ``said`` keywords in the sessions; ``errors_at_wish``: of a detector of the wanted rate, None
            where no thresholds reach it.
        false_accepts_per_hour: on speech that it has not heard, at most: the wanted rate or what became of it.
        where_chosen, asked_there: an hour on what it was chosen on, and how many were allowed there.
        least_shown: an hour, as little as these recordings can show; None without speech.
        near: of the near words (or other words) of the data, said alone, those at which it fires; None for none.
            ``near_costs``: of detectors like it with fewer of them.
    """

    errors: float
    said: int
    errors_at_wish: float | None
    false_accepts_per_hour: float
    where_chosen: float
    asked_there: float
    least_shown: float | None
    left_out: list[LeftOut]
    near: Share | None = None  # runs of before have none
    near_costs: list[NearCost] = []


class HoursKept(Strict):
    """False accepts in hours of speech."""

    hours: float
    false_accepts: int


class ValidationKept(Strict):
    """Sessions that a detector was chosen on, as the manifest has them."""

    misses: float
    response_ms: ResponseKept


class CalibrationKept(Sparse):
    """What the manifest keeps of `Calibration` (``accuracy.calibration``). In JSON each of ``sessions`` is a key:
    ``validation_10_db``; ``reporting``: on speech that it was not chosen on."""

    wish: Wished
    expected: Expected
    corpora: list[UsedCorpus]
    sessions: dict[str, ValidationKept]
    reporting: HoursKept | None

    @model_serializer(mode="wrap")
    def _there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = write(self)
        sessions = {f"validation_{snr}_db": session for snr, session in values.pop("sessions").items()}
        reporting = values.pop("reporting")
        return {**values, **sessions, **({"reporting": reporting} if reporting else {})}


class Calibration(Strict):
    """What `calibrate.calibrate` gives.

    Attributes:
        wish: as it was asked for; ``before``, ``detector``: the manifest's, and the one that was chosen.
        calibration, measured: figures on what it was chosen on, and on the reporting part (None without speech).
    """

    model: str
    name: str
    labels: list[str]
    wish: Wished
    before: DetectorDefaults
    detector: DetectorDefaults
    hop_ms: int
    expected: Expected
    corpora: list[UsedCorpus]
    calibration: Judged
    measured: Judged | None

    def kept(self) -> CalibrationKept:
        """For the manifest."""
        speech = self.measured.speech if self.measured else None
        return CalibrationKept(
            wish=self.wish,
            expected=self.expected,
            corpora=self.corpora,
            sessions={
                snr: ValidationKept(
                    misses=round(found.misses.value or 0.0, 5),
                    response_ms=ResponseKept(median=found.response_ms.median, p95=found.response_ms.p95),
                )
                for snr, found in self.calibration.sessions.items()
            },
            reporting=HoursKept(hours=speech.false_accepts.hours, false_accepts=speech.false_accepts.count)
            if speech
            else None,
        )
