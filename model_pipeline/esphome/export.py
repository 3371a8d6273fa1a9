"""From a model folder to a folder for ESPHome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from model_pipeline.config import STOCK_FRONTEND
from model_pipeline.errors import KwsError
from model_pipeline.esphome.manifest import Measured, WakeWord, cutoff_of
from model_pipeline.esphome.network import stateful
from model_pipeline.files import read_bytes
from model_pipeline.folders import MARK, atomic_dir, check_replaceable
from model_pipeline.intervals import Rate
from model_pipeline.manifest import Manifest, input_scale, load_manifest
from model_pipeline.strict import Strict
from model_pipeline.tflm import measure_arena
from model_pipeline.words import folder_name

KIND = "kws export --library esphome"
_MAX_WINDOW = 32  # of our own detector, which measures it


class EsphomeResult(Strict):
    """What was written. ``measured``: None where nothing was measured with this cutoff and window."""

    folder: str
    files: list[str]
    wake_word: str
    bytes: int  # of the .tflite
    step_frames: int
    probability_cutoff: float
    sliding_window_size: int
    tensor_arena_size: int
    measured: Measured | None


def export_esphome(
    model: Path,
    out: Path,
    *,
    word: str = "",
    hop: int | None = None,
    cutoff: float | None = None,
    window: int | None = None,
    author: str = "",
) -> EsphomeResult:
    """Writes ``<word>.tflite``, ``<word>.json`` and a README into folder ``out``, whole or not at all. Where cutoff and
    window are those of the model's detector, the README has the false accepts that ``kws calibrate`` measured.

    Args, Raises: see `make`.
    """
    model, out = Path(model), Path(out)
    check_replaceable(out, KIND, sources=[model])
    made = make(model, word=word, hop=hop, cutoff=cutoff, window=window, author=author)
    own = cutoff is None and window is None
    return write(made, out, model, _calibrated(load_manifest(model), made) if own else None)


def make(
    model: Path,
    *,
    word: str = "",
    hop: int | None = None,
    cutoff: float | None = None,
    window: int | None = None,
    author: str = "",
    languages: Sequence[str] = (),
) -> WakeWord:
    """One of a model's words for ESPHome.

    Args:
        word: which keyword; "" where the model has one alone.
        hop: feature frames of a step, a part of the window; None: the manifest's, else the stride or the least that
            the network can move by.
        cutoff, window: mean probability above which the word is heard, and results in that mean; None: by the
            model's detector.
        languages: that it was trained with.

    Raises:
        KwsError: another front end than ESPHome's, no such word, a detector that ESPHome has not, or an operator that
            it has not.
        MissingTool: ``tflite_micro`` is not installed.
    """
    manifest = load_manifest(model)
    check_front_end(manifest)
    label = _label(manifest, word)
    if cutoff is None or window is None:
        _check_detector(manifest, label)
    tflite, step = _smallest(read_bytes(Path(model) / "model.tflite"), manifest, label, hop)
    detector = manifest.detector
    if cutoff is None:
        cutoff = cutoff_of(detector.thresholds[label] * detector.window + detector.rest, detector.window)
    if window is None:  # results over as long
        window = min(_MAX_WINDOW, max(1, round(detector.window * detector.stride_hops / step)))
    data = manifest.training_data
    return WakeWord(
        word=manifest.labels[label],
        name=folder_name(manifest.labels[label]),
        tflite=tflite,
        step_frames=step,
        cutoff=cutoff,
        window=window,
        arena_bytes=measure_arena(tflite),
        author=author,
        languages=tuple(languages),
        data=f"{data.get('name') or data.get('source') or ''}; {data.get('licence') or 'its licence is not recorded'}",
    )


def write(made: WakeWord, out: Path, source: Path, measured: Measured | None) -> EsphomeResult:
    """Writes the files of ``made``, which came of folder ``source``, whole or not at all.

    Raises:
        KwsError: the folder is somebody else's, or can't be written.
    """
    files = {f"{made.name}.json": made.manifest.encode(), f"{made.name}.tflite": made.tflite}
    files["README.md"] = made.readme(measured).encode()
    with atomic_dir(out, KIND, sources=[source]) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return EsphomeResult(
        folder=str(out),
        files=sorted([*files, MARK]),
        wake_word=made.word,
        bytes=len(made.tflite),
        step_frames=made.step_frames,
        probability_cutoff=made.cutoff,
        sliding_window_size=made.window,
        tensor_arena_size=made.arena_bytes,
        measured=measured,
    )


def _calibrated(manifest: Manifest, made: WakeWord) -> Measured | None:
    """What calibration measured where it did not choose; None where it measured nothing, or results come at another
    pace here."""
    record = manifest.accuracy.get("calibration") or {}
    found = record.get("reporting") or {}
    if not found.get("hours") or made.step_frames != manifest.detector.stride_hops or len(manifest.keywords) > 1:
        return None
    names = [corpus["name"] for corpus in record.get("corpora", [])]
    return Measured(
        false_accepts=Rate.of(found["false_accepts"], found["hours"]),
        heard=f"connected speech that it was not chosen on: {', '.join(names)}",
        of_file=False,
    )


def check_front_end(manifest: Manifest) -> None:
    """
    Raises:
        KwsError: the model hears with another front end than ESPHome's, with the settings that it has.
    """
    differ = [
        f"{key} = {json.dumps(wanted)}"
        for key, wanted in STOCK_FRONTEND.model_dump().items()
        if getattr(manifest.frontend, key) != wanted
    ]
    if differ:
        raise KwsError(
            f"{manifest.name} was trained with another front end than ESPHome's",
            hint=f"train it with [frontend] {', '.join(differ)}",
        )
    if abs(manifest.input.scale - input_scale(STOCK_FRONTEND)) > 1e-6 or manifest.input.zero_point != -128:
        raise KwsError(
            f"the model's input has scale {manifest.input.scale:.6g} and zero point {manifest.input.zero_point}; "
            f"ESPHome gives it {input_scale(STOCK_FRONTEND):.6g} and -128",
            hint="quantize again",
        )


def _label(manifest: Manifest, word: str) -> int:
    words = manifest.keywords
    if manifest.architecture == "microWakeWord" or len(manifest.labels) < 2:
        raise KwsError(
            f"{manifest.name} is a model of one probability already", hint="ESPHome takes its .tflite as it is"
        )
    if not word and len(words) > 1:
        raise KwsError(f"{manifest.name} has {len(words)} keywords", hint=f"--word: one of {', '.join(words)}")
    if word and word not in words:
        raise KwsError(f"{manifest.name} has no keyword {word!r}", hint=f"it has {', '.join(words)}")
    return manifest.labels.index(word or words[0])


def _check_detector(manifest: Manifest, label: int) -> None:
    """
    Raises:
        KwsError: ESPHome can't have the model's detector.
    """
    asked = "give --cutoff and --window, and measure: kws import it, then kws evaluate stream"
    if manifest.look:
        raise KwsError("ESPHome's detector has no second look, which this model's thresholds are of", hint=asked)
    if manifest.detector.min_count > 1:
        raise KwsError(f"ESPHome can't wait for {manifest.detector.min_count} results in a row", hint=asked)
    if not manifest.detector.thresholds[label]:
        raise KwsError(f"{manifest.labels[label]!r} has no threshold: it never fires", hint=asked)


def _smallest(tflite: bytes, manifest: Manifest, label: int, hop: int | None) -> tuple[bytes, int]:
    """The network with the hop asked for, or the first of the likely ones with which it moves at every layer."""
    frames = manifest.window_frames
    possible = [n for n in range(1, frames) if frames % n == 0]
    asked = hop or manifest.streaming
    if asked and asked not in possible:
        raise KwsError(f"a step of {asked} frames does not divide the model's window of {frames}",
                       hint=f"possible: {', '.join(map(str, possible))}")  # fmt: skip
    stride = manifest.detector.stride_hops
    # First the pace that the detector was chosen for; a step every 10 ms is much work.
    candidates = [asked] if asked else sorted(possible, key=lambda n: (n != stride, n < 2, n))
    best: tuple[bytes, int] | None = None
    fewest = 1 << 30
    for step in candidates:
        made, whole = stateful(tflite, step, frames, label)
        if whole < fewest:
            best, fewest = (made, step), whole
        if not whole:
            break
    assert best is not None
    return best
