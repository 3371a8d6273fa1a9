"""The detector in C against a few lines of Python that say the same."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.listening.detector import MAX_LABELS, SOURCES, ConfigStruct, DetectionStruct
from model_pipeline.native import shared_library


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    flags = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    found = shared_library("detector", [SOURCES / "kws_detector.c"], [SOURCES], flags)
    found.kws_detector_step.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint8,
        ctypes.c_uint32,
        ctypes.POINTER(DetectionStruct),
    ]
    return found


class Detector:
    def __init__(
        self, library: ctypes.CDLL, thresholds: list[int], window=1, min_count=1, refractory=0, rest=0
    ) -> None:
        self.library = library
        self.state = ctypes.create_string_buffer(4096)
        self.config = ConfigStruct(len(thresholds), window, min_count, rest, refractory)
        for i, value in enumerate(thresholds):
            self.config.threshold[i] = value
        self.result = library.kws_detector_init(self.state, ctypes.byref(self.config))

    def step(self, posteriors: list[int], position: int) -> tuple[int, int, int] | None:
        """Posteriors 0..255."""
        values = np.array(posteriors).astype(np.uint8)
        out = DetectionStruct()
        if not self.library.kws_detector_step(
            self.state, values.ctypes.data, 0, position & 0xFFFFFFFF, ctypes.byref(out)
        ):
            return None
        return out.sample_position, out.label, out.score

    def reset(self) -> None:
        self.library.kws_detector_reset(self.state)


def expected(rows, positions, thresholds, window, min_count, refractory, rest):
    """The header's words: mean of the last `window` results, the top label at its threshold (and rest/window)
    `min_count` times in a row, nothing for `refractory` samples after a detection."""
    fired, count, label, last = [], 0, None, None
    for i, position in enumerate(positions):
        if i + 1 < window:
            continue
        mean = np.sum(rows[i + 1 - window : i + 1], axis=0)
        top = int(np.argmax(mean))
        score = int(mean[top]) // window
        quiet = last is not None and (position - last) % 2**32 < refractory
        if not quiet:
            last = None
        if quiet or thresholds[top] == 0 or int(mean[top]) < thresholds[top] * window + rest:
            count = 0
            continue
        count, label = (count + 1 if count and label == top else 1), top
        if count >= min_count:
            fired.append((position % 2**32, top, score))
            count, last = 0, position
    return fired


cases = st.integers(1, MAX_LABELS).flatmap(
    lambda labels: st.tuples(
        st.lists(
            st.lists(st.sampled_from([0, 1, 60, 120, 128, 180, 250, 255]), min_size=labels, max_size=labels),
            min_size=1,
            max_size=60,
        ),
        st.lists(st.sampled_from([0, 1, 60, 120, 179, 255]), min_size=labels, max_size=labels),
    )
)


@settings(max_examples=300, deadline=None)
@given(
    cases,
    st.integers(1, 32),
    st.integers(1, 5),
    st.sampled_from([0, 1, 1600, 12800]),
    st.sampled_from([0, 2**32 - 9000]),
    st.integers(0, 31),
)
def test_equals_the_model(library, case, window, min_count, refractory, start, rest):
    rest = rest % window
    rows, thresholds = case
    positions = [start + 1600 * i for i in range(len(rows))]
    detector = Detector(library, thresholds, window, min_count, refractory, rest)
    assert detector.result == 0
    for _ in range(2):  # a reset leaves nothing behind
        found = [hit for row, p in zip(rows, positions, strict=True) if (hit := detector.step(row, p))]
        assert found == expected(rows, positions, thresholds, window, min_count, refractory, rest)
        detector.reset()


def test_a_word_fires_once_and_again_after_the_refractory_time(library):
    detector = Detector(library, [128, 128, 0], window=3, min_count=2, refractory=8000)
    word = [250, 3, 2]
    hits = [detector.step(word, 1600 * i) for i in range(12)]
    assert [i for i, hit in enumerate(hits) if hit] == [3, 9]
    assert hits[3] == (4800, 0, 250)


def test_unknown_never_fires_and_hides_what_is_below_it(library):
    detector = Detector(library, [10, 10, 0])
    assert not any(detector.step([100, 20, 135], 1600 * i) for i in range(50))


def test_a_threshold_lies_between_two_steps_of_the_mean(library):
    """As a cutoff of 0.97 over five results does: 1241.6 of 1280, so 1242."""
    detector = Detector(library, [248], window=5, rest=2)
    assert not any(detector.step([values], 480 * i) for i, values in enumerate([248, 248, 248, 248, 249]))
    assert detector.step([249], 2400) == (2400, 0, 248)


@pytest.mark.parametrize(
    ("labels", "window", "min_count", "rest"),
    [(0, 1, 1, 0), (33, 1, 1, 0), (2, 0, 1, 0), (2, 33, 1, 0), (2, 1, 0, 0), (2, 1, 1, 1), (2, 5, 1, 5)],
)
def test_fields_out_of_range_are_refused_and_change_nothing(library, labels, window, min_count, rest):
    detector = Detector(library, [100, 0])
    bad = ConfigStruct(labels, window, min_count, rest, 0)
    assert library.kws_detector_init(detector.state, ctypes.byref(bad)) == -1
    assert detector.step([200, 1], 0) == (0, 0, 200)
