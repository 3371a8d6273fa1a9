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
    ours, python = metadata.version("micro-kws"), platform.python_version()
    models = [str(p.parent) for p in sorted(FIRMWARE.glob("*/model.json"))]
    result = {
        "kws": ours,
        "python": python,
        "firmware": str(FIRMWARE),
        "models": models,
        "cache": str(cache_dir()),
        "packages": found,
    }

    def human(_: object) -> None:
        ui.out.say("kws {}, Python {}", ours, python)
        place = "this checkout" if CHECKOUT else "the installed package"
        ui.out.say("firmware and boards: {} ({})", FIRMWARE, place)
        for path in models:
            ui.out.say("shipped model: {}", path)
        for name, number in found.items():
            ui.out.say("  {} {}", name, number)

    ui.emit(result, json, human)
