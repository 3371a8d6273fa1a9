"""Which spelling of a word makes synthesisers say it as people do, by a few takes of theirs.

    python -m model_pipeline.training.spelling --config PROJECT --data PROJECT/recordings/WORD --texts '["huh doken"]'

Every text is said by the same voices that training hears. What Google's speech embedding (`models.speech_embedding`)
hears of a take is compared with what it hears of each saying; a text is as near as its nearest sayings are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import model_pipeline.quiet  # noqa: F401

# isort: split

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import Config
from model_pipeline.data.audio import is_sound, read_clips
from model_pipeline.data.synth import said_alike
from model_pipeline.errors import KwsError
from model_pipeline.models import speech_embedding
from model_pipeline.outcomes import Spelling, Spellings
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.words import check_said

_SAYINGS = 16  # of each text
_NEAREST = 3  # of a text's sayings that a take is compared with
_MOST = 60  # takes that are listened to
_DRAWS = 500


def spellings(config: Config, folder: Path, texts: Sequence[str], progress: ProgressCallback = silent) -> Spellings:
    """How near to the takes in ``folder`` voices come with each of ``texts``, the nearest first.

    Raises:
        KwsError: no takes, fewer than two texts, or one that can't be said.
        MissingTool: no synthesiser, or the package with the embedding is not there.
    """
    takes = sorted(path for path in folder.iterdir() if is_sound(path.name))[:_MOST] if folder.is_dir() else []
    if not takes:
        raise KwsError(f"no takes of a word in {folder}", hint="kws record makes some")
    texts = list(dict.fromkeys(texts))
    if len(texts) < 2:
        raise KwsError("two spellings at least are needed to compare")
    for text in texts:
        try:
            check_said(text)
        except ValueError as error:
            raise KwsError(f"{text!r} can't be said: {error}") from error
    progress(0, 1, "looking for voices")
    said = said_alike(texts, _SAYINGS, config.synth, progress, config.data.clip_samples)
    progress(0, 1, "listening to the takes")
    clips = [read_clips(takes, config.data.clip_samples), *(said[text] for text in texts)]
    heard = [speech_embedding.pooled(each).astype(np.float32) for each in clips if len(each)]
    if len(heard) < 2:
        raise KwsError("no voice can say any of them")
    near = nearness(heard[0], heard[1:])
    spoken = [text for text in texts if len(said[text])]
    # Other takes could have been recorded: how often is each text the nearest of as many drawn from these?
    draws = np.random.default_rng(1).integers(len(takes), size=(_DRAWS, len(takes)))
    first = np.bincount(near[:, draws].mean(axis=2).argmax(axis=0), minlength=len(spoken)) / _DRAWS
    rows = [
        Spelling(text=text, near=round(float(of.mean()), 4), first=round(float(often), 3), sayings=len(said[text]))
        for text, of, often in zip(spoken, near, first, strict=True)
    ]
    return Spellings(
        takes=len(takes),
        spellings=sorted(rows, key=lambda row: -row.near),
        unspoken=[text for text in texts if text not in spoken],
    )


def nearness(takes: NDArray[np.float32], sayings: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean cosine of each take to its nearest sayings of each text: [texts, takes]. Values are brought to the mean
    and spread of all sayings, so that what every voice has is of no account.

    Args:
        takes: [n, m]; sayings: [k, m] for each text.
    """
    everything = np.concatenate(sayings)
    mean, spread = everything.mean(axis=0), everything.std(axis=0) + np.float32(1e-3)

    def unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
        x = (values - mean) / spread
        return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6), np.float32)

    heard = unit(takes)
    return np.array([np.sort(heard @ unit(mine).T, axis=1)[:, -_NEAREST:].mean(axis=1) for mine in sayings])


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    from model_pipeline import child

    parser = child.parser(__doc__ or "", "data")
    parser.add_argument("--texts", required=True, type=json.loads, help="a JSON list")
    arguments = parser.parse_args(argv)
    config = child.config_of(arguments)
    return child.main(
        arguments, lambda progress: spellings(config, arguments.data, arguments.texts, progress or silent)
    )


if __name__ == "__main__":
    sys.exit(main())
