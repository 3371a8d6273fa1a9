"""piper behind the seam of voices, against a fake with the signatures of piper-tts 1.8."""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.config import SynthConfig
from model_pipeline.data import casting, piper, synth, voices
from model_pipeline.errors import KwsError

RATE = 22050


@dataclass
class SynthesisConfig:
    speaker_id: int | None = None
    length_scale: float | None = None
    noise_scale: float | None = None
    noise_w_scale: float | None = None
    normalize_audio: bool = True
    volume: float = 1.0


@dataclass
class AudioChunk:
    sample_rate: int
    sample_width: int
    sample_channels: int
    audio_float_array: np.ndarray


class PiperVoice:
    """A tone of half a second times the length, whose pitch is the speaker's; a sentence a chunk."""

    opened = 0

    def __init__(self, speakers: int, length: float) -> None:
        self.config = types.SimpleNamespace(num_speakers=speakers, length_scale=length)

    @staticmethod
    def load(model_path: str | Path, config_path: str | Path | None = None, use_cuda: bool = False) -> PiperVoice:
        PiperVoice.opened += 1
        values = json.loads(Path(f"{model_path}.json").read_text())
        return PiperVoice(values["num_speakers"], values["inference"]["length_scale"])

    def synthesize(self, text: str, syn_config: SynthesisConfig | None = None) -> Iterator[AudioChunk]:
        assert syn_config is not None and syn_config.length_scale is not None
        if self.config.num_speakers > 1:
            assert syn_config.speaker_id is not None and 0 <= syn_config.speaker_id < self.config.num_speakers
        else:
            assert syn_config.speaker_id is None  # a voice of one speaker has no input for it
        for _ in filter(None, text.split(".")):
            time = np.arange(int(0.5 * syn_config.length_scale * RATE)) / RATE
            tone = 0.5 * np.sin(2 * np.pi * (200 + 100 * (syn_config.speaker_id or 0)) * time)
            yield AudioChunk(RATE, 2, 1, tone.astype(np.float32))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("piper")
    module.__spec__ = importlib.machinery.ModuleSpec("piper", None)
    module.PiperVoice, module.SynthesisConfig = PiperVoice, SynthesisConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "piper", module)
    piper._open.cache_clear()
    PiperVoice.opened = 0


def _voice(folder: Path, name: str, speakers: int, code: str = "en_US") -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(b"onnx")
    values = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": code.split("_")[0]},
        "inference": {"length_scale": 1.0},
        "language": {"code": code},
        "num_speakers": speakers,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(values))
    return path


def test_each_speaker_of_the_language_is_a_voice(tmp_path: Path, installed: None) -> None:
    _voice(tmp_path, "en_US-many-medium", 3)
    _voice(tmp_path, "en_GB-one-low", 1, "en_GB")
    _voice(tmp_path, "de_DE-thorsten-low", 1, "de_DE")
    found = voices.available(["piper"], piper_voices=str(tmp_path))["piper"]
    names = ["piper-en-GB-one-low-0", *(f"piper-en-US-many-medium-{i}" for i in range(3))]
    assert [v.speaker for v in found] == names and len({v.identity for v in found}) == 4
    assert all(voices.group_of(v.speaker) == "piper" for v in found)
    assert len(voices.available(["piper"], "de", str(tmp_path))["piper"]) == 1
    assert len(voices.available(["piper"], "en-gb", str(tmp_path))["piper"]) == 1
    assert voices.available(["piper"], "fr", str(tmp_path)) == {}


def test_pitch_and_rate_are_what_was_asked_for(tmp_path: Path, installed: None) -> None:
    _voice(tmp_path, "en_US-many-medium", 3)
    found = voices.available(["piper"], piper_voices=str(tmp_path))["piper"]

    def said(pitch: float, rate: float) -> tuple[float, float]:
        spoken = voices.speak([voices.Utterance(found[1], "go", pitch, rate)])[0]
        assert spoken is not None
        peak = np.fft.rfft(spoken * np.hanning(len(spoken)))
        return len(spoken) / 16000, float(np.argmax(np.abs(peak)) * 16000 / len(spoken))

    assert said(1.0, 1.0) == pytest.approx((0.5, 300), rel=0.02)
    assert said(1.25, 1.0) == pytest.approx((0.5, 375), rel=0.02)
    assert said(1.0, 1.25) == pytest.approx((0.4, 300), rel=0.02)
    assert PiperVoice.opened == 1
    assert voices.speak([voices.Utterance(found[0], "", 1.0, 1.0)]) == [None]


def test_synthetic_data_holds_speakers_out(tmp_path: Path, installed: None) -> None:
    _voice(tmp_path, "en_US-many-medium", 20)
    settings = SynthConfig(engines=["piper"], piper_voices=str(tmp_path))
    cast = casting.cast_voices(casting.voices_of(settings), np.random.default_rng(1))
    heard = {split: {v.identity for v in found["piper"]} for split, found in cast.items()}
    assert [len(heard[split]) for split in ("training", "validation", "testing")] == [16, 2, 2]
    clips, words = synth.held_out_clips(["go", "stop"], 2, settings)
    assert words == ["go", "go", "stop", "stop"] and clips.shape == (4, 16000) and clips.any(axis=1).all()


def test_without_the_package_or_voices_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _voice(tmp_path, "en_US-many-medium", 3)
    assert voices.available(["piper"]) == {}
    monkeypatch.setattr(piper.importlib.util, "find_spec", lambda name: None)
    assert voices.available(["piper"], piper_voices=str(tmp_path)) == {}


def test_what_is_no_voice_is_named(tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _voice(tmp_path, "en_US-many-medium", 3)
    name = piper.speakers(tmp_path, "en")[0][0]
    monkeypatch.setattr(PiperVoice, "load", lambda path: 1 / 0)
    with pytest.raises(KwsError, match="piper failed: division by zero"):
        piper.say(name, "go", 1.0, 1.0)
    path.with_name(f"{path.name}.json").write_text("[]")
    with pytest.raises(KwsError, match="describes no piper voice"):
        piper.speakers(tmp_path, "en")
