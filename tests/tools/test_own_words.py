"""What a run of a user's own words asks for before it begins, and what it calls the sentences that it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tools.run import expect as expect_module
from host_tools.run import job as mainjob
from model_pipeline.config import Config
from model_pipeline.errors import KwsError


def test_sentences_without_a_text_are_called_what_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "talk" / "validation"
    folder.mkdir(parents=True)
    assert expect_module._called(folder) == "", "another corpus"
    (tmp_path / "talk" / "corpus.json").write_text(json.dumps({"source": "librispeech"}))
    assert expect_module._called(folder) == "", "described, but not made by training"
    for read, name in ((0, expect_module.ROWS), (12, expect_module.SENTENCES)):
        (tmp_path / "talk" / "corpus.json").write_text(json.dumps({"source": "talk", "read": read}))
        assert expect_module._called(folder) == name


def test_a_personal_model_without_takes_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mainjob.shutil, "which", lambda name: name)  # all tools are there
    data = {"source": "synth", "personal": True, "recordings": str(tmp_path)}
    config = Config.model_validate({"keywords": ["go"], "data": data})
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "notes.txt").touch()
    with pytest.raises(KwsError, match="learns from its speakers' takes"):
        mainjob.check_ahead(config)
    (tmp_path / "go" / "me_nohash_0.wav").touch()
    mainjob.check_ahead(config)
