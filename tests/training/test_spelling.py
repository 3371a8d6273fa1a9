"""How to write a word so that voices say it as people do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from host_tools.cli import main
from model_pipeline.config import load_config, with_settings
from model_pipeline.data import casting, synth, voices
from model_pipeline.data.audio import to_int16, write_wav
from model_pipeline.errors import KwsError
from model_pipeline.training import spelling

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: make setup")
_CONFIG = with_settings(load_config("demo"), ['synth.engines=["espeak-ng", "flite"]'])


def _record(folder: Path, text: str, takes: int = 4) -> Path:
    """Takes by voices that do not judge: those which testing keeps."""
    found = [v for v in casting.cast_of(_CONFIG.synth)["testing"]["espeak-ng"] if voices.reads_phonemes(v)]
    folder.mkdir(parents=True)
    for number, voice in enumerate((found * takes)[:takes]):
        said = synth._trim(voices.speak([voices.Utterance(voice, text, 0.8 + 0.1 * number, 1.0)])[0])
        assert said is not None
        write_wav(folder / f"anna_nohash_{number}.wav", to_int16(synth._place(said, -20, 0.5, 16000) / 32768.0))
    return folder


@needs_espeak
def test_the_spelling_of_what_was_recorded_is_the_nearest(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyopen_wakeword", reason="pip install 'micro-kws[train]'")
    takes = _record(tmp_path / "dracarys", "druh kahriss")
    found = spelling.spellings(_CONFIG, takes, ["dracarys", "druh kahriss", "[[b@n'A:n@]]", "dracarys"])
    assert found.spellings[0].text == "druh kahriss" and found.takes == 4
    assert len(found.spellings) == 3 and found.unspoken == []
    assert found.spellings[0].near > found.spellings[1].near + 0.05 and found.spellings[0].first > 0.8
    phonemes = next(row for row in found.spellings if row.text.startswith("[["))
    assert 0 < phonemes.sayings < found.spellings[0].sayings, "flite reads none"
    # The command: the word as it is said now is one of them.
    config = tmp_path / "kws.toml"
    config.write_text('keywords = ["dracarys"]\n[synth]\nengines = ["espeak-ng", "flite"]\n', encoding="utf-8")
    run = ["data", "spelling", "dracarys", "druh kahriss", "--config", str(config), "--takes", str(takes)]
    with pytest.raises(SystemExit) as ended:
        main([*run, "--json"])
    assert not ended.value.code
    assert [row["text"] for row in json.loads(capfd.readouterr().out)["spellings"]] == ["druh kahriss", "dracarys"]


def test_nearness_is_of_the_nearest_sayings() -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(3, 20)) * 3
    sayings = [(c + rng.normal(size=(16, 20))).astype(np.float32) for c in centres]
    takes = (centres[1] + rng.normal(size=(5, 20))).astype(np.float32)
    near = spelling.nearness(takes, sayings)
    assert near.shape == (3, 5) and (near.argmax(axis=0) == 1).all()
    assert (np.abs(near) <= 1.0001).all()
    # What all voices have in common, and a text's worst sayings, change nothing of which is the nearest.
    far = [np.concatenate([s, 9 * rng.normal(size=(4, 20)).astype(np.float32)]) + 5 for s in sayings]
    assert (spelling.nearness(takes + 5, far).argmax(axis=0) == 1).all()


def test_mistakes_say_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KwsError, match="no takes of a word in"):
        spelling.spellings(_CONFIG, tmp_path / "none", ["a", "b"])
    (tmp_path / "word").mkdir()
    write_wav(tmp_path / "word" / "x.wav", np.zeros(16000, np.int16))
    with pytest.raises(KwsError, match="two spellings"):
        spelling.spellings(_CONFIG, tmp_path / "word", ["druh", "druh"])
    with pytest.raises(KwsError, match=r"'<b>' can't be said"):
        spelling.spellings(_CONFIG, tmp_path / "word", ["druh", "<b>"])
    with pytest.raises(SystemExit) as ended:
        main(["data", "spelling", "druh", "drah", "--config", "demo"])
    assert ended.value.code == 2
    assert "--takes FOLDER" in capfd.readouterr().err
