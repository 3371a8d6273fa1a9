"""Thresholds on the device, and from there into model.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from host_tools.link.info import Detector, Info
from host_tools.link.session import Link
from model_pipeline.errors import KwsError
from model_pipeline.exported import Exported
from model_pipeline.manifest import load_manifest, save_manifest

LOWEST, HIGHEST = 1, 255  # of a word that can fire, in 1/256


def asked(given: Sequence[str], info: Info) -> Detector:
    """The device's detector with the thresholds of ``WORD=0.8``; 0 never fires.

    Raises:
        KwsError: no such word, or no such number.
    """
    detector = current(info)
    thresholds = list(detector.thresholds)
    for item in given:
        name, _, text = item.rpartition("=")
        if name not in info.labels:
            raise KwsError(f"--threshold {item}: the model has no word {name!r}", hint=", ".join(info.labels))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise KwsError(f"--threshold {item}: not a number from 0 to 1", hint=f"--threshold {name}=0.8")
        level = min(HIGHEST, max(LOWEST, round(value * 256))) if value else 0
        thresholds = [level if label == name else t for label, t in zip(info.labels, thresholds, strict=True)]
    return replace(detector, thresholds=tuple(thresholds))


def current(info: Info) -> Detector:
    """What the device said.

    Raises:
        KwsError: it said nothing of it, or not of each label.
    """
    if info.detector is None or len(info.detector.thresholds) != len(info.labels):
        raise KwsError("the device does not say what its thresholds are", hint="flash our firmware: kws flash")
    return info.detector


class Tuner:
    """Moves thresholds. ``message`` is the last thing to tell the user."""

    def __init__(self, link: Link, info: Info, model: Path | None) -> None:
        self.detector = self._first = current(info)
        self.words = [i for i, value in enumerate(self.detector.thresholds) if value]  # that can fire
        self.chosen = 0  # of them
        self.changed = False
        self.message = ""
        self._link, self._info, self._model = link, info, model

    @property
    def label(self) -> int | None:
        """The chosen word's label."""
        return self.words[self.chosen] if self.words else None

    def choose(self, step: int) -> None:
        """The next word, or the one before."""
        if self.words:
            self.chosen = (self.chosen + step) % len(self.words)

    def move(self, step: int, *, all_words: bool = False) -> None:
        """Moves the chosen word's threshold, or all, by ``step`` 256ths, at once and on the device."""
        thresholds = list(self.detector.thresholds)
        for label in self.words if all_words else self.words[self.chosen : self.chosen + 1]:
            thresholds[label] = min(HIGHEST, max(LOWEST, thresholds[label] + step))
        self._set(replace(self.detector, thresholds=tuple(thresholds)))

    def undo(self) -> None:
        """Back to what the device had at first."""
        self._set(self._first)

    def _set(self, detector: Detector) -> None:
        if detector != self.detector:
            self._link.set_detector(detector)
            self.detector = detector
        self.changed = detector != self._first
        self.message = ""

    def save(self) -> None:
        """Writes the thresholds into model.json and says what is to be done then; a reason why not is a message too."""
        try:
            self.message = self._saved()
        except KwsError as error:
            self.message = f"not saved: {error}" + (f" ({error.hint})" if error.hint else "")

    def _saved(self) -> str:
        if self._model is None:
            raise KwsError("which model is it?", hint="kws live … --model DIR")
        manifest = load_manifest(self._model)
        if manifest.model_hash != self._info.model_hash:
            raise KwsError(f"{self._model} is model {manifest.model_hash}, the device runs {self._info.model_hash}")
        wanted = manifest.detector.model_copy(update={"thresholds": list(self.detector.thresholds)})
        save_manifest(manifest.model_copy(update={"detector": wanted}), self._model / "model.json")
        generated = self._model if Exported.there(self._model) else "FOLDER"
        return f"saved in {self._model / 'model.json'}; now: kws export {self._model} --out {generated}, then kws build"
