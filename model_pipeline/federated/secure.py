"""Secure aggregation (SecAgg+; Bell and others, arXiv:2004.07396): clients mask what they send, and only the sum of all
can be unmasked. The protocol is Flower's; it stands on Flower's older messages, which are translated here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.common import FitIns, FitRes, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.serverapp import Grid

from model_pipeline.errors import KwsError
from model_pipeline.federated.records import ARRAYS, CONFIG, from_record, to_record
from model_pipeline.federated.rounds import Rounds

_SHARES, _THRESHOLD = 0.5, 0.5  # of the clients of a round: a half may be lost
_RANGE = 64.0  # weights and what normalisation has seen lie within; more is cut
_HEAVIEST = 50.0  # examples of a speaker; the more, the coarser are the steps of all


class _Whom:
    """What Flower's workflow asks a strategy of the older kind."""

    def __init__(self, rounds: Rounds, number: int, messages: list[Message]) -> None:
        self.rounds, self.number, self.messages = rounds, number, messages
        self.result: ArrayRecord | None = None

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list[tuple[Any, FitIns]]:
        found = []
        for message in self.messages:
            arrays = message.content.array_records[ARRAYS]
            config: dict[str, Any] = dict(message.content.config_records[CONFIG])
            node = _Node(message.metadata.dst_node_id)
            found.append((node, FitIns(ndarrays_to_parameters(from_record(arrays)), config)))
        return found

    def aggregate_fit(self, server_round: int, results: list[tuple[Any, FitRes]], failures: list[Any]) -> Any:
        """The workflow has put the mean into every answer."""
        if not results:
            return None, {}
        mean = to_record(parameters_to_ndarrays(results[0][1].parameters))
        known = [(answer.num_examples, answer.metrics) for _, answer in results]
        self.result = self.rounds.of_mean(self.number, mean, known)
        return None, {}


@dataclasses.dataclass(frozen=True)
class _Node:
    node_id: int


class _Everyone:
    """The number of clients, which the workflow writes into its log."""

    def __init__(self, count: int) -> None:
        self.count = count

    def num_available(self) -> int:
        return self.count


class _Counted:
    """A grid that counts the bytes of what clients send in a round."""

    def __init__(self, grid: Grid) -> None:
        self.grid, self.up = grid, 0

    def send_and_receive(self, messages: Any, **rest: Any) -> list[Message]:
        replies = list(self.grid.send_and_receive(messages, **rest))
        for reply in replies:
            if not reply.has_error():
                # What is masked, and keys and shares, are lists of bytes.
                values = [v for record in reply.content.config_records.values() for v in record.values()]
                self.up += sum(
                    len(v) for value in values if isinstance(value, list) for v in value if isinstance(v, bytes)
                )
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self.grid, name)


def play(
    grid: Grid,
    rounds: Rounds,
    begin: ArrayRecord,
    count: int,
    judge: Callable[[int, ArrayRecord], MetricRecord | None],
) -> None:
    """``count`` rounds from ``begin`` in which the server sees sums alone; ``judge`` is called before the first and
    after each.

    Raises:
        KwsError: a round can't be unmasked, since too many clients were lost.
    """
    judge(0, begin)
    arrays = begin
    for number in range(1, count + 1):
        messages = list(rounds.configure_train(number, arrays, ConfigRecord(), grid))
        counted, whom = _Counted(grid), _Whom(rounds, number, messages)
        context = LegacyContext(
            Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={}),
            strategy=whom,  # type: ignore[arg-type]
            client_manager=_Everyone(len(rounds.nodes)),  # type: ignore[arg-type]
        )
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({"current_round": number + rounds.done})
        context.state.array_records[MAIN_PARAMS_RECORD] = arrays
        workflow = SecAggPlusWorkflow(
            _SHARES,
            _THRESHOLD,
            max_weight=_HEAVIEST * rounds.settings.speakers_per_client,
            clipping_range=_RANGE,
            quantization_range=1 << 24,
        )
        workflow(counted, context)  # type: ignore[arg-type]
        rounds.go_on()
        if whom.result is None:
            raise KwsError("a round could not be unmasked: too many clients were lost", exit_code=1)
        arrays = whom.result
        rounds.asked.up = counted.up / max(1, rounds.asked.clients)
        judge(number, arrays)
