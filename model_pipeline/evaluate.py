"""Measures an int8 model on the clips of a split, in TFLite Micro or in our own compiled engine.

python -m model_pipeline.evaluate --model DIR --data DIR
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from model_pipeline.config import DataConfig
from model_pipeline.data.audio import as_pcm
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.data.split import Split
from model_pipeline.errors import KwsError
from model_pipeline.features import model_input
from model_pipeline.files import read_bytes
from model_pipeline.manifest import load_manifest, record_accuracy
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.score import Brief, Score, brief, score
from model_pipeline.tflm import tflm

Engine = Literal["tflm", "aot"]
_CHUNK = 100


class Evaluation(Score):
    """A model on a split. ``noise`` and ``gain``: of the spoken clips, by SNR and by gain in dB. ``absent``: keywords
    that the data has no clip of; the figures are of the others."""

    model: str
    split: str
    engine: Engine
    noise: dict[str, Brief]
    gain: dict[str, Brief]
    absent: tuple[str, ...] = ()


def evaluate(
    model: Path,
    data: Path,
    split: Split = "testing",
    engine: Engine = "tflm",
    progress: ProgressCallback | None = None,
    *,
    snr_db: Sequence[float] = (),
    gain_db: Sequence[float] = (),
    record: bool = False,
    data_config: DataConfig | None = None,
) -> Evaluation:
    """Runs every evaluation clip of ``split`` (see `Dataset.evaluation`) through the model.

    Args:
        model: folder with ``model.tflite`` and ``model.json``.
        snr_db: run the spoken clips again in noise at each of these SNRs.
        gain_db: run them again as much louder, or softer if negative.
        record: write the accuracy into ``model.json``.

    Raises:
        KwsError: no model, no data, no clip of any keyword, figures to record of some keywords alone, or a model that
            the engine refuses.
    """
    report = progress or silent
    manifest = load_manifest(model)
    dataset = Dataset.open(data, manifest.keywords, data_config, some=not record, clip_ms=manifest.clip_ms)
    clips = dataset.evaluation(split)
    if not any(clip.label < dataset.unknown for clip in clips):
        raise KwsError(f"{data} has no {split} clips of {', '.join(dataset.keywords)}")
    run = runner(read_bytes(Path(model) / "model.tflite"), engine)
    spoken = [clip for clip in clips if clip.label != dataset.silence]
    total, done = len(clips) + (len(snr_db) + len(gain_db)) * len(spoken), 0

    def outputs(clips: Sequence[Clip], change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        nonlocal done
        rows = []
        for start in range(0, len(clips), _CHUNK):
            report(done, total, f"{engine}, {split} clips")
            audio = change(dataset.audio(clips[start : start + _CHUNK]))
            rows.append(run(model_input(audio, manifest.frontend, manifest.window_frames)))
            done += len(audio)
        return np.concatenate(rows)

    def again(change: Callable[[np.ndarray], np.ndarray]) -> Brief:
        return brief(score(spoken, outputs(spoken, change), manifest.labels))

    whole = score(clips, outputs(clips, lambda audio: audio), manifest.labels)
    noises = dataset.noise_part(split) if snr_db else []
    result = Evaluation(
        **dict(whole),
        model=manifest.model_hash,
        split=split,
        engine=engine,
        noise={
            # The same noise at each SNR.
            f"{snr:g}": again(functools.partial(add_noise, noises=noises, snr_db=snr, rng=np.random.default_rng(1)))
            for snr in snr_db
        },
        gain={f"{gain:g}": again(functools.partial(amplify, gain_db=gain)) for gain in gain_db},
        absent=dataset.absent,
    )
    report(total, total, f"{engine}, {split} clips")
    if record:
        found = result.model_dump(mode="json")
        record_accuracy(model, split, brief(result).model_dump(mode="json"))
        if snr_db:
            record_accuracy(model, "noise", {"split": split, "snr_db": found["noise"]})
        if gain_db:
            record_accuracy(model, "level", {"split": split, "gain_db": found["gain"]})
    return result


def add_noise(audio: np.ndarray, noises: Sequence[np.ndarray], snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Clips in random pieces of ``noises`` (each at least as long): int16 [n, samples] to the same. The SNR is that of
    the RMS of the whole clips, as in training."""
    out = audio.astype(np.float64)
    for clip in out:
        noise = noises[int(rng.integers(len(noises)))]
        start = int(rng.integers(0, len(noise) - len(clip) + 1))
        piece = noise[start : start + len(clip)].astype(np.float64)
        ratio = (np.mean(clip**2) + 1.0) / (np.mean(piece**2) + 1.0)
        clip += piece * np.sqrt(ratio) * 10 ** (-snr_db / 20)
    return as_pcm(out)


def amplify(audio: np.ndarray, gain_db: float) -> np.ndarray:
    """Louder or softer clips, int16 [n, samples] to the same: what is too loud is cut off."""
    return as_pcm(audio * 10 ** (gain_db / 20))


def runner(tflite: bytes, engine: Engine = "tflm") -> Callable[[np.ndarray], np.ndarray]:
    """A function from int8 [n, frames, channels] to int8 [n, labels] that runs the model.

    Raises:
        MissingTool: TFLite Micro is not installed.
        KwsError: the engine refuses the model.
    """
    if engine == "aot":
        from model_pipeline.compiler import compile_model, load_host

        host = load_host(compile_model(tflite))
        return lambda x: np.asarray(host.run(x.reshape(len(x), -1)), np.int8).reshape(len(x), -1)
    return tflm(tflite)


def main(argv: list[str] | None = None) -> int:
    """The command line of the child process."""
    from model_pipeline import child

    parser = child.parser("Measure an int8 model.", "model", "data", config=False)
    parser.add_argument("--split", default="testing", choices=("training", "validation", "testing"))
    parser.add_argument("--engine", default="tflm", choices=("tflm", "aot"))
    parser.add_argument("--record", action="store_true", help="write the accuracy into model.json")
    a = parser.parse_args(argv)

    return child.main(a, lambda progress: evaluate(a.model, a.data, a.split, a.engine, progress, record=a.record))


if __name__ == "__main__":
    raise SystemExit(main())
