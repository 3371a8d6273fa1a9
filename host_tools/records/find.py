"""Records of all that kws makes, read from what the steps leave in their folders."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from host_tools.report.results import Results, TrainingTold, read_results
from model_pipeline import record
from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.files import damaged, read_json
from model_pipeline.folders import MARK, read_mark
from model_pipeline.intervals import Share
from model_pipeline.listening.results import Judged
from model_pipeline.manifest import load_manifest
from model_pipeline.outcomes import Trained
from model_pipeline.parts import is_part
from model_pipeline.record import Figure, Record, exactly

STATE = "state.json"
_DEEPEST = 8  # folders below the one that was named
_MOST = 20_000  # folders that one walk looks into


@dataclass(frozen=True)
class Found:
    """A record and the folder (or file) that it is of."""

    place: Path
    record: Record

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"place": str(self.place), **self.record.model_dump(mode="json")}


def read(place: Path) -> Found:
    """The record of a run's folder: its record.json, else what its results.json, train.json or model.json say; or of a
    file that holds a record, as `kws runs show --json` prints it.

    Raises:
        KwsError: there is none, or it is broken.
    """
    place = Path(place)
    if place.is_file():
        return Found(place, _of_file(place))
    for look in (_of_record, _of_results, _of_training, _of_model, _begun):
        found = look(place)
        if found is not None:
            return Found(place, found)
    why = "holds no record of a run" if place.is_dir() else "is not there"
    raise KwsError(f"{place} {why}", hint="kws runs list shows those below a folder")


def below(folders: Sequence[Path], *, every: bool = False) -> Iterator[Found | KwsError]:
    """All runs below ``folders``, each folder's in the order of names. What lies within a run (its training, its
    model, a study's points) is left out unless ``every`` is wanted. One that can't be read comes as its error.

    Raises:
        KwsError: a folder is not there.
    """
    seen, cut = 0, False
    for folder in folders:
        if not folder.is_dir():
            raise KwsError(
                f"there is no folder {folder}", hint="kws run, train and search make runs; name their folder"
            )
        for place, names, files in os.walk(folder):  # links to folders are not followed: no circles
            here = Path(place)
            seen += 1
            depth = len(here.relative_to(folder).parts)
            names[:] = sorted(n for n in names if not n.startswith(".") and not is_part(n))
            if names and seen >= _MOST and not cut:
                cut = True
                yield KwsError(f"what lies below {here} and after it: more than {_MOST:,} folders")
            if depth >= _DEEPEST or seen >= _MOST:
                names[:] = []
            if not _is_one(here, files):
                continue
            if not every:
                names[:] = []
            try:
                yield read(here)
            except KwsError as error:
                yield error


def _is_one(folder: Path, files: Sequence[str]) -> bool:
    if record.RECORD in files or "train.json" in files or "results.json" in files:
        return True
    kinds = read_mark(folder) if MARK in files else {}
    return (STATE in files and "kws run" in kinds) or ("model.json" in files and "kws quantize" in kinds)


def _of_file(path: Path) -> Record:
    try:
        value = read_json(path, most=record.MOST_BYTES)
    except FileNotFoundError as error:
        raise KwsError(f"there is no {path}") from error
    if "kind" in value:
        value.pop("place", None)
        try:
            return Record.model_validate(value)
        except ValidationError as error:
            raise KwsError(f"{path} is not a record of a run: {explain(error)[:300]}") from error
    return _from_results(read_results(path), path)


def _of_record(folder: Path) -> Record | None:
    if (folder / "results.json").is_file() and (folder / STATE).is_file():
        return None  # of `kws run`: its results are younger than what lies beside them
    try:
        found = record.read(folder)
    except FileNotFoundError:
        return None
    if found.kind == "model" and (told := _of_model(folder)):  # `kws evaluate --record` came later
        return found.model_copy(update={"figures": {**found.figures, **told.figures}})
    return found


def _of_results(folder: Path) -> Record | None:
    if not (folder / "results.json").is_file():
        return None
    return _from_results(read_results(folder), folder / "results.json")


def _from_results(results: Results, path: Path) -> Record:
    """What a run or a measurement found."""
    with damaged(path, "kws run again, or kws stream --out DIR"):
        config = results.config or {}
        return Record(
            kind="run" if config else "measurement",
            name=results.name or config.get("name") or path.parent.name,
            made=_as_iso(results.created),
            seconds=results.seconds or 0.0,
            kws=results.kws,
            tools=results.model.tools if results.model else {},
            config=config,
            config_hash=record.hash_of(config),
            data_hash=results.training.data_hash if results.training else "",
            model_hash=results.device.model_hash,
            board=results.device.board,
            figures=figures_of(results),
        )


def figures_of(results: Results) -> dict[str, Figure]:
    """Those that a results.json has.

    Raises:
        ValueError: what is to be expected of the model is damaged.
    """
    found: dict[str, Figure | None] = {"device_accuracy": Figure.of_share(results.accuracy.share)}
    if results.host:
        found["accuracy"] = Figure.of_share(results.host.accuracy.share)
    if results.training:
        found |= _training_figures(results.training)
    expected, device = results.expected, results.device
    if expected and expected.streaming:
        found |= listening_figures(expected.streaming)
    if expected and expected.near:
        found["near_words"] = Figure.of_share(expected.near.fired, "takes")
    if agreement := results.agreement:
        share = Share.of(agreement.equal, agreement.compared)
        found["host_agreement"] = None if share.value is None else Figure(value=share.value)
    counted = results.ticks.name == "instructions"
    boards = {row.board: row.realtime for row in expected.boards} if expected else {}
    verdict, build = boards.get(device.board), results.build
    found |= exactly(
        lost_frames=results.link.lost + results.link.repeated,
        flash=build.flash_total if build else None,
        ram=build.ram_total if build else None,
        constants=build.model_constants if build else None,
        arena=device.arena_bytes or None,
        macs=device.macs or None,
        inference_instructions=results.cost.inference.mean if counted else None,
        instructions_per_second=round(verdict.instructions_per_hop * 1000 / verdict.hop_ms) if verdict else None,
        load=verdict.load if verdict else None,
        seconds=results.seconds,
    )
    return {name: figure for name, figure in found.items() if figure is not None}


def listening_figures(heard: Judged) -> dict[str, Figure | None]:
    """Of what `evaluate_listening` found."""
    found: dict[str, Figure | None] = {}
    for session in list(heard.sessions.values())[:1]:
        found["misses"] = Figure.of_share(session.misses, "keywords")
        found["false_accepts_per_hour"] = Figure.of_rate(session.false_accepts)
        median = session.response_ms.median
        found["answer_ms"] = None if median is None else Figure(value=median)
    for name, free in (("speech", heard.speech), ("noise", heard.noise)):
        if free:
            found[f"{name}_false_accepts_per_hour"] = Figure.of_rate(free.false_accepts)
    return found


def _training_figures(values: Trained | TrainingTold) -> dict[str, Figure | None]:
    accuracy = values.validation_accuracy
    return {
        "validation_accuracy": None if accuracy is None else Figure.of_accuracy(accuracy, values.validation_clips),
        **exactly(parameters=values.parameters, epochs=values.epochs, loss=values.validation_loss),
    }


def _of_training(folder: Path) -> Record | None:
    """Of a `kws train` of before there were records: its configuration is not known."""
    path = folder / "train.json"
    if not path.is_file():
        return None
    with damaged(path, "kws train makes one"):
        values = Trained.model_validate(read_json(path))
        figures = _training_figures(values) | exactly(macs=values.macs, seconds=values.seconds)
        return Record(
            kind="training",
            name=folder.name,
            made=_time_of(path),
            seconds=values.seconds,
            data_hash=values.data_hash,
            model_hash=values.model_sha256[:16],
            figures={name: figure for name, figure in figures.items() if figure is not None},
            whole=not values.stopped,
        )


def _of_model(folder: Path) -> Record | None:
    """Of a model's folder, by its manifest."""
    path = folder / "model.json"
    if not path.is_file():
        return None
    manifest = load_manifest(folder)
    with damaged(path, "kws quantize makes one"):
        figures: dict[str, Figure | None] = {}
        for split, name in (("validation", "int8_validation_accuracy"), ("testing", "accuracy")):
            if (measured := manifest.accuracy.get(split)) is not None:
                figures[name] = Figure.of_share(Share.read(measured))
        tflite = folder / "model.tflite"
        figures |= exactly(
            macs=manifest.macs or None,
            parameters=manifest.parameters or None,
            model_bytes=tflite.stat().st_size if tflite.is_file() else None,
        )
        return Record(
            kind="model",
            name=manifest.name,
            made=_time_of(path),
            kws=manifest.tools.get("micro-kws", ""),
            tools=manifest.tools,
            data_hash=manifest.training_data.get("hash", ""),
            model_hash=manifest.model_hash,
            figures={name: figure for name, figure in figures.items() if figure is not None},
        )


def _begun(folder: Path) -> Record | None:
    """Of a `kws run` that has not come to its end."""
    path = folder / STATE
    if not path.is_file() or "kws run" not in read_mark(folder):
        return None
    with damaged(path, "kws run --fresh makes it anew"):
        steps = read_json(path).get("steps", {})
        return Record(
            kind="run",
            name=folder.name,
            made=max((step["finished"] for step in steps.values()), default=""),
            seconds=round(sum(step["seconds"] for step in steps.values()), 1),
            whole=False,
        )


def _as_iso(created: str) -> str:
    """``2026-11-28 00:24 UTC`` as the other records have it."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.strptime(created, "%Y-%m-%d %H:%M UTC"))
    except ValueError:
        return ""


def _time_of(path: Path) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(path.stat().st_mtime))
