"""A result is a type: a function that returns ``dict[str, Any]`` has a reason for it, which is here."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from host_tools.link.events import Event
from host_tools.link.info import Detector, Info, Part
from host_tools.measure.results import Said, SaidDetector, SaidPart

ROOT = Path(__file__).resolve().parents[2]

REASONS = {
    "JSON as it came, of which nothing is known yet": [
        "host_tools/edgeimpulse/http.py Http.json",
        "host_tools/edgeimpulse/http.py Http.parsed",
        "host_tools/run/results.py _read",
        "model_pipeline/child.py _messages",
        "model_pipeline/child.py _parse",
        "model_pipeline/config/moved.py with_moved_keys",
        "model_pipeline/data/dataset.py Dataset.description",
        "model_pipeline/data/dataset.py read_description",
        "model_pipeline/files.py parse_json",
        "model_pipeline/files.py read_json",
        "model_pipeline/manifest.py _check_parts",
        "model_pipeline/training/checkpoint.py _checked",
        "model_pipeline/training/pool.py Pool.state",
        "model_pipeline/training/records.py ShardedDataset.description",
    ],
    "a type as JSON has it": [
        "host_tools/image/build.py BuildResult.to_json",
        "host_tools/link/events.py Audio.as_dict",
        "host_tools/link/events.py Event.as_dict",
        "host_tools/live/lines.py as_line",
        "host_tools/measure/realtime.py as_dict",
        "host_tools/measure/results.py Bench.to_json",
        "host_tools/measure/results.py Measurement.to_json",
        "host_tools/records/find.py Found.as_json",
        "host_tools/report/results.py Results.to_json",
        "model_pipeline/exported.py Exported.to_json",
        "model_pipeline/listening/results.py CalibrationKept._there",
        "model_pipeline/listening/results.py ListeningKept._there",
        "model_pipeline/strict.py Sparse._there",
    ],
    "a part of the configuration as JSON has it, to be compared or hashed": [
        "host_tools/run/work.py Job.settings",
        "host_tools/run/work.py Job.speech",
        "model_pipeline/config/run.py Config.recipe",
        "model_pipeline/config/speech.py DataConfig.recipe",
        "model_pipeline/config/speech.py TalkConfig.recipe",
        "model_pipeline/config/training.py ScenesConfig.recipe",
        "model_pipeline/federated/compare.py variants",
    ],
    "what a library asks for: Keras' configuration of a layer, a model card's front matter": [
        "host_tools/report/front_matter.py _results",
        "model_pipeline/models/net.py Depthwise.get_config",
        "model_pipeline/models/net.py FakeQuant.get_config",
        "model_pipeline/models/net.py QuantConv.get_config",
        "model_pipeline/training/trainer.py WarmCosine.get_config",
    ],
    "of a manifest of any version, of which a card shows what is there": ["host_tools/report/card.py _sessions"],
}


def _functions(node: ast.AST, name: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}" if name else child.name
            if not isinstance(child, ast.ClassDef):
                yield inner, child
        yield from _functions(child, inner)


def untyped(source: str) -> list[str]:
    """The functions of a module that return a dict of anything, said or not, or several."""
    return [
        name
        for name, function in _functions(ast.parse(source))
        if function.returns is not None and re.search(r"\bdict(\[str, Any\]|(?!\[))", ast.unparse(function.returns))
    ]


def test_functions_are_found_wherever_they_are() -> None:
    source = """
class A:
    def b(self) -> dict[str, Any] | None:
        if True:
            def c() -> Iterator[dict[str, Any]]: ...
    def d(self) -> dict[str, int]: ...
async def e() -> dict[str, Any]: ...
def f() -> list[dict]: ...
"""
    assert untyped(source) == ["A.b", "A.b.c", "e", "f"]


def test_a_result_is_a_type() -> None:
    found = {
        f"{path.relative_to(ROOT)} {name}"
        for room in ("host_tools", "model_pipeline")
        for path in (ROOT / room).rglob("*.py")
        for name in untyped(path.read_text(encoding="utf-8"))
    }
    known = {name for names in REASONS.values() for name in names}
    assert found - known == set(), "return a frozen dataclass or a model of model_pipeline.strict instead"
    assert known - found == set(), "these are types now: take them off the list"


@pytest.mark.parametrize(("sent", "kept"), [(Info, Said), (Detector, SaidDetector), (Part, SaidPart)])
def test_what_a_device_says_is_kept_field_by_field(sent: type, kept: type[BaseModel]) -> None:
    of_the_link = {"more", "payload"} | {field.name for field in dataclasses.fields(Event)}
    fields = [field.name for field in dataclasses.fields(sent) if field.name not in of_the_link]
    assert fields == list(kept.model_fields)
