"""``kws version``"""

from __future__ import annotations

import platform
from importlib import metadata

import typer

from host_tools import ui

PACKAGES = ("numpy", "platformio", "tensorflow-cpu", "tensorflow", "keras", "tflite-micro", "pyserial")


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog="Example: kws version --json")
    def version(json: ui.Json = False) -> None:
        """Show the versions of kws and of what it stands on."""
        found = {}
        for name in PACKAGES:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        result = {"kws": metadata.version("micro-kws"), "python": platform.python_version(), "packages": found}

        def human(values: dict) -> None:
            ui.out.say("kws {}, Python {}", values["kws"], values["python"])
            for name, number in values["packages"].items():
                ui.out.say("  {} {}", name, number)

        ui.emit(result, json, human)
