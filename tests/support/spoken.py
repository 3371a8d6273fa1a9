"""Words spoken by flite, for where no recordings are: ``python -m tests.support.spoken speech.raw`` writes some as
16 kHz s16le with quiet around them, and prints them; with ``--plain DIR`` by the shipped network with a plain detector,
which is exported into DIR/exported (its second look is for people). Only such that the model hears on this computer are
taken."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host_tools.check.device import Reference
from host_tools.measure.clips import open_dataset
from model_pipeline.manifest import keywords_of
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
    for label, word in enumerate(keywords_of(labels)):
        for voice in VOICES:
            longer = np.concatenate([speech, say(word, voice), quiet])
            if [found for _, found, _ in reference.listen(longer, stride)[1]] == [*map(labels.index, words), label]:
                speech, words = longer, [*words, word]
                break
        if len(words) == wanted:
            return speech, words
    raise LookupError(f"the model hears {words or 'none'} of flite's words")


def many(reference: Reference, wanted: int, people: Path | None = None) -> tuple[NDArray[np.int16], list[str]]:
    """``wanted`` words, each keyword in its turn, with a second of quiet about each, and which they are: people's test
    clips out of the data folder ``people``, all as loud, or flite's voices.

    Raises:
        LookupError: the model does not hear as many.
    """
    labels, stride = reference.manifest.labels, reference.manifest.detector.stride_hops
    quiet = (np.random.default_rng(1).standard_normal(RATE) * 10).astype(np.int16)
    clips = _of_people(people, labels) if people else [[say(word, v) for v in VOICES] for word in keywords_of(labels)]
    speech, spoken_labels = quiet, []
    for turn in range(max(map(len, clips))):
        for label, of_word in enumerate(clips):
            if len(spoken_labels) < wanted and turn < len(of_word):
                longer = np.concatenate([speech, of_word[turn], quiet])
                if [found for _, found, _ in reference.listen(longer, stride)[1]] == [*spoken_labels, label]:
                    speech, spoken_labels = longer, [*spoken_labels, label]
    if len(spoken_labels) < wanted:
        raise LookupError(f"the model hears {len(spoken_labels)} of these words")
    return speech, [labels[label] for label in spoken_labels]


def _of_people(folder: Path, labels: list[str]) -> list[list[NDArray[np.int16]]]:
    dataset = open_dataset(folder, tuple(labels))
    found: list[list[NDArray[np.int16]]] = [[] for _ in keywords_of(labels)]
    for clip in dataset.clips("testing"):
        if clip.label < len(found) and len(found[clip.label]) < 4:
            samples = dataset.audio([clip])[0].astype(np.float64)
            found[clip.label].append((samples * (12000 / max(1.0, np.abs(samples).max()))).astype(np.int16))
    return found


def main() -> None:
    """Writes the file that is named, and prints its words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    model = ROOT / "firmware" / "model"
    if arguments.plain:
        from tests.support.page import plain_model

        model = plain_model(arguments.plain)
    speech, words = spoken(Reference(model))
    arguments.out.write_bytes(speech.astype("<i2").tobytes())
    print(*words)


if __name__ == "__main__":
    main()
