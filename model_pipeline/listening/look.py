"""``kws look``: learns the detector's second look (`kws_look_t`) from what a model says along recordings.

The network sees one second at a time and is as sure of a piece of a sentence as of a word that is said for itself. How
its results come about tells them apart: silence or other words before, how long the posterior stays, what it falls to;
and how loud it was then. The second look is a network of two layers over the last two seconds of results. It learns
from sessions of the training split (a word fires once it has ended, at the best of the results that are in time) and
from the training part of each corpus, in which nothing may fire. Plain NumPy: there are some thousands of weights.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.data import connected as negatives
from model_pipeline.data.audio import as_pcm
from model_pipeline.data.corpora import corpus_of
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Event, Plan, generate, loop
from model_pipeline.data.transcripts import Sayings
from model_pipeline.errors import KwsError
from model_pipeline.limits import LIMITS
from model_pipeline.listening.calibrate import store
from model_pipeline.listening.detector import logits
from model_pipeline.listening.material import Material
from model_pipeline.listening.recogniser import Recogniser, Track
from model_pipeline.manifest import LOOK_INPUTS, DetectorDefaults, Look
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.rate import SAMPLE_RATE, samples_of

LEAST = 8  # KWS_LOOK_LEAST
SNRS = (10.0, 4.0, 18.0, 35.0)  # dB, of the sessions that it learns from
_FASTER = 1.07  # what is heard in noise
_NOISES = (2, 3, 4, 5)  # seeds of noise alone; 1 is what detectors are chosen by and judged on
_UNIT = 20.0  # of `logits`
_NEVER = -1
_BATCH = 512
_SUREST = 4.0  # the logit of the surest twentieth of words


@dataclass(frozen=True)
class LookShape:
    """What a second look sees, and how it learns.

    Attributes:
        stride_hops, steps: it looks at ``steps`` results, one every ``stride_hops`` hops.
        window: the word that is looked at is that of the highest mean of this many results.
        response_ms: after a word's end it is answered too late.
        members: networks that learn from other random weights, and of whose answers the mean is taken (which is one
            network again, of all ``hidden`` units).
        decay: of the weights.
        babble: whether it also learns from voices that say other words at once: a network that was trained so.
    """

    stride_hops: int = 4
    steps: int = 24
    hidden: int = 12
    window: int = 3
    response_ms: float = 400.0
    members: int = 2
    decay: float = 3e-2
    passes: int = 30
    seed: int = 1
    babble: bool = False


@dataclass(frozen=True)
class Learnt:
    """What `look` has done. ``words``: occurrences of keywords; ``rows``: results that must not fire."""

    name: str
    model: str
    words: int
    rows: int
    hours: float
    macs: int
    constant_bytes: int
    corpora: tuple[str, ...]


def look(
    model: Path,
    material: Material,
    shape: LookShape | None = None,
    progress: ProgressCallback | None = None,
    extra: Path | None = None,
) -> Learnt:
    """Learns a second look on sessions of the training split at `SNRS` and on the training part of each corpus, as it
    is and in noise, on the training part of the data's noise and noise made by formula, and writes it into
    ``model.json``; an exported folder is made anew. Thresholds are put in the middle: `calibrate` chooses them.

    Args:
        extra: a data folder too, with words of synthetic voices: sessions of its training split. Corpora often hold
            such voices' sentences; without their keywords it learns that what a synthesiser says is never meant.

    Raises:
        KwsError: no data, a corpus of which the model's training has heard nothing, or a shape that there is none of.
    """
    shape, plan, report = shape or LookShape(), material.plan or Plan(limit=1000), progress or silent
    if not shape.window <= shape.steps or not shape.stride_hops <= LIMITS["STRIDE_HOPS"]:
        raise KwsError(
            f"a second look sees at least {shape.window} results, of every {LIMITS['STRIDE_HOPS']} hops at the most",
            hint="--steps 24 --stride 4",
        )
    model = Path(model)
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    # Levels of as many frames as the device will take.
    every = manifest.detector.model_copy(update={"stride_hops": shape.stride_hops})
    recogniser.manifest = manifest.model_copy(update={"look": None, "detector": every})
    dataset = Dataset.open(material.data, manifest.keywords, clip_ms=manifest.clip_ms)
    # Who speaks, what the sessions are called, other words for each keyword, and what is added to the seed.
    speakers = [(dataset, "sessions", 0.7, 0)]
    if extra:
        other = Dataset.open(extra, manifest.keywords, clip_ms=manifest.clip_ms)
        speakers.append((other, "synthetic voices", 1.0, 50))
    trained = (manifest.training_data.get("scenes") or {}).get("corpora") or []
    sayings = Sayings(manifest.keywords)
    parts: list[Rows] = []
    hours = 0.0
    steps = len(material.negative) + 1 + len(speakers) * len(SNRS)

    def hear(samples: NDArray[np.int16], events: Sequence[Event] = ()) -> None:
        nonlocal hours
        hours += len(samples) / SAMPLE_RATE / 3600
        parts.append(rows(recogniser.track(samples, shape.stride_hops), events, manifest.labels, shape))

    names = []
    for number, folder in enumerate(material.negative):
        corpus = corpus_of(folder, trained)
        report(number, steps, f"listening to {corpus.name}")
        recordings = corpus.without("training", sayings if corpus.transcribed else None)[0]
        if not recordings:
            raise KwsError(f"{corpus.name}: training has heard nothing of it", hint="corpora of the recipe are needed")
        audio = negatives.read([r.path for r in recordings])
        files = [r.path.name for r in recordings]
        names.append(corpus.name)
        hear(negatives.join(corpus.name, audio, files).samples)
        kind = next((entry.get("kind") for entry in trained if entry["name"] == corpus.name), "speech")
        if kind == "speech":
            faster = negatives.join(corpus.name, audio, files, _FASTER).samples
            hear(in_noise(faster, dataset.noise_part("training"), number))
    report(len(material.negative), steps, "noise")
    for seed in _NOISES:
        hear(negatives.noise(dataset, "training", seed=seed).samples)
    if shape.babble:
        hear(negatives.babble(dataset, "training").samples)
    for i, ((source, name, others, added), snr) in enumerate(itertools.product(speakers, SNRS)):
        report(len(material.negative) + 1 + i, steps, f"{name} at {snr:g} dB")
        own = replace(plan, seed=plan.seed + added + i % len(SNRS), unknown_share=others)
        for session in generate(source, "training", snr, own):
            hear(session.samples, session.events)
    report(steps, steps, "learning")
    found, words, never = learn(parts, shape)
    made = {"corpora": names, "snr_db": list(SNRS), "words": words, "rows": never, "hours": round(hours, 3)}
    made["synthetic"] = extra is not None
    found = found.model_copy(update={"made": made})
    words_count = len(manifest.labels) - 2
    detector = DetectorDefaults(
        window=shape.window,
        min_count=1,
        refractory_samples=manifest.detector.refractory_samples,
        thresholds=[128] * words_count + [0, 0],
        stride_hops=shape.stride_hops,
    )
    store(model, detector, {}, look=found)
    return Learnt(
        manifest.name, manifest.model_hash, words, never, hours, found.macs, found.constant_bytes, tuple(names)
    )


def in_noise(samples: NDArray[np.int16], noises: Sequence[NDArray[np.int16]], seed: int) -> NDArray[np.int16]:
    """A recording in noise: every 20 s another one, 0 to 25 dB below the speech. Without it a second look learns that
    words are said in noise, as in the sessions, and all else is not."""
    rng = np.random.default_rng([seed, 5])
    mixed = samples.astype(np.float32)
    for at in range(0, len(mixed), 20 * SAMPLE_RATE):
        piece = mixed[at : at + 20 * SAMPLE_RATE]
        level = np.sqrt(np.mean(piece**2) + 1) * 10 ** (-rng.uniform(0, 25) / 20)
        piece += loop(noises[int(rng.integers(len(noises)))], len(piece), rng) * np.float32(level)
    return as_pcm(mixed)


@dataclass
class Rows:
    """What is learnt from: int8 ``x`` [n, steps, 5], and ``word`` [n]: the number of the keyword's occurrence that a
    row may be the answer to, `_NEVER` where nothing may fire."""

    x: NDArray[np.int8]
    word: NDArray[np.int64]


def rows(track: Track, events: Sequence[Event], labels: Sequence[str], shape: LookShape, first_word: int = 0) -> Rows:
    """The results of a track at which a word is looked at. Those that are neither an answer in time nor a false accept
    (a word that is still being said, or was said a second ago) are left out.

    Args:
        track: at the stride of ``shape`` or a divisor of it, with levels of as many frames.
    """
    track = track.every(shape.stride_hops)
    p = (track.outputs.astype(np.int16) + 128).astype(np.uint8)
    words = len(labels) - 2
    padded = np.zeros((len(p) + shape.steps, len(labels)), np.uint8)
    padded[:, -1] = 255
    padded[shape.steps :] = p
    sums = np.cumsum(padded.astype(np.int64), axis=0)
    mean = sums[shape.steps :] - sums[shape.steps - shape.window : -shape.window]
    top = mean[:, :words].argmax(axis=1)
    looked = np.take_along_axis(mean, top[:, None], 1)[:, 0] >= LEAST * shape.window
    looked[: shape.window - 1] = False
    answer = np.full(len(p), _NEVER, np.int64)
    positions = track.positions
    number = {label: i for i, label in enumerate(labels)}
    for i, event in enumerate(events):
        if event.word not in labels[:words]:
            continue
        near = (positions > event.start) & (positions <= event.end + SAMPLE_RATE) & (top == number[event.word])
        timely = (
            near & (positions >= event.end - samples_of(150)) & (positions <= event.end + samples_of(shape.response_ms))
        )
        answer[timely] = first_word + i
        looked[near & ~timely] = False
    kept = np.flatnonzero(looked)
    windows = np.lib.stride_tricks.sliding_window_view(padded[1:], shape.steps, axis=0)[
        kept, :, ::-1
    ]  # [n, labels, steps]
    own = np.take_along_axis(windows, top[kept][:, None, None], 1)[:, 0]
    unknown, silence = windows[:, -2], windows[:, -1]
    rest = np.maximum(0, 255 - own.astype(np.int16) - unknown - silence).astype(np.uint8)
    assert track.levels is not None
    levels = np.concatenate([np.full(shape.steps, track.levels[0] if len(p) else 0), track.levels]).astype(np.int16)
    level = np.lib.stride_tricks.sliding_window_view(levels[1:], shape.steps)[kept, ::-1]
    below = np.clip(level - level.max(axis=1, keepdims=True), -127, 0).astype(np.int8)
    return Rows(
        np.concatenate([logits()[np.stack([own, unknown, silence, rest], 2)], below[:, :, None]], 2), answer[kept]
    )


def learn(parts: Sequence[Rows], shape: LookShape) -> tuple[Look, int, int]:
    """The second look, by Adam on the logistic loss: of each word that was said its best row, of all else every row;
    both count the same in sum.

    Returns:
        It, of how many words, and of how many other rows.

    Raises:
        KwsError: there is nothing of either.
    """
    x = np.concatenate([part.x for part in parts]).reshape(-1, shape.steps * LOOK_INPUTS)
    offset, word = 0, []
    for part in parts:
        word.append(np.where(part.word >= 0, part.word + offset, _NEVER))
        offset += int(part.word.max(initial=-1)) + 1
    answer = np.concatenate(word)
    said, never = np.flatnonzero(answer >= 0), np.flatnonzero(answer < 0)
    if not len(said) or not len(never):
        raise KwsError("no word of the sessions was heard, or nothing else", hint="train the model first")
    names, group = np.unique(answer[said], return_inverse=True)
    real = x.astype(np.float32) / np.float32(_UNIT)
    joined = _mean(_members(real, said, group, never, shape))
    best = np.full(len(names), -np.inf, np.float32)
    np.maximum.at(best, group, _answer(joined, real[said]))
    # Posteriors end at 1 - 1/256: the surest words shall lie just below, as thresholds must tell them apart.
    scale = np.float32(min(1.0, _SUREST / max(1.0, float(np.quantile(best, 0.95)))))
    joined[2], joined[3] = joined[2] * scale, joined[3] * scale
    return _fixed(joined, shape), len(names), len(never)


@dataclass(frozen=True)
class _Members:
    """Networks side by side: ``values`` are the first layers' weights [inputs, hidden] and bias [hidden], the second's
    weights [hidden] and bias [members]; ``of`` [hidden, members]: 1 where a unit is a member's."""

    values: list[NDArray[np.float32]]
    of: NDArray[np.float32]

    def answers(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The hidden units [n, hidden], and what each member says [n, members]."""
        first, bias, out, out_bias = self.values
        hidden = np.maximum(x @ first + bias, 0)
        return hidden, (hidden * out) @ self.of + out_bias

    def gradients(
        self, x: NDArray[np.float32], target: NDArray[np.float32], each: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """Of each member's logistic loss; ``target`` [n], and what each row weighs for each member [n, members]."""
        hidden, answers = self.answers(x)
        wrong = each * (1 / (1 + np.exp(-np.clip(answers, -30, 30))) - target[:, None])
        spread = wrong @ self.of.T
        back = spread * self.values[2] * (hidden > 0)
        return [x.T @ back, back.sum(0), (hidden * spread).sum(0), wrong.sum(0)]


def _members(
    real: NDArray[np.float32],
    said: NDArray[np.int64],
    group: NDArray[np.int64],
    never: NDArray[np.int64],
    shape: LookShape,
) -> _Members:
    """The trained members. They learn of the same words at once, in 10 s where each by itself took 25 in all, but
    of a word each from the row that it is surest of itself: from those of all together they become alike, and fire at
    half as many near words again (docs/own-words.md).

    Args:
        said: rows that may answer a word, ``group``: which word, from 0; never: those that must not fire.
    """
    inputs, drawn = real.shape[1], []
    for member, units in enumerate(np.array_split(np.arange(shape.hidden), min(shape.members, shape.hidden))):
        rng, hidden = np.random.default_rng([shape.seed, member]), len(units)
        first = rng.standard_normal((inputs, hidden)) * (0.5 / inputs**0.5)
        drawn.append((first, rng.standard_normal(hidden) * hidden**-0.5))
    of = np.repeat(np.eye(len(drawn), dtype=np.float32), [len(out) for _, out in drawn], axis=0)
    start = [
        np.concatenate([first for first, _ in drawn], axis=1),
        np.zeros(shape.hidden),
        np.concatenate([out for _, out in drawn]),
        np.zeros(len(drawn)),
    ]
    values = [v.astype(np.float32) for v in start]
    members = _Members(values, of)
    first, second = [np.zeros_like(w) for w in values], [np.zeros_like(w) for w in values]
    rng, spoken = np.random.default_rng([shape.seed, len(drawn)]), real[said]
    step, total = 0, shape.passes * -(-len(never) // _BATCH)
    for _ in range(shape.passes):
        # Each member's best row of each word [members, words]; as they change, once a pass.
        best = np.stack([said[_best(answers, group)] for answers in members.answers(spoken)[1].T])
        mixed = rng.permutation(never)
        for at in range(0, len(mixed), _BATCH):
            no = mixed[at : at + _BATCH]
            words = rng.integers(best.shape[1], size=min(best.shape[1], _BATCH // 2))
            yes, which = np.unique(best[:, words], return_inverse=True)
            target = np.repeat(np.array([1, 0], np.float32), [len(yes), len(no)])
            each = np.full((len(target), len(best)), 0.5 / len(no), np.float32)
            for member, rows in enumerate(which.reshape(len(best), -1)):
                each[: len(yes), member] = np.bincount(rows, minlength=len(yes)) * (0.5 / len(words))
            gradients = members.gradients(real[np.concatenate([yes, no])], target, each)
            step += 1
            rate = np.float32(0.005 * (1 + np.cos(np.pi * step / total)))
            for w, g, m, v in zip(values, gradients, first, second, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                move = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                w -= rate * (move + np.float32(shape.decay) * w)
    return members


def _best(answers: NDArray[np.float32], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which row of each word has its highest answer [words]."""
    order = np.lexsort((answers, group))
    return order[np.append(np.flatnonzero(np.diff(group[order])), len(order) - 1)]


def _mean(members: _Members) -> list[NDArray[np.float32]]:
    """One network of all units, whose answer is the mean of the members': weights, biases, the last [1]."""
    first, bias, out, out_bias = members.values
    return [first, bias, out / np.float32(len(out_bias)), out_bias.mean(keepdims=True)]


def _answer(weights: Sequence[NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3][0]


def _fixed(weights: Sequence[NDArray[np.float32]], shape: LookShape) -> Look:
    """Weights as the firmware holds them. One scale of all hidden units, so that shifts are enough."""
    first, bias, out, out_bias = weights
    # A hidden unit may be scaled as the next layer is scaled back: equal largest weights use the eight bits best.
    scale = np.abs(first).max(axis=0) + 1e-6
    scale /= np.exp(np.log(scale).mean())
    first, bias, out = first / scale, bias / scale, out * scale
    a = int(np.floor(np.log2(127 / np.abs(first).max())))
    b = int(np.floor(np.log2(127 / np.abs(out).max())))
    # Sums are in units of 1 / (_UNIT * 2^a); a hidden unit of 255 stands for about 12.
    shift = max(0, int(np.round(np.log2(_UNIT * 2**a * 12 / 255))))
    hidden_unit = _UNIT * 2.0**a / 2**shift
    out_shift = int(np.round(np.log2(hidden_unit * 2.0**b / _UNIT)))
    if out_shift < 0:
        b, out_shift = b - out_shift, 0
    w = np.clip(np.rint(first.T * 2.0**a), -128, 127).astype(np.int8)
    limit = 1 << 24
    return Look(
        steps=shape.steps,
        hidden=shape.hidden,
        shift=shift,
        out_shift=out_shift,
        frames=shape.stride_hops,
        weights=base64.b64encode(w.tobytes()).decode(),
        bias=[int(v) for v in np.clip(np.rint(bias * _UNIT * 2.0**a), -limit, limit)],
        out=[int(v) for v in np.clip(np.rint(out * 2.0**b), -128, 127)],
        out_bias=int(np.clip(np.rint(out_bias[0] * _UNIT * 2.0**out_shift), -limit, limit)),
        stride_hops=shape.stride_hops,
        window=shape.window,
    )
