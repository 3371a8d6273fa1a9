"""The YAML at the top of a model card."""

from __future__ import annotations

import json

import pytest

from host_tools.report.card import render
from host_tools.report.front_matter import front_matter
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE

MANIFEST = load_manifest(FIRMWARE / "model")


def block(text: str) -> dict:
    """What is between the first two lines of ``---``."""
    yaml = pytest.importorskip("yaml")
    lines = text.splitlines()
    assert lines[0] == "---"
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))


def test_a_card_begins_with_what_the_hub_reads():
    found = block(render(MANIFEST, []))
    assert found["license"] == "cc-by-4.0" and found["datasets"] == ["speech_commands"]
    assert found["pipeline_tag"] == "audio-classification" and "keyword-spotting" in found["tags"]
    (model,) = found["model-index"]
    assert model["name"] == MANIFEST.name
    result = model["results"][0]
    # What the hub demands of a result: task.type, dataset.type and .name, and each metric's type and value.
    assert result["task"]["type"] == "audio-classification"
    assert set(result["dataset"]) == {"type", "name", "split"} and result["dataset"]["split"] == "test"
    assert result["metrics"][0]["type"] == "accuracy"
    assert result["metrics"][0]["value"] == MANIFEST.accuracy["testing"]["accuracy"]


def test_the_hub_s_own_reader_takes_it():
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(render(MANIFEST, [])).data
    assert data.model_name == MANIFEST.name and data.license == "cc-by-4.0"
    assert [(r.dataset_split, r.metric_type) for r in data.eval_results] == [
        ("test", "accuracy"),
        ("validation", "accuracy"),
    ]


def test_names_and_licences_are_data_and_nothing_is_made_up():
    hostile = 'x"\n---\nlicense: mit\n: {{ 7*7 }}'
    training = {"name": hostile, "licence": hostile}
    manifest = MANIFEST.model_copy(
        update={"name": hostile, "training_data": training, "accuracy": {"testing": {"accuracy": 0.5}}}
    )
    found = block(front_matter(manifest))
    assert found["license"] == "unknown" and "datasets" not in found
    assert found["model-index"][0]["name"] == hostile
    assert found["model-index"][0]["results"][0]["dataset"]["name"] == hostile
    bare = block(front_matter(MANIFEST.model_copy(update={"accuracy": {}})))
    assert "model-index" not in bare and "metrics" not in bare
    assert json.dumps(bare)
