"""Which voices speak, in which split, and which words: no throat is heard in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_pipeline.config import SynthConfig
from model_pipeline.data import neural
from model_pipeline.data.aligned import Carrier
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.data.voices import (
    ANY_LANGUAGE,
    PACKAGES,
    Utterance,
    Voice,
    available,
    reads_phonemes,
    speaks_english,
)
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.words import folder_name

_ENGINE_SHARES = {"espeak-ng": 0.6, "flite": 0.24, "festival": 0.16, "kokoro": 0.25, "hibari": 0.3, "piper": 0.6}
SLOW = "kokoro"  # takes as long for a word as the others for fifty: each is heard again, by throats of other lengths
_TESTED, _KEYWORDS, _OTHERS = 2, 4, 6  # how often: what is tested, and of training keywords and other words
PITCH, RATE = (0.7, 1.35), (0.75, 1.35)  # of a saying, as factors
_BLENDS = 60  # voices between those of Kokoro that one split has


def voices_of(settings: SynthConfig) -> list[Voice]:
    """All voices of this machine that speak the language.

    Raises:
        MissingTool, KwsError: no synthesiser, or none that speaks it.
    """
    wanted = wanted_engines(settings)
    found = available(wanted, settings.language, settings.piper_voices)
    if not found and not speaks_english(settings.language) and available(["espeak-ng"]):
        raise KwsError(
            f"no voice of this machine speaks {settings.language!r}", hint="espeak-ng --voices lists the languages"
        )
    if not found:
        raise MissingTool("no speech synthesiser is installed", hint="; ".join(PACKAGES[e] for e in wanted))
    return [voice for engine in found.values() for voice in engine]


def wanted_engines(settings: SynthConfig) -> list[str]:
    """Those of ``settings.engines`` that could speak its language; piper only where a folder of its voices is named."""
    able = settings.engines if speaks_english(settings.language) else [e for e in settings.engines if e in ANY_LANGUAGE]
    return [engine for engine in able if engine != "piper" or settings.piper_voices]


def cast_voices(voices: Sequence[Voice], rng: np.random.Generator) -> dict[Split, dict[str, list[Voice]]]:
    """Which voices speak in which split, by engine. Identities, not voices, are shared out, so that no throat is
    heard in two splits; each engine's identities are shared out apart, so that each split hears all engines."""
    identities: dict[str, list[str]] = {}
    for voice in voices:
        group = "espeak-ng" if voice.engine == "espeak-ng" else "other"
        identities.setdefault(group, [])
        if voice.identity not in identities[group]:
            identities[group].append(voice.identity)
    if sum(len(v) for v in identities.values()) < 3:
        raise KwsError("fewer than three voices: none can be held out for testing", hint=PACKAGES["espeak-ng"])
    if any(len(names) < 3 for names in identities.values()):
        identities = {"all": list(dict.fromkeys(name for names in identities.values() for name in names))}
    where: dict[str, Split] = {}
    for names in identities.values():
        order = [names[i] for i in rng.permutation(len(names))]
        held = max(1, round(0.1 * len(order))) if len(order) >= 3 else 0
        for i, name in enumerate(order):
            where[name] = "testing" if i < held else "validation" if i < 2 * held else "training"
    result: dict[Split, dict[str, list[Voice]]] = {split: {} for split in SPLITS}
    for voice in voices:
        result[where[voice.identity]].setdefault(voice.engine, []).append(voice)
    for found in result.values():
        if len(found.get("kokoro", [])) > 1:
            found["kokoro"] = _blends(found["kokoro"], rng)
    return result


def _blends(voices: Sequence[Voice], rng: np.random.Generator) -> list[Voice]:
    """Voices of Kokoro and many between (and a little beyond) them: a style is a point, and speech of the points
    between is of other speakers. Each split has its own voices, so blends do not cross splits either."""
    made, identity = list(voices), "+".join(sorted(v.identity for v in voices))
    for number in range(_BLENDS):
        shares = 1.2 * rng.dirichlet(np.full(len(voices), 0.6)) - 0.2 / len(voices)
        name = neural.blend({v.name: float(share) for v, share in zip(voices, shares, strict=True)})
        made.append(Voice("kokoro", name, f"kokoro-blend{number}", identity, 0.0))
    return made


def cast_of(settings: SynthConfig) -> dict[Split, dict[str, list[Voice]]]:
    """Which voices `synthesize` hears in which split, by engine.

    Raises:
        MissingTool, KwsError: as `synthesize`.
    """
    return cast_voices(voices_of(settings), np.random.default_rng(settings.seed))


def engine_shares(settings: SynthConfig) -> dict[str, float]:
    """Each engine's share of the clips, in proportion where not all are there: the settings' or ours."""
    return {**_ENGINE_SHARES, **{str(e): share for e, share in settings.shares.items()}}


def pick_voice(voices: dict[str, list[Voice]], shares: Mapping[str, float], rng: np.random.Generator) -> Voice:
    """A random one of a split's voices, by the ``shares`` of the engines; where none of those that are there has any,
    all alike."""
    engines = sorted(voices)
    share = np.array([shares[e] for e in engines])
    p = share / share.sum() if share.any() else None
    found = voices[engines[int(rng.choice(len(engines), p=p))]]
    return found[int(rng.integers(len(found)))]


@dataclass(frozen=True)
class Job:
    """One clip: its word, and all that is random about how it is said."""

    word: str
    split: Split
    path: str
    utterance: Utterance
    level: float
    place: float
    carrier: Carrier | None = None  # the sentence that the word is cut out of
    sounds: int = 0  # phonemes of the word


class Casting:
    """Gives each word to a random voice of the split, with all that is random about how it is said."""

    def __init__(
        self, cast: dict[Split, dict[str, list[Voice]]], settings: SynthConfig, rng: np.random.Generator
    ) -> None:
        self.jobs: list[Job] = []
        self._settings, self._cast, self._rng = settings, cast, rng
        self._shares = engine_shares(settings)
        self._takes: Counter[str] = Counter()

    def add(self, word: str, split: Split, takes: int) -> None:
        """As often as ``takes``, or not at all where no voice can say the word."""
        throats = _KEYWORDS if split == "training" else _TESTED
        while takes > 0 and (made := self._add(word, split, takes, throats)):
            takes -= made

    def add_in_turn(self, words: Sequence[str], split: Split, clips: int) -> None:
        """``clips`` of ``words`` in turn: each as often as any other, but for the throats of a saying."""
        turn, throats = 0, _OTHERS if split == "training" else _TESTED
        while clips > 0:
            clips -= self._add(words[turn % len(words)], split, clips, throats) or 1
            turn += 1

    def _add(self, word: str, split: Split, most: int, throats: int) -> int:
        """One clip, or ``throats`` of one saying; returns how many."""
        rng, voices = self._rng, self._cast[split]
        text = self._settings.text_of(word)
        if text.startswith("[["):
            voices = {
                "espeak-ng": [v for v in voices.get("espeak-ng", []) if reads_phonemes(v, self._settings.language)]
            }
            if not voices["espeak-ng"]:
                return 0
        # Each saying of the slow one makes several clips, so that its share of the clips is what is wanted.
        voice = pick_voice(voices, {**self._shares, SLOW: self._shares[SLOW] / throats}, rng)
        name = f"{folder_name(word)}/{voice.speaker}_nohash_"
        pitch, rate = float(rng.uniform(*PITCH)), float(rng.uniform(*RATE))
        said = [Utterance(voice, text, pitch, rate)]
        for _ in range(min(throats, most) - 1 if voice.engine == SLOW else 0):
            # The same saying by a throat of another length, at a rate that voices have.
            low, high = (max(PITCH[0], pitch * RATE[0] / rate), min(PITCH[1], pitch * RATE[1] / rate))
            other = float(rng.uniform(low, high))
            said.append(Utterance(voice, text, other, rate * other / pitch))
        for spoken in said:
            level, place = float(rng.uniform(-26, -12)), float(rng.uniform(0.3, 0.7))
            self.jobs.append(Job(word, split, f"{name}{self._takes[name]}.wav", spoken, level, place))
            self._takes[name] += 1
        return len(said)
