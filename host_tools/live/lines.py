"""Events of a live stream as lines of JSON, the same for every verb that has them."""

from __future__ import annotations

from typing import Any

from host_tools.link.events import Audio, Detection, Event, Features, Result
from host_tools.link.info import Info
from model_pipeline.rate import SAMPLE_RATE


def as_line(event: Event, info: Info) -> dict[str, Any] | None:
    """What `ui.emit_line` prints: the event's fields, with the word and the second of a detection and the word that a
    result is surest of; of several models, whose word it is. None for the sound itself, of which there is too much for
    text."""
    if isinstance(event, (Audio, Features)):
        return None
    values = {"event": type(event).__name__, **event.as_dict()}
    if isinstance(event, (Detection, Result)):
        values["second"] = round(event.position / SAMPLE_RATE, 3)
    if isinstance(event, Detection):
        values |= _word(event.label, info) | {"posterior": event.score / 256}
    elif isinstance(event, Result) and event.output:
        best = max(range(len(event.output)), key=event.output.__getitem__)
        values |= _word(best, info) | {"posterior": (event.output[best] + 128) / 256}
    return values


def _word(label: int, info: Info) -> dict[str, str]:
    part = info.part_of(label)
    return {"word": word(label, info.labels)} | ({"model": part.name} if part else {})


def word(label: int, labels: tuple[str, ...]) -> str:
    """The label's name; of one that the model has not, its number."""
    return labels[label] if label < len(labels) else f"label {label}"


def told(label: int, info: Info) -> str:
    """The same for people: of several models, with the name of the one that says it."""
    part = info.part_of(label)
    return word(label, info.labels) + (f" ({part.name})" if part else "")
