"""Examples a second in training on 1, 2, … devices, the share of what N devices should do, and what the limit is:
``make bench-train``.

    python -m tests.bench_train --devices 1,2,4 --recipe default --seconds 10

Where there is no GPU, replicas of the CPU stand for devices. Each number of devices is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from host_tools import ui
from model_pipeline.native import ROOT

LIMITED = 0.9  # of the steps alone: what is below waits for its input


@dataclass(frozen=True)
class Row:
    """N devices, in examples a second.

    Attributes:
        steps: over batches that are there already; ``input``: made by the input pipeline by itself; ``together``: both,
            as `kws train` has them.
        ideal: the share of ``devices`` times what one does.
    """

    devices: int
    kind: str
    steps: float
    input: float
    together: float
    ideal: float

    @property
    def limit(self) -> str:
        """What the training waits for."""
        if self.together >= LIMITED * self.steps:
            return "the devices"
        return "the input pipeline" if self.input < self.steps else "both, for the cores that they share"


def rows_of(found: list[dict[str, Any]]) -> list[Row]:
    """With the share of the ideal, by the fewest devices that were measured."""
    least = min(found, key=lambda one: one["devices"])
    each = least["steps"] / least["devices"]
    return [Row(**one, ideal=one["steps"] / (each * one["devices"])) for one in found]


def _child(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench_train.one", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"bench-train: {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def usual() -> list[int]:
    """1, 2, 4, … up to the GPUs that there are; 1 and 2 without any."""
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    gpus = int(done.stdout.strip().splitlines()[-1])
    return sorted({*(2**i for i in range(gpus.bit_length())), gpus}) if gpus else [1, 2]


def measure(devices: list[int], recipe: str, settings: list[str], seconds: float) -> dict[str, Any]:
    """All figures, each number of devices in a process of its own."""
    common = ["--recipe", recipe, "--seconds", str(seconds), *(f"--set={s}" for s in settings)]
    found = []
    with ui.progress("measuring") as progress:
        for place, count in enumerate(devices):
            progress(place, len(devices) + 1, f"{count} device{'s'[: count > 1]}")
            found.append(_child("steps", "--replicas", str(count), *common))
        progress(len(devices), len(devices) + 1, "features")
        features = _child("features", *common)
    rows = rows_of(found)
    return {"recipe": recipe, "rows": [asdict(r) | {"limit": r.limit} for r in rows], "features": features}


def show(values: dict[str, Any]) -> None:
    """The table and what it says."""
    table = Table("devices", "steps alone", "share of ideal", "input alone", "both", "the limit")
    for column in table.columns[1:5]:
        column.justify = "right"
    for row in values["rows"]:
        figures = (f"{row[name]:,.0f}" for name in ("steps", "input", "together"))
        steps, made, both = figures
        table.add_row(f"{row['devices']} {row['kind']}", steps, f"{100 * row['ideal']:.0f} %", made, both, row["limit"])
    ui.out.show(table)
    ui.out.say("Examples a second, recipe {}, its batch on each device.", values["recipe"])
    if values["rows"][0]["kind"] == "CPU":
        ui.out.say(
            "There is no GPU: one CPU stands for all, so the share of ideal says what sharing costs, not what it gains."
        )
    f = values["features"]
    ui.out.say(
        "Features, clips a second: {:,.0f} by C on the cores, {:,.0f} by TensorFlow on the first device{}; faster: {}.",
        f["host"],
        f["device"],
        "" if f["equal"] else " (AND NOT EQUAL)",
        "the cores" if f["host"] >= f["device"] else "the device",
    )


def main() -> int:
    """The command line; 1 where the device's features are not the C's."""
    parser = argparse.ArgumentParser(prog="make bench-train ARGS=…", description="Examples a second in training.")
    parser.add_argument("--devices", help="as in 1,2,4; else 1, 2, … up to all GPUs, or 1,2 replicas of the CPU")
    parser.add_argument("--recipe", default="default", help="a configuration, shipped or a file")
    parser.add_argument("--set", action="append", default=[], help="as kws train --set")
    parser.add_argument("--seconds", type=float, default=5.0, help="that each figure is measured for")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    devices = [int(n) for n in a.devices.split(",")] if a.devices else usual()
    if min(devices) < 1 or not 0 < a.seconds <= 3600:
        parser.error("devices and seconds are above 0")
    found = measure(devices, a.recipe, a.set, a.seconds)
    if a.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 0 if found["features"]["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
