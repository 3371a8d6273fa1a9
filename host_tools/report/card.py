"""``kws report --card``: a model card in Markdown, from what the manifest holds and what the builds say."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from host_tools.measure import boards as costs
from host_tools.report.front_matter import front_matter
from host_tools.report.page import TEMPLATES
from host_tools.report.results import Expectation
from model_pipeline.errors import KwsError
from model_pipeline.evaluate import Evaluation
from model_pipeline.exported import Exported
from model_pipeline.files import damaged, read_json
from model_pipeline.intervals import Share
from model_pipeline.listening import evaluate
from model_pipeline.manifest import Manifest, load_manifest
from model_pipeline.progress import ProgressCallback
from model_pipeline.score import brief
from model_pipeline.text import shown


def card(model: Path, progress: ProgressCallback | None = None) -> str:
    """The card of the model in folder ``model``, or of the run in it (``kws run``). Accuracies are those recorded in
    the manifest (``kws evaluate --record``), of a run also what it measured; cost is measured now, by builds for every
    board and QEMU, but for a run.

    Raises:
        KwsError: no model there, or one that can't be exported.
    """
    if (model / "state.json").is_file():
        return _of_run(model)
    manifest = load_manifest(model)
    if Exported.there(model):
        boards = costs.on_boards(model, progress=progress)
    else:
        from model_pipeline.export import export

        with tempfile.TemporaryDirectory(prefix="kws-card-") as folder:
            export(model, Path(folder) / "exported", progress)
            boards = costs.on_boards(Path(folder) / "exported", progress=progress)
    with damaged(f"{model}'s manifest", "record its accuracies again: kws evaluate --record", (jinja2.TemplateError,)):
        return render(manifest, boards)


def _of_run(folder: Path) -> str:
    try:
        checked = Evaluation.model_validate(read_json(folder / "check" / "check.json", hint="kws run again"))
        expected = Expectation.model_validate(read_json(folder / "expect" / "expect.json", hint="kws run again"))
    except (OSError, ValueError) as error:
        raise KwsError(f"the run in {folder} is not whole: {error}", hint="kws run again") from error
    return _render_run(load_manifest(folder / "model"), checked, expected)


def _render_run(manifest: Manifest, checked: Evaluation, expected: Expectation) -> str:
    measured = {"testing": brief(checked).model_dump(mode="json")}
    if expected.near:
        measured["near"] = expected.near.model_dump(mode="json")
    if expected.streaming:
        measured["streaming"] = evaluate.brief(expected.streaming).model_dump(mode="json")
    return render(manifest.model_copy(update={"accuracy": manifest.accuracy | measured}), expected.boards)


def render(manifest: Manifest, boards: Sequence[costs.BoardCost]) -> str:
    """The card's text, with its front matter. ``boards``: see `costs.on_boards`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.ChainableUndefined,  # what was not recorded is none
    )
    environment.filters["percent"] = _percent
    environment.filters["count"] = lambda value: f"{value:,.0f}"
    environment.filters["share"] = lambda values: Share.read(values).percent
    environment.filters["interval"] = lambda values: Share.read(values).interval
    detector = manifest.detector.model_dump()
    head = front_matter(manifest)  # of the text as it is: what follows is written for Markdown
    manifest = manifest.model_copy(
        update={
            key: _text(getattr(manifest, key))
            for key in ("name", "labels", "architecture", "quantization", "training_data", "accuracy", "tools")
        }
    )
    boards = _text(boards)
    training, accuracy = manifest.training_data, manifest.accuracy
    return head + environment.get_template("card.md.j2").render(
        m=manifest,
        training=training,
        extra=training.get("extra") or {},
        accuracy=accuracy,
        streaming=accuracy.get("streaming") or {},
        sessions=_sessions(accuracy.get("streaming") or {}),
        near=accuracy.get("near") or {},
        other_speech=accuracy.get("other_speech") or {},
        # Figures of a detector that has been changed since are another device's.
        stale=[
            n
            for n in ("other_speech", "streaming", "near")
            if (accuracy.get(n) or {}).get("detector", detector) != detector
        ],
        boards=boards,
        synthetic=training.get("source") == "synth",
    )


def _text(value: Any) -> Any:
    """``value`` with every text in it as Markdown shows it as it is: no table's border, link, code or HTML."""
    if isinstance(value, str):
        text = re.sub(r"([\\`*<>|])", r"\\\1", shown(value)).replace("&", "&amp;")
        return text.replace("](", "]\\(").replace("][", "]\\[")
    if isinstance(value, dict):
        return {_text(key): _text(item) for key, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value


def _sessions(streaming: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sessions of long audio by what they are called."""
    found = {}
    for key, values in streaming.items():
        if key == "own_sessions":
            found["own recordings"] = values
        elif key.startswith("sessions_"):
            found[f"{key.removeprefix('sessions_').removesuffix('_db')} dB"] = values
    return found


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
