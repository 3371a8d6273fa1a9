"""The options by which verbs are told a recipe and changes to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from model_pipeline.config import load_config, with_settings

Recipe = Annotated[str, typer.Option("--recipe", "--config", "-c", help="TOML file, or a built-in name.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a setting of it, as in train.epochs=5; may be repeated.")
]
Teacher = Annotated[
    bool | None,
    typer.Option(
        "--teacher/--no-teacher",
        help="Learn from a large network, which is trained first: Google's speech embedding where the recipe has "
        "\\[scenes], else the same network at twice the width.",
        show_default="the recipe's",
    ),
]


def arguments(recipe: str, settings: Sequence[str] | None, teacher: bool | None) -> list[str]:
    """The child's arguments for a recipe with changes.

    Raises:
        KwsError: no such recipe or setting.
    """
    settings = list(settings or [])
    if teacher is False:
        settings += ["scenes.teacher=none", "train.teacher_width=0"]
    elif teacher:
        config = with_settings(load_config(recipe), settings)
        if config.scenes.examples:
            settings += ["scenes.teacher=speech_embedding"]
        elif not config.train.teacher_width:
            settings += ["train.teacher_width=2"]
    return ["--config", recipe, *(f"--set={setting}" for setting in settings)]
