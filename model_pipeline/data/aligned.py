"""Sentences with a word in them, and where in the sound that word is: as the synthesiser that said it tells.

| engine | what tells |
|---|---|
| espeak-ng | the events of its library, to the sample (`espeak_words`) |
| flite | the ends of its segments (``-psdur``), among which are those of the word by itself |
| festival | the words of its utterance |
| kokoro, hibari | the frames that the network gives each phoneme |
| piper | nothing: it says words by themselves |
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model_pipeline.data import neural
from model_pipeline.data.audio import SAMPLE_RATE
from model_pipeline.data.voices import (
    Utterance,
    Voice,
    command_of,
    espeak_job,
    espeak_library,
    festival_lines,
    load_spoken,
    plain_scheme,
    run_engine,
    run_festival,
)
from model_pipeline.errors import KwsError


@dataclass(frozen=True)
class Carrier:
    """What is said before and after a word: plain words, at least one each."""

    before: str
    after: str


@dataclass(frozen=True)
class Within:
    """A sentence, float32 [n] at 16 kHz, in which the word is from sample ``start`` up to ``end``."""

    samples: np.ndarray
    start: int
    end: int


def speak_within(utterances: Sequence[Utterance], carriers: Sequence[Carrier]) -> list[Within | None]:
    """Each utterance of one engine within its carrier; None where the engine does not tell where it is.

    Raises:
        KwsError: the engine fails or hangs.
    """
    if not utterances:
        return []
    engine = utterances[0].voice.engine
    if engine in ("kokoro", "hibari"):
        return [_neural(u, c) for u, c in zip(utterances, carriers, strict=True)]
    if engine not in _ALIGNED:
        return [None] * len(utterances)
    with tempfile.TemporaryDirectory(prefix="kws_tts_") as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(utterances))]
        spans = _ALIGNED[engine](utterances, carriers, paths)
        return [_within(path, span) for path, span in zip(paths, spans, strict=True)]


_Span = tuple[float, float] | None  # seconds


def _within(path: Path, span: _Span) -> Within | None:
    samples = load_spoken(path) if span else None
    if samples is None or span is None:
        return None
    start, end = (round(second * SAMPLE_RATE) for second in span)
    return Within(samples, start, end) if 0 <= start < end <= len(samples) else None


def _neural(utterance: Utterance, carrier: Carrier) -> Within | None:
    voice = utterance.voice
    found = neural.say_word(
        voice.engine, voice.name, carrier.before, utterance.text, carrier.after, utterance.pitch, utterance.rate
    )
    return Within(*found) if found and 0 <= found[1] < found[2] <= len(found[0]) else None


def _sentence(utterance: Utterance, carrier: Carrier) -> Utterance:
    return replace(utterance, text=f"{carrier.before} {utterance.text} {carrier.after}")


def _espeak(utterances: Sequence[Utterance], carriers: Sequence[Carrier], paths: Sequence[Path]) -> list[_Span]:
    jobs = [
        espeak_job(utterance, _sentence(utterance, carrier).text, path)
        for utterance, carrier, path in zip(utterances, carriers, paths, strict=True)
    ]
    try:
        lines = run_engine(espeak_library(), text=json.dumps(jobs)).splitlines()
    except KwsError:
        # Without its library, or with one of another kind, the command still says words by themselves.
        return [None] * len(jobs)
    return [
        _espeak_span(json.loads(line), utterance.text, carrier, path)
        for line, utterance, carrier, path in zip(lines, utterances, carriers, paths, strict=True)
    ]


def _espeak_span(words: list[list[int]], text: str, carrier: Carrier, path: Path) -> _Span:
    """Both the word and what follows it must begin at a word of espeak-ng's: it makes one of "on the"."""
    at = {position: sample for position, sample in words}
    begin = len(carrier.before) + 1
    behind = begin + len(text) + 1
    start = at.get(begin + 2 if text.startswith("[[") else begin)
    end = at.get(behind)
    if start is None or end is None:
        return None
    rate = _rate_of(path)
    return start / rate, end / rate


def _rate_of(path: Path) -> int:
    with wave.open(str(path), "rb") as stream:
        return stream.getframerate()


def _flite(utterances: Sequence[Utterance], carriers: Sequence[Carrier], paths: Sequence[Path]) -> list[_Span]:
    spans = []
    for utterance, carrier, path in zip(utterances, carriers, paths, strict=True):
        command = command_of(_sentence(utterance, carrier), path)
        printed = run_engine([command[0], "-psdur", *command[1:]])
        segments = [part.rpartition(":") for part in printed.split()]
        names, ends = [name for name, _, _ in segments], [float(end) for _, _, end in segments]
        word = _flite_phones(utterance.voice, utterance.text)
        size = len(word)
        found = [i for i in range(1, len(names) - size + 1) if size and tuple(names[i : i + size]) == word]
        spans.append((ends[found[0] - 1], ends[found[0] + size - 1]) if len(found) == 1 else None)
    return spans


@functools.lru_cache(maxsize=4096)
def _flite_phones(voice: Voice, text: str) -> tuple[str, ...]:
    """The segments of a text by itself, without the pauses around it."""
    printed = run_engine(["flite", "-voice", voice.name, "-ps", "-t", text, "-o", "none"]).split()
    return tuple(printed[1:-1])


def _festival(utterances: Sequence[Utterance], carriers: Sequence[Carrier], paths: Sequence[Path]) -> list[_Span]:
    lines, asked = [], []
    for index, (utterance, carrier, path) in enumerate(zip(utterances, carriers, paths, strict=True)):
        sentence = _sentence(utterance, carrier)
        asked.append([len(plain_scheme(part).split()) for part in (carrier.before, utterance.text, carrier.after)])
        lines += festival_lines(sentence)
        lines.append(f'(set! said (utt.synth (Utterance Text "{plain_scheme(sentence.text)}")))')
        lines.append(f'(utt.save.wave said "{path}" \'riff)')
        # Their names may be anything: only times are printed.
        lines.append(
            f'(mapcar (lambda (word) (format t "kws {index} %f %f\\n" (item.feat word \'word_start)'
            " (item.feat word 'word_end))) (utt.relation.items said 'Word))"
        )
    printed = run_festival(lines, paths[0].with_name("say.scm"), len(utterances))
    times: dict[int, list[tuple[float, float]]] = {}
    for index, start, end in re.findall(r"^kws (\d+) ([\d.]+) ([\d.]+)$", printed, re.MULTILINE):
        times.setdefault(int(index), []).append((float(start), float(end)))
    spans: list[_Span] = []
    for index, (before, word, after) in enumerate(asked):
        words = times.get(index, [])
        whole = len(words) == before + word + after  # one each, or which is which is not known
        spans.append((words[before][0], words[before + word - 1][1]) if whole and word else None)
    return spans


_ALIGNED = {"espeak-ng": _espeak, "flite": _flite, "festival": _festival}
