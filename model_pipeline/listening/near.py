"""``kws evaluate --near``: how often words near the keywords in sound set the device off.

Voices that were held out say keywords and near words, one after the other, in one long recording over a faint noise;
model and detector hear it as the firmware does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_pipeline.config import SynthConfig
from model_pipeline.data.dataset import Clip, Dataset, read_description
from model_pipeline.data.near import homophones, near_words
from model_pipeline.data.split import Split
from model_pipeline.data.synth import held_out_clips
from model_pipeline.data.voices import group_of
from model_pipeline.errors import KwsError
from model_pipeline.files import damaged
from model_pipeline.intervals import Share
from model_pipeline.listening.corpus import Alone, one_by_one
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.listening.results import Near, NearWord
from model_pipeline.manifest import Manifest, record_accuracy
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import samples_of
from model_pipeline.words import folder_name

_LISTENED = 600  # near words that a calibration listens to, at most
# Settings by which voices are shared out, and what they say.
_CASTING = ("engines", "seed", "language", "piper_voices", "spoken")
_MORE = 4  # times as many takes of a keyword: its misses matter most, and keywords are few


def evaluate_near(
    model: Path,
    words: Sequence[str] = (),
    takes: int = 12,
    synth: SynthConfig | None = None,
    progress: ProgressCallback | None = None,
    *,
    record: bool = False,
    data: Path | None = None,
) -> Near:
    """
    Args:
        words: what is said beside the keywords; none: chosen by sound (`data.near.near_words`).
        takes: of each word, by random voices; of a keyword four times as many. At most, of ``data``.
        synth: the settings that the training speech was made by, so that its voices are not heard here; None: those of
            the manifest, if it has any.
        record: write the figures into ``model.json``.
        data: a data folder whose test split has voices that were held out say these words. None, or where it has a
            third of the takes of near words or less: they say them now.

    Raises:
        MissingTool: no synthesiser. KwsError: none of the words can be said.
    """
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    keywords = manifest.keywords
    settings = synth or settings_of(manifest)
    chosen = {} if words else near_words(keywords, language=settings.language, spoken=settings.spoken)
    near = list(words) or [word for found in chosen.values() for word in found]
    like = homophones(keywords, words, settings.language, settings.spoken)
    near = [word for word in dict.fromkeys(near) if word not in like and word not in keywords]
    there = _test_clips(Dataset.open(data, keywords, clip_ms=manifest.clip_ms), near, takes) if data else None
    if there:
        clips, spoken = there
    else:
        length = samples_of(manifest.clip_ms)
        clips, spoken = held_out_clips([*keywords * _MORE, *near], takes, settings, progress, length)
    if not spoken:
        raise KwsError("no voice can say these words")
    heard = _listen(recogniser, clips, progress)
    of = {word: [h for h, w in zip(heard, spoken, strict=True) if w == word] for word in [*keywords, *near]}
    rows = [_row(word, of[word]) for word in near]
    result = Near(
        model=manifest.model_hash,
        name=manifest.name,
        detector=manifest.detector,
        takes=takes,
        keywords=[_row(word, of[word], keyword=True) for word in keywords],
        near=sorted(rows, key=lambda row: -(row.fired.value or 0)),
        same_sound=like,
        fired=Share.of(sum(row.fired.count for row in rows), sum(row.takes for row in rows)),
    )
    if record:
        record_accuracy(model, "near", result.model_dump(mode="json", exclude={"model", "name"}))
    return result


def _test_clips(dataset: Dataset, near: Sequence[str], takes: int) -> tuple[np.ndarray, list[str]] | None:
    """As `held_out_clips`, of the test split but for what people said; None: it has a third of the takes or less."""
    word_of = {folder_name(word): word for word in near}
    clips = dataset.clips("testing")
    found: dict[str, list[Clip]] = {}
    for i in np.random.default_rng(1).permutation(len(clips)):
        clip = clips[i]
        word = dataset.keywords[clip.label] if clip.label < dataset.unknown else word_of.get(clip.word)
        if word and group_of(clip.speaker) != "people":
            found.setdefault(word, []).append(clip)
    chosen = [(word, c) for word, said in found.items() for c in said[: takes if word in near else _MORE * takes]]
    if sum(word in near for word, _ in chosen) <= takes * len(near) / 3:
        return None
    return dataset.audio([clip for _, clip in chosen]), [word for word, _ in chosen]


def settings_of(manifest: Manifest, data: Path | None = None) -> SynthConfig:
    """What made the synthetic speech of ``data``, or of the model's training: by it the held-out voices are known."""
    described = read_description(data) if data else {}
    extra = manifest.training_data.get("extra") or {}
    with damaged(f"what made the speech of {data or manifest.name}", "synthesise it again, or train again"):
        found = described.get("settings") or (extra.get("source") or {}).get("settings") or {}
        return SynthConfig.model_validate({key: found[key] for key in _CASTING if key in found})


def _row(word: str, heard: Sequence[list[str]], keyword: bool = False) -> NearWord:
    counts = Counter(label for labels in heard for label in set(labels))
    return NearWord(
        word=word,
        takes=len(heard),
        fired=Share.of(sum(bool(labels) for labels in heard), len(heard)),
        heard=dict(counts.most_common()),
        right=Share.of(counts[word], len(heard)) if keyword else None,
    )


def _listen(recogniser: Recogniser, clips: np.ndarray, progress: ProgressCallback | None) -> list[list[str]]:
    """The keywords detected at each clip."""
    detector = recogniser.manifest.detector
    samples, slot = one_by_one(clips, detector.refractory_samples)
    said = Alone(recogniser.track(samples, progress=progress), slot, len(clips))
    return [[recogniser.labels[label] for label in labels] for labels in said.heard(detector)]


def near_clips(dataset: Dataset, split: Split) -> list[Clip]:
    """Clips of words near the keywords in sound, where who made the data says which these are, else of all other words;
    at most `_LISTENED` of them.

    Raises:
        KwsError: what the data is described by is broken.
    """
    described = read_description(dataset.folder)
    with damaged(f"what made the speech of {dataset.folder}", "synthesise it again"):
        known = {folder_name(str(word)) for word in (described.get("settings") or {}).get("near_words") or ()}
    others = [clip for clip in dataset.clips(split) if clip.label == dataset.unknown]
    found = [clip for clip in others if clip.word in known] or others
    return [found[i] for i in sorted(np.random.default_rng(1).permutation(len(found))[:_LISTENED])]
