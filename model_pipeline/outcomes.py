"""What the steps that hold TensorFlow leave behind, for those that do not."""

from __future__ import annotations

from model_pipeline.score import Brief
from model_pipeline.strict import Sparse, Strict


class Trained(Strict):
    """A training's ``train.json``.

    Attributes:
        parameters: trainable weights; ``macs``: multiply-accumulates of one inference.
        frames: of the window.
        extra_hash: of the data beside the main one; empty for none.
        resumed_at: the epochs that earlier processes had done.
        replicas: devices that trained together.
        warnings: what is doubtful about the data.
        key: hash of the recipe and the data.
        best_epoch: the one (from 1) that was kept, with its accuracy and loss on ``validation_clips``.
        stopped: before all epochs were done.
        model_sha256: of ``model.keras``; empty on a worker that is not the chief.
    """

    architecture: str
    parameters: int
    macs: int
    frames: int
    labels: list[str]
    data_hash: str
    extra_hash: str = ""
    data_folder: str = ""
    resumed_at: int = 0
    replicas: int = 1
    warnings: list[str] = []
    key: str = ""
    best_epoch: int
    validation_accuracy: float
    validation_clips: int = 0
    validation_loss: float | None = None
    epochs: int
    stopped: bool = False
    seconds: float = 0.0
    model_sha256: str = ""


class Quantized(Strict):
    """Quantisation's result: the way that was chosen (``ptq`` or ``qat``), the model's hash and size in bytes, and what
    each way that was tried got right on the validation clips (int8, in TFLite Micro)."""

    quantization: str
    model: str
    bytes: int
    validation_clips: int
    float_validation_accuracy: float | None
    validation: dict[str, Brief]


class Untrained(Strict):
    """A network with random weights, made to be measured."""

    macs: int


class ShortTraining(Sparse):
    """One of a search: right on the validation clips after each epoch; or why it diverged."""

    accuracies: list[float] | None = None
    failed: str | None = None


class Sharded(Strict):
    """A sharded set: clips and speakers by split, clips of the extra data, epochs of features, and its files: how many,
    how many of them an earlier call had left, their bytes."""

    clips: dict[str, int]
    speakers: dict[str, int]
    extra: int
    epochs: int
    files: int
    kept: int
    bytes: int


class Curve(Strict):
    """How many takes a word needs.

    Attributes:
        words: takes that there are.
        takes: of each word that were heard: 1, 2, 4, …
        right, error: share of unheard takes that are understood, mean and standard error over the folds.
        by_speaker: the unheard ones are other speakers'.
        gain: of the last doubling; ``enough``: it is next to nothing.
    """

    words: dict[str, int]
    takes: list[int]
    right: list[float]
    error: list[float]
    by_speaker: bool
    gain: float | None
    enough: bool


class Distilled(Strict):
    """A base. ``unexplained``: the share of the targets' variance that is left on examples that were held out."""

    examples: int
    parameters: int
    macs: int
    unexplained: float
