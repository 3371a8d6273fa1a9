"""Secure aggregation's half where the speech is: Flower's SecAgg+ masks what a client sends."""

from __future__ import annotations

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp.typing import ClientAppCallable
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat as compat

from model_pipeline.federated.records import (
    ACCURACY,
    ARRAYS,
    CONFIG,
    EXAMPLES,
    LOSS,
    METRICS,
    NUMBER,
    UPDATE,
    from_record,
    to_record,
)


def masked(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Flower's SecAgg+ around a client's answer, whose weights it masks."""

    if message.metadata.message_type != MessageType.TRAIN:
        return call_next(message, context)

    def translated(inner: Message, inner_context: Context) -> Message:
        instructions = compat.recorddict_to_fitins(inner.content, True)
        start = parameters_to_ndarrays(instructions.parameters)
        content = RecordDict({ARRAYS: to_record(start), CONFIG: ConfigRecord(dict(instructions.config))})
        inner.content = content
        answer = call_next(inner, inner_context)
        if answer.has_error():
            return answer
        update, metrics = answer.content.array_records[UPDATE], answer.content.metric_records[METRICS]
        result = FitRes(
            Status(Code.OK, ""),
            ndarrays_to_parameters(from_record(update)),
            int(metrics[EXAMPLES]),  # type: ignore[arg-type]
            {name: metrics[name] for name in (NUMBER, LOSS, ACCURACY)},  # type: ignore[misc]
        )
        return Message(compat.fitres_to_recorddict(result, True), reply_to=inner)

    return secaggplus_mod(message, context, translated)
