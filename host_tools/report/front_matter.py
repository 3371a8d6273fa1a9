"""The YAML front matter of a model card, as Hugging Face's hub reads it (huggingface.co/docs/hub/model-cards).

Values are written as JSON, which is YAML: names and licences come from manifests, and are data whatever is in them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from model_pipeline.manifest import Manifest

# The hub's identifiers of what data is published under; a model is offered under no more than its data allows.
_LICENCES = {
    "ccby40": "cc-by-4.0", "ccby30": "cc-by-3.0", "ccbysa40": "cc-by-sa-4.0", "cc0": "cc0-1.0", "cc010": "cc0-1.0",
    "apache20": "apache-2.0", "mit": "mit",
}  # fmt: skip
_SPLITS = {"testing": "test", "validation": "validation"}


def front_matter(manifest: Manifest) -> str:
    """The block between two lines of ``---``, with the licence of the training data, what the model is, and the
    accuracies that the manifest has."""
    training = manifest.training_data
    name = str(training.get("name") or training.get("source") or "not recorded")
    known = "speech_commands" if re.search(r"speech.?commands", name, re.I) else ""
    fields: dict[str, Any] = {
        "license": _licence(str(training.get("licence") or "")),
        "pipeline_tag": "audio-classification",
        "tags": ["keyword-spotting", "wake-word", "tflite", "tinyml", "microcontroller", "int8"],
    }
    if known:
        fields["datasets"] = [known]
    results = _results(manifest, name, known or "custom")
    if results:
        fields["metrics"] = ["accuracy"]
        fields["model-index"] = [{"name": manifest.name, "results": results}]
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _licence(text: str) -> str:
    return _LICENCES.get(re.sub(r"[^a-z0-9]", "", text.lower()), "unknown")


def _results(manifest: Manifest, name: str, kind: str) -> list[dict[str, Any]]:
    found = []
    for key, split in _SPLITS.items():
        measured = manifest.accuracy.get(key)
        value = measured.get("accuracy") if isinstance(measured, dict) else None
        if not isinstance(value, int | float):
            continue
        found.append(
            {
                "task": {"type": "audio-classification", "name": "Keyword spotting"},
                "dataset": {"type": kind, "name": name, "split": split},
                "metrics": [{"type": "accuracy", "value": value, "name": "Accuracy"}],
            }
        )
    return found
