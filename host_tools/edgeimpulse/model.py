"""A project's trained network as a model folder: what the compiler takes, and which front end it hears with."""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from host_tools.edgeimpulse.api import Client
from host_tools.edgeimpulse.replies import Block, Download, Impulse, Project, Trained
from model_pipeline.compiler import Program, compile_model
from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.folders import atomic_dir, check_replaceable
from model_pipeline.manifest import FeatureManifest, ForeignFrontEnd, Quantization, save_manifest
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.rate import SAMPLE_RATE
from model_pipeline.text import shown

KIND = "kws edgeimpulse model"
ENGINE, TYPE = "tflite", "int8"
_LINK = re.compile(r"/learn-data/(\d{1,9})/model/([A-Za-z0-9._-]{1,100})/?$")
_MODEL_BYTES = 64 << 20
_MEMBERS = 20_000  # of a deployment's archive
_SOURCE_BYTES = 96 << 20  # of the sources in it: an array takes six characters a byte
# Every part is bounded, so that no source takes more than one look from each of its places.
_ARRAY = re.compile(
    rb"unsigned\s{1,9}char\s{1,9}\w{1,200}\s{0,9}\[[^\]]{0,100}\][^={;]{0,200}=\s{0,99}\{([0-9a-fA-Fx,\s]+)\}"
)
_KINDS = {"mfcc": "MFCC", "mfe": "MFE", "spectrogram": "Spectrogram"}


def fetch_model(
    client: Client,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    block: int | None = None,
    deployed: bool = False,
    timeout: float = 1800.0,
) -> FeatureManifest:
    """Makes the model folder ``out`` (``model.tflite``, ``model.json``), whole or not at all.

    Args:
        block: the learning block, of a project with several networks.
        deployed: take the network out of a deployment (a C++ library), which Edge Impulse builds first.
        timeout: seconds for that.

    Raises:
        KwsError: no trained int8 network, one that the compiler refuses, or a folder that is somebody else's.
    """
    report = progress or silent
    check_replaceable(out, KIND)
    project = client.project()
    impulse = client.impulse(project.id)
    learn = _learning(impulse, block)
    trained = client.trained(project.id, learn.id)
    if not trained.is_trained:
        raise KwsError(
            f"block {learn.id} ({shown(learn.title or learn.name, 60)}) is not trained", hint="train it in Studio"
        )
    if TYPE not in trained.types:
        raise KwsError(
            f"block {learn.id} has no int8 network, only {shown(', '.join(trained.types), 60)}",
            hint="turn on the quantised model in its training settings, and train it again",
        )
    with tempfile.TemporaryFile() as stream:
        if deployed:
            job = client.build(project.id, ENGINE, TYPE)
            client.finish(project.id, job, report, "building", timeout)
            report(0, 1, "downloading")
            client.deployment(project.id, ENGINE, TYPE, stream)
            tflite = network_of(stream)
        else:
            report(0, 1, "downloading")
            client.learned(project.id, learn.id, _download(client.downloads(project.id), learn.id), stream)
            tflite = _bytes(stream)
    if tflite[4:8] != b"TFL3":
        raise KwsError("what Edge Impulse gives is not a .tflite", hint="run again, or take it from Studio's dashboard")
    manifest = _describe(client, project, impulse, learn, trained, compile_model(tflite), tflite)
    with atomic_dir(out, KIND) as folder:
        (folder / "model.tflite").write_bytes(tflite)
        save_manifest(manifest, folder / "model.json")
    report(1, 1, "")
    return manifest


def network_of(archive: BinaryIO) -> bytes:
    """The .tflite in a deployment's archive, as such or as an array in C.

    Raises:
        KwsError: no archive, too large, or not exactly one network in it.
    """
    found: list[bytes] = []
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > _MEMBERS:
                raise KwsError(f"the deployment has {len(members):,} files, more than {_MEMBERS:,}")
            names = [m for m in members if m.filename.lower().endswith((".tflite", ".lite"))]
            arrays = [m for m in members if re.search(r"tflite[^/]*/[^/]+\.(h|c|cpp|cc)$", m.filename)]
            left = _MODEL_BYTES if names else _SOURCE_BYTES
            for member in names or arrays:
                left -= member.file_size
                if left < 0:
                    raise KwsError(f"{shown(member.filename, 100)} of the deployment has {member.file_size:,} bytes")
                with opened.open(member) as stream:
                    data = stream.read(member.file_size)
                found += [data] if names else _arrays(data)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise KwsError(f"the deployment is not a whole archive: {error}", hint="run again", exit_code=4) from error
    found = [data for data in found if data[4:8] == b"TFL3"]
    if len(found) != 1:
        raise KwsError(
            f"the deployment has {len(found)} TensorFlow Lite networks, not one",
            hint="without --deployed the network is taken from the project's dashboard",
        )
    return found[0]


def _arrays(source: bytes) -> list[bytes]:
    arrays = []
    for found in _ARRAY.finditer(source):
        try:
            arrays.append(bytes(int(value, 0) for value in found[1].replace(b",", b" ").split()))
        except ValueError:  # not bytes
            continue
    return arrays


def _bytes(stream: BinaryIO) -> bytes:
    size = stream.seek(0, io.SEEK_END)
    if size > _MODEL_BYTES:
        raise KwsError(f"the network has {size:,} bytes, more than {_MODEL_BYTES:,}")
    stream.seek(0)
    return stream.read()


def _learning(impulse: Impulse, block: int | None) -> Block:
    networks = [b for b in impulse.learn if b.type.startswith("keras") and "anomaly" not in b.type]
    some = [b for b in networks if block in (None, b.id)]
    listed = ", ".join(f"{b.id} ({shown(b.title or b.name, 40)})" for b in networks)
    if len(some) != 1:
        raise KwsError(
            f"the impulse has {len(networks)} networks{': ' * bool(listed)}{listed}"
            + (f"; none is block {block}" if block is not None else ""),
            hint="--block with one of their numbers" if networks else "add a classifier in Studio and train it",
        )
    return some[0]


def _download(downloads: list[Download], block: int) -> str:
    """The id of a block's int8 network."""
    offers = []
    for offer in downloads:
        kind = f"{offer.type} {offer.name}".lower()
        link = _LINK.search(offer.link)
        if "tensorflow lite" in kind and "int8" in kind and link and int(link[1]) == block:
            offers.append(link[2])
    ids = list(dict.fromkeys(offers))
    # Of several, the first: int8 inputs and outputs come before those with float32 edges.
    if not ids:
        raise KwsError(
            f"the project offers no int8 TensorFlow Lite network of block {block} to take away",
            hint="Studio, Dashboard, Download block output; or kws edgeimpulse model --deployed",
        )
    return ids[0]


def _describe(
    client: Client,
    project: Project,
    impulse: Impulse,
    learn: Block,
    trained: Trained,
    program: Program,
    tflite: bytes,
) -> FeatureManifest:
    source, target = program.input, program.output
    if not program.single or source.type != "INT8" or target.type != "INT8":
        raise KwsError(f"the network takes {source.type} and gives {target.type}; one int8 input and output are needed")
    dsp = [b for b in impulse.dsp if b.id in learn.dsp]
    if len(dsp) != 1 or not impulse.inputs:
        raise KwsError(f"the network hears with {len(dsp)} DSP blocks; one is what kws can describe")
    sound = impulse.inputs[0]
    parameters = client.parameters(project.id, dsp[0].id)
    if dsp[0].version is not None:
        parameters["implementation_version"] = str(dsp[0].version)
    try:
        return FeatureManifest(
            name=_name(project),
            model_sha256=hashlib.sha256(tflite).hexdigest(),
            labels=[label.strip() for label in trained.labels],
            foreign_front_end=ForeignFrontEnd(
                maker="Edge Impulse",
                kind=_KINDS.get(dsp[0].type, shown(dsp[0].type, 40)),
                sample_rate=round(sound.frequency or SAMPLE_RATE),
                window_ms=sound.window_ms or 1000,
                stride_ms=sound.stride_ms,
                parameters=parameters,
            ),
            input=Quantization(scale=float(source.scale), zero_point=source.zero_point, shape=list(source.shape)),
            output=Quantization(scale=float(target.scale), zero_point=target.zero_point, shape=list(target.shape)),
            architecture=f"Edge Impulse {shown(learn.type, 40)}",
            macs=program.macs,
            training_data={"source": "Edge Impulse", "name": f"project {project.id}: {shown(project.name, 100)}"},
            accuracy={"edge_impulse_validation": value} if (value := _accuracy(trained)) is not None else {},
        )
    except ValidationError as error:
        raise KwsError(
            f"the network can't be described: {shown(explain(error), 300)}", hint="rename labels in Studio, train again"
        ) from error


def _name(project: Project) -> str:
    plain = re.sub(r"[^A-Za-z0-9 _.-]+", "-", project.name).strip(" -")[:48]
    return plain or f"edge-impulse-{project.id}"


def _accuracy(trained: Trained) -> float | None:
    """Edge Impulse's own figure of the int8 network, on its validation clips."""
    for row in trained.metrics:
        value = row.get("accuracy")
        if row.get("type") == TYPE and isinstance(value, int | float) and 0 <= value <= 1:
            return float(value)
    return None
