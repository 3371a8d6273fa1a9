"""Wrong keys of a configuration, a setting or a board file name the key that was meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host_tools.words import project
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
        with_settings(load_config("plain"), [setting])
    assert meant in failed.value.hint
    assert failed.value.hint.startswith("did you mean ")


def test_a_setting_without_a_value_says_so() -> None:
    with pytest.raises(KwsError, match=r"train\.epochs' has no value"):
        with_settings(load_config("plain"), ["train.epochs"])


def test_a_setting_like_no_other_gets_an_example_instead() -> None:
    with pytest.raises(KwsError) as failed:
        with_settings(load_config("plain"), ["zzzzqqq=1"])
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
    config = with_settings(load_config("plain"), ["train.epochs=3", "measure.clips=7", "keywords=['a', 'b']"])
    assert isinstance(config, Config)
    assert (config.train.epochs, config.measure.clips, config.keywords) == (3, 7, ["a", "b"])


OLD = """
name = "old"
[train]
epochs = 3
noise_probability = 0.5
noise_snr_db = [5.0, 35.0]
qat_epochs = 4
quantization = "ptq"
replicas = 2
"""


def test_keys_of_older_files_are_read_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "old.toml"
    path.write_text(OLD)
    config = load_config(path)
    assert (config.augment.noise_probability, config.augment.noise_snr_db) == (0.5, (5.0, 35.0))
    assert (config.quantize.qat_epochs, config.quantize.method, config.devices.replicas) == (4, "ptq", 2)
    assert config.train.epochs == 3
    assert "train.quantization is quantize.method now" in caplog.text
    path.write_text(OLD + "[augment]\nnoise_probability = 0.1\n")
    with pytest.raises(KwsError, match=r"noise_probability is augment\.noise_probability now, which is there"):
        load_config(path)


def test_settings_by_older_names(caplog: pytest.LogCaptureFixture) -> None:
    config = with_settings(load_config("plain"), ["train.lean=0.5", "train.quantization=qat", "train.epochs=2"])
    assert (config.quantize.lean, config.quantize.method, config.train.epochs) == (0.5, "qat", 2)
    assert "train.lean is quantize.lean now" in caplog.text


def test_the_network_depends_on_the_recipe_alone() -> None:
    config = load_config("default")
    recipe = config.recipe()
    assert with_settings(config, ["quantize.lean=0.9", "devices.replicas=3"]).recipe() == recipe
    assert with_settings(config, ["augment.level_db=1"]).recipe() != recipe


def test_the_window_is_whole_hops_of_one_to_one_and_a_half_seconds() -> None:
    assert load_config("demo").frames == 49
    assert with_settings(load_config("demo"), ["data.clip_ms=1500"]).frames == 74
    # A second needs no whole hops: older front ends have other ones.
    assert with_settings(load_config("plain"), ["frontend.hop_ms=30"]).frames == 33
    for value, said in ((1010, "not a whole number of hops of 20 ms"), (980, "clip_ms"), (1520, "clip_ms")):
        with pytest.raises(KwsError, match=said):
            with_settings(load_config("demo"), [f"data.clip_ms={value}"])


def test_the_older_name_of_a_streaming_plans_hop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.toml").write_text("streaming = 7\n")
    assert load_config(tmp_path / "old.toml").hop_frames == 7
    assert with_settings(load_config("plain"), ["streaming=1"]).hop_frames == 1
    assert "streaming is hop_frames now" in caplog.text
    (tmp_path / "both.toml").write_text("streaming = 7\nhop_frames = 7\n")
    with pytest.raises(KwsError, match="which is there too"):
        load_config(tmp_path / "both.toml")


def test_the_demo_is_what_kws_new_makes_of_its_words(tmp_path: Path) -> None:
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    demo = load_config("demo")
    project.create(demo.keywords, tmp_path / "demo")
    made = load_config(tmp_path / "demo")
    # A project lists a word that is near two keywords once.
    once = demo.synth.model_copy(update={"near_words": list(dict.fromkeys(demo.synth.near_words))})
    assert made.model_copy(update={"data": demo.data}) == demo.model_copy(update={"synth": once})
