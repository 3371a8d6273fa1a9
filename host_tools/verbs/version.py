"""``kws version``"""

from __future__ import annotations

import platform
from importlib import metadata

from host_tools import ui
from host_tools.options import common
from model_pipeline.native import CHECKOUT, FIRMWARE, cache_dir

PACKAGES = ("numpy", "platformio", "tensorflow-cpu", "tensorflow", "keras", "tflite-micro", "pyserial")

EXAMPLE = "Example: kws version --json"


def version(json: common.Json = False) -> None:
    """Show the versions of kws and of what it stands on, and where its firmware and shipped models lie."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    result = {
        "kws": metadata.version("micro-kws"),
        "python": platform.python_version(),
        "firmware": str(FIRMWARE),
        "models": [str(p.parent) for p in sorted(FIRMWARE.glob("*/model.json"))],
        "cache": str(cache_dir()),
        "packages": found,
    }

    def human(values: dict) -> None:
        ui.out.say("kws {}, Python {}", values["kws"], values["python"])
        place = "this checkout" if CHECKOUT else "the installed package"
        ui.out.say("firmware and boards: {} ({})", values["firmware"], place)
        for path in values["models"]:
            ui.out.say("shipped model: {}", path)
        for name, number in values["packages"].items():
            ui.out.say("  {} {}", name, number)

    ui.emit(result, json, human)
