"""Wrong keys of a configuration, a setting or a board file name the key that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("train.epoch=5", "train.epochs"),
        ("tarin.epochs=5", "train.epochs"),
        ("epochs=5", "train.epochs"),  # the right name, without its section
        ("keyword=['a']", "keywords"),
    ],
)
def test_a_wrong_setting_names_the_one_that_was_meant(setting: str, meant: str) -> None:
    with pytest.raises(KwsError, match="no setting") as failed:
        with_settings(load_config("demo"), [setting])
    assert meant in failed.value.hint
    assert failed.value.hint.startswith("did you mean ")


def test_a_setting_like_no_other_gets_an_example_instead() -> None:
    with pytest.raises(KwsError) as failed:
        with_settings(load_config("demo"), ["zzzzqqq=1"])
    assert failed.value.hint.startswith("as in train.epochs=5")


def test_a_wrong_key_of_a_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochz = 5\n[measure]\nfrobnicate = 1\n")
    with pytest.raises(KwsError) as failed:
        load_config(path)
    text = str(failed.value)
    assert "train.epochz: " in text
    assert "did you mean train.epochs?" in text
    assert text.count("did you mean") == 1, "nothing is like frobnicate"


def test_every_key_can_be_set() -> None:
    config = with_settings(load_config("demo"), ["train.epochs=3", "measure.clips=7", "keywords=['a', 'b']"])
    assert isinstance(config, Config)
    assert (config.train.epochs, config.measure.clips, config.keywords) == (3, 7, ["a", "b"])
