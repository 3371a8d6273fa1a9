"""``index.json`` of a sharded data set (`model_pipeline.training.records`): what is in it and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tensorflow as tf
from pydantic import Field, ValidationError, field_validator

from model_pipeline.config import explain
from model_pipeline.data.described import ClipMs
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.errors import KwsError
from model_pipeline.files import parse_json
from model_pipeline.rate import CLIP_MS
from model_pipeline.strict import Strict

INDEX = "index.json"
FORMAT = 1
_LARGEST_INDEX = 1 << 30  # bytes: a million clips are about 50 MB
_MOST_RECORDS = 100_000_000  # of a file

ClipName = Annotated[str, Field(pattern="/")]  # word/file


class Shard(Strict):
    """A file of the set, in the set's own folder."""

    file: Annotated[str, Field(pattern=r"^[^/\\\x00:]*\.tfrecord$")]
    records: Annotated[int, Field(strict=True, ge=0, le=_MOST_RECORDS)]
    bytes: int
    sha256: str


class SetOfClips(Strict):
    """Clips, noise and where they lie. ``hash``: of the folder that they are from; ``description``: its dataset.json;
    ``words``: clips of each by split; ``clips``: their names by split, in the order of the records; ``clip_ms``: how
    long they are."""

    hash: str
    clip_ms: ClipMs = CLIP_MS
    split_rule: str
    unused: Annotated[int, Field(strict=True)]
    description: dict[str, Any]
    words: dict[str, dict[str, int]]
    speakers: dict[str, int]
    noise: list[Shard]
    shards: dict[Split, list[Shard]]
    clips: dict[Split, list[ClipName]]

    @field_validator("shards", "clips")
    @classmethod
    def _whole(cls, values: dict[Split, Any]) -> dict[Split, Any]:
        if values.keys() != set(SPLITS):
            raise ValueError(f"not each of {', '.join(SPLITS)} is there")
        return values


class MadeEpochs(Strict):
    """Epochs of inputs that were made ahead, and for what: ``frontend``, ``recipe`` and ``clip_ms`` of the
    configuration; what taught them (``teacher``), and the share of each label where examples have one (``prior``)."""

    labels: list[str]
    frontend: dict[str, Any]
    clip_ms: ClipMs = CLIP_MS
    recipe: dict[str, Any]
    teacher: dict[str, Any]
    prior: list[float] | None
    files: list[list[Shard]]


class Index(Strict):
    """What ``index.json`` holds."""

    format: Literal[1] = 1
    main: SetOfClips
    extra: SetOfClips | None
    epochs: MadeEpochs | None


def is_sharded(place: str | Path) -> bool:
    """Whether ``place`` is a sharded data set (or a URL, which can be nothing else)."""
    return "://" in str(place) or (Path(place) / INDEX).is_file()


def read_index(place: str | Path) -> Index:
    """The index of the set at ``place``.

    Raises:
        KwsError: there is none, it can't be reached, or it is of another format.
    """
    path = join(place, INDEX)
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            data = stream.read(_LARGEST_INDEX + 1)
    except tf.errors.OpError as error:
        raise KwsError(f"can't read {path}: {first_line(error)}", hint="kws data shard makes a sharded set") from error
    again = "make the set again with kws data shard"
    values = parse_json(data, path, again, _LARGEST_INDEX)
    if values.get("format") != FORMAT:
        raise KwsError(f"{path} is not an index of format {FORMAT}", hint=again)
    try:
        return Index.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"{path} is damaged: {explain(error)[:500]}", hint=again) from error


def join(place: str | Path, name: str) -> str:
    return f"{str(place).rstrip('/')}/{name}"


def first_line(error: BaseException) -> str:
    return (getattr(error, "message", None) or str(error)).strip().splitlines()[0][:200]
