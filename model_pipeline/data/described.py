"""What kws says of data that it made: ``dataset.json`` and ``corpus.json``, and a data folder's summary."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from model_pipeline.rate import CLIP_MS
from model_pipeline.strict import Sparse, Strict


class ListLines(Strict):
    """What became of the lines of a ``*_list.txt``: how many name no clip, and the first that do not."""

    lines: int
    unmatched: int
    first_unmatched: list[str]


class LeftOut(Strict):
    """A file that was not taken, and why."""

    file: str
    reason: str


ClipMs = Annotated[int, Field(exclude_if=lambda ms: ms == CLIP_MS)]


class Imported(Strict):
    """``dataset.json`` of recordings that were taken in.

    Attributes:
        clip_ms: how long the clips are, where that is not a second.
        words: clips of each; ``spellings``: what a word was called, where it was called otherwise.
        split_rule: as `dataset.Dataset` has it; ``lists``: by split.
        resampled, padded, cut, opposite_phase, scaled_down, header_without_size: clips to which that was done.
        skipped: files that were left out; ``skipped_files`` names the first of them.
    """

    source: Literal["import"] = "import"
    clip_ms: ClipMs = CLIP_MS
    name: str
    licence: str
    layout: str
    clips: int
    words: dict[str, int]
    spellings: dict[str, list[str]]
    noise_files: int
    split_rule: str
    lists: dict[str, ListLines]
    resampled: int
    padded: int
    cut: int
    opposite_phase: int
    scaled_down: int
    header_without_size: int
    skipped: int
    skipped_files: list[LeftOut]
    warnings: list[str]


class Downloaded(Sparse):
    """``dataset.json`` or ``corpus.json`` of an archive, with the checksum that its publisher has."""

    source: Literal["download"] = "download"
    name: str
    licence: str
    url: str
    sha256: str | None = None
    md5: str | None = None


class EngineUsed(Strict):
    """A synthesiser."""

    version: str
    voices: int


class BySplit(Strict):
    """Clips and speakers of each split."""

    clips: dict[str, int]
    speakers: dict[str, int]


class Synthesized(Sparse):
    """``dataset.json`` of words that synthesisers said. ``settings``: the configuration's ``synth``; ``recordings``: of
    the user's own ones, where there are any; ``in_sentences``: clips that were cut out of sentences, where some were to
    be; ``clip_ms``: as in `Imported`."""

    source: Literal["synth"] = "synth"
    clip_ms: ClipMs = CLIP_MS
    licence: str
    engines: dict[str, EngineUsed]
    missing_engines: list[str]
    keywords: list[str]
    unknown_words: list[str]
    settings: dict[str, Any]
    clips: dict[str, int]
    failed: int
    in_sentences: int | None = None
    speakers: dict[str, int]
    recordings: BySplit | None = None


class Talk(Strict):
    """``corpus.json`` of sentences that synthesisers said. ``settings``, ``synth``: these parts of the configuration;
    ``texts``: files that there were; ``read``: sentences of them, the others are words in a row. ``sentences``,
    ``seconds``: by folder."""

    source: Literal["talk"] = "talk"
    settings: dict[str, Any]
    synth: dict[str, Any]
    keywords: list[str]
    texts: list[str]
    read: int
    licence: str
    sentences: dict[str, int]
    seconds: dict[str, int]


class SplitCounts(Sparse):
    """A split's clips, by label too (silence is generated; ``recorded_silence``: clips of it that there are)."""

    clips: int
    speakers: int
    labels: dict[str, int]
    recorded_silence: int | None = None


class Summary(Strict):
    """A data folder as `dataset.Dataset.summary` counts it. ``noise``: seconds by file; ``source``: what its
    ``dataset.json`` says, whoever wrote it."""

    folder: str
    hash: str
    split_rule: str
    unused_clips: int
    lists: dict[str, ListLines]
    warnings: list[str]
    splits: dict[str, SplitCounts]
    words: dict[str, int]
    noise: dict[str, float]
    source: dict[str, Any]


class UsedCorpus(Strict):
    """A corpus as the manifest keeps it. ``files``: recordings by part; ``training``, ``calibration``: the shares of
    them that those may hear; ``exclude``: as the configuration has it."""

    name: str
    kind: str
    licence: str
    hash: str
    files: dict[str, int]
    training: float
    calibration: float
    exclude: list[str]


class TaughtBy(Strict):
    """The scenes that a model has learnt from; ``teacher``: as the pool says who judged them."""

    examples: int
    corpora: list[UsedCorpus]
    teacher: dict[str, Any]
