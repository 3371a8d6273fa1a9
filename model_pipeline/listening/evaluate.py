"""``kws evaluate --streaming``: misses, false accepts and response time over long audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_pipeline.data import connected as negatives
from model_pipeline.data.corpora import Corpus as NamedCorpus
from model_pipeline.data.corpora import Recording, corpus_of
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Plan, read_sessions
from model_pipeline.data.split import Split
from model_pipeline.data.transcripts import Sayings
from model_pipeline.errors import KwsError
from model_pipeline.intervals import Rate, Share
from model_pipeline.listening.corpus import Corpus, KeywordFree, Listener
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.listening.results import (
    CorpusFigures,
    CorpusKept,
    DetPoint,
    FreeFigures,
    Heard,
    Judged,
    Listening,
    ListeningKept,
    Place,
    RateKept,
    ResponseKept,
    SessionFigures,
    SessionKept,
    UnheardKept,
)
from model_pipeline.listening.scoring import summary
from model_pipeline.manifest import DetectorDefaults, Manifest, keywords_of, record_accuracy
from model_pipeline.progress import ProgressCallback

_DET_STEP = 4  # of 256, between two points of the curve


@dataclass(frozen=True)
class Audio:
    """Long audio to listen to.

    Attributes:
        data: a data folder, for generated sessions of ``split`` at each of ``snr_db`` by ``plan``, and for noise.
        negative: folders of connected speech (`data.corpora`). Utterances whose transcript has a keyword are set apart;
            what has no transcript is taken to say none.
        own_sessions: recordings with their truth (`sessions.read_sessions`), instead of or beside ``data``.
        whole: all of the folders of speech, also what the model was trained or calibrated on.
    """

    data: Path | None = None
    split: Split = "testing"
    snr_db: Sequence[float] = (10.0,)
    negative: Sequence[Path] = ()
    own_sessions: Path | None = None
    plan: Plan = field(default_factory=Plan)
    whole: bool = False


def evaluate_listening(
    model: Path,
    audio: Audio,
    progress: ProgressCallback | None = None,
    *,
    det: bool = True,
    record: bool = False,
) -> Listening:
    """Runs model and detector over long audio as the firmware does.

    Args:
        model: folder with ``model.tflite`` and ``model.json``; the manifest's detector is used.
        det: also the curves.
        record: write the figures into ``model.json``.

    Raises:
        KwsError: nothing to run, or what can't be read.
    """
    if audio.data is None and audio.own_sessions is None and not audio.negative:
        raise KwsError("nothing to listen to", hint="give --data DIR, --negative DIR or --sessions DIR")
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    # Fine enough for the detector's stride, and no finer: a wide plan gives every hop at no cost.
    listener = Listener(recogniser, manifest.detector.stride_hops, progress)
    heard = [open_heard(folder, manifest, whole=audio.whole) for folder in audio.negative]
    if len({corpus.corpus.name for corpus in heard}) < len(heard):
        raise KwsError("two of the folders of connected speech have the same name")
    absent = _listen(listener, manifest, audio, heard, not record)
    judged = judge(listener.corpus, manifest.detector, det=det)
    corpora = [corpus.known_of(row) for row, corpus in zip(judged.corpora, heard, strict=True)]
    result = Listening(
        model=manifest.model_hash,
        name=manifest.name,
        labels=manifest.labels,
        split=audio.split,
        absent=list(absent),
        detector=manifest.detector,
        stride_ms=manifest.detector.stride_hops * manifest.frontend.hop_ms,
        detections=_detections(listener.corpus, manifest.detector),
        **dict(judged.model_copy(update={"corpora": corpora})),
    )
    if record:
        record_accuracy(model, "streaming", brief(result).model_dump(mode="json"))
        if other := unheard(result):
            record_accuracy(model, "other_speech", other.model_dump(mode="json"))
    return result


def unheard(result: Heard) -> UnheardKept | None:
    """False accepts on all corpora of which neither training nor calibration has heard anything, as the manifest keeps
    them; None without any."""
    rows = [row for row in result.corpora if not row.used]
    if not rows:
        return None
    rate = Rate.of(sum(row.false_accepts.count for row in rows), sum(row.false_accepts.hours for row in rows))
    what = "connected speech that neither training nor calibration has heard: " + ", ".join(r.name for r in rows)
    return UnheardKept(what=what, detector=result.detector, **dict(RateKept.of(rate)))


@dataclass(frozen=True)
class HeardCorpus:
    """A corpus of connected speech as a model may be judged on it.

    ``recordings`` are without keywords as far as transcripts tell, ``aside`` are those that say one. ``used`` names
    what the model used other recordings of the corpus for ("training", "calibration"; with ``whole`` these ones too).
    """

    corpus: NamedCorpus
    recordings: list[Recording]
    aside: list[Recording]
    used: list[str]
    whole: bool

    def known_of(self, row: CorpusFigures) -> CorpusFigures:
        """Its figures with what is known of it, and the words at its false accepts."""
        known = {
            "places": [p.model_copy(update={"words": self.words_at(p.file, p.second)}) for p in row.places],
            "used": self.used,
            "whole": self.whole,
            "recordings": len(self.recordings),
            "aside": len(self.aside),
            "transcribed": self.corpus.transcribed,
            "licence": self.corpus.config.licence,
            "hash": self.corpus.content_hash,
        }
        return row.model_copy(update=known)

    def words_at(self, file: str, second: float, around: int = 2) -> str:
        """The words that are said about there, as far as the transcript and a steady pace tell; "" without one."""
        recording = next((r for r in self.recordings if r.path.name == file), None)
        if recording is None or not recording.text:
            return ""
        words = recording.text.split()
        # The word has just ended when the detector fires.
        at = int(len(words) * max(0.0, second - 0.4) / max(0.1, _seconds(recording.path)))
        return " ".join(words[max(0, at - around) : at + around + 1])


def open_heard(folder: Path, manifest: Manifest, *, whole: bool = False) -> HeardCorpus:
    """A folder as a corpus for judging a model: what neither training nor calibration has heard of it, or all of it.

    Raises:
        KwsError: no such folder, or nothing in it is left.
    """
    trained = (manifest.training_data.get("scenes") or {}).get("corpora") or []
    calibrated = (manifest.accuracy.get("calibration") or {}).get("corpora") or []
    corpus = corpus_of(folder, [*calibrated, *trained])
    used = [
        name
        for name, entries, share in (("training", trained, "training"), ("calibration", calibrated, "calibration"))
        if any(e["name"] == corpus.name and e[share] for e in entries)
    ]
    sayings = Sayings(manifest.keywords) if corpus.transcribed else None
    recordings, aside = corpus.without(None if whole or not used else "reporting", sayings)
    if not recordings:
        raise KwsError(
            f"{corpus.name}: training and calibration have used all of it, or every utterance says a keyword",
            hint="--whole listens to what they have used",
        )
    return HeardCorpus(corpus, recordings, aside, used, whole)


def _seconds(path: Path) -> float:
    import soundfile

    return float(soundfile.info(str(path)).duration)


def _listen(
    listener: Listener,
    manifest: Manifest,
    audio: Audio,
    negative: Sequence[HeardCorpus],
    some: bool,
) -> tuple[str, ...]:
    """Hears all of it; returns the keywords that ``audio.data`` has no clip of."""
    dataset = None
    if audio.data:
        dataset = Dataset.open(audio.data, manifest.keywords, some=some, clip_ms=manifest.clip_ms)
    own = read_sessions(audio.own_sessions, manifest.keywords) if audio.own_sessions else []
    split, plan = audio.split, audio.plan
    stretches = []
    for heard in negative:
        paths = [r.path for r in heard.recordings]
        stretches.append(negatives.join(heard.corpus.name, listener.read(paths), [p.name for p in paths]))
    seconds = sum(session.seconds for session in own) + sum(stretch.seconds for stretch in stretches)
    if dataset:
        # About 2.5 s a keyword with its pause and its share of other words.
        keywords = sum(c.label < dataset.unknown for c in dataset.clips(split))
        seconds += len(audio.snr_db) * 2.5 * min(keywords, plan.limit or keywords) + 600
    listener.expect(seconds)
    if dataset:
        listener.generated(dataset, split, audio.snr_db, plan)
    if own:
        listener.recorded(own)
    for stretch in stretches:
        listener.speech(stretch)
    if dataset:
        listener.noise(dataset, split)
    return dataset.absent if dataset else ()


def judge(corpus: Corpus, detector: DetectorDefaults, *, det: bool = True) -> Judged:
    """The figures of one detector over a corpus."""
    names = _names(corpus)
    by_name: dict[str, list[KeywordFree]] = {}
    for part in corpus.speech:
        by_name.setdefault(part.name, []).append(part)
    return Judged(
        sessions={names[snr]: summary(corpus.outcome(snr, detector), corpus.labels) for snr in corpus.sessions},
        speech=_false(corpus.speech, detector, corpus.labels) if corpus.speech else None,
        corpora=[
            CorpusFigures(name=name, **dict(_false(parts, detector, corpus.labels))) for name, parts in by_name.items()
        ],
        noise=_false(corpus.noise, detector, corpus.labels) if corpus.noise else None,
        det={names[snr]: det_curve(corpus, snr, detector) for snr in corpus.sessions} if det else None,
    )


def _names(corpus: Corpus) -> dict[float | None, str]:
    return {snr: "own" if snr is None else f"{snr:g}" for snr in corpus.sessions}


def _detections(corpus: Corpus, detector: DetectorDefaults) -> dict[str, dict[str, list[tuple[int, str, int]]]]:
    return {
        name: {
            heard.name: [(d.position, corpus.labels[d.label], d.score) for d in heard.track.detect(detector)]
            for heard in corpus.sessions[snr]
        }
        for snr, name in _names(corpus).items()
    }


def det_curve(corpus: Corpus, snr: float | None, detector: DetectorDefaults) -> list[DetPoint]:
    """Misses against false accepts as all thresholds move together by the same step (of 256; 0 is the detector's own
    point). False accepts are those on connected speech, where the corpus has none those in the sessions."""
    active = [t for t in detector.thresholds if t]
    points: list[DetPoint] = []
    for offset in range(1 - max(active), 256 - min(active)):
        if offset % _DET_STEP:
            continue
        moved = shifted(detector, offset)
        outcome = corpus.outcome(snr, moved)
        missed, said = len(outcome.missed), len(outcome.missed) + len(outcome.hits)
        if corpus.speech:
            false = sum(len(part.detections(moved)) for part in corpus.speech)
            hours = sum(part.hours for part in corpus.speech)
        else:
            false, hours = len(outcome.false), outcome.hours
        points.append(DetPoint(offset=offset, misses=Share.of(missed, said), false_accepts=Rate.of(false, hours)))
    return points


def shifted(detector: DetectorDefaults, offset: int) -> DetectorDefaults:
    """All thresholds moved by ``offset``, within 1 to 255; labels that never fire stay so."""
    levels = [min(255, max(1, t + offset)) if t else 0 for t in detector.thresholds]
    return detector.model_copy(update={"thresholds": levels})


def _false(parts: Sequence[KeywordFree], detector: DetectorDefaults, labels: Sequence[str]) -> FreeFigures:
    hours = sum(part.hours for part in parts)
    places: list[Place] = []
    for part in parts:
        for found in part.detections(detector):
            name, second = part.stretch.where(found.position)
            places.append(Place(label=labels[found.label], score=found.score, file=name, second=round(second, 2)))
    by_word = Counter(place.label for place in places)
    return FreeFigures(
        hours=round(hours, 4),
        false_accepts=Rate.of(len(places), hours),
        words={word: Rate.of(by_word[word], hours) for word in keywords_of(labels)},
        places=places,
    )


def brief(result: Heard) -> ListeningKept:
    """What the manifest keeps."""

    def session(found: SessionFigures) -> SessionKept:
        return SessionKept(
            keywords=found.keywords,
            misses=round(found.misses.value or 0.0, 5),
            interval95=(round(found.misses.low, 5), round(found.misses.high, 5)),
            false_accepts_per_hour=round(found.false_accepts.per_hour or 0.0, 3),
            response_ms=ResponseKept(median=found.response_ms.median, p95=found.response_ms.p95),
        )

    corpora = [
        CorpusKept(name=c.name, used=c.used, aside=c.aside, hash=c.hash, **dict(RateKept.of(c.false_accepts)))
        for c in result.corpora
    ]
    return ListeningKept(
        split=result.split,
        detector=result.detector,
        sessions={snr: session(found) for snr, found in result.sessions.items()},
        speech=RateKept.of(result.speech.false_accepts) if result.speech else None,
        noise=RateKept.of(result.noise.false_accepts) if result.noise else None,
        corpora=corpora or None,
    )
