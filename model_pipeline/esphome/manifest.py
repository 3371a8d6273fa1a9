"""What stands beside the .tflite: ESPHome's manifest (version 2), and a README with what was measured.

Facts of ESPHome's ``micro_wake_word``, 2024.7 to 2026.6: the manifest has just these keys, and one more is an error;
``website``, where it is there, must be a URL; there is none for figures. A word is heard while the sum of the last
``sliding_window_size`` results, each in 1/255, is above ``int(probability_cutoff * 255) * sliding_window_size``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from model_pipeline.config import STOCK_FRONTEND
from model_pipeline.ctext import plain
from model_pipeline.intervals import Rate, Share
from model_pipeline.strict import Strict

MINIMUM_VERSION = "2024.7.0"  # of ESPHome: the first with manifests of version 2
_HIGHEST = 254  # of 255: no result is above 255


class Measured(Strict):
    """What a cutoff and a window were measured to do.

    Attributes:
        false_accepts: where the word is not said.
        heard: on which audio.
        of_file: this very file was run; else the model that it was made of, with its own detector.
        misses: of the word in noise, and how it was said; None where that was not tried.
    """

    false_accepts: Rate
    heard: str
    of_file: bool
    misses: Share | None = None
    said: str = ""


@dataclass(frozen=True)
class WakeWord:
    """A wake word as ESPHome takes it."""

    word: str
    name: str  # of its files, without ending
    tflite: bytes
    step_frames: int
    cutoff: float
    window: int
    arena_bytes: int
    author: str
    languages: tuple[str, ...]
    data: str  # what the model has learnt from, and its licence

    @property
    def manifest(self) -> str:
        """The JSON."""
        values = {
            "type": "micro",
            "wake_word": self.word,
            "author": self.author or "micro-kws",
            "model": f"{self.name}.tflite",
            "trained_languages": list(self.languages),
            "version": 2,
            "micro": {
                "probability_cutoff": self.cutoff,
                "sliding_window_size": self.window,
                "feature_step_size": STOCK_FRONTEND.hop_ms,
                "tensor_arena_size": self.arena_bytes,
                "minimum_esphome_version": MINIMUM_VERSION,
            },
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def readme(self, measured: Measured | None) -> str:
        """Markdown: how it is used, and what is known of it."""
        step_ms = self.step_frames * STOCK_FRONTEND.hop_ms
        rows = [
            ("heard", f"above a mean of {self.cutoff} over {self.window} results, one each {step_ms} ms"),
            *(_figures(measured) if measured else [("false accepts", "not measured with this cutoff and window")]),
            ("size", f"{len(self.tflite):,} B; arena {self.arena_bytes:,} B on a 64-bit host"),
            ("trained on", plain(self.data) or "not recorded"),
        ]
        return "\n".join(
            [
                f"# {plain(self.word)}",
                "",
                f"A wake word for ESPHome's `micro_wake_word` ({MINIMUM_VERSION} or later), made by micro-kws. Lay",
                "both files beside the device's YAML:",
                "",
                "```yaml",
                "micro_wake_word:",
                "  models:",
                f"    - model: {self.name}.json",
                "```",
                "",
                "| | |",
                "|---|---|",
                *(f"| {name} | {text} |" for name, text in rows),
                "",
            ]
        )


def _figures(measured: Measured) -> list[tuple[str, str]]:
    rate = measured.false_accepts
    rows = [("false accepts", f"{rate.count} in {rate.hours:.2f} h: {rate.described}")]
    if measured.misses:
        share = measured.misses
        text = f"{share.percent} of {share.total} (95 %: {share.interval})"
        rows.append(("missed", f"{text}, {measured.said}" if measured.said else text))
    what = "this file" if measured.of_file else "the model that this file is made of, with its own detector"
    return [*rows, ("measured", f"{what}, on {plain(measured.heard)}")]


def cutoff_of(total: int, window: int) -> float:
    """ESPHome's cutoff for a word that is heard when ``window`` results in 1/256 sum up to ``total``: the least with
    which neither ESPHome nor the package pymicro-wakeword (mean of p/256 above it) hears one at a smaller sum, rounded
    up to 1e-5."""
    steps = min(_HIGHEST, math.ceil((total - 1) / window))
    return math.ceil(steps / 255 * 1e5) / 1e5
