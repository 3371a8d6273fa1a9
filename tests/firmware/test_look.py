"""The detector's second look in C against Python that says the same, and what it refuses."""

from __future__ import annotations

import base64
import ctypes
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.errors import KwsError
from model_pipeline.listening.detector import as_c, levels_of, logits, run_detector
from model_pipeline.manifest import DetectorDefaults, Look

LABELS = 4  # two keywords, unknown, silence


def logit(p: int) -> int:
    return round(20 * math.log((p + 0.5) / (255.5 - p)))


def look_of(rng: np.random.Generator, steps: int, hidden: int, shift: int, out_shift: int, window: int, extreme=False):
    def draw(count: int) -> np.ndarray:
        if extreme:
            return rng.choice(np.array([-128, 127], np.int8), count)
        return rng.integers(-128, 128, count).astype(np.int8)

    size = 1 << (24 if extreme else 14)
    return Look(
        steps=steps,
        hidden=hidden,
        shift=shift,
        out_shift=out_shift,
        frames=1,
        weights=base64.b64encode(draw(hidden * steps * 5).tobytes()).decode(),
        bias=[int(v) for v in rng.integers(-size, size + 1, hidden)],
        out=[int(v) for v in draw(hidden)],
        out_bias=int(rng.integers(-size, size + 1)),
        stride_hops=1,
        window=window,
    )


def expected(rows: np.ndarray, levels: np.ndarray, thresholds: list[int], look: Look) -> list[tuple[int, int, int]]:
    """The header's words, one result after the other; every result fires that may (no refractory time)."""
    weights, bias, out = (array.astype(int) for array in look.arrays())
    past = [[0] * (LABELS - 1) + [255] for _ in range(40)]
    loud = [int(levels[0])] * 40
    fired = []
    for i, row in enumerate(rows.tolist()):
        past.insert(0, row)
        loud.insert(0, int(levels[i]))
        if i + 1 < look.window:
            continue
        sums = [sum(past[a][k] for a in range(look.window)) if thresholds[k] else -1 for k in range(LABELS)]
        word = int(np.argmax(sums))
        if thresholds[word] == 0:
            continue
        score = 0
        if sums[word] >= 8 * look.window:
            x = []
            loudest = max(loud[: look.steps])
            for age in range(look.steps):
                below = max(-127, loud[age] - loudest)
                own, unknown, silence = past[age][word], past[age][-2], past[age][-1]
                rest = max(0, 255 - own - unknown - silence)
                x.append([*(logit(v) for v in (own, unknown, silence, rest)), below])
            hidden = (bias + (weights * np.array(x)).sum(axis=(1, 2))) >> look.shift
            answer = (look.out_bias + int((out * hidden.clip(0, 255)).sum())) >> look.out_shift
            score = next((p for p in range(255) if logit(p) >= answer), 255)
        if score >= thresholds[word]:
            fired.append((i, word, score))
    return fired


def test_logits_are_those_of_the_header():
    assert [int(v) for v in logits()] == [logit(p) for p in range(256)]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
    st.sampled_from([1, 2, 5, 32]),
    st.integers(1, 32),
    st.sampled_from([0, 5, 9, 24]),
    st.sampled_from([0, 3, 8, 24]),
    st.booleans(),
)
def test_equals_the_model(seed, steps, window, hidden, shift, out_shift, extreme):
    rng = np.random.default_rng(seed)
    look = look_of(rng, steps, hidden, shift, out_shift, window, extreme)
    rows = rng.choice(np.array([0, 1, 7, 8, 9, 60, 128, 250, 255]), (50, LABELS))
    thresholds = [int(rng.choice([0, 1, 128, 255])), int(rng.choice([1, 100])), 0, 0]
    detector = DetectorDefaults(window=window, min_count=1, refractory_samples=0, thresholds=thresholds, stride_hops=1)
    levels = rng.choice(np.array([0, 3, 100, 127, 128, 255], np.uint8), len(rows))
    found = run_detector(detector, (rows - 128).astype(np.int8), 0, 1, look=look, levels=levels)
    assert [(d.position, d.label, d.score) for d in found] == expected(rows, levels, thresholds, look)


def test_a_word_amid_speech_is_told_from_one_by_itself():
    """A look that wants silence before: only what a second look can see."""
    weights = np.zeros((1, 6, 5), np.int8)
    weights[0, 0, 0], weights[0, 5, 2] = 60, 60  # the word now, silence five results ago
    look = Look(
        steps=6, hidden=1, shift=6, out_shift=0, frames=1, weights=base64.b64encode(weights.tobytes()).decode(),
        bias=[-60 * 120], out=[1], out_bias=-40, stride_hops=1, window=1,
    )  # fmt: skip
    detector = DetectorDefaults(window=1, min_count=1, refractory_samples=0, thresholds=[128, 128, 0, 0], stride_hops=1)
    word, silence, talk = [250, 1, 3, 1], [0, 0, 1, 254], [1, 0, 253, 1]
    alone = np.array([silence] * 6 + [word] + [silence] * 6) - 128
    amid = np.array([talk] * 6 + [word] + [talk] * 6) - 128
    quiet = np.zeros(13, np.uint8)
    assert [d.label for d in run_detector(detector, alone.astype(np.int8), 0, 1, look=look, levels=quiet)] == [0]
    assert run_detector(detector, amid.astype(np.int8), 0, 1, look=look, levels=quiet) == []
    assert [d.position for d in run_detector(detector, amid.astype(np.int8), 0, 1)] == [6]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"frames": 0},
        {"steps": 33},
        {"hidden": 0},
        {"hidden": 33},
        {"shift": 25},
        {"out_shift": 25},
        {"out_bias": (1 << 24) + 1},
        {"out_bias": -(1 << 24) - 1},
        {"bias": (1 << 24) + 1},
    ],
)
def test_the_firmware_refuses_a_look_beyond_its_bounds(change):
    from model_pipeline.listening import detector as module

    look = look_of(np.random.default_rng(1), 4, 2, 5, 5, 2)
    config = as_c(
        DetectorDefaults(window=2, min_count=1, refractory_samples=0, thresholds=[1, 1, 0, 0], stride_hops=1), look
    )
    out = (module.DetectionStruct * 4)()
    rows, levels = np.zeros((8, LABELS), np.int8), np.zeros(8, np.uint8)
    run = module._library().kws_det_run
    arguments = ctypes.byref(config), rows.ctypes.data, levels.ctypes.data, LABELS, 8, 0, 1, out, 4
    assert run(*arguments) >= 0
    for name, value in change.items():
        if name == "bias":
            config.look.contents.bias[1] = value
        else:
            setattr(config.look.contents, name, value)
    assert run(*arguments) == -1


@pytest.mark.parametrize(
    "change", [{"steps": 5}, {"hidden": 3}, {"weights": "AA"}, {"weights": "*"}, {"out": [1]}, {"bias": [1 << 25, 0]}]
)
def test_a_manifest_refuses_a_look_that_does_not_hold_together(change):
    look = look_of(np.random.default_rng(1), 4, 2, 5, 5, 2)
    with pytest.raises(ValueError):
        Look.model_validate({**look.model_dump(), **change})


def test_a_detector_of_too_few_labels_has_no_second_look():
    look = look_of(np.random.default_rng(1), 4, 2, 5, 5, 1)
    detector = DetectorDefaults(window=1, min_count=1, refractory_samples=0, thresholds=[1, 0], stride_hops=1)
    with pytest.raises(KwsError):
        run_detector(detector, np.zeros((3, 2), np.int8), 0, 1, look=look, levels=np.zeros(3, np.uint8))


def test_levels_are_those_of_the_newest_frames():
    frames = np.array([[-128, -128], [-128, -127], [0, 0], [127, 127], [5, 6]], np.int8)
    assert levels_of(frames, 2, 3, 2, 1).tolist() == [128, 133]
    assert levels_of(frames, 2, 3, 2, 2).tolist() == [64, 194]
    assert levels_of(frames, 1, 3, 1, 3).tolist() == [42]
