"""``kws calibrate``: the detector's parameters for a wanted rate of false accepts.

What is chosen on: sessions of the validation split, the calibration part of each corpus of connected speech (each at
three speeds, so that the rate is looked at over more hours than there are) and the validation part of the noise. What
is reported is measured on the reporting parts. With several corpora the rate that is promised is that of a corpus which
was not chosen on. docs/listening.md tells why each step is as it is.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.data import connected as negatives
from model_pipeline.data.corpora import Corpus as NamedCorpus
from model_pipeline.data.corpora import corpus_of, open_corpus
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Plan
from model_pipeline.data.split import Split
from model_pipeline.data.transcripts import Sayings
from model_pipeline.errors import KwsError
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.folders import MARK, updated_dir
from model_pipeline.intervals import Share
from model_pipeline.listening.corpus import Corpus, KeywordFree, Listener
from model_pipeline.listening.detector import MAX_WINDOW
from model_pipeline.listening.evaluate import judge
from model_pipeline.listening.material import Material
from model_pipeline.listening.near import near_clips
from model_pipeline.listening.rates import LEVELS, PARTS, Sweep, left_out, lowest, near_costs, to_ask, total
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.listening.results import Calibration, Expected, LeftOut, NearCost, Wished
from model_pipeline.manifest import DetectorDefaults, Look, Manifest, load_manifest, save_manifest
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import samples_of

SPEEDS = (1.0, 0.9, 1.1)
_SMOOTHING_MS = (100, 150, 200, 300, 400, 500)
_COUNTS = (1, 2, 3)
_REFRACTORY_MS = (500, 750, 1000, 1250)
NOISY = 16.0  # false accepts an hour: a detector that makes more is of little use either
USEFUL = 0.5  # of the keywords in the sessions: a detector that misses more is of little use to anybody
_SAME_SHARE = 0.0025  # of the keywords: a difference in errors that is not a reason for more inferences


@dataclass(frozen=True)
class Wish:
    """What the detector shall reach.

    Attributes:
        rate: false accepts an hour of connected speech and of noise.
        response_ms: a word that is accepted later than so long after its end counts as missed.
        relax: where no thresholds reach ``rate``, or only such that miss more than `USEFUL` of the keywords, twice as
            much is asked for, at most this many times. What is expected then says what rate it became, and how many
            keywords were missed at the wanted one.
        common: one threshold for all words. Thresholds of each word fit the few false accepts that each has, and the
            answers of a second look mean the same for all.
        near: at most this share of near words may fire, whatever it costs; 0: as many as will. With ``common``.
    """

    rate: float = 1.0
    response_ms: float = 400.0
    snr_db: tuple[float, ...] = (10.0,)
    strides: tuple[int, ...] = (3, 4, 5)
    counts: tuple[int, ...] = _COUNTS  # results in a row that a word may need
    relax: int = 0
    common: bool = False
    near: float = 0.0


@dataclass(frozen=True)
class Choice:
    """One detector with its errors and false accepts an hour on what it was chosen on; ``asked``: how many `to_ask` let
    there be; ``left_out``: false accepts on each corpus, or part of the only one, of a detector chosen on the others;
    ``near_costs``: what fewer near words would cost.
    """

    detector: DetectorDefaults
    errors: float
    rate: float
    asked: float
    said: int = 0
    left_out: tuple[tuple[str, float, float], ...] = ()  # name, hours, false accepts
    near_costs: tuple[NearCost, ...] = ()


def calibrate(
    model: Path,
    material: Material,
    wish: Wish | None = None,
    progress: ProgressCallback | None = None,
    *,
    write: bool = True,
    split: Split = "validation",
) -> Calibration:
    """Chooses smoothing window, thresholds, count, refractory time and stride, and writes them into ``model.json``.

    In a folder of `kws export` the generated sources are made anew from it; the folder is replaced as a whole.

    Raises:
        KwsError: no data, or the wanted rate can't be reached with any threshold.
    """
    wish = wish or Wish()
    if wish.near and not wish.common:
        raise KwsError(
            "a share of near words is kept by one threshold for all words", hint="with --near-rate also --common"
        )
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    dataset = Dataset.open(material.data, manifest.keywords, clip_ms=manifest.clip_ms)
    corpora = [_open(folder, manifest) for folder in material.negative]
    corpus, held_out = _listen(recogniser, _Sessions(dataset, split, material.plan or Plan()), corpora, wish, progress)
    asked = wish.rate
    if wish.near and not corpus.near:
        raise KwsError(f"{material.data} has no other words to tell how many fire", hint="ask for no share of them")
    choice, wish, strict = choose_relaxed(corpus, manifest, wish, progress)
    result = Calibration(
        model=manifest.model_hash,
        name=manifest.name,
        labels=manifest.labels,
        wish=Wished(rate=asked, response_ms=wish.response_ms, snr_db=list(wish.snr_db), near=wish.near),
        before=manifest.detector,
        detector=choice.detector,
        hop_ms=manifest.frontend.hop_ms,
        expected=Expected(
            errors=choice.errors,
            said=choice.said,
            errors_at_wish=strict,
            false_accepts_per_hour=wish.rate,
            where_chosen=round(choice.rate, 4),
            asked_there=round(choice.asked, 4),
            # No false accept in N hours still allows for three in N hours (95 %).
            least_shown=round(3.0 / sum(part.hours for part in corpus.speech), 3) if corpus.speech else None,
            left_out=[
                LeftOut(name=name, hours=round(hours, 4), false_accepts=count) for name, hours, count in choice.left_out
            ],
            near=Share.of(corpus.near.fired(choice.detector), corpus.near.words) if corpus.near else None,
            near_costs=list(choice.near_costs),
        ),
        corpora=[c.describe() for c in corpora],
        calibration=judge(corpus, choice.detector, det=False),
        measured=judge(held_out, choice.detector, det=False) if held_out.speech else None,
    )
    if write:
        store(Path(model), choice.detector, result.kept().model_dump(mode="json"))
    return result


def choose_relaxed(
    corpus: Corpus, manifest: Manifest, wish: Wish, progress: ProgressCallback | None = None
) -> tuple[Choice, Wish, float | None]:
    """`choose`; where no thresholds reach the rate, or what reaches it has more errors than `USEFUL` of the keywords,
    for twice as much, at most ``wish.relax`` times and (once some thresholds reach it) `NOISY` an hour: silence has few
    false accepts too.

    Returns:
        The choice (if none is useful, that with the fewest errors), the wish with what was asked for in the end, and
        the errors at the rate that was wished for: None where no thresholds reach it.

    Raises:
        KwsError: as `choose`, of the last try.
    """
    found: list[tuple[Choice, Wish]] = []
    strict: float | None = None
    known: dict[str, Sweep] = {}
    for turn in range(wish.relax + 1):
        try:
            choice = choose(corpus, manifest, wish, progress, known)
        except KwsError:
            if turn == wish.relax and not found:
                raise
        else:
            found.append((choice, wish))
            strict = choice.errors if turn == 0 else strict
            if choice.errors <= USEFUL * choice.said:
                break
        if found and 2 * wish.rate > NOISY:
            break
        wish = replace(wish, rate=2 * wish.rate)
    return *min(found, key=lambda each: each[0].errors), strict


def choose(
    corpus: Corpus,
    manifest: Manifest,
    wish: Wish,
    progress: ProgressCallback | None = None,
    known: dict[str, Sweep] | None = None,
) -> Choice:
    """The detector with the fewest errors in the sessions among those whose false accepts are within ``wish.rate``, as
    far as counts and `to_ask` tell; of nearly equal ones that with the fewest inferences.

    Args:
        known: sweeps over this corpus that another call has made, which this one adds to; they do not depend on the
            rate.

    Raises:
        KwsError: even the highest thresholds give more false accepts.
    """
    hop_ms, look = manifest.frontend.hop_ms, manifest.look
    if look:
        wish = replace(wish, strides=(look.stride_hops,))
    steps = len(wish.strides) * (len(_SMOOTHING_MS) * len(wish.counts) + len(_REFRACTORY_MS))
    done = 0
    words = len(manifest.labels) - 2
    seen = {} if known is None else known

    def attempt(stride: int, window: int, count: int, refractory_ms: int) -> tuple[DetectorDefaults, Sweep]:
        nonlocal done
        base = DetectorDefaults(
            window=window,
            min_count=count,
            refractory_samples=samples_of(refractory_ms),
            thresholds=[255] * words + [0, 0],
            stride_hops=stride,
        )
        done += 1
        if progress:
            progress(
                min(done, steps), steps, f"every {stride * hop_ms} ms, smoothed over {window * stride * hop_ms} ms"
            )
        key = base.model_dump_json()
        if key not in seen:
            seen[key] = sweep(corpus, base, wish)
        return base, seen[key]

    tried: dict[int, list[tuple[DetectorDefaults, Sweep]]] = {}
    for stride in wish.strides:
        windows = sorted({min(MAX_WINDOW, max(1, round(ms / (stride * hop_ms)))) for ms in _SMOOTHING_MS})
        windows = [look.window] if look else windows  # it does the smoothing
        tried[stride] = [attempt(stride, w, n, 1000) for w in windows for n in wish.counts]
    if progress:
        progress(done, steps, "comparing with other recordings")
    sweeps = [found for each in tried.values() for _, found in each]
    ask = to_ask(sweeps, wish.rate)
    chosen: list[Choice] = []
    for stride, each in tried.items():
        fit = [choice for base, found in each if (choice := _within(base, found, ask))]
        if not fit:
            continue
        best = min(fit, key=lambda c: c.errors)
        for ms in _REFRACTORY_MS:
            if again := _within(*attempt(stride, best.detector.window, best.detector.min_count, ms), ask):
                fit.append(again)
        chosen.append(min(fit, key=lambda c: c.errors))
    if not chosen:
        raise KwsError(
            f"no thresholds give {wish.rate:g} false accepts an hour; the least expected is {lowest(sweeps):.2g}",
            hint="train with connected speech among the unknown words, or ask for --rate a little higher",
        )
    names = _parts(corpus)[1]
    apart = left_out(sweeps, [ask])[:, 0]
    told = tuple(
        (name, float(hours), float(count))
        for name, hours, count in zip(names, sweeps[0].each, np.nan_to_num(apart, nan=-1.0), strict=True)
        if count >= 0
    )
    said = sum(event.word in manifest.labels for s in corpus.sessions.values() for h in s for event in h.events)
    limit = min(c.errors for c in chosen) + _SAME_SHARE * said
    best = max((c for c in chosen if c.errors <= limit), key=lambda c: (c.detector.stride_hops, -c.errors))
    return replace(best, said=said, left_out=told)


def _within(base: DetectorDefaults, found: Sweep, ask: float) -> Choice | None:
    """``base`` with the thresholds that have the fewest errors at a rate of at most ``ask``; None if none have it."""
    thresholds = found.pick(ask)
    if thresholds is None:
        return None
    levels = [int(LEVELS[i]) for i in thresholds]
    return Choice(
        base.model_copy(update={"thresholds": [*levels, 0, 0]}),
        total(found.errors, thresholds),
        total(found.rates, thresholds),
        ask,
        near_costs=tuple(near_costs(found)),
    )


def sweep(corpus: Corpus, base: DetectorDefaults, wish: Wish) -> Sweep:
    """Runs the detector at each of `LEVELS`, one for all words, over the corpus."""
    labels = corpus.labels
    words = len(labels) - 2
    number = {label: i for i, label in enumerate(labels)}
    errors = np.zeros((len(LEVELS), words))
    own, names = _parts(corpus)
    false = np.zeros((len(names), len(LEVELS), words))
    always = np.zeros((len(LEVELS), words))
    near = np.zeros(len(LEVELS))
    late = samples_of(wish.response_ms)

    def at(i: int) -> None:
        detector = base.model_copy(update={"thresholds": [int(LEVELS[i])] * words + [0, 0]})
        for snr in corpus.sessions:
            outcome = corpus.outcome(snr, detector)
            for event in outcome.missed:
                errors[i, number[event.word]] += 1
            for event, detection in outcome.hits:
                errors[i, detection.label] += detection.position - event.end > late
            for detection, _ in outcome.false:
                errors[i, detection.label] += 1
        for part in own:
            for detection in part.detections(detector):
                # The same place of the recordings at every speed.
                slice_ = min(PARTS - 1, PARTS * detection.position // part.track.samples)
                place = names.index(part.name) if part.name in names else slice_
                false[place, i, detection.label] += 1
        for part in corpus.noise if corpus.speech else ():
            for detection in part.detections(detector):
                always[i, detection.label] += 1
        if corpus.near:
            near[i] = corpus.near.fired(detector) / corpus.near.words

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # each has its own row of every table
        list(pool.map(at, range(len(LEVELS))))
    hours = np.array([sum(p.hours for p in own if p.name == name) for name in names])
    if not hours.any():  # slices of one corpus
        hours = np.full(len(names), sum(part.hours for part in own) / len(names))
    return Sweep(
        errors, false, hours, always, wish.common, near if corpus.near else None, wish.near if wish.near else 1.0
    )


def _parts(corpus: Corpus) -> tuple[list[KeywordFree], list[str]]:
    """What false accepts an hour are counted on, and the parts that `to_ask` leaves out in turn: the corpora, or slices
    of the only one."""
    own = corpus.speech or corpus.noise
    names = list(dict.fromkeys(part.name for part in own))
    return own, names if len(names) > 1 else [f"part {i + 1}" for i in range(PARTS)]


def store(model: Path, detector: DetectorDefaults, record: dict[str, Any], look: Look | None = None) -> None:
    """Writes the detector (and a second look) into the manifest, and makes a generated folder anew with it, whole or
    not at all.

    Raises:
        KwsError: the folder can't be written.
    """
    manifest = load_manifest(model)
    updated = manifest.model_copy(
        update={
            "detector": detector,
            "look": look or manifest.look,
            "accuracy": {**manifest.accuracy, "calibration": record},
        }
    )
    if not Exported.there(model):
        save_manifest(updated, model / "model.json")
        return
    from model_pipeline.export import export

    with tempfile.TemporaryDirectory(prefix="kws-calibrate-") as name:
        source = Path(name) / "model"
        source.mkdir()
        for file in ("model.tflite", PLAN_FILE):
            if (model / file).is_file():
                shutil.copyfile(model / file, source / file)
        save_manifest(updated, source / "model.json")
        export(source, Path(name) / "out")
        with updated_dir(model) as target:  # with what else a user keeps there
            shutil.copytree(Path(name) / "out", target, dirs_exist_ok=True, ignore=lambda *_: [MARK])


def _open(folder: Path, manifest: Manifest) -> NamedCorpus:
    """A folder with the parts that training knows it by; of another, half of the speakers are to choose on."""
    trained = (manifest.training_data.get("scenes") or {}).get("corpora") or []
    corpus = corpus_of(folder, trained)
    known = any(entry["name"] == corpus.name for entry in trained)
    if not known:
        corpus = open_corpus(corpus.config.model_copy(update={"calibration": 0.5}))
    if not corpus.of("calibration"):
        if known:
            raise KwsError(f"{corpus.name} has no recordings to choose on: training heard all that are not reported on")
        count = len(corpus.of("reporting"))
        raise KwsError(
            f"{corpus.name} has no recordings to choose on: by their names, all {count} are to be reported on",
            hint="more recordings: cut a long one into ten pieces or more, about a minute each",
        )
    return corpus


@dataclass(frozen=True)
class _Sessions:
    """Those that are made of the dataset's words, by ``plan``."""

    dataset: Dataset
    split: Split
    plan: Plan


def _listen(
    recogniser: Recogniser,
    made: _Sessions,
    corpora: Sequence[NamedCorpus],
    wish: Wish,
    progress: ProgressCallback | None,
) -> tuple[Corpus, Corpus]:
    """What is chosen on, and the parts of the corpora that are only measured."""
    dataset, split, plan = made.dataset, made.split, made.plan
    stride = math.gcd(*wish.strides)
    listener = Listener(recogniser, stride, progress)
    keywords = sum(c.label < dataset.unknown for c in dataset.clips(split))
    seconds = len(wish.snr_db) * 2.5 * min(keywords, plan.limit or keywords) + 600
    chosen_on, reported = [], []
    sayings = Sayings(recogniser.manifest.keywords) if any(c.transcribed for c in corpora) else None
    for corpus in corpora:
        mine, other = (corpus.without(part, sayings)[0] for part in ("calibration", "reporting"))
        audio = listener.read([r.path for r in mine])
        names = [r.path.name for r in mine]
        chosen_on += [negatives.join(corpus.name, audio, names, speed) for speed in SPEEDS]
        if other:
            audio = listener.read([r.path for r in other])
            reported.append(negatives.join(corpus.name, audio, [r.path.name for r in other]))
    listener.expect(seconds + sum(s.seconds for s in [*chosen_on, *reported]))
    listener.generated(dataset, split, wish.snr_db, plan)
    for stretch in chosen_on:
        listener.speech(stretch)
    listener.noise(dataset, split)
    if words := near_clips(dataset, split):
        listener.near(dataset.audio(words), samples_of(max(_REFRACTORY_MS)))
    chosen, held_out = listener.corpus, Corpus(recogniser.labels)
    listener.corpus = held_out
    for stretch in reported:
        listener.speech(stretch)
    return chosen, held_out
