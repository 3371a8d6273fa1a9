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


class Spelling(Strict):
    """How near voices come to people's takes with one way of writing a word. ``near``: -1 to 1, more is nearer;
    ``first``: the share of draws from the takes by which it is the nearest; ``sayings``: clips that were compared."""

    text: str
    near: float
    first: float
    sayings: int


class Spellings(Strict):
    """Ways of writing a word, the nearest to the takes first. ``unspoken``: those that no voice can say."""

    takes: int
    spellings: list[Spelling]
    unspoken: list[str]


class Distilled(Strict):
    """A base. ``unexplained``: the share of the targets' variance that is left on examples that were held out."""

    examples: int
    parameters: int
    macs: int
    unexplained: float


class FederatedApp(Strict):
    """What `kws federate --app` wrote: the folder, and where its server will leave the network."""

    app: str
    trained: str


class FederatedRound(Strict):
    """What a round gave.

    Attributes:
        number: from 1; 0 is the beginning.
        clients: that answered; ``examples``: that they heard in an epoch, all together.
        loss, accuracy: of the clients while they learnt, each weighing as its examples.
        validation_accuracy, validation_loss: of the server's network on the validation clips.
        down, up: bytes of weights to and from a client, on average.
        seconds: that the round took.
    """

    number: int
    clients: int
    examples: int
    loss: float
    accuracy: float
    validation_accuracy: float
    validation_loss: float
    down: float
    up: float
    seconds: float


class FederatedHeads(Strict):
    """Heads that clients taught their own clips, on clips of theirs that nothing had heard.

    Attributes:
        clients: that had clips on both sides; ``clips``: that one of them learnt from, on average.
        held: clips that they were judged by, all together; ``right_before``, ``right_after``: of these.
        before, after: share of right answers, each client weighing the same.
        better, worse: clients whose share rose or fell.
    """

    clients: int
    clips: float
    held: int
    before: float
    after: float
    right_before: int
    right_after: int
    better: int
    worse: int


class Federated(Strict):
    """What `kws federate` leaves beside the network, in ``federated.json``.

    Attributes:
        key: hash of recipe and data; another one begins anew.
        clients: of the whole population; ``sampled``: of a round; ``weights``: that travel.
        epsilon, delta: of differential privacy, for whoever sees all of the server's networks; None without it.
        rounds: in order.
        personal: of the clients' own heads; None: none were asked for.
    """

    key: str
    clients: int
    sampled: int
    weights: int
    strategy: str
    upload: str
    secure: bool = False
    epsilon: float | None = None
    delta: float | None = None
    resumed_at: int = 0
    rounds: list[FederatedRound]
    personal: FederatedHeads | None = None


class FederatedVariant(Strict):
    """One federated training of a comparison.

    Attributes:
        accuracy: on the validation clips after the last round; ``by_round``: after each.
        up_kb: of a client in a round; ``up_mb``, ``down_mb``: of a client over all rounds, on average.
        rounds_to_target: the first after which the target was reached; None: none.
        epsilon, delta: of differential privacy; None without it.
        seconds: that the rounds took.
    """

    name: str
    clients: int
    sampled: int
    accuracy: float
    by_round: dict[int, float]
    up_kb: float
    up_mb: float
    down_mb: float
    rounds_to_target: int | None = None
    epsilon: float | None = None
    delta: float | None = None
    seconds: float

    def reaches(self, target: float) -> int | None:
        """The first round after which the accuracy was ``target`` or more."""
        return next((number for number, accuracy in sorted(self.by_round.items()) if accuracy >= target), None)


class FederatedComparison(Strict):
    """Federated trainings beside the recipe trained in one place (``central``: its accuracy on the validation clips,
    after ``central_epochs`` over all clips). ``target``: the accuracy that ``rounds_to_target`` is about."""

    central: float
    central_epochs: int
    validation_clips: int
    target: float
    variants: list[FederatedVariant]
