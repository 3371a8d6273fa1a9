"""Whether more takes of the words would help: a learning curve by folds.

    python -m model_pipeline.training.curve --config PROJECT --data PROJECT/recordings

A linear head on Google's speech embedding (`training.head`, as a project's teacher has it) learns from 1, 2, 4, …
takes of each word and is asked for those that it has not heard. Where the last doubling brought next to nothing, more
takes of these speakers will not help either.
"""

from __future__ import annotations

import sys
from pathlib import Path

import model_pipeline.quiet  # noqa: F401

# isort: split

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import Config
from model_pipeline.data.audio import is_sound, read_clips
from model_pipeline.data.split import speaker_of
from model_pipeline.errors import KwsError
from model_pipeline.models import speech_embedding
from model_pipeline.outcomes import Curve
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.training.head import fit

FEWEST = 4  # takes of a word that is looked at
_FOLDS = 5
_SAME = 0.01  # of the takes: a doubling that brings less is not worth it


def curve(config: Config, folder: Path, progress: ProgressCallback = silent) -> Curve:
    """Whether more takes of the words in ``folder`` would help.

    Raises:
        KwsError: fewer than two words with `FEWEST` takes. MissingTool: the package with the embedding is not there.
    """
    paths = {
        word.name: sorted(p for p in word.iterdir() if is_sound(p.name))
        for word in sorted(folder.iterdir())
        if word.is_dir() and not word.name.startswith(("_", "."))
    }
    paths = {word: found for word, found in paths.items() if len(found) >= FEWEST}
    if len(paths) < 2:
        raise KwsError(
            f"a learning curve needs two words with {FEWEST} takes each; there are {len(paths)}",
            hint="record other words too: they teach what is not meant",
        )
    every = [path for found in paths.values() for path in found]
    progress(0, len(every), "listening to the takes")
    heard = speech_embedding.pooled(read_clips(every, config.data.clip_samples)).astype(np.float32)
    labels = np.repeat(np.arange(len(paths)), [len(found) for found in paths.values()])
    speakers = [speaker_of(f"{path.parent.name}/{path.name}") for path in every]
    takes, shares, by_speaker = folds(heard, labels, speakers, config.scenes.head_decay, progress)
    right, error = shares.mean(axis=0), shares.std(axis=0) / np.sqrt(len(shares))
    gain = float(right[-1] - right[-2]) if len(right) > 1 else None
    return Curve(
        words={word: len(found) for word, found in paths.items()},
        takes=takes,
        right=[round(float(value), 4) for value in right],
        error=[round(float(value), 4) for value in error],
        by_speaker=by_speaker,
        gain=gain,
        enough=gain is not None and gain < max(_SAME, float(error[-1])),
    )


def folds(
    heard: NDArray[np.float32],
    labels: NDArray[np.int64],
    speakers: list[str],
    decay: float,
    progress: ProgressCallback = silent,
) -> tuple[list[int], NDArray[np.float64], bool]:
    """The curve in numbers: for each of `_FOLDS` parts that are not heard, heads of more and more of the other takes.

    Where there are as many speakers as folds, a part is some speakers' takes; else it is every fifth take of a word.

    Args:
        heard: [n, m] values of each take; labels: [n] its word.

    Returns:
        The numbers of takes a word, the shares [folds, numbers] that were understood, and whether parts are speakers.
    """
    rng = np.random.default_rng(1)
    names = sorted(set(speakers))
    by_speaker = len(names) >= _FOLDS
    part = np.empty(len(labels), np.int64)
    if by_speaker:
        turn = {name: i % _FOLDS for i, name in enumerate(rng.permutation(names))}
        part[:] = [turn[name] for name in speakers]
    else:
        for label in np.unique(labels):
            mine = rng.permutation(np.flatnonzero(labels == label))
            part[mine] = np.arange(len(mine)) % _FOLDS
    words = range(int(labels.max()) + 1)
    rest = [[rng.permutation(np.flatnonzero((labels == w) & (part != k))) for w in words] for k in range(_FOLDS)]
    fewest = min(len(some) for each in rest for some in each)
    if fewest < 1:
        raise KwsError("one speaker said all takes of a word", hint="takes of it by others too")
    takes = sorted({min(2**i, fewest) for i in range(fewest.bit_length())} | {fewest})
    shares = []
    for k, each in enumerate(rest):
        progress(k, _FOLDS, "a learning curve")
        unheard = np.flatnonzero(part == k)
        if not len(unheard):
            continue
        row = []
        for count in takes:
            some = np.concatenate([mine[:count] for mine in each])
            said = fit(heard[some], labels[some], len(words), decay)(heard[unheard]).argmax(axis=1)
            row.append(float(np.mean(said == labels[unheard])))
        shares.append(row)
    return takes, np.array(shares), by_speaker


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    from model_pipeline import child

    arguments = child.parser(__doc__ or "", "data").parse_args(argv)
    return child.main(arguments, lambda progress: curve(child.config_of(arguments), arguments.data, progress or silent))


if __name__ == "__main__":
    sys.exit(main())
