"""What stands around Flower's strategies: who is asked, what clients' bytes mean, and what is kept of each round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    Strategy,
)

from model_pipeline.config import FederateConfig
from model_pipeline.errors import KwsError
from model_pipeline.federated import upload
from model_pipeline.federated.clients import chosen
from model_pipeline.federated.local import Learner
from model_pipeline.federated.records import (
    ACCURACY,
    ARRAYS,
    EXAMPLES,
    LOSS,
    METRICS,
    NUMBER,
    UPDATE,
    from_record,
    size_of,
    to_record,
)

TIMEOUT_S = 3600.0
_LEAST_VARIANCE = 1e-6
_MOST_EXAMPLES = 10_000_000  # of a client in a round


class Stopped(Exception):
    """The training is to stop: raised in Flower's thread, which hands on no KeyboardInterrupt."""


def flowers(settings: FederateConfig, sampled: int) -> tuple[FedAvg, Strategy]:
    """Flower's own strategy of the settings, and the same inside of Flower's differential privacy where wanted."""
    # Whom they ask is decided by `Rounds`: of those that it shows them they take all.
    usual: dict[str, Any] = {"fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
    inner: FedAvg
    if settings.strategy == "fedprox":
        inner = FedProx(**usual, proximal_mu=settings.proximal)
    elif settings.strategy == "fedadam":
        inner = FedAdam(**usual, eta=settings.server_rate, beta_1=0.9, beta_2=0.99, tau=1e-3)
    elif settings.strategy == "fedavgm":
        inner = FedAvgM(**usual, server_learning_rate=1.0, server_momentum=settings.momentum)
    else:
        inner = FedAvg(**usual)
    if not settings.clip:
        return inner, inner
    return inner, DifferentialPrivacyServerSideFixedClipping(inner, settings.noise, settings.clip, sampled)


@dataclass
class Asked:
    """What is known of a round when its answers are in: see `outcomes.FederatedRound`."""

    clients: int = 0
    examples: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    down: float = 0.0
    up: float = 0.0
    begun: float = field(default_factory=time.monotonic)


class Rounds(Strategy):
    """Flower's strategy ``inner`` over clients that are drawn by the seed, whose answers come in few bytes.

    Round numbers count from the first round of all, also where a training goes on (``done``).
    """

    def __init__(
        self,
        settings: FederateConfig,
        nodes: dict[int, int],
        done: int,
        learner: Learner,
        stop: Callable[[], bool],
    ) -> None:
        """
        Args:
            nodes: Flower's node of each client.
            learner: knows which weights are which.
            stop: whether the training is to end; the round that is played is not kept then.
        """
        self.settings, self.nodes, self.done, self.stop = settings, nodes, done, stop
        self.variances, self.statistics = learner.variances, learner.statistics
        self.sampled = len(chosen(list(nodes), settings, 1))
        self.inner, self.outer = flowers(settings, self.sampled)
        self.asked = Asked()
        self._start: list[np.ndarray] = []

    def summary(self) -> None:
        self.outer.summary()

    def go_on(self) -> None:
        """
        Raises:
            Stopped: it is to stop.
        """
        if self.stop():
            raise Stopped

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self.go_on()
        number = server_round + self.done
        who = [self.nodes[client] for client in chosen(list(self.nodes), self.settings, number)]
        self.asked, self._start = Asked(), from_record(arrays)
        config["round"] = number
        messages = list(self.outer.configure_train(number, arrays, config, cast(Grid, _Only(grid, who))))
        if not messages:
            raise KwsError("Flower asked no client", exit_code=1)
        self.asked.down = float(np.mean([size_of(m.content.array_records[ARRAYS]) for m in messages]))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        number = server_round + self.done
        answers = self.answers(replies)
        if self.settings.clip:
            # Flower's noise comes from NumPy's global generator: by the seed, and another in each round.
            np.random.seed(np.random.SeedSequence([self.settings.seed, 7, number]).generate_state(4))
        means = self._means(answers)
        arrays, metrics = self.outer.aggregate_train(number, answers)
        return self.settled(arrays, means), metrics

    def _means(self, answers: Sequence[Message]) -> dict[int, np.ndarray]:
        """The plain means of what normalisation has seen, where the server has an optimiser: momentum would carry a
        variance below 0."""
        if not isinstance(self.inner, FedAdam | FedAvgM):
            return {}
        weights = np.array([float(a.content.metric_records[METRICS][EXAMPLES]) for a in answers])  # type: ignore[arg-type]
        shares = (weights / weights.sum()).astype(np.float32)
        sent = [a.content.array_records[ARRAYS] for a in answers]
        return {
            place: sum(share * record[str(place)].numpy() for share, record in zip(shares, sent, strict=True))
            for place in self.statistics
        }

    def of_mean(
        self, number: int, mean: ArrayRecord, known: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> ArrayRecord | None:
        """The server's new weights of a mean that was made elsewhere (secure aggregation).

        Args:
            known: each client's examples, and its loss and accuracy.
        """
        self.note(known)
        one = Message(RecordDict({ARRAYS: mean, METRICS: MetricRecord({EXAMPLES: 1})}), 0, MessageType.TRAIN)
        means = {place: mean[str(place)].numpy() for place in self.statistics}
        arrays, _ = self.outer.aggregate_train(number + self.done, [one])
        return self.settled(arrays, means if isinstance(self.inner, FedAdam | FedAvgM) else {})

    def answers(self, replies: Iterable[Message]) -> list[Message]:
        """The clients' answers in the order of their numbers, with whole weights in them. A client whose answer makes
        no sense counts as one that failed.

        Raises:
            KwsError: more than half of the clients failed, or any where privacy is counted; the first one's words.
        """
        answers, reasons, up = list[Message](), list[str](), list[int]()
        for reply in replies:
            try:
                up.append(self._open(reply))
                answers.append(reply)
            except (KwsError, LookupError, TypeError, ValueError) as error:
                reasons.append(str(error) or type(error).__name__)
        self.go_on()  # those who were not asked any more have not failed
        lost = self.sampled - len(answers)
        # The noise of privacy is for a mean over all of them.
        if not answers or lost * 2 > self.sampled or (lost and self.settings.clip):
            reason = reasons[0] if reasons else "they did not answer in time"
            raise KwsError(f"{lost} of {self.sampled} clients failed: {reason[:300]}", exit_code=1)
        answers.sort(key=lambda reply: int(reply.content.metric_records[METRICS][NUMBER]))  # type: ignore[arg-type]
        metrics = [answer.content.metric_records[METRICS] for answer in answers]
        self.note([(int(m[EXAMPLES]), {LOSS: m[LOSS], ACCURACY: m[ACCURACY]}) for m in metrics])  # type: ignore[arg-type]
        self.asked.up = float(np.mean(up))
        if not self.asked.examples:
            raise KwsError("none of the clients has a clip of any kind", exit_code=1)
        if self.settings.clip:  # what is sure of one client's part must hold whoever it is: there all weigh the same
            for one in metrics:
                one[EXAMPLES] = 1
        return answers

    def _open(self, reply: Message) -> int:
        """Puts whole weights in the place of what a client sent; how many bytes that were.

        Raises:
            KwsError, LookupError, TypeError, ValueError: it failed, or sent what makes no sense.
        """
        if reply.has_error():
            raise KwsError(str(reply.error.reason))
        metrics = reply.content.metric_records[METRICS]
        if not 0 <= int(metrics[EXAMPLES]) <= _MOST_EXAMPLES:  # type: ignore[arg-type]
            raise KwsError(f"a client says that it heard {metrics[EXAMPLES]} examples")
        for name in (NUMBER, LOSS, ACCURACY):
            if not np.isfinite(float(metrics[name])):  # type: ignore[arg-type]
                raise KwsError(f"a client says {metrics[name]} of its {name}")
        sent = reply.content.array_records[UPDATE]
        data = sent["0"].numpy().tobytes()
        reply.content[ARRAYS] = to_record(upload.decode(self._start, data, self.settings.upload))
        del reply.content[UPDATE]
        return size_of(sent)

    def note(self, known: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Writes down what the clients say of their round: each one's examples, loss and accuracy."""
        weights = np.array([float(examples) for examples, _ in known])
        shares = weights / max(1.0, weights.sum())
        self.asked.clients, self.asked.examples = len(known), int(weights.sum())
        self.asked.loss = float(shares @ np.array([float(said[LOSS]) for _, said in known]))
        self.asked.accuracy = float(shares @ np.array([float(said[ACCURACY]) for _, said in known]))

    def settled(self, arrays: ArrayRecord | None, means: dict[int, np.ndarray]) -> ArrayRecord | None:
        """The server's new weights, with ``means`` in their places, and no variance below 0, where noise or rounding
        may have put one."""
        if arrays is None:
            return None
        weights = from_record(arrays)
        for place, mean in means.items():
            weights[place] = mean
        for place in self.variances:
            weights[place] = np.maximum(weights[place], np.float32(_LEAST_VARIANCE))
        result = to_record(weights)
        if isinstance(self.inner, FedAvgM):  # it keeps the weights for itself
            self.inner.current_arrays = result
        return result

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return None

    def memory(self) -> dict[str, np.ndarray]:
        """What the strategy itself remembers from round to round."""
        if isinstance(self.inner, FedAdam):
            parts = {"m": self.inner.m_t or {}, "v": self.inner.v_t or {}}
            return {f"{part}{name}": value for part, values in parts.items() for name, value in values.items()}
        if isinstance(self.inner, FedAvgM):
            return {f"m{i}": value for i, value in enumerate(self.inner.momentum_vector or [])}
        return {}

    def remember(self, arrays: ArrayRecord, memory: dict[str, np.ndarray]) -> None:
        """Goes on from ``arrays`` with what `memory` gave."""
        if isinstance(self.inner, FedAdam) and memory:
            names = list(arrays.keys())
            self.inner.m_t = {name: memory[f"m{name}"] for name in names}
            self.inner.v_t = {name: memory[f"v{name}"] for name in names}
        if isinstance(self.inner, FedAvgM):
            self.inner.current_arrays = arrays
            if memory:
                self.inner.momentum_vector = [memory[f"m{i}"] for i in range(len(arrays))]


class _Only:
    """A grid that has only some of its nodes: Flower's strategies take all that they see."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid, self._nodes = grid, list(nodes)

    def get_node_ids(self) -> list[int]:
        return list(self._nodes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)


def nodes_of(grid: Grid, wanted: int) -> dict[int, int]:
    """Flower's node of each client, by asking all of them; waits until ``wanted`` are there.

    Raises:
        KwsError: two nodes say that they are the same client, or one fails.
    """
    while len(ids := sorted(grid.get_node_ids())) < wanted:
        time.sleep(0.2)
    questions = [Message(RecordDict(), node, MessageType.QUERY) for node in ids]
    found: dict[int, int] = {}
    for reply in grid.send_and_receive(questions, timeout=TIMEOUT_S):
        if reply.has_error():
            raise KwsError(f"a client can't say who it is: {str(reply.error.reason)[:300]}", exit_code=1)
        number = int(reply.content.metric_records[METRICS][NUMBER])  # type: ignore[arg-type]
        if number in found:
            raise KwsError(
                f"two nodes say that they are client {number}", hint="flower-supernode --node-config client=N"
            )
        found[number] = reply.metadata.src_node_id
    return found
