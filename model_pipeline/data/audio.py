"""Clips of 16 kHz mono int16 audio, from and to files: of a second, unless a length is given."""

from __future__ import annotations

import io
import math
import os
import wave
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from model_pipeline.errors import KwsError
from model_pipeline.pipes import check_regular
from model_pipeline.rate import CLIP_MS, SAMPLE_RATE, samples_of
from model_pipeline.text import shown

CLIP_SAMPLES = samples_of(CLIP_MS)
_READ = 65536  # frames a read of a long recording
EXTENSIONS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64")
# Sound that libsndfile does not read; it is named where it is left out.
UNREAD = (".m4a", ".aac", ".wma", ".amr", ".webm", ".mp4", ".m4b", ".3gp", ".mka", ".ra", ".cbor")
LOWEST_RATE, HIGHEST_RATE = 4000, 384_000  # Hz


class UnreadableAudio(KwsError):
    """A file that holds no audio that can be decoded."""


@dataclass(frozen=True)
class Recording:
    """A whole file: float32 ``samples`` [n] in -1..1, channels made one, at ``rate`` Hz, and what was mended."""

    samples: np.ndarray
    rate: int
    opposite: bool = False  # channels that cancel each other out, of which the loudest was taken
    scaled: bool = False  # floats beyond full scale, which were made smaller
    unsized: bool = False  # a WAV whose header says 0 bytes, as of a stream


def is_sound(name: str) -> bool:
    """Whether a file's name is one of sound that is read here; hidden files are none."""
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Reads a whole file, channels made one.

    Returns:
        float32 [samples] in -1..1, and the sampling rate in Hz.

    Raises:
        UnreadableAudio: see `read_recording`.
    """
    recording = read_recording(path)
    return recording.samples, recording.rate


def read_recording(path: Path, longest_s: float = math.inf) -> Recording:
    """Reads a whole file. Channels are averaged; where they cancel each other out, the loudest is taken.

    Raises:
        UnreadableAudio: it can't be decoded, is empty, longer than ``longest_s``, holds NaN, or has a rate that no
            recording of speech has.
    """
    name = shown(path)
    try:
        file, unsized = _open(path)
        with file:
            is_float = file.subtype in ("FLOAT", "DOUBLE")
            rate, frames = file.samplerate, file.frames
            _check_rate(rate, name)
            if frames > longest_s * rate:
                raise UnreadableAudio(f"can't read {name}: {frames / rate:.0f} s is longer than one word")
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
        raise _unreadable(path, error) from error
    if samples.size == 0:
        raise UnreadableAudio(f"can't read {name}: it holds no audio")
    mix = _Mix.of([samples], is_float=is_float)
    return Recording(mix(samples, name), int(rate), mix.channel is not None, mix.divisor != 1, unsized)


def _check_rate(rate: int, name: str) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UnreadableAudio(f"can't read {name}: {rate} Hz is not a rate at which speech is recorded")


@dataclass(frozen=True)
class _Mix:
    """How the channels of a recording become one."""

    channel: int | None = None  # the one that is taken; None: their mean
    divisor: float = 1.0

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray], *, is_float: bool) -> _Mix:
        """Looks at a whole recording, float32 [n, channels] a block."""
        power, together, peak, channel = np.zeros(1), 0.0, 0.0, None
        means, alone = 0.0, np.zeros(1)
        for block in blocks:
            mean = block.mean(axis=1, dtype=np.float32)
            together += float(np.sum(np.square(mean, dtype=np.float64)))
            power = power + np.sum(np.square(block, dtype=np.float64), axis=0)
            means = max(means, float(np.abs(mean).max(initial=0)))
            alone = np.maximum(alone, np.abs(block).max(axis=0, initial=0))
        # A tenth of the power is more than two channels lose by being averaged where one is silent or unlike it.
        if len(power) > 1 and together < 0.1 * power.max():
            channel = int(np.flatnonzero(power > 0.9 * power.max())[0])
        peak = means if channel is None else float(alone[channel])
        if not is_float or not peak > 1:
            return cls(channel)
        return cls(channel, 32768.0 if 64 < peak <= 32768 else peak)  # in units of int16, or just too loud

    def __call__(self, samples: np.ndarray, name: str) -> np.ndarray:
        """float32 [n, channels] as [n].

        Raises:
            UnreadableAudio: there are values that are not numbers.
        """
        if not np.isfinite(samples).all():
            raise UnreadableAudio(f"can't read {name}: it holds values that are not numbers")
        if samples.shape[1] == 1:
            mono = samples[:, 0]
        else:
            mono = samples.mean(axis=1, dtype=np.float32) if self.channel is None else samples[:, self.channel]
        mono = mono if self.divisor == 1 else (mono / self.divisor).astype(np.float32)
        return np.ascontiguousarray(mono)


def _open(path: Path) -> tuple[soundfile.SoundFile, bool]:
    """The file, and whether it is a WAV whose header says that it is empty, as of a stream, and it is not."""
    check_regular(path)  # libsndfile would wait for a pipe's writer
    source = soundfile.SoundFile(os.fsencode(path))  # as bytes: a name need not be text
    if source.frames == 0 and (sized := _Sized.of(path)):
        source.close()
        return soundfile.SoundFile(sized), True
    return source, False


class _Sized(io.FileIO):
    """A WAV file with the sizes that it really has in its header."""

    def __init__(self, path: Path, patches: dict[int, bytes]) -> None:
        super().__init__(os.fsencode(path), "rb")
        self._patches = patches

    @classmethod
    def of(cls, path: Path) -> _Sized | None:
        """None for a file that is not a WAV with an empty data chunk and something behind it."""
        length = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(12)
            if start[:4] != b"RIFF" or start[8:] != b"WAVE":
                return None
            while len(head := stream.read(8)) == 8:
                size, at = int.from_bytes(head[4:], "little"), stream.tell()
                if head[:4] == b"data":
                    if size or at >= length:
                        return None
                    sizes = {4: length - 8, at - 4: length - at}
                    return cls(path, {place: min(n, 2**32 - 1).to_bytes(4, "little") for place, n in sizes.items()})
                stream.seek(size + size % 2, os.SEEK_CUR)
        return None

    def readinto(self, buffer: Any) -> int:
        at = self.tell()
        count = super().readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        for place, content in self._patches.items():
            for i, byte in enumerate(content):
                if at <= place + i < at + count:
                    view[place + i - at] = byte
        return count

    def read(self, size: int | None = -1) -> bytes:
        wanted = max(0, os.fstat(self.fileno()).st_size - self.tell()) if size is None or size < 0 else size
        buffer = bytearray(wanted)
        return bytes(buffer[: self.readinto(buffer)])


def recording_blocks(path: Path, block: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """A recording of any length at 16 kHz, int16 [``block``] (the last one shorter), in bounded memory.

    The samples are those of `read_audio`, `resample` and `to_int16`; where the rate is another, up to the resampler's
    rounding.

    Raises:
        UnreadableAudio: the file can't be decoded, is empty, or holds NaN (at the call, or at the damaged block).
    """
    try:
        source, _ = _open(path)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if source.frames == 0:
        source.close()
        raise UnreadableAudio(f"can't read {shown(path)}: it holds no audio")
    _check_rate(source.samplerate, shown(path))
    mix = _Mix()
    is_float = source.subtype in ("FLOAT", "DOUBLE")
    if is_float or source.channels > 1:
        mix = _Mix.of(source.blocks(_READ, dtype="float32", always_2d=True), is_float=is_float)
        source.seek(0)
    return _blocks(source, path, block, mix)


def _blocks(source: soundfile.SoundFile, path: Path, block: int, mix: _Mix) -> Iterator[np.ndarray]:
    convert = None
    if source.samplerate != SAMPLE_RATE:
        import soxr

        convert = soxr.ResampleStream(source.samplerate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    waiting = np.empty(0, np.float32)
    with source:
        last = False
        while not last:
            try:
                samples = source.read(_READ, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, ValueError) as error:
                raise UnreadableAudio(f"can't read {shown(path)}: {_first_line(error)}") from error
            last = len(samples) < _READ
            mono = mix(samples, shown(path))
            if convert is not None:
                mono = convert.resample_chunk(mono, last=last)
            waiting = np.concatenate([waiting, mono])
            while len(waiting) >= block or (last and len(waiting)):
                yield to_int16(waiting[:block])
                waiting = waiting[block:]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float audio in -1..1 as int16 of the same shape (exact for what came from 16-bit files; clipped beyond)."""
    return as_pcm(samples * 32768.0)


def as_pcm(samples: np.ndarray) -> np.ndarray:
    """Float audio in units of int16 as int16 of the same shape, rounded; beyond full scale it is cut off, as in a
    recording."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """float32 [n] at ``rate`` Hz to float32 at 16 kHz, [ceil(16000 n / rate)]."""
    if rate == SAMPLE_RATE:
        return samples
    import soxr

    count = math.ceil(len(samples) * (SAMPLE_RATE / rate))
    made = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")[:count]
    return np.pad(made, (0, count - len(made))).astype(np.float32)


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


def read_clip(path: Path, length: int = CLIP_SAMPLES) -> np.ndarray:
    """A clip of a data folder as int16 [length].

    Raises:
        UnreadableAudio: it can't be decoded.
        KwsError: it is not sampled at 16 kHz.
    """
    samples, rate = read_audio(path)
    if rate != SAMPLE_RATE:
        raise KwsError(f"{path} is sampled at {rate} Hz, not at 16000", hint="kws data import resamples a folder")
    return fit_clip(to_int16(samples), length)


def read_clips(paths: list[Path], length: int = CLIP_SAMPLES) -> np.ndarray:
    """Many clips at once (libsndfile works outside Python's lock, so threads help): int16 [n, length]."""
    clips = np.empty((len(paths), length), np.int16)

    def read(index: int) -> None:
        clips[index] = read_clip(paths[index], length)

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


def _unreadable(path: Path, error: Exception) -> UnreadableAudio:
    if not Path(path).exists():
        return UnreadableAudio(f"can't read {shown(path)}: it is not there")
    return UnreadableAudio(f"can't read {shown(path)}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    text = str((error.strerror if isinstance(error, OSError) else None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
