"""Models of microWakeWord, as ESPHome and Home Assistant use them, become model folders.

Their manifest (``okay_nabu.json`` beside ``okay_nabu.tflite``) exists in two versions: version 1 has
``sliding_window_average_size`` and a feature step of 20 ms that it does not name, version 2 has
``sliding_window_size`` and ``feature_step_size``. The front end is TensorFlow Lite Micro's own with its stock values,
the model takes a few feature frames a step and keeps its past in variables, and its output is one probability. The word
is heard while the mean of the last ``sliding_window_size`` probabilities is above ``probability_cutoff``.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_pipeline.compiler import compile_model
from model_pipeline.config import CompileConfig, FrontendConfig, explain
from model_pipeline.errors import KwsError
from model_pipeline.files import read_bytes, read_json
from model_pipeline.folders import atomic_dir, check_replaceable
from model_pipeline.manifest import DetectorDefaults, Manifest, Quantization, save_manifest
from model_pipeline.rate import SAMPLE_RATE

STEP_MS_OF_VERSION_1 = 20
CHANNELS = 40
REFRACTORY_SAMPLES = SAMPLE_RATE
KIND = "kws import"


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # later versions may say more


class Micro(_Loose):
    """The part ``micro`` of the manifest."""

    probability_cutoff: float = Field(ge=0, le=1)
    sliding_window_size: int | None = Field(None, ge=1, le=32)
    sliding_window_average_size: int | None = Field(None, ge=1, le=32)  # of version 1
    feature_step_size: int | None = Field(None, ge=5, le=30)  # ms


class WakeWord(_Loose):
    """The manifest."""

    type: str = "micro"
    wake_word: str = Field(min_length=1, max_length=64)
    author: str = Field("", max_length=200)
    website: str = Field("", max_length=500)
    model: str
    version: int = Field(ge=1)
    trained_languages: list[Annotated[str, Field(max_length=50)]] = Field([], max_length=200)
    micro: Micro


def import_model(
    source: Path, out: Path, *, front_end: str = "", cutoff: float | None = None, window: int | None = None
) -> Manifest:
    """Makes the model folder ``out`` (``model.tflite``, ``model.json``), whole or not at all.

    Args:
        source: the manifest (``.json``), with its model beside it; or a bare ``.tflite``.
        front_end: ``micro`` for a bare ``.tflite``, which does not say what it hears with.
        cutoff, window: probability and results averaged, where the manifest's are not wanted or there is none.

    Raises:
        KwsError: not such a model, one that the compiler refuses, or a folder that is somebody else's.
    """
    source, out = Path(source), Path(out)
    described, model = _read(source, front_end, cutoff, window)
    tflite = read_bytes(model, hint="it belongs beside its manifest")
    check_replaceable(out, KIND, sources=[source])
    try:
        manifest = describe(tflite, described)
    except ValidationError as error:
        raise KwsError(
            f"{source} can't be taken as it is: {explain(error)}", hint="change its wake_word or its name"
        ) from error
    with atomic_dir(out, KIND, sources=[source]) as folder:
        (folder / "model.tflite").write_bytes(tflite)
        save_manifest(manifest, folder / "model.json")
    return manifest


def describe(tflite: bytes, described: WakeWord) -> Manifest:
    """The manifest of our own for such a model."""
    program = compile_model(tflite)
    source, target = program.input, program.output
    if source.type != "INT8" or source.size % CHANNELS or target.size != 1:
        raise KwsError(
            f"the model takes {source.type} {list(source.shape)} and gives {list(target.shape)}; a microWakeWord model "
            f"takes int8 frames of {CHANNELS} channels and gives one probability"
        )
    if not program.step_frames:
        raise KwsError("the model keeps no variables, so it is not a streaming model of microWakeWord")
    zero = {"UINT8": 0, "INT8": -128}.get(target.type)
    if zero is None or target.zero_point != zero or float(target.scale) != 1 / 256:
        raise KwsError(
            f"the model's output is {target.type} with scale {float(target.scale)}, not a probability in 1/256"
        )
    frames = source.size // CHANNELS
    micro = described.micro
    window = micro.sliding_window_size or micro.sliding_window_average_size
    step_ms = STEP_MS_OF_VERSION_1 if described.version == 1 else micro.feature_step_size
    if window is None or step_ms is None:
        missing = "sliding_window_size" if window is None else "feature_step_size"
        raise KwsError(f"the manifest of {described.wake_word!r} has no micro.{missing}")
    threshold, rest = threshold_of(micro.probability_cutoff, window)
    digest = hashlib.sha256(tflite).hexdigest()
    return Manifest(
        name=Path(described.model).stem,
        model_sha256=digest,
        labels=[described.wake_word],
        frontend=FrontendConfig(hop_ms=step_ms, channels=CHANNELS, feature_max=round(float(source.scale) * 255, 6)),
        window_frames=frames,
        input=Quantization(scale=float(source.scale), zero_point=source.zero_point, shape=list(source.shape)),
        output=Quantization(scale=1 / 256, zero_point=zero, shape=list(target.shape)),
        detector=DetectorDefaults(
            window=window,
            min_count=1,
            refractory_samples=REFRACTORY_SAMPLES,
            thresholds=[threshold],
            rest=rest,
            stride_hops=frames,
        ),
        compile=CompileConfig(packing="size"),  # little work, many weights
        feature_shift=20,  # then each feature is rounded as by a division (tests/library/test_microwakeword.py)
        role="voice" if Path(described.model).stem == "vad" or described.wake_word.lower() == "vad" else "words",
        architecture="microWakeWord",
        macs=program.macs,
        training_data={
            "name": f"not known; a model by {described.author or 'an unnamed author'}",
            "source": described.website or "microWakeWord",
            "languages": described.trained_languages,
        },
    )


def threshold_of(cutoff: float, window: int) -> tuple[int, int]:
    """The detector's threshold and rest for a mean of ``window`` results in 1/256 that must be above ``cutoff``.

    Raises:
        KwsError: no mean is.
    """
    total = math.floor(Fraction(cutoff) * 256 * window) + 1  # the least sum above it
    if total / (256 * window) <= cutoff:  # above it by less than a double tells: 0.85 over five results
        total += 1
    if total > 255 * window:
        raise KwsError(f"no probability is above a cutoff of {cutoff}", hint="at most 0.996")
    return divmod(max(total, window), window)


def _read(source: Path, front_end: str, cutoff: float | None, window: int | None) -> tuple[WakeWord, Path]:
    if source.suffix == ".tflite":
        beside = source.with_suffix(".json")
        if front_end != "micro":
            raise KwsError(
                f"{source.name} does not say what front end it was trained with",
                hint=f"kws import {beside}" if beside.is_file() else "--front-end micro for a model of microWakeWord",
            )
        micro = {"probability_cutoff": 0.97 if cutoff is None else cutoff, "sliding_window_size": window or 5}
        values: dict[str, Any] = {
            "wake_word": source.stem.replace("_", " "), "model": source.name, "version": 2,
            "micro": {**micro, "feature_step_size": 10},
        }  # fmt: skip
        return _validated(values, source), source
    try:
        values = read_json(source, hint="kws import NAME.json, with NAME.tflite beside it")
    except FileNotFoundError as error:
        raise KwsError(f"can't read {source}: {error.strerror}") from error
    if not isinstance(values.get("micro"), dict):
        raise KwsError(f"{source} is not a manifest of microWakeWord: it has no part micro")
    changes = {"probability_cutoff": cutoff, "sliding_window_size": window}
    values = {**values, "micro": values["micro"] | {k: v for k, v in changes.items() if v is not None}}
    described = _validated(values, source)
    name = described.model
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise KwsError(f"{source}: model is {name!r}, which is not the name of a file beside it")
    return described, source.with_name(name)


def _validated(values: dict[str, Any], source: Path) -> WakeWord:
    try:
        found = WakeWord.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"{source}: {explain(error)}") from error
    if found.type != "micro":
        raise KwsError(f"{source} is of type {found.type!r}; microWakeWord's is micro")
    if found.version > 2:
        raise KwsError(f"{source} is of version {found.version}; known are 1 and 2")
    return found
