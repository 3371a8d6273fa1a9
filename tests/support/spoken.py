"""Words spoken by flite, for where no recordings are: ``python -m tests.support.spoken speech.raw`` writes some as
16 kHz s16le with quiet around them, and prints them. Only such that the model hears on this computer are taken."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host_tools.check.selftest import Reference
from model_pipeline.native import ROOT

RATE = 16000
VOICES = ("slt", "rms", "awb", "kal16")


def say(word: str, voice: str) -> NDArray[np.int16]:
    """One word by one of flite's voices, at half of full scale."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        subprocess.run(["flite", "-voice", voice, "-t", word, "-o", str(path)], check=True)
        with wave.open(str(path)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 2)
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float64)
    return (samples * (16384 / np.abs(samples).max())).astype(np.int16)


def spoken(reference: Reference, wanted: int = 2) -> tuple[NDArray[np.int16], list[str]]:
    """``wanted`` keywords, a second of quiet before and after each, and which they are.

    Raises:
        LookupError: the model does not hear as many of flite's words.
    """
    stride = reference.manifest.detector.stride_hops
    quiet = (np.random.default_rng(1).standard_normal(RATE) * 10).astype(np.int16)
    speech, words = quiet, []
    labels = reference.manifest.labels
    for label, word in enumerate(labels[:-2]):
        for voice in VOICES:
            longer = np.concatenate([speech, say(word, voice), quiet])
            if [found for _, found, _ in reference.listen(longer, stride)[1]] == [*map(labels.index, words), label]:
                speech, words = longer, [*words, word]
                break
        if len(words) == wanted:
            return speech, words
    raise LookupError(f"the model hears {words or 'none'} of flite's words")


def main() -> None:
    """Writes the file that is named, and prints its words."""
    speech, words = spoken(Reference(ROOT / "firmware" / "model"))
    Path(sys.argv[1]).write_bytes(speech.astype("<i2").tobytes())
    print(*words)


if __name__ == "__main__":
    main()
