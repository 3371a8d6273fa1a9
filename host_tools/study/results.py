"""What a compression study found: its points with their figures, and which of them nothing beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from host_tools.study.points import Point
from model_pipeline import record
from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json
from model_pipeline.record import Figure
from model_pipeline.strict import Strict

STUDY = "study.json"
ACCURACY = "int8_validation_accuracy"
# What accuracy is drawn against, and a letter for the table.
COSTS: dict[str, str] = {
    "flash": "F",
    "ram": "R",
    "instructions_per_second": "I",
    "speech_false_accepts_per_hour": "A",
}


class Studied(Strict):
    """A point: its folder, its figures (names as in `record.FIGURES`), and the costs against which no other point is at
    least as accurate and cheaper, or more accurate and as cheap (``fronts``). ``why``: why there are no figures."""

    point: Point
    name: str
    place: str
    figures: dict[str, Figure] = {}
    fronts: list[str] = []
    why: str = ""


class Compression(Strict):
    """``study.json``.

    Attributes:
        key: hash of the configuration, the data and the epochs, without which results can't stand beside each other.
        points: in the order of the plan.
        left: points that are not done yet.
        unheard: why no false accepts were counted; empty where they were.
        seconds: of all calls together.
    """

    format: Literal[1] = 1
    name: str
    board: str
    data: str
    key: str
    epochs: int
    points: list[Studied] = []
    left: int = 0
    unheard: str = ""
    seconds: float = 0.0


def studied(point: Point, folder: Path, why: str = "") -> Studied | None:
    """The point whose record is in ``folder``; None where there is none and no ``why``.

    Raises:
        KwsError: the record is broken.
    """
    try:
        found = record.read(folder)
    except FileNotFoundError:
        return Studied(point=point, name=point.name, place=str(folder), why=why) if why else None
    return Studied(point=point, name=point.name, place=str(folder), figures=found.figures)


def front(rows: Sequence[Mapping[str, Figure]], cost: str) -> list[int]:
    """Which of ``rows`` no other one beats in accuracy and ``cost``; those that lack one of the two are none."""
    known = [(n, row[ACCURACY].value, row[cost].value) for n, row in enumerate(rows) if ACCURACY in row and cost in row]
    return [
        n
        for n, right, price in known
        if not any(r >= right and p <= price and (r, p) != (right, price) for _, r, p in known)
    ]


def with_fronts(rows: Sequence[Studied]) -> list[Studied]:
    """``rows`` with the fronts that each is on."""
    on: list[list[str]] = [[] for _ in rows]
    for cost in COSTS:
        for n in front([row.figures for row in rows], cost):
            on[n].append(cost)
    return [row.model_copy(update={"fronts": fronts}) for row, fronts in zip(rows, on, strict=True)]


def read(folder: Path) -> Compression | None:
    """``study.json`` of a study's folder, None without one.

    Raises:
        KwsError: it is broken.
    """
    try:
        value = read_json(folder / STUDY, hint="--fresh begins the study anew")
    except FileNotFoundError:
        return None
    try:
        return Compression.model_validate(value)
    except ValidationError as error:
        raise KwsError(
            f"{folder / STUDY} is not a study of kws: {explain(error)[:200]}", hint="--fresh begins the study anew"
        ) from error
