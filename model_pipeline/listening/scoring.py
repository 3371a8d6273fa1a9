"""Detections against the truth: misses, false accepts, response time, with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from model_pipeline.data.sessions import Event
from model_pipeline.intervals import Rate, Share
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.results import Confusion, Response, SessionFigures, WordFigures
from model_pipeline.manifest import keywords_of
from model_pipeline.rate import SAMPLE_RATE

LATEST_S = 1.0  # a detection counts for a word up to so long after its end: then it has left the model's window


@dataclass
class Outcome:
    """What became of a session's keywords, or of a stretch without any.

    ``hits``: (event, detection) pairs. ``missed``: events. ``false``: (detection, why), where why is ``nothing``,
    ``repeat`` (the word was accepted already), or the word that was being said.
    """

    hits: list[tuple[Event, Detection]] = field(default_factory=list)
    missed: list[Event] = field(default_factory=list)
    false: list[tuple[Detection, str]] = field(default_factory=list)
    samples: int = 0

    def __iadd__(self, other: Outcome) -> Outcome:
        self.hits += other.hits
        self.missed += other.missed
        self.false += other.false
        self.samples += other.samples
        return self

    @property
    def hours(self) -> float:
        """Of audio."""
        return self.samples / SAMPLE_RATE / 3600


def match(events: Sequence[Event], detections: Iterable[Detection], labels: Sequence[str], samples: int) -> Outcome:
    """Gives each detection to the keyword that it can be an answer to, or calls it a false accept.

    A detection answers a keyword of its label that began before it and ended at most `LATEST_S` before it. It takes
    the one whose end is nearest and that has no answer yet. A word is answered once.

    Args:
        events: in the order of time; words that are not a label are other words.
        labels: of the model; the last two never fire.
        samples: length of the recording.
    """
    keywords = set(keywords_of(labels))
    starts = np.array([event.start for event in events], np.int64)
    reach = int(LATEST_S * SAMPLE_RATE) + max((e.end - e.start for e in events), default=0)
    answered: dict[int, Detection] = {}
    false: list[tuple[Detection, str]] = []
    for detection in detections:
        last = int(np.searchsorted(starts, detection.position))
        first = int(np.searchsorted(starts, detection.position - reach))
        near = [i for i in range(first, last) if detection.position <= events[i].end + LATEST_S * SAMPLE_RATE]
        near.sort(key=lambda i: abs(events[i].end - detection.position))
        same = [i for i in near if events[i].word == labels[detection.label]]
        free = next((i for i in same if i not in answered), None)
        if free is not None:
            answered[free] = detection
        elif same:
            false.append((detection, "repeat"))
        else:
            false.append((detection, events[near[0]].word if near else "nothing"))
    hits = [(events[i], answered[i]) for i in sorted(answered)]
    missed = [e for i, e in enumerate(events) if e.word in keywords and i not in answered]
    return Outcome(hits, missed, false, samples)


def response(hits: Sequence[tuple[Event, Detection]]) -> Response:
    """How long the answers to words took."""
    if not hits:
        return Response(count=0)
    times = np.array([detection.position - event.end for event, detection in hits]) * 1000 / SAMPLE_RATE
    p5, p50, p95 = np.percentile(times, (5, 50, 95))
    return Response(
        count=len(times),
        p5=round(float(p5), 1),
        median=round(float(p50), 1),
        p95=round(float(p95), 1),
        max=round(float(times.max()), 1),
        over_400_ms=Share.of(int((times > 400).sum()), len(times)),
    )


def summary(outcome: Outcome, labels: Sequence[str]) -> SessionFigures:
    """A session's outcome (or several's, added up) as numbers: in all, and for each keyword."""
    said = Counter(e.word for e, _ in outcome.hits) + Counter(e.word for e in outcome.missed)
    missed = Counter(e.word for e in outcome.missed)
    false = Counter(labels[d.label] for d, _ in outcome.false)
    return SessionFigures(
        hours=round(outcome.hours, 4),
        keywords=sum(said.values()),
        misses=Share.of(len(outcome.missed), sum(said.values())),
        false_accepts=Rate.of(len(outcome.false), outcome.hours),
        response_ms=response(outcome.hits),
        false_by_cause=dict(Counter(_cause(why, labels) for _, why in outcome.false).most_common()),
        false_at_words=_confusions(outcome, labels),
        words={
            word: WordFigures(
                misses=Share.of(missed[word], said[word]),
                false_accepts=Rate.of(false[word], outcome.hours),
                response_ms=response([(e, d) for e, d in outcome.hits if e.word == word]),
            )
            for word in keywords_of(labels)
        },
    )


def _cause(why: str, labels: Sequence[str]) -> str:
    if why in ("nothing", "repeat"):
        return why
    return "another keyword" if why in labels else "another word"


def _confusions(outcome: Outcome, labels: Sequence[str]) -> list[Confusion]:
    """Which word was taken for which keyword, most frequent first."""
    pairs = Counter((why, labels[d.label]) for d, why in outcome.false if why not in ("nothing", "repeat"))
    return [Confusion(said=said, heard=heard, count=n) for (said, heard), n in pairs.most_common(20)]
