"""Recordings of any length are read a block at a time, with the same samples as the whole file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_pipeline.data.audio import SAMPLE_RATE, UnreadableAudio, read_audio, recording_blocks, resample, to_int16


def _written(path: Path, samples: np.ndarray, rate: int) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize("length", [1, 319, 320, 321, 65535, 65536, 65537, 140_000])
def test_blocks_are_the_file_bit_for_bit(tmp_path: Path, length: int) -> None:
    sound = np.random.default_rng(length).integers(-32768, 32768, length).astype(np.int16)
    blocks = list(recording_blocks(_written(tmp_path / "a.wav", sound, SAMPLE_RATE), 320))
    assert [len(b) for b in blocks[:-1]] == [320] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate(blocks), sound)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1), (8000, 1)])
def test_other_rates_are_as_the_whole_file_resampled(tmp_path: Path, rate: int, channels: int) -> None:
    sound = np.random.default_rng(rate).normal(0, 0.1, (5 * rate + 17, channels)).clip(-1, 1)
    path = _written(tmp_path / "a.wav", sound, rate)
    samples, _ = read_audio(path)
    whole = to_int16(resample(samples, rate))
    found = np.concatenate(list(recording_blocks(path)))
    assert abs(len(found) - len(whole)) <= 1
    both = min(len(found), len(whole))
    assert np.abs(found[:both].astype(int) - whole[:both]).max() <= 1


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 17640])
@pytest.mark.parametrize("length", [1, 2, 50, 22049, 22050, 22051])
def test_resampling_is_librosas(rate: int, length: int) -> None:
    """Without importing it, which takes seconds."""
    import librosa

    sound = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    found = resample(sound, rate)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, librosa.resample(sound, orig_sr=rate, target_sr=SAMPLE_RATE))


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.wav", np.zeros(600 * SAMPLE_RATE, np.int16), SAMPLE_RATE)
    total = 0
    tracemalloc.start()
    for block in recording_blocks(path):
        total += len(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 600 * SAMPLE_RATE
    assert peak < 4_000_000, "ten minutes are 38 MB as float32"


def test_what_can_t_be_read_is_said_at_the_call(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not audio at all")
    with pytest.raises(UnreadableAudio, match=r"can't read .*a\.wav"):
        recording_blocks(tmp_path / "a.wav")
    with pytest.raises(UnreadableAudio, match="holds no audio"):
        recording_blocks(_written(tmp_path / "b.wav", np.zeros(0, np.int16), SAMPLE_RATE))
    soundfile.write(tmp_path / "c.wav", np.full(10, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(UnreadableAudio, match="not numbers"):
        list(recording_blocks(tmp_path / "c.wav"))
