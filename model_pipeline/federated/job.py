"""What a run of Flower is about, as text that travels to every client."""

from __future__ import annotations

from pathlib import Path

from model_pipeline.config import Config
from model_pipeline.strict import Strict


class Job(Strict):
    """A recipe and where it is learnt.

    Attributes:
        recipe: already `Config.of_clips`.
        data: the folder with the clips; on other machines a node's own ``data``.
        out: the server's folder.
        audio: int16 [n, samples] (.npy) of the training clips; empty: clients read ``data``.
        nodes: machines to wait for, each a client; 0: as many as there are groups of speakers in ``data``.
    """

    recipe: Config
    data: str
    out: str
    audio: str = ""
    nodes: int = 0

    @property
    def audio_path(self) -> Path | None:
        """Where ``audio`` is."""
        return Path(self.audio) if self.audio else None


class Round(Strict):
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


class Personal(Strict):
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
    rounds: list[Round]
    personal: Personal | None = None


class Variant(Strict):
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


class Comparison(Strict):
    """Federated trainings beside the recipe trained in one place (``central``: its accuracy on the validation clips,
    after ``central_epochs`` over all clips). ``target``: the accuracy that ``rounds_to_target`` is about."""

    central: float
    central_epochs: int
    validation_clips: int
    target: float
    variants: list[Variant]
