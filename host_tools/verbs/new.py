"""``kws new``"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import KwsError

EXAMPLE = (
    "Example: kws new hey_robot lights_on   or   kws new licht_an licht_aus --language de\n\n"
    'A word that no dictionary has: kws new lumos --spoken lumos="loo moss"\n\n'
    "Or, a wake word for Home Assistant's devices: kws new --esphome hey_robot"
)


def new(
    words: Annotated[list[str], typer.Argument(help="Your keywords, _ for a space.", show_default=False)],
    folder: Annotated[Path | None, typer.Option(help="Folder of the project.", show_default="the first word")] = None,
    board: Annotated[str, typer.Option(help="Board to build for and emulate.")] = "disco_f407vg",
    language: Annotated[
        str, typer.Option(help="Of the words, as espeak-ng names it (espeak-ng --voices lists them).")
    ] = "en",
    spoken: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=TEXT",
            help="How voices are told to say a word: ordinary spelling, or espeak-ng's [[…]]. May be repeated.",
        ),
    ] = None,
    personal: Annotated[
        bool,
        typer.Option("--personal", help="Only for the speakers who record (kws record): ten takes a word or more."),
    ] = False,
    esphome: Annotated[
        bool, typer.Option("--esphome", help="Wake words for ESPHome's micro_wake_word, as well as for boards.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Make a project of your own words: a configuration with words near them in sound, a place for recordings."""
    from host_tools.words import project

    place = folder or Path(words[0])
    said = project.Said(language, _said(spoken or []))
    project.check_new(words, place, board, said)
    with ui.progress("looking for near words") as progress:
        result = project.create(words, place, board, said, personal, esphome, progress)

    def human(made: project.Project) -> None:
        ui.out.say("[bold]{}[/]: {}", made.config, ", ".join(made.keywords))
        word, seconds = max(made.seconds.items(), key=lambda item: item[1], default=("", 0.0))
        if word:
            ui.out.say("  window: {:g} s (voices take {:.2f} s for {})", made.clip_ms / 1000, seconds, word)
        ui.out.say("  said as: {} (espeak-ng's phonemes)", ", ".join(f"{w} {p}" for w, p in made.phonemes.items()))
        for keyword in made.unlisted:
            _warn(keyword, made.language)
        for keyword, near in made.near_words.items():
            ui.out.say("  near {}: {}", keyword, ", ".join(near))
        place = shlex.quote(made.folder)
        ui.out.say(
            "next: [bold]kws record {} --folder {}[/] ({}), then [bold]kws run --config {}[/]",
            shlex.quote(made.keywords[0]),
            place,
            "ten takes of each word" if personal else "optional",
            place,
        )

    ui.emit(result, json, human)


def _said(spoken: list[str]) -> dict[str, str]:
    """``WORD=TEXT``, each.

    Raises:
        KwsError: it is something else.
    """
    found: dict[str, str] = {}
    for pair in spoken:
        word, equals, text = pair.partition("=")
        if not equals or not word.strip() or not text.strip():
            raise KwsError(f"{pair!r} is not WORD=TEXT", hint='--spoken lumos="loo moss"')
        found[word.strip()] = text.strip()
    return found


def _warn(word: str, language: str) -> None:
    """That voices guess how ``word`` is said, and what to do if they guess wrong."""
    from model_pipeline.data.voices import accent
    from model_pipeline.words import as_text

    ui.out.say("  [yellow]{} is in no dictionary here[/], so voices guess how it is said", word)
    ui.out.say("    hear them: espeak-ng -v {} {}", accent(language), shlex.quote(as_text(word)))
    ui.out.say('    wrong? make the project again with --spoken {}="as it sounds, spelt in ordinary words"', word)
    ui.out.say("    or, with takes of people: kws data spelling {} chooses among ways to write it", shlex.quote(word))
