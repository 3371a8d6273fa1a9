"""``kws calibrate``: the detector's parameters for a wanted rate of false accepts.

What is chosen on: sessions of the validation split, the calibration part of the recordings without keywords (each at
three speeds, so that the rate is looked at over more hours than there are) and the validation part of the noise. What
is reported is measured on the reporting part of the recordings. docs/streaming.md tells why each step is as it is.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_pipeline.data.dataset import Dataset
from model_pipeline.data.split import Split
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_dir
from model_pipeline.manifest import DetectorDefaults, Manifest, load_manifest, save_manifest
from model_pipeline.streaming import negatives
from model_pipeline.streaming.corpus import Corpus, Listener
from model_pipeline.streaming.detector import MAX_WINDOW
from model_pipeline.streaming.evaluate import judge
from model_pipeline.streaming.recogniser import Recogniser
from model_pipeline.streaming.sessions import Plan

ProgressCallback = Callable[[int, int, str], None]
LEVELS = np.concatenate([np.arange(64, 240, 6), np.arange(240, 256)])  # fine where good models' scores lie
SPEEDS = (1.0, 0.9, 1.1)
_ENOUGH = 5  # false accepts of a word from which its own counts are relied on
_TAIL = 20  # that its slope beyond is taken from
_PRIOR = 0.5  # false accepts that a word without any is thought to have had at the lowest level
_SMOOTHING_MS = (100, 150, 200, 300, 400, 500)
_COUNTS = (1, 2, 3)
_REFRACTORY_MS = (500, 750, 1000, 1250)
_SAME_SHARE = 0.0025  # of the keywords: a difference in errors that is no reason for more inferences


@dataclass(frozen=True)
class Wish:
    """What the detector shall reach. ``rate``: false accepts an hour of connected speech and of noise;
    ``response_ms``: a word that is accepted later than so long after its end counts as missed."""

    rate: float = 1.0
    response_ms: float = 400.0
    snr_db: tuple[float, ...] = (10.0,)
    strides: tuple[int, ...] = (3, 4, 5)


@dataclass
class Sweep:
    """Counts at each of `LEVELS`, the same threshold for all words. [levels, words] each."""

    errors: NDArray[np.float64]  # missed, late and wrong in the sessions, by the word said (or wrongly heard)
    false: NDArray[np.float64]  # false accepts on connected speech and noise
    hours: float


@dataclass(frozen=True)
class Choice:
    """One detector with its errors and expected false accepts an hour."""

    detector: DetectorDefaults
    errors: float
    expected: float


def calibrate(
    model: Path,
    data: Path,
    negative: Path | None = None,
    wish: Wish | None = None,
    plan: Plan | None = None,
    progress: ProgressCallback | None = None,
    *,
    write: bool = True,
    split: Split = "validation",
) -> dict[str, Any]:
    """Chooses smoothing window, thresholds, count, refractory time and stride, and writes them into ``model.json``.

    In a folder of `kws export` the generated sources are made anew from it; the folder is replaced as a whole.

    Returns:
        ``detector``, ``before`` (the manifest's), ``expected`` (errors, false accepts an hour), ``calibration`` and
        ``measured`` (figures on what was chosen on and on the reporting part, as `evaluate.judge` gives them).

    Raises:
        KwsError: no data, or the wanted rate can't be reached with any threshold.
    """
    wish, plan = wish or Wish(), plan or Plan()
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    dataset = Dataset.open(data, manifest.labels[:-2])
    corpus, held_out = _listen(recogniser, dataset, split, negative, wish, plan, progress)
    choice = choose(corpus, manifest, wish, progress)
    result: dict[str, Any] = {
        "model": manifest.model_hash,
        "name": manifest.name,
        "labels": manifest.labels,
        "wish": {"rate": wish.rate, "response_ms": wish.response_ms, "snr_db": list(wish.snr_db)},
        "before": manifest.detector.model_dump(),
        "detector": choice.detector.model_dump(),
        "hop_ms": manifest.frontend.hop_ms,
        "expected": {"errors": choice.errors, "false_accepts_per_hour": round(choice.expected, 4)},
        "calibration": judge(corpus, choice.detector, det=False),
        "measured": judge(held_out, choice.detector, det=False) if held_out.speech else None,
    }
    if write:
        store(Path(model), choice.detector, _record(result))
    return result


def choose(corpus: Corpus, manifest: Manifest, wish: Wish, progress: ProgressCallback | None = None) -> Choice:
    """The detector with the fewest errors in the sessions among those whose expected false accepts are within
    ``wish.rate``; of nearly equal ones that with the fewest inferences.

    Raises:
        KwsError: even the highest thresholds give more false accepts.
    """
    hop_ms = manifest.frontend.hop_ms
    steps = len(wish.strides) * (len(_SMOOTHING_MS) * len(_COUNTS) + len(_REFRACTORY_MS))
    done = 0
    chosen: list[Choice] = []
    least = math.inf
    words = len(manifest.labels) - 2

    def attempt(stride: int, window: int, count: int, refractory_ms: int) -> Choice | None:
        nonlocal done, least
        base = DetectorDefaults(
            window=window,
            min_count=count,
            refractory_samples=refractory_ms * 16,
            thresholds=[255] * words + [0, 0],
            stride_hops=stride,
        )
        found = sweep(corpus, base, wish)
        rates = expected_rates(found)
        least = min(least, float(rates[-1].sum()))
        thresholds = pick(found.errors, rates, wish.rate)
        done += 1
        if progress:
            progress(
                min(done, steps), steps, f"every {stride * hop_ms} ms, smoothed over {window * stride * hop_ms} ms"
            )
        if thresholds is None:
            return None
        levels = [int(LEVELS[i]) for i in thresholds]
        each = range(words)
        return Choice(
            base.model_copy(update={"thresholds": [*levels, 0, 0]}),
            float(sum(found.errors[thresholds[w], w] for w in each)),
            float(sum(rates[thresholds[w], w] for w in each)),
        )

    for stride in wish.strides:
        windows = sorted({min(MAX_WINDOW, max(1, round(ms / (stride * hop_ms)))) for ms in _SMOOTHING_MS})
        tried = [c for w in windows for n in _COUNTS if (c := attempt(stride, w, n, 1000))]
        if not tried:
            continue
        best = min(tried, key=lambda c: c.errors)
        for ms in _REFRACTORY_MS:
            if again := attempt(stride, best.detector.window, best.detector.min_count, ms):
                tried.append(again)
        chosen.append(min(tried, key=lambda c: c.errors))
    if not chosen:
        raise KwsError(
            f"no thresholds give {wish.rate:g} false accepts an hour; the least expected is {least:.2g}",
            hint="train with connected speech among the unknown words, or ask for --rate a little higher",
        )
    said = sum(event.word in manifest.labels for s in corpus.sessions.values() for h in s for event in h.events)
    limit = min(c.errors for c in chosen) + _SAME_SHARE * said
    return max((c for c in chosen if c.errors <= limit), key=lambda c: (c.detector.stride_hops, -c.errors))


def sweep(corpus: Corpus, base: DetectorDefaults, wish: Wish) -> Sweep:
    """Runs the detector at each of `LEVELS`, one for all words, over the corpus."""
    labels = corpus.labels
    words = len(labels) - 2
    number = {label: i for i, label in enumerate(labels)}
    errors = np.zeros((len(LEVELS), words))
    false = np.zeros((len(LEVELS), words))
    late = wish.response_ms * 16
    for i, level in enumerate(LEVELS):
        detector = base.model_copy(update={"thresholds": [int(level)] * words + [0, 0]})
        for snr in corpus.sessions:
            outcome = corpus.outcome(snr, detector)
            for event in outcome.missed:
                errors[i, number[event.word]] += 1
            for event, detection in outcome.hits:
                errors[i, detection.label] += detection.position - event.end > late
            for detection, _ in outcome.false:
                errors[i, detection.label] += 1
        for part in [*corpus.speech, *corpus.noise]:
            for detection in part.detections(detector):
                false[i, detection.label] += 1
    return Sweep(errors, false, sum(part.hours for part in corpus.speech) or sum(p.hours for p in corpus.noise))


def expected_rates(found: Sweep) -> NDArray[np.float64]:
    """Expected false accepts an hour at each level, [levels, words].

    Where a word has fired at least `_ENOUGH` times its own counts are taken. Beyond, counts are too few to be trusted
    (the lowest threshold without any is just the one above the highest of a few random values), so they are carried on
    by an exponential tail over the logit of the threshold. Its slope is the inverse of the mean excess of the word's
    last `_TAIL` false accepts, or of the upper half if they are fewer (B. M. Hill, Annals of Statistics 3, 1975, for
    logarithms), drawn towards that of all words together.
    """
    logit = np.log((LEVELS + 0.5) / (256 - LEVELS - 0.5))
    false = np.maximum.accumulate(found.false[::-1], axis=0)[::-1]  # never rising with the threshold
    words = false.shape[1]
    ends, numbers, excesses = [], [], []
    for word in range(words):
        counts = false[:, word]
        ends.append(_last(counts >= _ENOUGH))
        start = _last(counts >= min(_TAIL, math.ceil(counts[0] / 2)))
        # Where each of the last ones stops to fire lies between two levels: their middle.
        gone = -np.diff(np.append(counts[start:], 0.0))
        middle = np.append((logit[start:-1] + logit[start + 1 :]) / 2, logit[-1] + 0.5)
        numbers.append(float(counts[start]))
        excesses.append(float((gone * (middle - logit[start])).sum()))
    # One false accept at one logit as a prior, so that no counts give no infinite slope.
    pooled = (sum(numbers) + 1.0) / (sum(excesses) + 1.0)
    rates = false.copy()
    for word, end in enumerate(ends):
        slope = (numbers[word] + _ENOUGH) / (excesses[word] + _ENOUGH / pooled)
        rates[end:, word] = max(false[end, word], _PRIOR) * np.exp(-slope * (logit[end:] - logit[end]))
    return rates / max(found.hours, 1e-9)


def _last(true: NDArray[np.bool_]) -> int:
    """The last index that is true, 0 if none is."""
    found = np.flatnonzero(true)
    return int(found[-1]) if len(found) else 0


def pick(errors: NDArray[np.float64], rates: NDArray[np.float64], wanted: float) -> list[int] | None:
    """The level of each word that gives the fewest errors in sum with rates that sum to at most ``wanted``; None if
    none do. By Lagrange's multiplier (each word alone minimises errors + price * rate, and the price is raised until
    the rates fit), and then what room is left is used word by word."""
    words = errors.shape[1]
    columns = range(words)

    def at(price: float) -> list[int]:
        # Of equals the highest threshold.
        return [len(LEVELS) - 1 - int((errors[::-1, w] + price * rates[::-1, w]).argmin()) for w in columns]

    def rate(levels: Sequence[int]) -> float:
        return float(sum(rates[i, w] for w, i in enumerate(levels)))

    if rate([len(LEVELS) - 1] * words) > wanted:
        return None
    low, high = 0.0, 1.0
    while rate(at(high)) > wanted and high < 1e12:
        high *= 4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rate(at(middle)) > wanted else (low, middle)
    levels = at(high)
    if rate(levels) > wanted:
        levels = [len(LEVELS) - 1] * words
    while True:
        room = wanted - rate(levels)
        best: tuple[float, int, int] | None = None
        for w in columns:
            for i in range(levels[w]):
                gain = errors[levels[w], w] - errors[i, w]
                cost = rates[i, w] - rates[levels[w], w]
                if gain > 0 and cost <= room and (best is None or gain > best[0]):
                    best = (gain, w, i)
        if best is None:
            return levels
        levels[best[1]] = best[2]


def store(model: Path, detector: DetectorDefaults, record: dict[str, Any]) -> None:
    """Writes the detector into the manifest, and makes a generated folder anew with it, whole or not at all.

    Raises:
        KwsError: the folder can't be written.
    """
    manifest = load_manifest(model)
    updated = manifest.model_copy(
        update={"detector": detector, "accuracy": {**manifest.accuracy, "calibration": record}}
    )
    if not (model / "model_config.h").is_file():
        save_manifest(updated, model / "model.json")
        return
    from model_pipeline.export import ARENA_FILE, export

    with tempfile.TemporaryDirectory(prefix="kws-calibrate-") as name:
        source = Path(name) / "model"
        source.mkdir()
        for file in ("model.tflite", ARENA_FILE):
            if (model / file).is_file():
                shutil.copyfile(model / file, source / file)
        save_manifest(updated, source / "model.json")
        export(source, Path(name) / "out")
        with atomic_dir(model) as target:
            shutil.copytree(model, target, dirs_exist_ok=True)  # what else a user keeps there
            shutil.copytree(Path(name) / "out", target, dirs_exist_ok=True)


def _listen(
    recogniser: Recogniser,
    dataset: Dataset,
    split: Split,
    negative: Path | None,
    wish: Wish,
    plan: Plan,
    progress: ProgressCallback | None,
) -> tuple[Corpus, Corpus]:
    """What is chosen on, and the part of the recordings that is only measured."""
    stride = math.gcd(*wish.strides)
    listener = Listener(recogniser, stride, progress)
    keywords = sum(c.label < dataset.unknown for c in dataset.clips(split))
    seconds = len(wish.snr_db) * 2.5 * min(keywords, plan.limit or keywords) + 600
    stretches = []
    if negative:
        mine, other = negatives.recordings(negative, "calibration"), negatives.recordings(negative, "reporting")
        audio = listener.read([*mine, *other])
        names = [p.name for p in [*mine, *other]]
        cut = len(mine)
        for speed in SPEEDS:
            stretches.append(negatives.join(f"speech at {speed:g} times", audio[:cut], names[:cut], speed))
        reported = negatives.join("speech of the reporting part", audio[cut:], names[cut:])
        seconds += sum(s.seconds for s in stretches) + reported.seconds
    listener.expect(seconds)
    listener.generated(dataset, split, wish.snr_db, plan)
    for stretch in stretches:
        listener.speech(stretch)
    listener.noise(dataset, split)
    corpus, held_out = listener.corpus, Corpus(recogniser.labels)
    if negative:
        listener.corpus = held_out
        listener.speech(reported)
    return corpus, held_out


def _record(result: dict[str, Any]) -> dict[str, Any]:
    """What the manifest keeps."""
    kept: dict[str, Any] = {"wish": result["wish"], "expected": result["expected"]}
    for snr, values in result["calibration"]["sessions"].items():
        kept[f"validation_{snr}_db"] = {
            "misses": round(values["misses"]["value"] or 0.0, 5),
            "response_ms": {k: values["response_ms"].get(k) for k in ("median", "p95")},
        }
    if result["measured"]:
        rate = result["measured"]["speech"]["false_accepts"]
        kept["reporting"] = {"hours": rate["hours"], "false_accepts": rate["count"]}
    return kept
