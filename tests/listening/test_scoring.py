"""Detections against the truth, intervals, and the DET curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model_pipeline.data.connected import Stretch
from model_pipeline.data.sessions import Event
from model_pipeline.intervals import Rate
from model_pipeline.listening.corpus import Corpus, KeywordFree, TrackedSession
from model_pipeline.listening.detector import Detection
from model_pipeline.listening.evaluate import det_curve, judge, shifted
from model_pipeline.listening.results import Confusion, Response
from model_pipeline.listening.scoring import match, response, summary
from model_pipeline.manifest import DetectorDefaults
from tests.support.listening_models import track_of

LABELS = ["yes", "no", "unknown", "silence"]
YES, NO = 0, 1
DETECTOR = DetectorDefaults(window=1, min_count=1, refractory_samples=8000, thresholds=[128, 128, 0, 0], stride_hops=5)


def at(seconds: float, label: int = YES) -> Detection:
    return Detection(round(seconds * 16000), label, 200)


def word(text: str, start: float, end: float) -> Event:
    return Event(text, round(start * 16000), round(end * 16000))


EVENTS = [word("yes", 2.0, 2.5), word("cat", 4.0, 4.4), word("no", 6.0, 6.3), word("yes", 6.8, 7.3)]


@pytest.mark.parametrize(
    ("detections", "hits", "missed", "false"),
    [
        ([], [], [0, 2, 3], []),
        ([at(2.7), at(6.5, NO), at(7.4)], [(0, 2.7), (2, 6.5), (3, 7.4)], [], []),
        ([at(2.3)], [(0, 2.3)], [2, 3], []),  # before its end: a word may be clear early
        ([at(1.9)], [], [0, 2, 3], ["nothing"]),  # before its start: not an answer to it
        ([at(3.49)], [(0, 3.49)], [2, 3], []),
        ([at(3.51)], [], [0, 2, 3], ["nothing"]),  # too late
        ([at(2.7), at(3.3)], [(0, 2.7)], [2, 3], ["repeat"]),
        ([at(2.7, NO)], [], [0, 2, 3], ["yes"]),
        ([at(4.5)], [], [0, 2, 3], ["cat"]),
        ([at(7.0)], [(3, 7.0)], [0, 2], []),  # the nearest end is that of "no", but the label decides
        ([at(7.0, NO)], [(2, 7.0)], [0, 3], []),
    ],
)
def test_each_detection_answers_one_word_or_is_false(detections, hits, missed, false) -> None:
    outcome = match(EVENTS, detections, LABELS, 160000)
    assert [(EVENTS.index(e), d.position) for e, d in outcome.hits] == [(i, round(t * 16000)) for i, t in hits]
    assert [EVENTS.index(e) for e in outcome.missed] == missed
    assert [why for _, why in outcome.false] == false


def test_two_of_the_same_word_close_together_take_an_answer_each() -> None:
    events = [word("yes", 1.0, 1.4), word("yes", 1.9, 2.3)]
    assert not match(events, [at(1.6), at(2.2)], LABELS, 1).missed
    first = match(events, [at(2.35)], LABELS, 1)  # one answer, near the second's end
    assert first.missed == [events[0]]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=8), st.lists(st.integers(0, 50), max_size=12)
)
def test_nothing_is_counted_twice_or_lost(words, times) -> None:
    events = sorted((word(["yes", "no", "cat"][w], t / 4, t / 4 + 0.3) for w, t in words), key=lambda e: e.start)
    rng = np.random.default_rng(len(times))
    detections = [at(t / 4, int(rng.integers(0, 2))) for t in sorted(times)]
    outcome = match(events, detections, LABELS, 1)
    assert len(outcome.hits) + len(outcome.false) == len(detections)
    assert len(outcome.hits) + len(outcome.missed) == sum(e.word in ("yes", "no") for e in events)
    for event, detection in outcome.hits:
        assert LABELS[detection.label] == event.word
        assert event.start < detection.position <= event.end + 16000


def test_poisson_interval() -> None:
    # chi-squared limits; the upper limit of no event at all is 3.69, of one 5.57 (known tables)
    assert Rate.of(0, 1.0).high == pytest.approx(3.6889, abs=1e-4)
    assert (Rate.of(1, 2.0).low, Rate.of(1, 2.0).high) == pytest.approx((0.02532 / 2, 5.5716 / 2), rel=1e-3)
    for count in (3, 17, 200):
        found = Rate.of(count, 0.5)
        assert found.low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2 / 0.5)
        assert found.high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2 / 0.5)
        assert found.per_hour == count * 2
    assert Rate.of(0, 0.0).per_hour is None


def test_response_time_is_from_the_words_end_to_the_detections_sample() -> None:
    hits = [(EVENTS[0], at(2.6)), (EVENTS[0], at(2.7)), (EVENTS[0], at(3.0)), (EVENTS[0], at(2.4))]
    found = response(hits)
    assert (found.count, found.median, found.max) == (4, 150.0, 500.0)
    assert (found.over_400_ms.count, found.over_400_ms.total) == (1, 4)
    assert response([]) == Response(count=0)


def posteriors(rows: int, peaks: dict[int, tuple[int, int]]) -> np.ndarray:
    """[rows, 4]: silence, but for ``peaks``: row to (label, level)."""
    out = np.zeros((rows, 4), int)
    out[:, 3] = 250
    for row, (label, level) in peaks.items():
        out[row] = 0
        out[row, label] = level
    return out


def corpus() -> Corpus:
    """Four words, of which one is weak; false peaks of 100 and 180 in 0.1 h of speech."""
    first, step = 15840, 1600

    def row(seconds: float) -> int:
        return round((seconds * 16000 - first) / step)

    said = posteriors(80, {row(2.7): (YES, 240), row(6.49): (NO, 240), row(7.49): (YES, 110)})
    session = TrackedSession("s", EVENTS, track_of(said))
    talk = track_of(posteriors(3600, {100: (YES, 100), 2000: (NO, 180)}))
    stretch = Stretch("talk", np.zeros(talk.samples, np.int16), np.array([0, 1600000]), ["a.ogg", "b.ogg"])
    return Corpus(LABELS, {10.0: [session]}, [KeywordFree("talk", stretch, talk)])


def test_figures_of_a_corpus() -> None:
    result = judge(corpus(), DETECTOR)
    session, speech = result.sessions["10"], result.speech
    assert (session.misses.count, session.misses.total) == (1, 3)
    assert session.words["yes"].misses.count == 1
    assert session.false_accepts.count == 0
    assert session.response_ms.count == 2
    assert session.response_ms.median == pytest.approx(190, abs=50)
    assert speech and speech.false_accepts.count == 1
    assert speech.hours == pytest.approx(0.1, rel=0.01)
    assert speech.words["no"].count == 1
    place = speech.places[0]
    assert (place.label, place.score, place.file) == ("no", 180, "b.ogg")
    assert place.second == pytest.approx((15840 + 2000 * 1600 - 1600000) / 16000, abs=0.01)
    assert result.noise is None


def test_det_curve_moves_all_thresholds_without_running_the_model() -> None:
    points = {p.offset: p for p in det_curve(corpus(), 10.0, DETECTOR)}
    assert min(points) <= -124
    assert max(points) >= 124
    missed = {offset: p.misses.count for offset, p in points.items()}
    false = {offset: p.false_accepts.count for offset, p in points.items()}
    assert (missed[0], false[0]) == (1, 1)
    assert (missed[-20], false[-20]) == (0, 1)  # thresholds of 108: the weak word
    assert (missed[-32], false[-32]) == (0, 2)
    assert (missed[60], false[60]) == (1, 0)  # 188
    assert (missed[120], false[120]) == (3, 0)  # 248
    assert 0 in points


def test_curve_without_speech_counts_false_accepts_in_the_sessions() -> None:
    alone = corpus()
    alone.speech = []
    point = next(p for p in det_curve(alone, 10.0, DETECTOR) if p.offset == 0)
    assert point.false_accepts.hours == round(80 * 1600 / 16000 / 3600 + 14240 / 16000 / 3600, 4)


def test_shifted_thresholds_stay_in_their_range_and_off_stays_off() -> None:
    assert shifted(DETECTOR, 200).thresholds == [255, 255, 0, 0]
    assert shifted(DETECTOR, -200).thresholds == [1, 1, 0, 0]


def test_summary_names_what_was_taken_for_a_keyword() -> None:
    found = summary(match(EVENTS, [at(2.6, NO), at(4.5), at(2.9), at(3.2), at(9.0)], LABELS, 16000 * 3600), LABELS)
    assert found.false_by_cause == {"another keyword": 1, "another word": 1, "repeat": 1, "nothing": 1}
    assert found.false_at_words == [
        Confusion(said="yes", heard="no", count=1),
        Confusion(said="cat", heard="yes", count=1),
    ]
    assert found.false_accepts.per_hour == 4.0
