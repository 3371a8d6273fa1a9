"""The folder of the page for one model, in memory: what ``kws web`` serves, and what ``--out`` writes."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from host_tools.web import wasm
from model_pipeline.errors import KwsError
from model_pipeline.exported import Exported
from model_pipeline.folders import atomic_dir
from model_pipeline.manifest import load_manifest
from model_pipeline.text import to_json

PAGE = Path(__file__).resolve().parent / "page"
MODEL_FILE = "kws.json"
MODULE_FILE = "model.wasm"
KIND = "kws web"
_KINDS = (".html", ".css", ".js", ".svg")


def about(model: Path) -> dict[str, object]:
    """What the page needs to know of an exported model, as ``kws.json`` holds it; names are those of model.json.

    Raises:
        KwsError: not an exported model.
    """
    exported = Exported.open(model)
    manifest = load_manifest(model)
    if exported.model_hash != manifest.model_hash:
        raise KwsError(
            f"{model} was not exported whole: its plan is of another model", hint="kws export MODEL --out DIR"
        )
    detector = manifest.detector
    return {
        "format": 1,
        "kws": metadata.version("micro-kws"),
        "name": manifest.name,
        "model_hash": manifest.model_hash,
        "labels": manifest.labels,
        "keywords": manifest.keywords,
        "channels": exported.channels,
        "window_samples": exported.window_samples,
        "hop_samples": exported.hop_samples,
        "window_frames": manifest.window_frames,
        "stride_hops": exported.stride_hops,
        "macs": exported.macs,
        "detector": {
            "window": detector.window,
            "min_count": detector.min_count,
            "rest": detector.rest,
            "refractory_samples": detector.refractory_samples,
            "thresholds": detector.thresholds,
        },
    }


def files(model: Path) -> dict[str, bytes]:
    """All files of the folder by name.

    Raises:
        MissingTool: no compiler for WebAssembly.
        KwsError: not an exported model, or one that can't be built.
    """
    module = wasm.module(model)  # first: it knows best what is wrong with a folder
    found = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.suffix in _KINDS}
    found[MODEL_FILE] = to_json(about(model), indent=1).encode()
    found[MODULE_FILE] = module
    return found


def write(model: Path, out: Path) -> dict[str, int]:
    """Writes the folder, for any host of static files; bytes of each file.

    Raises:
        MissingTool, KwsError: as `files`, or ``out`` holds what is not ours.
    """
    found = files(model)
    with atomic_dir(out, KIND, sources=[model]) as stage:
        for name, data in found.items():
            (stage / name).write_bytes(data)
    return {name: len(data) for name, data in found.items()}
