"""``model.json``: all that a user of ``model.tflite`` must know. Firmware constants are generated from it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationError, model_validator

from model_pipeline.config import SILENCE, UNKNOWN, CompileConfig, CorpusConfig, DetectorConfig, FrontendConfig, explain
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json, sha256_file, write_text
from model_pipeline.limits import LIMITS, Labels, Name, Threshold
from model_pipeline.rate import CLIP_MS, LONGEST_CLIP_MS, samples_of
from model_pipeline.strict import Strict

# One step of the front end's uint16 output, as pymicro-features scales it (10/256).
FEATURE_STEP = 0.0390625
# KWS_LOOK_INPUTS and KWS_LOOK_MAX_HIDDEN of firmware/core/detector/kws_detector.h.
_MODEL_BYTES = 256 << 20
LOOK_INPUTS, LOOK_HIDDEN = 5, 32


class Quantization(Strict):
    """real = scale * (q - zero_point)"""

    scale: float = Field(ge=2.0**-64, le=2.0**64)
    zero_point: int = Field(ge=-128, le=127)
    shape: list[Annotated[int, Field(ge=1, le=LIMITS["INPUT_BYTES"])]] = Field(min_length=1, max_length=8)


class DetectorDefaults(Strict):
    """Detector values as the firmware holds them (see firmware/core/detector/kws_detector.h)."""

    window: int = Field(ge=1, le=LIMITS["WINDOW"])
    min_count: int = Field(ge=1, le=LIMITS["MIN_COUNT"])
    refractory_samples: int = Field(ge=0, le=LIMITS["REFRACTORY_SAMPLES"])
    thresholds: list[Threshold]
    rest: int = Field(0, ge=0, le=31)  # of the thresholds, in 1/window of a step
    stride_hops: int = Field(ge=1, le=LIMITS["STRIDE_HOPS"])


class Look(Strict):
    """The detector's second look (`kws_look_t` of firmware/core/detector/kws_detector.h), learnt by `kws look`.

    ``weights``: base64 of int8 [hidden, steps, 5]; ``bias``: [hidden]; ``out``: [hidden].
    """

    steps: int = Field(ge=1, le=LIMITS["WINDOW"])
    hidden: int = Field(ge=1, le=LOOK_HIDDEN)
    shift: int = Field(ge=0, le=24)
    out_shift: int = Field(ge=0, le=24)
    frames: int = Field(ge=1, le=32)
    weights: str = Field(max_length=LOOK_HIDDEN * LIMITS["WINDOW"] * LOOK_INPUTS * 2)
    bias: list[Annotated[int, Field(ge=-(1 << 24), le=1 << 24)]]
    out: list[Annotated[int, Field(ge=-128, le=127)]]
    out_bias: int = Field(ge=-(1 << 24), le=1 << 24)
    # Between the results that it has learnt from; and of how many the mean tells which word is looked at.
    stride_hops: int = Field(ge=1, le=LIMITS["STRIDE_HOPS"])
    window: int = Field(ge=1, le=LIMITS["WINDOW"])
    made: dict[str, Any] = Field(default_factory=dict)  # what it has learnt from

    @model_validator(mode="after")
    def _whole(self) -> Look:
        try:
            count = len(base64.b64decode(self.weights, validate=True))
        except ValueError as error:
            raise ValueError("look.weights is not base64") from error
        if count != self.hidden * self.steps * LOOK_INPUTS or not len(self.bias) == len(self.out) == self.hidden:
            raise ValueError("look: weights, bias and out are not those of its steps and hidden units")
        return self

    def arrays(self) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int8]]:
        """Weights int8 [hidden, steps, 5], bias int32 [hidden], out int8 [hidden]."""
        weights = np.frombuffer(base64.b64decode(self.weights), np.int8)
        shape = self.hidden, self.steps, LOOK_INPUTS
        return weights.reshape(shape), np.array(self.bias, np.int32), np.array(self.out, np.int8)

    @property
    def macs(self) -> int:
        """Of one answer; there is one for each result."""
        return self.hidden * (self.steps * LOOK_INPUTS + 1)

    @property
    def constant_bytes(self) -> int:
        """In flash."""
        return self.hidden * (self.steps * LOOK_INPUTS + 5)


def keywords_of(labels: Sequence[str]) -> list[str]:
    """Those of a model's labels that are said to it: all but unknown and silence, which are the last two if it has
    them."""
    return list(labels[:-2] if list(labels[-2:]) == [UNKNOWN, SILENCE] else labels)


def _check_parts(values: dict[str, Any]) -> dict[str, Any]:
    """``training_data`` or ``accuracy``, of which most is told as it is, if what is computed with is of its kind.

    Raises:
        ValueError: it is not; with the key.
    """
    for key in ("scenes", "extra", "calibration"):
        part = values.get(key)
        if not isinstance(part, dict | None):
            raise ValueError(f"{key}: an object is needed")
        if not isinstance(part and part.get("source"), dict | str | None):
            raise ValueError(f"{key}.source: an object is needed")
        corpora = (part or {}).get("corpora") or []
        if not isinstance(corpora, list):
            raise ValueError(f"{key}.corpora: a list is needed")
        for number, corpus in enumerate(corpora):
            where = f"{key}.corpora.{number}"
            if not isinstance(corpus, dict) or not {"name", "training", "calibration"} <= corpus.keys():
                raise ValueError(f"{where}: an object with name, training and calibration is needed")
            known = {name: value for name, value in corpus.items() if name in CorpusConfig.model_fields}
            try:
                CorpusConfig.model_validate({**known, "folder": ""})
            except ValidationError as error:
                raise ValueError(f"{where}: {explain(error)}") from error
    return values


Told = Annotated[dict[str, Any], AfterValidator(_check_parts)]


class Manifest(Strict):
    """The manifest. ``window_frames`` x ``frontend.channels`` int8 values make one input."""

    format: Literal[1] = 1
    name: Name
    model_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    labels: Labels
    frontend: FrontendConfig
    window_frames: int = Field(ge=1, le=LIMITS["FRAMES"])
    # How long the clips are that it was made for, where that is not a second: those that it is judged on.
    clip_ms: int = Field(CLIP_MS, ge=CLIP_MS, le=LONGEST_CLIP_MS, exclude_if=lambda ms: ms == CLIP_MS)
    input: Quantization
    output: Quantization
    detector: DetectorDefaults
    look: Look | None = None  # then the detector's thresholds are of what it answers
    compile: CompileConfig = CompileConfig()  # what `kws export` does unless told otherwise
    # Fraction bits of the integer that turns a feature into a step of the input: more are nearer to a division.
    feature_shift: int = Field(16, ge=8, le=24)
    # voice: says whether anybody speaks; of several models in one image, words are heard only while it says yes.
    role: Literal["words", "voice"] = "words"
    streaming: int = Field(
        0, ge=0, le=LIMITS["FRAMES"]
    )  # feature frames that an inference of the plan takes; 0: the whole window
    architecture: str = ""
    parameters: int = 0
    macs: int = 0
    quantization: str = ""  # "ptq" or "qat", whichever was measured better
    training_data: Told = Field(default_factory=dict)  # source, clip counts, hashes, licences
    accuracy: Told = Field(default_factory=dict)  # measured; each with its clip count and interval
    tools: dict[str, str] = Field(default_factory=dict)  # versions

    @model_validator(mode="after")
    def _agree(self) -> Manifest:
        if self.output.shape[-1] != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels but {self.output.shape[-1]} outputs")
        if self.window_frames * self.frontend.channels != _product(self.input.shape):
            raise ValueError("input shape is not window_frames x channels")
        if self.window_frames * self.frontend.channels > LIMITS["INPUT_BYTES"]:
            raise ValueError(f"window_frames x channels is more than {LIMITS['INPUT_BYTES']:,} values")
        if len(self.detector.thresholds) != len(self.labels):
            raise ValueError("detector.thresholds: one for each label is needed")
        if self.look and (len(self.labels) < 3 or self.labels[-2:] != [UNKNOWN, SILENCE]):
            raise ValueError("look: it is for keywords, unknown and silence")
        look, detector = self.look, self.detector
        if look and (look.stride_hops, look.window) != (detector.stride_hops, detector.window):
            raise ValueError(f"look: it has learnt from {look.window} results of every {look.stride_hops} hops")
        return self

    @property
    def keywords(self) -> list[str]:
        """The labels that can fire: all but unknown and silence, which an imported wake word does not have."""
        return keywords_of(self.labels)

    @property
    def model_hash(self) -> str:
        """The first 16 hex digits of the model's SHA-256, as the firmware reports it."""
        return self.model_sha256[:16]

    @property
    def window_samples(self) -> int:
        """Samples that one inference looks at."""
        return (self.window_frames - 1) * self.frontend.hop_samples + self.frontend.window_samples


class ForeignFrontEnd(Strict):
    """Somebody else's front end, which kws knows by name alone. ``parameters`` as its maker has them."""

    maker: Name
    kind: Name
    sample_rate: int = Field(ge=1, le=1_000_000)  # Hz
    window_ms: int = Field(ge=1)  # of sound that one input stands for
    stride_ms: int | None = Field(None, ge=1)  # between two inferences, as its maker has it
    parameters: dict[str, str] = Field(default_factory=dict)


class FeatureManifest(Strict):
    """``model.json`` of a model that hears with a front end that kws can't compute: the compiler takes the model, and
    whoever runs it brings its features."""

    format: Literal[1] = 1
    name: Name
    model_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    labels: Labels
    foreign_front_end: ForeignFrontEnd
    input: Quantization
    output: Quantization
    compile: CompileConfig = CompileConfig()
    architecture: str = ""
    macs: int = 0
    training_data: dict[str, Any] = Field(default_factory=dict)
    accuracy: dict[str, Any] = Field(default_factory=dict)  # as its maker measured it
    tools: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> FeatureManifest:
        if self.output.shape[-1] != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels but {self.output.shape[-1]} outputs")
        return self


def feature_quantization(scale: float, shift: int = 16) -> tuple[int, int]:
    """Integers (multiplier, shift) that turn a uint16 feature into int8 steps on board and host alike:

    ``q = clamp(((feature * multiplier + (1 << (shift - 1))) >> shift) + zero_point, -128, 127)``
    """
    return round(FEATURE_STEP / scale * (1 << shift)), shift


def input_scale(frontend: FrontendConfig) -> float:
    """The input's scale: 255 steps from 0 to ``feature_max``; the zero point is -128."""
    return frontend.feature_max / 255.0


def step_db(frontend: FrontendConfig) -> float:
    """The level that one step of the input stands for, without noise reduction and PCAN: a feature is 64 `FEATURE_STEP`
    times the natural logarithm of an amplitude."""
    return input_scale(frontend) / (64 * FEATURE_STEP * math.log(10) / 20)


def detector_defaults(detector: DetectorConfig, labels: int, hop_ms: int) -> DetectorDefaults:
    """The configuration's milliseconds and probabilities as the integers of the firmware. The last two labels,
    unknown and silence, never fire."""
    step_ms = detector.stride_hops * hop_ms
    level = min(255, max(1, round(detector.threshold * 256)))
    return DetectorDefaults(
        window=min(32, max(1, round(detector.window_ms / step_ms))),
        min_count=detector.min_count,
        refractory_samples=samples_of(detector.refractory_ms),
        thresholds=[level] * (labels - 2) + [0, 0],
        stride_hops=detector.stride_hops,
    )


def save_manifest(manifest: Manifest | FeatureManifest, path: Path) -> None:
    """Writes ``model.json``, whole or not at all."""
    write_text(path, manifest.model_dump_json(indent=2) + "\n")


def record_accuracy(model: Path, name: str, figures: dict[str, Any]) -> None:
    """Puts measured ``figures`` under ``accuracy.name`` of the manifest in folder ``model``."""
    manifest = load_manifest(model)
    accuracy = {**manifest.accuracy, name: figures}
    save_manifest(manifest.model_copy(update={"accuracy": accuracy}), Path(model) / "model.json")


def load_manifest(path: Path, *, check_model: bool = True) -> Manifest:
    """Reads ``model.json`` (or the one in folder ``path``) and, unless told not to, checks that the
    ``model.tflite`` beside it is the one described.

    Raises:
        KwsError: missing, malformed, not this model's, or of a model whose front end kws can't compute.
    """
    manifest = load_any_manifest(path, check_model=check_model)
    if isinstance(manifest, FeatureManifest):
        front_end = manifest.foreign_front_end
        raise KwsError(
            f"{path} hears with {front_end.maker}'s {front_end.kind}, which kws can't compute: no samples can be run "
            "through it",
            hint="kws compile and kws profile take its model.tflite, to be fed with features; or train a model of our "
            "own on the same recordings",
        )
    return manifest


def load_any_manifest(path: Path, *, check_model: bool = True) -> Manifest | FeatureManifest:
    """As `load_manifest`, for those who need no front end.

    Raises:
        KwsError: missing, malformed, or not this model's.
    """
    path = Path(path)
    if path.is_file() and path.suffix != ".json":
        raise KwsError(
            f"{path} is a file; a folder with model.tflite and model.json (labels, front end, detector) is needed",
            hint="kws quantize makes such a folder; kws compile turns a .tflite alone into C",
        )
    if path.is_dir():
        path = path / "model.json"
    try:
        values = read_json(path, hint="quantize again")
        kind = FeatureManifest if "foreign_front_end" in values else Manifest
        manifest = kind.model_validate(values)
    except FileNotFoundError as error:
        raise KwsError(f"no model manifest {path}", hint="kws train and kws quantize make one") from error
    except ValidationError as error:
        raise KwsError(f"{path}: {explain(error)}", hint="quantize again") from error
    if check_model:
        model = path.with_name("model.tflite")
        if not model.is_file():
            raise KwsError(f"{model} is missing beside its manifest, or is not a file")
        if (size := model.stat().st_size) > _MODEL_BYTES:
            raise KwsError(f"{model} has {size:,} bytes, and a model for a microcontroller at most {_MODEL_BYTES:,}")
        if sha256_file(model) != manifest.model_sha256:
            raise KwsError(f"{path} describes another model than the model.tflite beside it", hint="quantize again")
    return manifest


def _product(values: list[int]) -> int:
    result = 1
    for value in values:
        result *= value
    return result
