"""The examples of [scenes] as pools: made, and answered for by a teacher, where they are not there yet."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model_pipeline.config import Config, ScenesConfig
from model_pipeline.data import connected as negatives
from model_pipeline.data import noise as noises
from model_pipeline.data.transcripts import Sayings
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import CLIP_MS
from model_pipeline.training.mine import mine
from model_pipeline.training.pool import PART, Answer, Answers, Examples, Kept, Pool
from model_pipeline.training.scenes import BRIEF, CONTEXT, Scenes, Sounds, Surroundings, response
from model_pipeline.training.sources import Sources, extra_data, labelled, open_corpora, open_dataset, read_speech
from model_pipeline.words import word_key


def examples(config: Config, data: str | Path, trained: Path, keep: Kept, report: ProgressCallback) -> Pool:
    """The examples of ``config.scenes`` without a teacher, in ``trained/pool`` or their own folder; ``heard.npy`` holds
    what ``keep`` makes of each.

    Raises:
        KwsError: as `prepare`.
    """
    dataset, extra = open_dataset(data, config), extra_data(config, data, trained, report)
    sources = Sources(dataset, extra, open_corpora(config, trained, report))
    pool = own_pool(config, trained)
    pool.make(_examples(config, sources, report), config.scenes.examples, report, keep)
    return pool


def own_pool(config: Config, trained: Path) -> Pool:
    """Where the examples of ``config.scenes`` are: ``trained/pool`` or their own folder."""
    return Pool(Path(config.scenes.folder) if config.scenes.folder else trained / "pool")


def taught_examples(config: Config, sources: Sources, trained: Path, report: ProgressCallback) -> Pool:
    """The examples of ``config.scenes`` in ``trained/pool`` or their own folder, made and taught where they are not
    there yet.

    Raises:
        KwsError: their own folder holds others.
    """
    c = config.scenes
    pool, of, labels = own_pool(config, trained), _examples(config, sources, report), len(config.labels)
    if c.teacher == "none":
        pool.make(of, c.examples, report)
        return pool
    teach, heard = _teacher(config)
    pool.make(of, _first(c), report, heard)
    clips = sources.dataset.evaluation("validation")
    judged = sources.dataset.audio(clips), np.array([clip.label for clip in clips], np.int64)
    pool.make(of, c.examples, report, answers=Answers(teach(pool, c, labels, judged, report), labels))
    return pool


def _first(config: ScenesConfig) -> int:
    """The teacher learns from the first ones alone; it answers for the others while they are made. Of what a head needs
    so little is kept that it learns from all."""
    if config.teacher != "speech_embedding":
        return config.examples
    return min(config.examples, -(-config.teacher_examples // PART) * PART)


def _examples(config: Config, sources: Sources, report: ProgressCallback) -> Examples:
    """What the examples of ``config.scenes`` are."""
    c = config.scenes
    recipe = {**c.recipe(), "examples": 0, "teacher_examples": _first(c) if c.teacher != "none" else 0}
    parts: list[Any] = [recipe, config.frontend.model_dump(mode="json"), config.keywords]
    if config.data.clip_ms != CLIP_MS:
        parts.append(config.data.clip_ms)
    if not config.frontend.settles:
        parts.append(BRIEF)
    parts += [d.content_hash() for d in (sources.dataset, sources.extra) if d]
    parts += [corpus.content_hash for corpus in sources.corpora]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @functools.cache
    def scenes() -> Scenes:
        return _scenes(config, sources, report)

    # Their own folder may hold hours of work of another recipe.
    return Examples(key, scenes, config.frontend, c.seed, replace=not c.folder)


def _teacher(config: Config) -> tuple[Callable[..., Answer], Kept]:
    """How ``config.scenes.teacher`` learns, and what of each example it learns from."""
    from model_pipeline.models import speech_embedding as embedding

    if config.scenes.teacher == "embedding_head":
        from model_pipeline.training import head

        return head.teach, Kept((embedding.POOLED,), np.float16, embedding.pooled)
    from model_pipeline.training import teacher

    shape = embedding.frames(config.data.clip_samples), embedding.BANDS
    return teacher.teach, Kept(shape, np.float16, embedding.features)


def hard_pool(
    config: Config,
    data: str | Path,
    trained: Path,
    number: int,
    logits: Callable[[np.ndarray], np.ndarray],
    report: ProgressCallback,
) -> Pool:
    """Examples of what a network falls for (`mine`) in round ``number``, in ``trained/hard<number>``, made and taught
    where they are not there yet.

    Raises:
        KwsError: there is no connected speech, or the network falls for none of it.
    """
    c = config.scenes
    pool = Pool(trained / f"hard{number}")
    if pool.state().get("taught") or (c.teacher == "none" and pool.state().get("made")):
        return pool
    sources = Sources(open_dataset(data, config), None, open_corpora(config, trained, report))
    scenes = _scenes(config, sources, report, clips=False)
    scenes.mine(lambda sounds: mine(logits, sounds, config.frontend, config.frames, config.mine.score, report))
    if not scenes.hard_places:
        raise KwsError("the network falls for none of the training speech", hint="--set mine.rounds=0")
    answers = _trained_teacher(config, trained, report)
    of = Examples(f"{scenes.hard_places} places", lambda: scenes, config.frontend, c.seed + 1000)
    pool.make(of, config.mine.examples[min(number, len(config.mine.examples)) - 1], report, answers=answers)
    pool.note(taught=answers is not None, places=scenes.hard_places)
    return pool


def more_pool(config: Config, data: str | Path, trained: Path, report: ProgressCallback) -> Pool:
    """The examples of ``config.mine.more`` in ``trained/more``, made and taught where they are not there yet."""
    more = config.mine.more
    changed = config.model_copy(update={"scenes": more.over(config.scenes)})
    extra = extra_data(config, data, trained, report)
    sources = Sources(open_dataset(data, config), extra, open_corpora(config, trained, report))
    pool, of = Pool(trained / "more"), _examples(changed, sources, report)
    answers = _trained_teacher(config, trained, report)
    pool.make(replace(of, replace=True), more.examples, report, answers=answers)
    pool.note(taught=answers is not None)
    return pool


def _trained_teacher(config: Config, trained: Path, report: ProgressCallback) -> Answers | None:
    """The teacher of the main examples as it is, None for none."""
    c, labels = config.scenes, len(config.labels)
    if c.teacher == "none":
        return None
    teach, _ = _teacher(config)
    empty = np.zeros((0, config.data.clip_samples), np.int16), np.zeros(0, np.int64)
    return Answers(teach(own_pool(config, trained), c, labels, empty, report), labels)


def _scenes(config: Config, sources: Sources, report: ProgressCallback, *, clips: bool = True) -> Scenes:
    """``clips``: whether scenes of single words are wanted too, whose audio takes minutes to read."""
    c, dataset, corpora = config.scenes, sources.dataset, sources.corpora
    # Keywords that no example shall be of are heard nowhere, not even before another word.
    least = 0 if c.keywords or c.synthetic_keywords else dataset.unknown
    nothing = labelled(np.zeros((0, dataset.clip_samples), np.int16), [])
    speech = read_speech(dataset, sources.extra, report, least) if clips else nothing
    rng = np.random.default_rng([c.seed, 3])
    own = dataset.noise_part("training") + [noises.generate(kind, 30, rng) for kind in noises.KINDS]
    said = np.flatnonzero(~speech.synthetic)
    if not (speech.labels[said] >= dataset.unknown).any():  # no other words were recorded: keywords are not to babble
        said = np.flatnonzero(speech.labels >= dataset.unknown)
    if clips and not c.babble:
        own.append(noises.babble(speech.audio[rng.permutation(said)[:400]], 60, rng))
    noise, connected = [Sounds(own)], list[Sounds]()
    rooms: list[list[np.ndarray]] = []
    sayings = Sayings(config.keywords) if any(corpus.transcribed for corpus in corpora) else None
    for corpus in corpora:
        audio = negatives.read([r.path for r in corpus.without("training", sayings)[0]], report)
        if not audio:
            continue
        sounds = Sounds(audio, corpus.config.weight, corpus.config.sure)
        if corpus.config.kind == "response":
            rooms.append([response(x) for x in audio])
        else:
            (noise if corpus.config.kind == "noise" else connected).append(sounds)
    others = speech.audio[speech.labels >= dataset.unknown]
    if c.babble and len(others):
        weight = c.babble / (1 - c.babble) * sum(sounds.weight for sounds in noise)
        noise.append(Sounds(noises.babbles(others, noises.BABBLE_S, rng), weight))
    often = np.ones(int(speech.names.max(initial=0)) + 1)
    for word, factor in c.often.items() if clips else ():
        first = next(
            (i for i, clip in enumerate(dataset.clips("training")) if word_key(clip.word) == word_key(word)), None
        )
        if first is not None:
            often[speech.names[first]] = factor
    context = CONTEXT if config.frontend.settles else BRIEF
    return Scenes(speech, dataset.unknown, Surroundings(noise, connected, rooms), c, often, context)
