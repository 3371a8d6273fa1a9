"""One-second clips of 16 kHz mono int16 audio, from and to files."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from model_pipeline.errors import KwsError
from model_pipeline.rate import SAMPLE_RATE

CLIP_SAMPLES = SAMPLE_RATE  # a second
_READ = 65536  # frames a read of a long recording
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class UnreadableAudio(KwsError):
    """A file that holds no audio that can be decoded."""


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Reads a whole file, channels averaged.

    Returns:
        float32 [samples] in -1..1, and the sampling rate in Hz.

    Raises:
        UnreadableAudio: it can't be decoded, is empty, or holds NaN.
    """
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise UnreadableAudio(f"can't read {path}: {_first_line(error)}") from error
    if not len(samples):
        raise UnreadableAudio(f"can't read {path}: it holds no audio")
    return _mono(samples, path), int(rate)


def recording_blocks(path: Path, block: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """A recording of any length at 16 kHz, int16 [``block``] (the last one shorter), in bounded memory.

    The samples are those of `read_audio`, `resample` and `to_int16`; where the rate is another, up to the resampler's
    rounding.

    Raises:
        UnreadableAudio: the file can't be decoded, is empty, or holds NaN (at the call, or at the damaged block).
    """
    try:
        source = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise UnreadableAudio(f"can't read {path}: {_first_line(error)}") from error
    if source.frames == 0:
        source.close()
        raise UnreadableAudio(f"can't read {path}: it holds no audio")
    return _blocks(source, path, block)


def _blocks(source: soundfile.SoundFile, path: Path, block: int) -> Iterator[np.ndarray]:
    convert = None
    if source.samplerate != SAMPLE_RATE:
        import soxr  # what librosa resamples with

        convert = soxr.ResampleStream(source.samplerate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    waiting = np.empty(0, np.float32)
    with source:
        last = False
        while not last:
            try:
                samples = source.read(_READ, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, ValueError) as error:
                raise UnreadableAudio(f"can't read {path}: {_first_line(error)}") from error
            last = len(samples) < _READ
            mono = _mono(samples, path)
            if convert is not None:
                mono = convert.resample_chunk(mono, last=last)
            waiting = np.concatenate([waiting, mono])
            while len(waiting) >= block or (last and len(waiting)):
                yield to_int16(waiting[:block])
                waiting = waiting[block:]


def _mono(samples: np.ndarray, path: Path) -> np.ndarray:
    mono = samples.mean(axis=1, dtype=np.float32) if samples.shape[1] > 1 else samples[:, 0]
    if not np.isfinite(mono).all():
        raise UnreadableAudio(f"can't read {path}: it holds values that are no numbers")
    return np.ascontiguousarray(mono)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float audio in -1..1 as int16 of the same shape (exact for what came from 16-bit files; clipped beyond)."""
    return as_pcm(samples * 32768.0)


def as_pcm(samples: np.ndarray) -> np.ndarray:
    """Float audio in units of int16 as int16 of the same shape, rounded; beyond full scale it is cut off, as in a
    recording."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """float32 [n] at ``rate`` Hz to float32 at 16 kHz (librosa)."""
    if rate == SAMPLE_RATE:
        return samples
    import librosa  # slow to import, and most data needs no resampling

    return librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq").astype(np.float32)


def fit_clip(samples: np.ndarray, length: int = CLIP_SAMPLES) -> np.ndarray:
    """Pads ``samples`` [n] with zeros at the end, or cuts out the ``length`` samples with the most energy."""
    count = len(samples)
    if count == length:
        return samples
    if count < length:
        return np.concatenate([samples, np.zeros(length - count, samples.dtype)])
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


def read_clip(path: Path) -> np.ndarray:
    """A clip of a data folder as int16 [16000].

    Raises:
        UnreadableAudio: it can't be decoded.
        KwsError: it is not sampled at 16 kHz.
    """
    samples, rate = read_audio(path)
    if rate != SAMPLE_RATE:
        raise KwsError(f"{path} is sampled at {rate} Hz, not at 16000", hint="kws data import resamples a folder")
    return fit_clip(to_int16(samples))


def read_clips(paths: list[Path]) -> np.ndarray:
    """Many clips at once (libsndfile works outside Python's lock, so threads help): int16 [n, 16000]."""
    clips = np.empty((len(paths), CLIP_SAMPLES), np.int16)

    def read(index: int) -> None:
        clips[index] = read_clip(paths[index])

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(read, range(len(paths))):
            pass
    return clips


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Writes int16 [n] as 16 kHz mono WAV (by the standard library, whose errors name a full disk)."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as stream:
        stream.setparams((1, 2, SAMPLE_RATE, len(samples), "NONE", "not compressed"))
        stream.writeframes(samples.astype("<i2").tobytes())
    path.write_bytes(buffer.getvalue())


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
