"""Words cut out of sentences: as people say them among others, shorter and not as clearly as by themselves.

The words around are such that the sound stops, or nearly, where a word is cut out: before it a sentence ends with p,
t, k or s, and behind it goes on with p, t or k, whose closure is silent. A cut that is not in a quiet place all the
same is not taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_pipeline.data.aligned import Carrier, Within
from model_pipeline.data.audio import SAMPLE_RATE
from model_pipeline.data.transcripts import Sayings, words_of
from model_pipeline.errors import MissingTool

_BEFORE = (
    *("please repeat", "he wrote about", "they all thought that", "the next step is to repeat", "we ought to put"),
    *("I think that", "you can set", "she asked about it", "what about", "did you get", "I will write it back"),
    *("let us look at", "as a test", "he said it was not", "can you spell it", "I have not yet heard it", "press"),
    *("maybe it is best", "she will not talk about", "now look for it", "I just guessed", "is this", "this list has"),
    *("we always put", "my aunt likes", "the last point is about", "all of us wrote", "does it make sense that"),
)
_AFTER = (
    *("to me", "to her", "to everybody here", "today", "tomorrow", "two more times", "ten times", "twice", "to begin"),
    *("please", "perhaps", "properly", "politely", "people say", "pretty often", "as part of it", "together", "too"),
    *("quite well", "quickly", "can be heard", "kindly", "to hear how it sounds", "put in here", "takes a while"),
    *("correctly", "clearly", "completely", "carefully"),
)
_NEAR = 0.035  # seconds between where the engine says that a word begins or ends and the quietest place
_QUIET_DB = 18  # below the word's loudest 20 ms
_SHORTEST, _A_SOUND = 0.09, (0.022, 0.32)  # seconds: of a word, and of each of its phonemes
_FADE = 0.006
_FLOOR = 1e-3


def carriers(keywords: Sequence[str]) -> list[Carrier]:
    """Sentences in which no keyword is said, nor anything that sounds like one; [] where nothing is left."""
    try:
        sayings: Sayings | None = Sayings(keywords)
    except MissingTool:  # then by their letters
        sayings = None
    taken = {part for word in keywords for part in words_of(word)}

    def free(text: str) -> bool:
        return not taken & set(words_of(text)) and not (sayings and sayings.said(text))

    if sayings:
        sayings.learn([*_BEFORE, *_AFTER])
    after = [text for text in _AFTER if free(text)]
    return [Carrier(before, text) for before in _BEFORE if free(before) for text in after]


def cut(said: Within, sounds: int) -> np.ndarray | None:
    """The word out of its sentence, faded at both ends: float32 [n] at 16 kHz; None where there is no quiet place to
    cut at, or it lasts longer or shorter than a word of so many phonemes can.

    Args:
        sounds: phonemes of the word; 0: not known.
    """
    hop, size = SAMPLE_RATE // 500, SAMPLE_RATE // 100
    power = np.concatenate([[0.0], np.cumsum(np.square(said.samples, dtype=np.float64))])
    at = np.arange(0, len(said.samples) - size + 1, hop)
    if not len(at):
        return None
    level = np.sqrt((power[at + size] - power[at]) / size)  # of 10 ms that begin there
    middle = at + size // 2
    inside = level[(middle >= said.start) & (middle < said.end)]
    loudest = float(inside.max(initial=0.0))
    if loudest < _FLOOR:
        return None
    ends = []
    for edge in (said.start, said.end):
        near = np.flatnonzero(np.abs(middle - edge) <= _NEAR * SAMPLE_RATE)
        if not len(near):
            return None
        # Of quiet places the nearest: in a pause all are.
        quiet = near[level[near] <= max(_FLOOR / 4, 1.1 * float(level[near].min()))]
        place = quiet[np.abs(middle[quiet] - edge).argmin()]
        if level[place] > loudest * 10 ** (-_QUIET_DB / 20):
            return None
        ends.append(int(middle[place]))
    start, end = ends
    seconds = (end - start) / SAMPLE_RATE
    if seconds < _SHORTEST or (sounds and not _A_SOUND[0] * sounds <= seconds <= _A_SOUND[1] * (sounds + 1)):
        return None
    word = np.array(said.samples[start:end], np.float32)
    fade = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size_of := int(_FADE * SAMPLE_RATE)) + 0.5) / size_of)
    word[:size_of] *= fade
    word[-size_of:] *= fade[::-1]
    return word
