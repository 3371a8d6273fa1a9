"""``kws new``"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common

EXAMPLE = (
    "Example: kws new hey_robot lights_on   or   kws new licht_an licht_aus --language de\n\n"
    "Or, a wake word for Home Assistant's devices: kws new --esphome hey_robot"
)


def new(
    words: Annotated[list[str], typer.Argument(help="Your keywords, _ for a space.", show_default=False)],
    folder: Annotated[Path | None, typer.Option(help="Folder of the project.", show_default="the first word")] = None,
    board: Annotated[str, typer.Option(help="Board to build for and emulate.")] = "disco_f407vg",
    language: Annotated[
        str, typer.Option(help="Of the words, as espeak-ng names it (espeak-ng --voices lists them).")
    ] = "en",
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

    with ui.progress("looking for near words"):
        result = project.create(words, folder or Path(words[0]), board, language, personal, esphome)

    def human(made: project.Project) -> None:
        ui.out.say("[bold]{}[/]: {}", made.config, ", ".join(made.keywords))
        word, seconds = max(made.seconds.items(), key=lambda item: item[1], default=("", 0.0))
        if word:
            ui.out.say("  window: {:g} s (voices take {:.2f} s for {})", made.clip_ms / 1000, seconds, word)
        for keyword, near in made.near_words.items():
            ui.out.say("  near {}: {}", keyword, ", ".join(near))
        place = shlex.quote(made.folder)
        ui.out.say(
            "next: [bold]kws record {} --folder {}[/] (optional), then [bold]kws run --config {}[/]",
            shlex.quote(made.keywords[0]),
            place,
            place,
        )

    ui.emit(result, json, human)
