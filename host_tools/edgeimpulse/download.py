"""A project's recordings as a data folder."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path

from host_tools.edgeimpulse.api import Client
from host_tools.edgeimpulse.each import each
from host_tools.edgeimpulse.record import beside
from host_tools.edgeimpulse.replies import Project, Sample
from model_pipeline.data.dataset import NOISE_FOLDER
from model_pipeline.data.described import Imported
from model_pipeline.data.importer import import_folder
from model_pipeline.data.sources import EDGE_IMPULSE
from model_pipeline.data.split import SPLITS
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, write_json
from model_pipeline.folders import check_replaceable, claim_dir, remove_made
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.strict import Strict
from model_pipeline.text import shown
from model_pipeline.words import folder_name, word_key

KIND = "kws edgeimpulse download"
MADE_BY = "kws data import"  # the data folder is made as by this command, which may replace it too
_SOUND = "samples"
_TRIES = 3  # of a recording that comes as a half
_HALF = "half a file"


class Downloaded(Imported):
    """``dataset.json`` of what came. ``not_taken``: how many recordings by reason."""

    project: int
    not_taken: dict[str, int]


class _Label(Strict):
    type: str = "label"
    label: str


class _Entry(Strict):
    """A recording in Edge Impulse's own list of files."""

    path: str
    category: str
    label: _Label


def stage_of(out: Path, project: int) -> Path:
    """Where recordings are kept until all are there: beside ``out``."""
    return beside(out, project)


def download(
    client: Client,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    noise: str = "",
    licence: str = "",
    jobs: int = 4,
) -> Downloaded:
    """Makes data folder ``out``, whole or not at all; what came stays in a folder beside it until then, so that a call
    after a kill goes on from there.

    Recordings that `upload` sent get their speakers and splits back; of others, the name tells the speaker as
    `import_folder` has it, and training and testing are those of the project.

    Args:
        noise: the label whose recordings become background noise; empty: none.
        jobs: requests side by side.

    Returns:
        What is in ``dataset.json``, and what was not taken.

    Raises:
        KwsError: key, server or link fail, no sound in the project, or ``out`` is somebody else's.
    """
    report = progress or silent
    check_replaceable(out, MADE_BY)
    project = client.project()
    stage = stage_of(out, project.id)
    claim_dir(stage, KIND, [f"{_SOUND}/**", EDGE_IMPULSE])
    wanted, left = _wanted(client, project, report)
    if not wanted:
        why = f" ({', '.join(f'{n} {reason}' for reason, n in left.items())})" if left else ""
        raise KwsError(f"the project {shown(project.name, 100)} has no recordings{why}", hint="kws edgeimpulse upload")
    lock, count = threading.Lock(), Counter[str]()
    missing: dict[int, str] = {}

    def fetch(sample: Sample) -> None:
        path = stage / _place(sample)
        why = "" if path.is_file() else _fetch(client, project.id, sample, path)
        with lock:
            count["done"] += 1
            if why:
                missing[sample.id] = why
        report(count["done"], len(wanted), f"{count['done']:,} of {len(wanted):,} {sample.label}")

    each(wanted, fetch, jobs, client.close)
    left.update(missing.values())
    entries = [_entry(sample, noise) for sample in wanted if sample.id not in missing]
    if not entries:
        raise KwsError(f"none of the project's {len(wanted)} recordings has sound ({next(iter(missing.values()))})")
    write_json(stage / EDGE_IMPULSE, {"version": 1, "files": [entry.model_dump() for entry in entries]})
    name = f"Edge Impulse project {project.id}: {shown(project.name, 100)}"
    result = import_folder(stage, out, progress, name=name, licence=licence)
    remove_made(stage)
    return Downloaded(**dict(result), project=project.id, not_taken=dict(left))


def _wanted(client: Client, project: Project, report: ProgressCallback) -> tuple[list[Sample], Counter[str]]:
    wanted, left = [], Counter[str]()
    for sample in client.samples(project.id, report):
        if sample.is_disabled:
            left["disabled in the project"] += 1
        elif sample.chart_type in ("image", "video", "table"):
            left[f"no sound but {sample.chart_type}"] += 1
        elif len(sample.labels or []) > 1:
            left["with several labels"] += 1
        elif sample.label.strip():
            wanted.append(sample)
        else:
            left["without a label"] += 1
    return wanted, left


class _NoSound(Exception):
    """Why a recording is not kept."""


def _fetch(client: Client, project: int, sample: Sample, path: Path) -> str:
    """Brings a recording to its place, or tells why it has none.

    Raises:
        KwsError: it never comes whole.
    """
    for _ in range(_TRIES):
        try:
            with atomic_path(path) as part:
                with part.open("w+b") as stream:
                    why = client.wav(project, sample.id, stream)
                if why := why or _state(part):
                    raise _NoSound(why)
            return ""
        except _NoSound as error:
            if str(error) != _HALF:
                return str(error)
    raise KwsError(
        f"recording {sample.id} ({shown(sample.filename, 100)}) comes as half a file, {_TRIES} times",
        hint="run again: what came whole stays",
        exit_code=4,
    )


def _state(path: Path) -> str:
    """Empty for a whole WAV, else what it is."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return "what comes is not WAV"
    said = int.from_bytes(head[4:8], "little")
    return _HALF if 0 < said < 0xFFFFFFFF and said + 8 > size else ""


def _place(sample: Sample) -> str:
    """Where a recording lies in the stage: a change of it at Edge Impulse is another place."""
    version = sample.sha256[:16] if re.fullmatch(r"[0-9a-f]{16,}", sample.sha256) else "0"
    return f"{_SOUND}/{sample.id}-{version}/{_name(sample)}"


def _name(sample: Sample) -> str:
    """A plain file name from which the importer reads the speaker: ours, or what the project calls it."""
    stem = re.sub(
        r"\.(wav|json|cbor)$", "", sample.said("kws_file") or sample.filename.replace("\\", "/").split("/")[-1]
    )
    speaker, mark, take = stem.rpartition("_nohash_")
    number = take.partition(".")[0]
    if mark and number.isascii() and number.isdigit():
        return f"{folder_name(sample.said('speaker') or speaker)}_nohash_{number[:8]}.wav"
    return f"{folder_name(stem)}.wav"


def _entry(sample: Sample, noise: str) -> _Entry:
    split, category = sample.said("split"), sample.category
    if split not in SPLITS or (split == "testing") != (category == "testing"):  # somebody moved it since
        split = category
    is_noise = noise and word_key(sample.label.strip()) == word_key(noise)
    label = _Label(label=NOISE_FOLDER if is_noise else sample.label)
    return _Entry(path=_place(sample), category=split, label=label)
