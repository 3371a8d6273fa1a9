"""A project of the user's own words: a folder with a configuration, a place for recordings and what to do next."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from pydantic import TypeAdapter, ValidationError

from host_tools.boards import load_board
from host_tools.run.steps import toml_value
from model_pipeline.config import PROJECT_FILE, SILENCE, UNKNOWN, Config, SynthConfig, Word, explain, load_config
from model_pipeline.data.dictionaries import unlisted
from model_pipeline.data.near import near_words, sounds
from model_pipeline.data.synth import FILLED, seconds_of
from model_pipeline.data.voices import phonemes
from model_pipeline.errors import KwsError
from model_pipeline.files import write_text
from model_pipeline.folders import atomic_dir
from model_pipeline.native import CODE
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import CLIP_MS, LONGEST_CLIP_MS
from model_pipeline.strict import Strict
from model_pipeline.text import shown
from model_pipeline.words import folder_name

RECORDINGS = "recordings"
_TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
TEMPLATE = _TEMPLATES / "project.toml.j2"  # of a project's configuration
_SHORTEST = 2  # phonemes: "go", "up"
_LONGEST = 14 * LONGEST_CLIP_MS // 1000  # phonemes: about 14 are said in a second
# Nine of ten people take at most 1.2 to 1.6 times as long as voices (their median) for eight of ten words of Speech
# Commands, 1.4 in the middle.
_SLOWLY = 1.4
_STEP_MS = 100  # of windows
_MOST = 28


class Project(Strict):
    """A project as it was made; ``near_words`` by keyword. ``clip_ms``: the network's window, and ``seconds`` by
    keyword, as voices say it at their usual pace, for which it was chosen. ``phonemes`` by keyword, as espeak-ng says
    it; ``unlisted``: keywords without a spelling for voices that are in no dictionary of this machine."""

    folder: str
    config: str
    name: str
    keywords: list[str]
    language: str
    phonemes: dict[str, str]
    unlisted: list[str]
    clip_ms: int
    seconds: dict[str, float]
    near_words: dict[str, list[str]]


@dataclass(frozen=True)
class Said:
    """How the words of a project are said: their language, as espeak-ng names it, and what voices are given to say for
    some of them, by which near words are found too."""

    language: str = "en"
    spoken: Mapping[str, str] = field(default_factory=dict)


def check_new(words: Sequence[str], folder: Path, board: str = "disco_f407vg", said: Said | None = None) -> SynthConfig:
    """What is wrong with a project before it is made, in a moment. Gives how its words are spoken.

    Raises:
        MissingTool: espeak-ng, which knows how words sound, is not installed.
        KwsError: a word that can't be a keyword (see `check_words`), or the folder is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KwsError(f"{folder} is there already", hint="another --folder")
    if shown(folder, 10_000) != str(folder):  # it comes into a configuration and into commands
        raise KwsError(f"{folder}: a folder's name has no control or invisible character", hint="another --folder")
    load_board(board)
    said = said or Said()
    try:
        SynthConfig(language=said.language)
    except ValidationError as error:
        raise KwsError(f"{said.language!r} is not a language: {explain(error)}", hint="--language de") from error
    if other := next((word for word in said.spoken if word not in words), None):
        raise KwsError(f"{other!r} is to be spoken so, but is not one of the words", hint=", ".join(words))
    try:
        settings = SynthConfig(language=said.language, spoken=dict(said.spoken))
    except ValidationError as error:
        raise KwsError(f"no voice can say that: {explain(error)}", hint='--spoken lumos="loo moss"') from error
    check_words(words, settings)
    return settings


def create(
    words: Sequence[str],
    folder: Path,
    board: str = "disco_f407vg",
    said: Said | None = None,
    personal: bool = False,
    esphome: bool = False,
    progress: ProgressCallback | None = None,
) -> Project:
    """Makes project ``folder``, whole or not at all.

    Args:
        said: how the words are said; None: in English, as they are written.
        personal: the model is for those alone who record.
        esphome: the words become wake words of ESPHome too: heard by its front end, with a detector that it can have.

    Raises:
        MissingTool, KwsError: as `check_new`, or a word takes longer than the longest window.
    """
    settings = check_new(words, folder, board, said)
    language = settings.language
    seconds = seconds_of(words, settings)
    clip_ms = window_for(seconds)
    values: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name)[:40].lstrip("_.-") or "words",
        "words": list(words),
        "folder": shlex.quote(str(folder)),
        "config": PROJECT_FILE,
        "board": board,
        "clip_ms": clip_ms,
        "slowest": max(seconds.items(), key=lambda item: item[1], default=("", 0.0)),
        "clips": 300,
        "unknown": 600 + 200 * len(words),  # most of them near words
        "sentences": 3000,
        "examples": 20_000,
        # The shipped base hears with another front end than ESPHome's.
        "base": not esphome and (CODE / "model_pipeline" / "models" / "bases" / "heard.npz").is_file(),
        "teacher": importlib.util.find_spec("pyopen_wakeword") is not None,
        "babble": 0.0,
        "epochs": 12,
        "language": language,
        "spoken": settings.spoken,
        "personal": personal,
        "esphome": esphome,
        "near_words": near_words(words, 24 if len(words) <= 4 else 12, language, settings.spoken, progress),
    }
    if values["base"] and values["teacher"]:
        values["epochs"] = 8
    if values["base"] and values["teacher"] and not personal:
        # Chosen for such projects (docs/own-words.md): more clips of other words pay only in more examples, and the
        # other way round; fewer epochs pay for the examples.
        values |= {"unknown": min(5000, 800 + 700 * len(words)), "examples": 30_000, "babble": 0.33, "epochs": 6}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["toml"] = toml_value
    with atomic_dir(folder, "kws new") as made:
        write_text(made / PROJECT_FILE, environment.get_template(TEMPLATE.name).render(values))
        write_text(made / "README.md", environment.get_template("project.md.j2").render(values))
        for word in words:
            (made / RECORDINGS / folder_name(word)).mkdir(parents=True)
        load_config(made)
    return Project(
        folder=str(folder),
        config=str(folder / PROJECT_FILE),
        name=values["name"],
        keywords=list(words),
        language=language,
        phonemes=_phonemes(words, settings),
        unlisted=[word for word in unlisted(words, language) if word not in settings.spoken],
        clip_ms=clip_ms,
        seconds={word: round(s, 2) for word, s in seconds.items()},
        near_words=values["near_words"],
    )


def _phonemes(words: Sequence[str], settings: SynthConfig) -> dict[str, str]:
    """As espeak-ng writes how it says each word."""
    said = phonemes([settings.text_of(word) for word in words], settings.language)
    return {word: said[settings.text_of(word)].replace("_", "") for word in words}


def check_words(words: Sequence[str], settings: SynthConfig | None = None) -> None:
    """
    Args:
        settings: by which they are spoken; None: in English, as they are written.

    Raises:
        KwsError: the first thing that is wrong: letters, length, a reserved or repeated word, two that sound the same.
    """
    if not 1 <= len(words) <= _MOST:
        raise KwsError(f"{len(words)} words: a model tells 1 to {_MOST}", hint="fewer words")
    for word in words:
        check_spelling(word)
    repeated = next((word for i, word in enumerate(words) if word in words[:i]), None)
    if repeated:
        raise KwsError(f"{repeated} is given twice", hint="each word once")
    settings = settings or SynthConfig()
    seen: dict[tuple[str, ...], str] = {}
    for word, sound in sounds(words, settings.language, settings.spoken).items():
        if len(sound) < _SHORTEST:
            raise KwsError(f"{word} is too short to be told from other speech", hint="a word of two syllables or more")
        if len(sound) > _LONGEST:
            raise KwsError(
                f"{word} takes more than {LONGEST_CLIP_MS / 1000:g} s to say ({len(sound)} sounds, at most {_LONGEST}),"
                " and the model hears no more at once",
                hint="a shorter phrase",
            )
        if sound in seen:
            raise KwsError(f"{seen[sound]} and {word} sound the same", hint="leave one of them out")
        seen[sound] = word


def window_for(seconds: Mapping[str, float]) -> int:
    """The window in ms that fits words which take voices ``seconds`` to say, also as slowly as most people say
    them; the longest ones only at a voice's pace.

    Raises:
        KwsError: one takes longer than the longest window.
    """
    window = CLIP_MS
    for word, took in seconds.items():
        if 1000 * took > FILLED * LONGEST_CLIP_MS:
            raise KwsError(
                f"{word} takes {took:.2f} s to say, and at most {FILLED * LONGEST_CLIP_MS / 1000:.2f} s fit into the "
                f"{LONGEST_CLIP_MS / 1000:g} s that the model hears at once",
                hint="a shorter phrase",
            )
        slowly = math.ceil(_SLOWLY * 1000 * took / _STEP_MS) * _STEP_MS
        window = max(window, min(LONGEST_CLIP_MS, slowly))
    return window


def check_spelling(word: str) -> None:
    """
    Raises:
        KwsError: no word, or a reserved one.
    """
    try:
        TypeAdapter(Word).validate_python(word)
    except ValidationError as error:
        other = any(c.isalpha() and not c.isascii() for c in word)
        raise KwsError(
            f"{word!r} is not a word: small letters from a to z, _ for a space, digits; at most 31, a letter first",
            hint='with others told to voices: kws new tuer --spoken tuer="tür"' if other else "hey_robot",
        ) from error
    if word in (UNKNOWN, SILENCE):
        raise KwsError(
            f"{word!r} is a label of its own, for other words and for no word",
            hint="leave it out: every model has it",
        )


def recordings_of(folder: Path) -> tuple[Config, Path]:
    """The configuration of project ``folder``, and where its recordings lie.

    Raises:
        KwsError: no project.
    """
    if not (folder / PROJECT_FILE).is_file():
        raise KwsError(
            f"{folder} is not a project (it has no {PROJECT_FILE})", hint="--folder PROJECT; kws new makes a project"
        )
    config = load_config(folder)
    return config, Path(config.data.recordings) if config.data.recordings else folder / RECORDINGS
