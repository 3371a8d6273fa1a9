"""The record of a run: what it was asked for, by which versions, from which data, and the figures that came out.

Trainings, quantisations, trials of a search, points of a study and rounds of a federated training each leave a
``record.json`` in their folder (`write`). What `kws run` leaves is read from its ``results.json``
(`host_tools.records`). `FIGURES` is the one place that says which figures there are.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from model_pipeline.errors import KwsError
from model_pipeline.files import read_json, write_json
from model_pipeline.intervals import Rate, Share, wilson
from model_pipeline.strict import Strict

RECORD = "record.json"
PACKAGES = ("micro-kws", "tensorflow-cpu", "tensorflow", "keras", "tflite-micro", "numpy")

MOST_BYTES = 4 << 20  # of a record: a configuration takes some thousands
Number = Annotated[float, Field(ge=-1e18, le=1e18)]  # a table has room for it

Kind = Literal["run", "training", "model", "trial", "study", "point", "federated", "round", "measurement"]


@dataclass(frozen=True)
class Meaning:
    """What a figure is.

    Attributes:
        better: "higher" or "lower"; "": neither, so that `kws runs gate --against` leaves it alone.
        form: how it is shown: "share" (a fraction, in percent), "rate" (an hour), "bytes", "count", "ms", "s".
    """

    text: str
    better: Literal["higher", "lower", ""]
    form: Literal["share", "rate", "bytes", "count", "ms", "s"]


FIGURES: dict[str, Meaning] = {
    "accuracy": Meaning("test clips right, int8, on this computer", "higher", "share"),
    "device_accuracy": Meaning("test clips right on the device (a part of them)", "higher", "share"),
    "validation_accuracy": Meaning("validation clips right, float, of the epoch that was kept", "higher", "share"),
    "int8_validation_accuracy": Meaning("validation clips right, int8", "higher", "share"),
    "held_out_accuracy": Meaning("clients' clips that no round heard, by the network of all", "higher", "share"),
    "personal_accuracy": Meaning("the same clips by each client's own head", "higher", "share"),
    "misses": Meaning("keywords missed that are said in noise at 10 dB SNR", "lower", "share"),
    "false_accepts_per_hour": Meaning("among other words in that noise, an hour", "lower", "rate"),
    "speech_false_accepts_per_hour": Meaning("in connected speech without keywords, an hour", "lower", "rate"),
    "noise_false_accepts_per_hour": Meaning("in noise alone, an hour", "lower", "rate"),
    "near_words": Meaning("near words that fired a keyword", "lower", "share"),
    "answer_ms": Meaning("median time from a word's end to the detector's answer", "lower", "ms"),
    "host_agreement": Meaning("clips whose outputs are equal on host and device, value by value", "higher", "share"),
    "lost_frames": Meaning("frames that the link lost or repeated", "lower", "count"),
    "flash": Meaning("of the whole image", "lower", "bytes"),
    "ram": Meaning("of the whole image, with its stack", "lower", "bytes"),
    "constants": Meaning("of the compiled model, in flash", "lower", "bytes"),
    "arena": Meaning("of the compiled model, in RAM", "lower", "bytes"),
    "model_bytes": Meaning("of model.tflite", "lower", "bytes"),
    "inference_instructions": Meaning("of one inference on the emulated board", "lower", "count"),
    "instructions_per_second": Meaning("of a second of sound: front end, inferences, detector", "lower", "count"),
    "load": Meaning("share of the board's time, at assumed cycles an instruction", "lower", "share"),
    "macs": Meaning("multiply-accumulates of an inference", "lower", "count"),
    "parameters": Meaning("trainable weights", "lower", "count"),
    "loss": Meaning("cross entropy on the validation clips", "lower", "count"),
    "epsilon": Meaning("of differential privacy", "lower", "count"),
    "rounds": Meaning("of a federated training", "", "count"),
    "clients": Meaning("that took part in a round", "", "count"),
    "upload_bytes": Meaning("that a client sends in a round", "lower", "bytes"),
    "download_bytes": Meaning("that a client gets in a round", "lower", "bytes"),
    "epochs": Meaning("of training", "", "count"),
    "seconds": Meaning("all steps together", "", "s"),
}


class Figure(Strict):
    """A figure with its 95 % interval from ``low`` to ``high``, where it was estimated; what was counted whole, as
    bytes are, has none. ``high`` alone is None where nothing bounds it. ``sample``: of what, as "240 clips"."""

    value: Number
    low: Number | None = None
    high: Number | None = None
    sample: str = ""

    @property
    def exact(self) -> bool:
        """Whether there is no interval."""
        return self.low is None and self.high is None

    @classmethod
    def of_share(cls, share: Share, what: str = "clips") -> Figure | None:
        """None for no trials."""
        if share.value is None:
            return None
        return cls(value=share.value, low=share.low, high=share.high, sample=f"{share.total} {what}")

    @classmethod
    def of_accuracy(cls, accuracy: float, clips: int) -> Figure | None:
        """Of a share that is known as a fraction alone; None for no clips."""
        if not clips:
            return None
        low, high = wilson(round(accuracy * clips), clips)
        return cls(value=accuracy, low=min(low, accuracy), high=max(high, accuracy), sample=f"{clips} clips")

    @classmethod
    def of_rate(cls, rate: Rate) -> Figure | None:
        """None without audio."""
        if rate.per_hour is None:
            return None
        return cls(value=rate.per_hour, low=rate.low, high=rate.high, sample=f"{rate.count} in {rate.hours:.2f} h")


class Record(Strict):
    """One run.

    Attributes:
        made: when it was finished, ISO 8601 in UTC.
        kws, tools: versions.
        config: the whole configuration as JSON; {} where an older kws did not keep it. ``config_hash``: `hash_of` it.
        data_hash, model_hash: of the data folder's content, of the model's file; empty where there is none.
        figures: by the names of `FIGURES`.
        parent: the study, search or federated training that it belongs to, and ``origin``, how it came about there.
        whole: False for what was stopped before its end.
        key: what it depends on, for a step that asks whether it must be made anew.
    """

    format: Literal[1] = 1
    kind: Kind
    name: str
    made: str = ""
    seconds: Number = 0.0
    kws: str = ""
    tools: dict[str, str] = {}
    config: dict[str, Any] = {}
    config_hash: str = ""
    data_hash: str = ""
    model_hash: str = ""
    board: str = ""
    figures: dict[str, Figure] = {}
    parent: str = ""
    origin: str = ""
    whole: bool = True
    key: str = ""


def hash_of(config: Mapping[str, Any]) -> str:
    """16 hex digits over a configuration, whatever the order of its keys; empty for none."""
    if not config:
        return ""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def new(kind: Kind, name: str, config: Mapping[str, Any], figures: Mapping[str, Figure | None], **more: Any) -> Record:
    """A record of now, by the versions of here, without the figures that are None.

    Raises:
        KwsError: a figure's name is not one of `FIGURES`.
    """
    for figure in figures:
        check_name(figure)
    tools = versions()
    return Record(
        kind=kind,
        name=name,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        kws=tools.get("micro-kws", ""),
        tools=tools,
        config=dict(config),
        config_hash=hash_of(config),
        figures={key: value for key, value in figures.items() if value is not None},
        **more,
    )


def exactly(**values: float | None) -> dict[str, Figure | None]:
    """Figures that were counted, not estimated."""
    return {name: None if value is None else Figure(value=float(value)) for name, value in values.items()}


def write(record: Record, folder: Path) -> None:
    """Writes ``folder``/record.json, whole or not at all. The caller has claimed the folder."""
    write_json(Path(folder) / RECORD, record.model_dump(mode="json"))


def read(path: Path) -> Record:
    """The record in a file, or in a folder's ``record.json``.

    Raises:
        FileNotFoundError: there is none.
        KwsError: it is broken.
    """
    path = path / RECORD if path.is_dir() else path
    value = read_json(path, hint="the step that wrote it makes it anew", most=MOST_BYTES)
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise KwsError(f"{path} is not a record of a run: {where}: {first['msg']}") from error


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of ``packages`` that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def check_name(figure: str) -> None:
    """
    Raises:
        KwsError: there is no figure of this name; with the most similar one.
    """
    if figure not in FIGURES:
        near = difflib.get_close_matches(figure, FIGURES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise KwsError(f"there is no figure {figure!r}", hint=f"{hint}kws runs figures lists them")


def shown(name: str, value: float) -> str:
    """A figure's value for people."""
    form = FIGURES[name].form if name in FIGURES else "count"
    if form == "share":
        return f"{100 * value:.1f} %"
    if form == "bytes":
        return f"{value:,.0f} B"
    if form == "ms":
        return f"{value:.0f} ms"
    if form == "s":
        return f"{value:,.0f} s"
    if form == "rate":
        return f"{value:.2f}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def interval_shown(name: str, figure: Figure) -> str:
    """``90.1 to 93.2 %``; empty for what was counted."""
    if figure.exact:
        return ""
    low = shown(name, figure.low or 0.0).removesuffix(" %")
    return f"{low} to {'…' if figure.high is None else shown(name, figure.high)}"
