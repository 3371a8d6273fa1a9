"""Which voices speak, and in which split: no throat is heard in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_pipeline.config import SynthConfig
from model_pipeline.data import neural
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.data.voices import ANY_LANGUAGE, PACKAGES, Voice, available, speaks_english
from model_pipeline.errors import KwsError, MissingTool

_ENGINE_SHARES = {"espeak-ng": 0.6, "flite": 0.24, "festival": 0.16, "kokoro": 0.25, "hibari": 0.3, "piper": 0.6}
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


def pick_voice(voices: dict[str, list[Voice]], settings: SynthConfig, rng: np.random.Generator) -> Voice:
    """A random one of a split's voices, by the shares that the engines have."""
    engines, shares = sorted(voices), engine_shares(settings)
    share = np.array([shares[e] for e in engines])
    found = voices[engines[int(rng.choice(len(engines), p=share / share.sum()))]]
    return found[int(rng.integers(len(found)))]
