"""Folders with only some of the words, or that can't make a model: measured as far as it goes, or refused at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_pipeline.data.importer import check_splits, import_folder
from model_pipeline.data.split import which_set
from model_pipeline.errors import KwsError
from tests.support.listening_models import model_folder, sliding_net
from tests.support.tiny_data import make
from tests.tools.test_cli import kws


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of "rise" and "fall"."""
    return model_folder(
        tmp_path_factory.mktemp("some") / "model", sliding_net(1, 4), ["rise", "fall", "unknown", "silence"]
    )


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of "rise" and another word, none of "fall"."""
    return make(tmp_path_factory.mktemp("some") / "data", speakers=20, words=("rise", "flat"))


def test_clips_of_some_words_are_measured_and_the_others_named(model: Path, rising: Path, capfd) -> None:
    code, out, _ = kws("evaluate", "clips", model, "--data", rising, "--engine", "aot", "--json", capfd=capfd)
    found = json.loads(out)
    assert code == 0 and found["absent"] == ["fall"]
    assert found["recall"]["fall"] is None and found["recall"]["rise"] is not None
    # Unknown and silence stand beside the words that are there: as many as the one word has.
    said = dict(zip(found["labels"], map(sum, found["confusion"]), strict=True))
    assert said == {"rise": 4, "fall": 0, "unknown": 4, "silence": 4}
    _, out, _ = kws("evaluate", "clips", model, "--data", rising, "--engine", "aot", capfd=capfd)
    assert "no clips of fall" in out


def test_a_stream_of_some_words_says_so(model: Path, rising: Path, capfd) -> None:
    code, out, _ = kws("evaluate", "stream", model, "--data", rising, capfd=capfd)
    assert code == 0 and "no clips of fall" in out
    assert json.loads(kws("evaluate", "stream", model, "--data", rising, "--json", capfd=capfd)[1])["absent"] == [
        "fall"
    ]


def test_figures_of_some_words_are_not_recorded_as_the_models(model: Path, rising: Path, capfd) -> None:
    before = (model / "model.json").read_bytes()
    for mode in ("clips", "stream"):
        code, _, err = kws("evaluate", mode, model, "--data", rising, "--record", capfd=capfd)
        assert code == 2 and "no clips of fall" in err
    assert (model / "model.json").read_bytes() == before


def test_a_folder_without_any_of_the_words_is_refused(model: Path, tmp_path: Path, capfd) -> None:
    other = make(tmp_path / "data", speakers=5, words=("flat",))
    code, _, err = kws("evaluate", "clips", model, "--data", other, capfd=capfd)
    assert code == 2 and "no clips of rise, fall" in err and "it has: flat" in err


@pytest.mark.parametrize("kind", ["one speaker", "no list", "no word"])
def test_a_run_refuses_a_folder_that_cannot_make_a_model_before_its_first_step(
    kind: str, tmp_path: Path, capfd
) -> None:
    folder = make(tmp_path / "data", speakers=10, words=("rise", "fall", "flat"))
    keywords, wanted = '["rise", "fall"]', ""
    if kind == "one speaker":
        for name in folder.glob("*_list.txt"):
            name.unlink()
        for clip in list(folder.glob("*/s*.wav")):
            clip.rename(clip.with_name(f"anna_nohash_{clip.name[1:4]}.wav"))
        wanted = "by its 1 speaker"
    elif kind == "no list":
        (folder / "testing_list.txt").write_text("")
        wanted = "no testing clips of the keywords by its lists"
    else:
        keywords, wanted = '["rise", "sink"]', "no clips of sink"
    config = tmp_path / "mine.toml"
    config.write_text(f'name = "mine"\nkeywords = {keywords}\n[data]\nsource = "folder"\nfolder = "{folder}"\n')
    code, _, err = kws("run", "--config", config, "--out", tmp_path / "run", capfd=capfd)
    assert code == 2 and wanted in err and "try:" in err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_all_that_is_needed_passes(tmp_path: Path) -> None:
    check_splits(make(tmp_path / "data", speakers=10, words=("rise", "fall", "flat")), ["rise", "fall"])


def test_what_is_checked_ahead_is_what_import_makes(tmp_path: Path) -> None:
    """Folders of splits without one for validation: the speakers of training whose hash says so are it, if any."""
    folder = make(tmp_path / "data", speakers=30, words=("rise", "fall"))
    for clip in list(folder.glob("*/*.wav")):
        target = tmp_path / "parts" / ("testing" if clip.name < "s010" else "training") / clip.parent.name / clip.name
        target.parent.mkdir(parents=True, exist_ok=True)
        clip.rename(target)
    check_splits(tmp_path / "parts", ["rise", "fall"])
    import_folder(tmp_path / "parts", tmp_path / "out")
    validation = (tmp_path / "out" / "validation_list.txt").read_text().split()
    assert validation and all(which_set(name) == "validation" for name in validation)
    for name in validation:  # without these there is none, and that is seen ahead
        word = Path(name).parent.name
        (tmp_path / "parts" / "training" / word / f"{Path(name).name.split('_')[0]}_nohash_0.wav").unlink()
    with pytest.raises(KwsError, match="no validation clips"):
        check_splits(tmp_path / "parts", ["rise", "fall"])
